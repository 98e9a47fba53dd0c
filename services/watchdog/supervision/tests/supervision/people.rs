//! What persons do with the engine's own tools is respected.

use std::time::Duration;

use bearish_supervision::phase::Phase;
use bearish_supervision::record::{Fact, StartedBy};
use bearish_supervision::watch::{Event, StopAsked};
use protocol::heartbeat::Phase as BeatPhase;
use protocol::time::UtcMs;

use crate::support::{MINUTE, Rig, USUAL};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn docker_stop_is_respected_whatever_the_exit_code() {
    for code in [0, 1, 137, 143] {
        let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
        rig.asked_to_stop();
        rig.silence(8 * SECOND);
        rig.dies(code);
        rig.silence(10 * MINUTE);
        assert!(rig.calls.is_empty(), "exit {code}");
        assert!(matches!(rig.phase(), Phase::Stopped { .. }), "exit {code}");
        assert_eq!(rig.told_kinds(), ["unit_stopped"], "exit {code}");
    }
}

#[test]
fn docker_start_makes_it_wanted_again() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.asked_to_stop();
    rig.dies(0);
    rig.silence(5 * SECOND);
    rig.starts();
    assert!(matches!(rig.phase(), Phase::Running(_)));
    rig.dies(1);
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn docker_restart_is_neither_a_crash_nor_a_stop() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.asked_to_stop();
    rig.dies(0);
    rig.mono += 200;
    rig.starts();
    rig.beats(BeatPhase::Running);
    rig.healthy(MINUTE);
    assert!(rig.calls.is_empty());
    assert!(rig.told().is_empty(), "{:?}", rig.told());
    let by = |fact: &&Fact| {
        matches!(
            fact,
            Fact::Started {
                by: StartedBy::Person,
                ..
            }
        )
    };
    assert_eq!(rig.facts().into_iter().filter(by).count(), 1);
}

#[test]
fn a_stop_that_was_asked_for_an_earlier_run_says_nothing_about_this_one() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    let before = rig.now().utc;
    rig.mono += 1_000;
    rig.dies(1);
    // Our own stop's last event may arrive after the new run is seen.
    let container = rig.run().container;
    rig.on(Event::StopAsked(StopAsked {
        container,
        at: before,
    }));
    rig.dies(1);
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn a_stop_is_respected_although_the_clock_was_set_back() {
    let mut rig = Rig::running(USUAL);
    rig.healthy(MINUTE);
    let container = rig.run().container;
    let at = UtcMs(rig.now().utc.0 - 86_400_000);
    rig.on(Event::StopAsked(StopAsked { container, at }));
    rig.dies(0);
    rig.silence(5 * SECOND);
    assert!(matches!(rig.phase(), Phase::Stopped { .. }));
}

#[test]
fn a_manual_start_cuts_a_wait_short() {
    let mut rig = Rig::running(USUAL);
    rig.dies(1);
    rig.silence(5 * SECOND);
    rig.starts();
    rig.healthy(5 * MINUTE);
    assert!(rig.calls.is_empty());
    assert_eq!((rig.unit().restarts, rig.unit().consecutive), (1, 1));
}

#[test]
fn a_new_container_ends_the_quarantine_of_a_misconfigured_unit() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 3");
    rig.dies(78);
    assert!(matches!(rig.phase(), Phase::Quarantined { .. }));
    rig.recreated("--paper --auto-restart --restart-delay 4");
    assert!(matches!(rig.phase(), Phase::Running(_)));
    rig.dies(1);
    assert_eq!(rig.restarts()[0].delay_ms, 4_000);
}

#[test]
fn a_manual_start_does_not_make_a_cap_forgotten() {
    let mut rig = Rig::running("--paper --auto-restart --max-restarts 1 --restart-delay 0");
    rig.dies(1);
    rig.dies_for_good(1);
    rig.starts();
    assert!(matches!(rig.phase(), Phase::Running(_)));
    rig.dies_for_good(1);
    assert!(matches!(rig.phase(), Phase::Quarantined { .. }));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn a_removed_container_is_forgotten_but_its_counters_are_not() {
    let mut rig = Rig::running(USUAL);
    rig.dies(1);
    rig.removed();
    assert_eq!(rig.phase(), &Phase::Gone);
    rig.silence(10 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.recreated(USUAL);
    assert_eq!((rig.unit().restarts, rig.unit().consecutive), (1, 1));
    rig.dies(1);
    assert_eq!(rig.restarts()[1].delay_ms, 60_000);
}

#[test]
fn while_a_container_is_replaced_the_living_one_counts() {
    let mut rig = Rig::running(USUAL);
    let mut made = rig.container().unwrap();
    made.run.container = "c2".to_owned();
    made.status = bearish_supervision::container::Status::Created;
    let unit = crate::support::name();
    rig.on(Event::Seen {
        unit,
        container: made,
    });
    rig.healthy(MINUTE);
    assert!(matches!(rig.phase(), Phase::Running(run) if run.container == "c1"));
    assert!(rig.calls.is_empty());
}

#[test]
fn one_that_had_ended_well_before_anybody_watched_is_left_alone() {
    let mut rig = Rig::empty(USUAL);
    rig.begin();
    rig.end(0, false);
    rig.list();
    rig.silence(10 * MINUTE);
    assert!(rig.calls.is_empty());
    assert!(rig.told().is_empty());
}

#[test]
fn one_that_had_crashed_before_anybody_watched_is_brought_back() {
    let mut rig = Rig::empty(USUAL);
    rig.begin();
    rig.end(139, false);
    rig.list();
    rig.sleep();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn a_stop_while_nobody_watched_is_found_in_the_engines_memory() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.healthy(MINUTE);
    let asked = StopAsked {
        container: rig.run().container,
        at: rig.now().utc,
    };
    rig.end(0, false);
    rig.reborn(rig.journal.len());
    let containers = vec![(crate::support::name(), rig.container().unwrap())];
    let stops = vec![asked];
    rig.on(Event::Listed { containers, stops });
    rig.silence(5 * SECOND);
    assert!(rig.calls.is_empty());
    assert!(matches!(rig.phase(), Phase::Stopped { .. }));
}
