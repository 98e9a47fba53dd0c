//! Silence: when it is a hang, and when it is us who are deaf.

use std::time::Duration;

use bearish_supervision::act::Action;
use bearish_supervision::phase::Phase;
use bearish_supervision::pulse::Beat;
use bearish_supervision::record::{Fact, Reason};
use bearish_supervision::watch::Event;
use protocol::event::EventBody;
use protocol::heartbeat::{Heartbeat, PartState, Phase as BeatPhase};

use crate::support::{MINUTE, Obeys, Rig, USUAL, name};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn three_intervals_of_silence_are_a_hang_and_not_a_moment_less() {
    let mut rig = Rig::running(USUAL);
    rig.healthy(MINUTE);
    rig.silence(15 * SECOND);
    assert!(rig.calls.is_empty());
    rig.silence(SECOND);
    let [Action::Stop { grace_ms: 0, .. }] = rig.calls[..] else {
        panic!("who is not heard cannot use any time: {:?}", rig.calls);
    };
    let restart = rig.restarts()[0];
    assert!(matches!(restart.reason, Reason::Silent { .. }));
    assert_eq!((restart.consecutive, restart.exit), (1, Some(137)));
    rig.sleep();
    assert!(matches!(rig.phase(), Phase::Running(_)));
}

#[test]
fn a_part_that_stands_still_while_the_heart_beats_on_is_a_hang() {
    let mut rig = Rig::running(USUAL);
    for turns in 1..100 {
        rig.promises("feed", turns);
        rig.healthy(5 * SECOND);
    }
    assert!(rig.calls.is_empty());
    rig.healthy(10 * SECOND);
    assert!(rig.calls.is_empty(), "ten seconds are what it promised");
    rig.healthy(5 * SECOND);
    let restart = rig.restarts()[0];
    let expected = "hung: its feed has stood still for 15.0 s";
    assert_eq!(restart.reason.to_string(), expected);
    let [
        Action::Stop {
            grace_ms: 10_000, ..
        },
    ] = rig.calls[..]
    else {
        panic!("who is heard may end in good order: {:?}", rig.calls);
    };
}

#[test]
fn a_part_that_promises_nothing_or_says_it_is_in_trouble_may_stand_still() {
    let golden = include_str!("../../../../protocol/tests/golden/heartbeat_full.json");
    let mut heartbeat: Heartbeat = serde_json::from_str(golden).unwrap();
    assert!(Beat::from(&heartbeat).parts.is_empty());
    heartbeat.parts.get_mut("feed").unwrap().state = PartState::Ok;
    let beat = Beat::from(&heartbeat);
    assert_eq!(beat.parts.keys().collect::<Vec<_>>(), ["feed"]);
}

#[test]
fn one_late_heartbeat_is_no_standstill() {
    let mut rig = Rig::running(USUAL);
    rig.promises("feed", 7);
    rig.healthy(5 * SECOND);
    rig.silence(13 * SECOND);
    rig.beats(BeatPhase::Running);
    assert!(rig.calls.is_empty());
    rig.promises("feed", 8);
    rig.healthy(5 * SECOND);
    assert!(rig.calls.is_empty());
}

#[test]
fn a_part_that_stood_still_while_the_bus_was_away_gets_its_time_when_it_is_back() {
    let mut rig = Rig::running(USUAL);
    rig.promises("fleet", 7);
    rig.healthy(10 * SECOND);
    rig.echoes = false;
    rig.silence(10 * MINUTE);
    rig.echoes = true;
    rig.healthy(20 * SECOND);
    assert!(
        rig.calls.is_empty(),
        "ten seconds to find the bus, ten that it promised"
    );
    rig.healthy(5 * SECOND);
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn another_process_is_not_judged_by_where_the_one_before_it_stood() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.promises("feed", 7);
    rig.healthy(10 * SECOND);
    rig.dies(1);
    rig.settle();
    rig.healthy(10 * SECOND);
    assert_eq!(rig.calls.len(), 1, "the start alone: {:?}", rig.calls);
}

#[test]
fn the_stop_is_journaled_before_it_is_called() {
    let mut rig = Rig::running(USUAL);
    rig.obeys = Obeys::Later;
    rig.silence(16 * SECOND);
    let run = rig.run();
    assert!(matches!(rig.facts().last(), Some(Fact::StopIntended { run: r, .. }) if *r == run));
    assert_eq!(rig.calls.len(), 1);
    rig.silence(5 * MINUTE);
    assert_eq!(
        rig.calls.len(),
        1,
        "a second call while the first is under way"
    );
}

#[test]
fn a_stop_that_fails_is_made_again_later() {
    let mut rig = Rig::running(USUAL);
    rig.obeys = Obeys::Never;
    rig.silence(25 * SECOND);
    assert_eq!(rig.calls.len(), 1);
    rig.silence(2 * SECOND);
    assert_eq!(rig.calls.len(), 2);
    assert!(matches!(rig.phase(), Phase::Stopping { .. }));
}

#[test]
fn our_own_stop_is_not_taken_for_a_persons() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.obeys = Obeys::Later;
    rig.silence(16 * SECOND);
    rig.asked_to_stop();
    rig.end(0, false);
    rig.look();
    rig.answer(None);
    rig.settle();
    assert_eq!(rig.starts_called(), 1);
    assert!(!rig.told_kinds().contains(&"unit_stopped"));
}

#[test]
fn a_trader_that_says_it_is_starting_is_not_hung_however_long_it_takes() {
    let mut rig = Rig::empty(USUAL);
    rig.starts();
    for _ in 0..720 {
        rig.mono += 5_000;
        rig.beats(BeatPhase::Starting);
    }
    assert!(rig.calls.is_empty());
    assert!(rig.unit().healthy.is_none());
}

#[test]
fn one_that_never_beats_is_found_after_two_minutes() {
    let mut rig = Rig::empty(USUAL);
    rig.starts();
    rig.silence(2 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.silence(SECOND);
    assert_eq!(rig.calls.len(), 1);
    assert!(matches!(rig.restarts()[0].reason, Reason::NeverBeat { .. }));
}

#[test]
fn a_late_heartbeat_of_the_run_before_proves_nothing_for_the_new_one() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.healthy(MINUTE);
    let old = rig.beat_of(BeatPhase::Running);
    rig.dies(1);
    rig.silence(SECOND);
    rig.on(Event::Beat {
        unit: name(),
        beat: old,
    });
    assert!(rig.unit().healthy.is_none());
    rig.silence(118 * SECOND);
    assert_eq!(rig.calls.len(), 1);
    rig.silence(2 * SECOND);
    assert!(
        matches!(rig.calls[1], Action::Stop { .. }),
        "the new run never beat"
    );
}

#[test]
fn a_heartbeat_heard_before_the_start_was_seen_counts() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.obeys = Obeys::Later;
    rig.healthy(MINUTE);
    rig.dies(1);
    rig.mono += 300;
    rig.begin();
    rig.mono += 100;
    rig.beats(BeatPhase::Running);
    rig.look();
    rig.answer(None);
    rig.settle();
    assert!(rig.unit().healthy.is_some(), "{:?}", rig.unit());
}

#[test]
fn a_paused_container_is_never_touched_and_gets_its_time_back() {
    let mut rig = Rig::running(USUAL);
    rig.paused(true);
    rig.silence(60 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.paused(false);
    rig.silence(15 * SECOND);
    assert!(rig.calls.is_empty());
    rig.silence(SECOND);
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn while_the_bus_carries_nothing_silence_is_ours() {
    let mut rig = Rig::running(USUAL);
    rig.echoes = false;
    rig.silence(30 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.echoes = true;
    // Everybody gets time to find the bus again: 10 s, then three intervals.
    rig.silence(25 * SECOND);
    assert!(rig.calls.is_empty());
    rig.silence(2 * SECOND);
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn after_we_were_held_up_silence_is_measured_anew() {
    let mut rig = Rig::running(USUAL);
    rig.mono += 300_000;
    rig.on(Event::Ticked);
    rig.silence(25 * SECOND);
    assert!(rig.calls.is_empty());
    rig.silence(SECOND);
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn without_the_engine_nothing_is_judged_and_nothing_called() {
    let mut rig = Rig::running(USUAL);
    rig.on(Event::EngineLost);
    rig.silence(10 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.list();
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn a_hang_without_auto_restart_is_told_once() {
    let mut rig = Rig::running("--paper --infinite");
    rig.silence(10 * MINUTE);
    assert!(rig.calls.is_empty());
    let told = rig.told();
    let [EventBody::UnitObservedOnly { reason, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(
        reason.starts_with("hung: no heartbeat for 16.0 s"),
        "{reason}"
    );
}

#[test]
fn the_eleventh_hang_in_a_row_is_stopped_and_stays_down() {
    let mut rig = Rig::running(USUAL);
    for _ in 0..10 {
        while !matches!(rig.phase(), Phase::Waiting { .. }) {
            rig.silence(SECOND);
        }
        rig.sleep();
    }
    rig.silence(3 * MINUTE);
    assert!(
        matches!(rig.phase(), Phase::Quarantined { .. }),
        "{:?}",
        rig.phase()
    );
    assert!(!rig.lives());
    assert_eq!(rig.starts_called(), 10);
}

#[test]
fn a_watchdog_that_has_just_begun_waits_three_intervals_for_a_unit_it_knows() {
    let mut rig = Rig::running(USUAL);
    rig.reborn(rig.journal.len());
    rig.list();
    rig.silence(15 * SECOND);
    assert!(rig.calls.is_empty());
    rig.silence(SECOND);
    assert_eq!(rig.calls.len(), 1);
}
