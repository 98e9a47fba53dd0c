//! Units that ended with exit 21: only an unlatch of that very latch permits a start, at whatever step the watchdog
//! dies.

use std::time::Duration;

use bearish_watchdog_core::model::Latch;
use bearish_watchdog_core::observed_state::SupervisionEvent;
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::record::UnitRecord;
use protocol::event::EventBody;
use protocol::heartbeat::ProcessPhase;

use crate::support::{DEFAULT_FLAGS, MINUTE, Rig};

fn latch(id: &str) -> Latch {
    Latch {
        account: "paper.binance-usdm.exchange-sim-8080".parse().unwrap(),
        id: id.to_owned(),
    }
}

/// A unit whose last heartbeat names the latch.
fn latched() -> Rig {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.pass_healthy(MINUTE);
    rig.latch = Some(latch("daily_loss-7"));
    rig.send_heartbeat(ProcessPhase::Stopped);
    rig.dies(21);
    rig
}

fn unlatched(rig: &mut Rig, id: &str) {
    rig.on_event(SupervisionEvent::Unlatched {
        latch: latch(id),
        by: "ops".to_owned(),
        reason: "a wick".to_owned(),
    });
}

fn is_quarantined(rig: &Rig) -> bool {
    matches!(rig.phase(), UnitPhase::Quarantined { .. })
}

#[test]
fn unlatch_starts_the_latched_unit_and_notifies_the_operator() {
    let mut rig = latched();
    assert_eq!(rig.unit().latch, Some(latch("daily_loss-7")));
    rig.pass_without_heartbeats(60 * MINUTE);
    assert_eq!(rig.starts_called(), 0);
    unlatched(&mut rig, "daily_loss-7");
    assert_eq!(rig.starts_called(), 1);
    assert!(rig.is_alive());
    assert_eq!(rig.unit().latch, None);
    let events = rig.operator_events();
    let Some(EventBody::UnitCommandExecuted {
        command: verb,
        by,
        reason,
        ..
    }) = events.last()
    else {
        panic!("{events:?}");
    };
    assert_eq!((verb.as_str(), by.as_str()), ("unlatch", "ops"));
    assert_eq!(reason.as_deref(), Some("a wick (latch daily_loss-7)"));
    assert!(rig.restarts().is_empty(), "it costs no restart");
}

#[test]
fn unlatch_of_another_latch_does_not_start_the_unit() {
    let mut rig = latched();
    unlatched(&mut rig, "daily_loss-6");
    assert!(is_quarantined(&rig));
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.latch = Some(latch("daily_loss-7"));
    rig.send_heartbeat(ProcessPhase::Stopped);
    rig.dies(78);
    unlatched(&mut rig, "daily_loss-7");
    assert!(is_quarantined(&rig));
    assert_eq!(rig.starts_called(), 0);
}

#[test]
fn latch_is_seen_after_a_watchdog_restart_and_in_a_late_heartbeat() {
    let mut rig = latched();
    let records = rig.journal.len();
    rig.restart_watchdog(records);
    rig.list();
    unlatched(&mut rig, "daily_loss-7");
    assert_eq!(rig.starts_called(), 1);

    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(21);
    assert_eq!(rig.unit().latch, None);
    rig.latch = Some(latch("daily_loss-7"));
    rig.send_heartbeat(ProcessPhase::Stopped);
    assert!(matches!(
        rig.unit_records().last(),
        Some(UnitRecord::LatchSeen(_))
    ));
    unlatched(&mut rig, "daily_loss-7");
    assert_eq!(rig.starts_called(), 1);
}

/// The last heartbeat of an earlier run, read again from the bus, may name a latch that was ended long ago.
#[test]
fn latch_in_a_heartbeat_of_an_earlier_run_is_ignored() {
    let mut rig = latched();
    let old = rig.heartbeat_sample(ProcessPhase::Stopped);
    unlatched(&mut rig, "daily_loss-7");
    rig.pass_without_heartbeats(Duration::from_secs(30));
    rig.dies(21);
    let unit = crate::support::name();
    rig.on_event(SupervisionEvent::HeartbeatReceived {
        unit,
        heartbeat: old,
    });
    unlatched(&mut rig, "daily_loss-7");
    assert!(is_quarantined(&rig));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn hold_outlives_the_unlatch_and_release_still_works() {
    let mut rig = latched();
    rig.run_command(&crate::support::command("hold")).unwrap();
    unlatched(&mut rig, "daily_loss-7");
    assert_eq!(rig.starts_called(), 0);
    rig.release(false).unwrap();
    assert_eq!(rig.starts_called(), 1);
    let mut rig = latched();
    rig.release(false).unwrap();
    assert_eq!(rig.starts_called(), 1);
}
