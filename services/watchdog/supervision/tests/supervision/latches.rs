//! A unit that ended with 21 because its account is latched: an operator's word that ends that very latch is leave
//! to start it, whatever dies in between.

use std::time::Duration;

use bearish_supervision::phase::Phase;
use bearish_supervision::record::{Fact, Latch};
use bearish_supervision::watch::Event;
use protocol::event::EventBody;
use protocol::heartbeat::Phase as BeatPhase;

use crate::support::{MINUTE, Rig, USUAL};

fn latch(id: &str) -> Latch {
    Latch {
        account: "paper.binance-usdm.exchange-sim-8080".parse().unwrap(),
        id: id.to_owned(),
    }
}

/// Its last heartbeat names the latch, as that of a trader that closed everything.
fn latched() -> Rig {
    let mut rig = Rig::running(USUAL);
    rig.healthy(MINUTE);
    rig.latch = Some(latch("daily_loss-7"));
    rig.beats(BeatPhase::Stopped);
    rig.dies(21);
    rig
}

fn unlatched(rig: &mut Rig, id: &str) {
    rig.on(Event::Unlatched {
        latch: latch(id),
        by: "ops".to_owned(),
        why: "a wick".to_owned(),
    });
}

fn is_quarantined(rig: &Rig) -> bool {
    matches!(rig.phase(), Phase::Quarantined { .. })
}

#[test]
fn a_latch_ended_by_an_operator_starts_what_it_kept_down_and_the_owner_hears_it() {
    let mut rig = latched();
    assert_eq!(rig.unit().latch, Some(latch("daily_loss-7")));
    rig.silence(60 * MINUTE);
    assert_eq!(rig.starts_called(), 0);
    unlatched(&mut rig, "daily_loss-7");
    assert_eq!(rig.starts_called(), 1);
    assert!(rig.lives());
    assert_eq!(rig.unit().latch, None);
    let told = rig.told();
    let Some(EventBody::UnitOrdered { verb, by, why, .. }) = told.last() else {
        panic!("{told:?}");
    };
    assert_eq!((verb.as_str(), by.as_str()), ("unlatch", "ops"));
    assert_eq!(why.as_deref(), Some("a wick (latch daily_loss-7)"));
    assert!(rig.restarts().is_empty(), "it costs no restart");
}

#[test]
fn another_latch_or_another_end_is_no_leave() {
    let mut rig = latched();
    unlatched(&mut rig, "daily_loss-6");
    assert!(is_quarantined(&rig));
    let mut rig = Rig::running(USUAL);
    rig.latch = Some(latch("daily_loss-7"));
    rig.beats(BeatPhase::Stopped);
    rig.dies(78);
    unlatched(&mut rig, "daily_loss-7");
    assert!(is_quarantined(&rig));
    assert_eq!(rig.starts_called(), 0);
}

#[test]
fn the_latch_is_known_after_a_restart_of_ours_and_from_a_heartbeat_that_comes_late() {
    let mut rig = latched();
    let records = rig.journal.len();
    rig.reborn(records);
    rig.list();
    unlatched(&mut rig, "daily_loss-7");
    assert_eq!(rig.starts_called(), 1);

    let mut rig = Rig::running(USUAL);
    rig.dies(21);
    assert_eq!(rig.unit().latch, None);
    rig.latch = Some(latch("daily_loss-7"));
    rig.beats(BeatPhase::Stopped);
    assert!(matches!(rig.facts().last(), Some(Fact::LatchKnown(_))));
    unlatched(&mut rig, "daily_loss-7");
    assert_eq!(rig.starts_called(), 1);
}

/// Read again from the bus, an earlier run's last heartbeat may name a latch that was ended long ago.
#[test]
fn a_heartbeat_of_an_earlier_run_names_no_latch() {
    let mut rig = latched();
    let old = rig.beat_of(BeatPhase::Stopped);
    unlatched(&mut rig, "daily_loss-7");
    rig.silence(Duration::from_secs(30));
    rig.dies(21);
    let unit = crate::support::name();
    rig.on(Event::Beat { unit, beat: old });
    unlatched(&mut rig, "daily_loss-7");
    assert!(is_quarantined(&rig));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn a_hold_outlives_the_word_and_release_works_as_before() {
    let mut rig = latched();
    rig.order(&crate::support::order("hold")).unwrap();
    unlatched(&mut rig, "daily_loss-7");
    assert_eq!(rig.starts_called(), 0);
    rig.release(false).unwrap();
    assert_eq!(rig.starts_called(), 1);
    let mut rig = latched();
    rig.release(false).unwrap();
    assert_eq!(rig.starts_called(), 1);
}
