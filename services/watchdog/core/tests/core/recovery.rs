//! The watchdog dies between any two steps, and its clocks jump.

use std::time::Duration;

use bearish_watchdog_core::model::Action;
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::record::UnitRecord;

use crate::support::{CallBehavior, DEFAULT_FLAGS, MINUTE, Rig};

const AT_ONCE: &str = "--paper --auto-restart --restart-delay 0";

/// Whether a run was followed by two starts.
fn has_doubled_starts(rig: &Rig) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let records = rig.unit_records();
    let mut intended = records.iter().filter_map(|record| match record {
        UnitRecord::StartIntended { run } => Some(run),
        _ => None,
    });
    !intended.all(|run| seen.insert(run.clone()))
}

#[test]
fn start_is_called_once_after_a_kill_before_the_call() {
    let mut rig = Rig::running(AT_ONCE);
    rig.call_behavior = CallBehavior::Pending;
    rig.dies(1);
    rig.calls.clear();
    rig.restart_watchdog(rig.journal.len());
    rig.call_behavior = CallBehavior::Immediate;
    rig.list();
    assert_eq!(rig.starts_called(), 1);
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
    assert_eq!(rig.unit().restarts, 1);
    assert!(!has_doubled_starts(&rig));
}

#[test]
fn start_is_not_repeated_after_a_kill_behind_the_call() {
    let mut rig = Rig::running(AT_ONCE);
    rig.call_behavior = CallBehavior::Pending;
    rig.dies(1);
    rig.begin();
    rig.calls.clear();
    rig.restart_watchdog(rig.journal.len());
    rig.list();
    assert!(rig.calls.is_empty());
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
    assert_eq!(
        (rig.unit().restarts, rig.unit().consecutive_failures),
        (1, 1)
    );
}

#[test]
fn failures_before_and_during_a_watchdog_kill_are_both_counted() {
    let mut rig = Rig::running(AT_ONCE);
    rig.call_behavior = CallBehavior::Pending;
    rig.dies(1);
    rig.begin();
    rig.end(1, false);
    rig.calls.clear();
    rig.restart_watchdog(rig.journal.len());
    rig.list();
    assert_eq!(
        (rig.unit().restarts, rig.unit().consecutive_failures),
        (2, 2)
    );
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn stop_is_continued_after_a_watchdog_kill() {
    let mut rig = Rig::running(AT_ONCE);
    rig.call_behavior = CallBehavior::Pending;
    rig.pass_without_heartbeats(Duration::from_secs(16));
    rig.restart_watchdog(rig.journal.len());
    rig.call_behavior = CallBehavior::Immediate;
    rig.calls.clear();
    rig.list();
    assert!(
        matches!(rig.calls[..], [Action::Stop { .. }, Action::Start { .. }]),
        "{:?}",
        rig.calls
    );
}

#[test]
fn journal_cut_at_any_record_doubles_no_start_and_keeps_limits() {
    let flags = "--paper --auto-restart --restart-delay 1 --max-restarts 3";
    let history = || {
        let mut rig = Rig::running(flags);
        for _ in 0..2 {
            rig.dies(1);
            rig.sleep_until_wake();
        }
        rig.pass_without_heartbeats(3 * MINUTE);
        rig
    };
    let whole = history();
    for cut in 0..=whole.journal.len() {
        let mut rig = history();
        rig.restart_watchdog(cut);
        rig.calls.clear();
        let lived = rig.is_alive();
        rig.list();
        let called = rig.starts_called();
        assert!(
            called <= 1 && !(lived && called > 0),
            "cut {cut}: {:?}",
            rig.calls
        );
        for _ in 0..20 {
            if matches!(rig.phase(), UnitPhase::RestartPending { .. }) {
                rig.sleep_until_wake();
            }
            if rig.is_alive() {
                rig.dies(1);
            }
        }
        assert!(
            matches!(rig.phase(), UnitPhase::Quarantined { .. }),
            "cut {cut}"
        );
        assert!(rig.unit().restarts <= 3, "cut {cut}");
        assert!(!has_doubled_starts(&rig), "cut {cut}");
    }
}

#[test]
fn pending_restart_continues_after_a_watchdog_restart() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(1);
    rig.pass_without_heartbeats(Duration::from_secs(20));
    rig.restart_watchdog(rig.journal.len());
    rig.list();
    assert_eq!(rig.sleep_until_wake(), Duration::from_secs(10));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn clock_set_back_does_not_lengthen_a_pending_restart() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(1);
    rig.wall -= 86_400_000;
    assert_eq!(
        rig.sleep_until_wake(),
        Duration::from_secs(30),
        "while it lives"
    );
    rig.dies(1);
    rig.restart_watchdog(rig.journal.len());
    rig.wall -= 86_400_000;
    rig.list();
    assert_eq!(
        rig.sleep_until_wake(),
        Duration::from_mins(1),
        "and over its death"
    );
}

#[test]
fn clock_set_forward_does_not_shorten_a_pending_restart() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(1);
    rig.wall += 86_400_000;
    rig.pass_without_heartbeats(Duration::from_secs(29));
    assert_eq!(rig.starts_called(), 0);
    rig.pass_without_heartbeats(Duration::from_secs(1));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn clock_jump_causes_neither_hang_nor_failure_reset() {
    for jump in [-86_400_000, 86_400_000] {
        let mut rig = Rig::running(DEFAULT_FLAGS);
        rig.pass_healthy(MINUTE);
        rig.wall += jump;
        rig.pass_healthy(MINUTE);
        assert!(rig.calls.is_empty(), "{jump}");
        rig.dies(1);
        assert_eq!(rig.unit().consecutive_failures, 1);
    }
}

#[test]
fn quarantine_survives_a_watchdog_restart() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(78);
    rig.restart_watchdog(rig.journal.len());
    rig.list();
    rig.pass_without_heartbeats(10 * MINUTE);
    assert!(rig.calls.is_empty());
    assert!(rig.state.any_quarantined());
}

#[test]
fn reboot_restarts_units_that_no_operator_stopped() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.end(0, false);
    rig.restart_watchdog(rig.journal.len());
    rig.list();
    rig.sleep_until_wake();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn late_container_observations_change_nothing() {
    let mut rig = Rig::running(AT_ONCE);
    let alive = rig.container().unwrap();
    rig.end(1, false);
    let dead = rig.container().unwrap();
    rig.inspect();
    let journal = rig.journal.len();
    for late in [alive, dead] {
        let unit = crate::support::name();
        let container = late;
        rig.on_event(
            bearish_watchdog_core::observed_state::SupervisionEvent::ContainerObserved {
                unit,
                container,
            },
        );
    }
    assert_eq!((rig.starts_called(), rig.journal.len()), (1, journal));
    rig.dies(1);
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn late_running_observation_does_not_hide_the_exit() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let alive = rig.container().unwrap();
    rig.dies(1);
    rig.on_event(
        bearish_watchdog_core::observed_state::SupervisionEvent::ContainerObserved {
            unit: crate::support::name(),
            container: alive,
        },
    );
    rig.sleep_until_wake();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn quiet_day_of_a_unit_that_never_failed_leaves_no_record() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let records = rig.journal.len();
    rig.pass_healthy(24 * 60 * MINUTE);
    assert_eq!(rig.journal.len(), records, "{:?}", rig.journal.last());
}
