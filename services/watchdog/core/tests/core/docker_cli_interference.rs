//! Containers stopped, started, paused and removed with Docker's own tools.

use std::time::Duration;

use bearish_watchdog_core::model::StartedBy;
use bearish_watchdog_core::observed_state::{ContainerList, SupervisionEvent};
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::record::UnitRecord;
use protocol::heartbeat::ProcessPhase;
use protocol::time::UtcMs;

use crate::support::{CallBehavior, DEFAULT_FLAGS, MINUTE, Rig, name, signal};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn docker_stop_is_respected_with_any_exit_code() {
    for code in [0, 1, 137, 143] {
        let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
        rig.request_stop();
        rig.pass_without_heartbeats(8 * SECOND);
        rig.dies(code);
        rig.pass_without_heartbeats(10 * MINUTE);
        assert!(rig.calls.is_empty(), "exit {code}");
        assert!(
            matches!(rig.phase(), UnitPhase::Stopped { .. }),
            "exit {code}"
        );
        assert_eq!(rig.operator_event_kinds(), ["unit_stopped"], "exit {code}");
    }
}

#[test]
fn docker_start_resumes_supervision() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.request_stop();
    rig.dies(0);
    rig.pass_without_heartbeats(5 * SECOND);
    rig.starts();
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
    rig.dies(1);
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn docker_restart_is_neither_a_crash_nor_a_stop() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.request_stop();
    rig.dies(0);
    rig.mono += 200;
    rig.starts();
    rig.send_heartbeat(ProcessPhase::Running);
    rig.pass_healthy(MINUTE);
    assert!(rig.calls.is_empty());
    assert!(
        rig.operator_events().is_empty(),
        "{:?}",
        rig.operator_events()
    );
    let by = |record: &&UnitRecord| {
        matches!(
            record,
            UnitRecord::Started {
                by: StartedBy::Operator,
                ..
            }
        )
    };
    assert_eq!(rig.unit_records().into_iter().filter(by).count(), 1);
}

#[test]
fn stop_request_for_an_earlier_run_is_ignored() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    let before = rig.now().clock.utc;
    rig.mono += 1_000;
    rig.dies(1);
    // The last event of the watchdog's own stop may arrive after the new run is observed.
    let container = rig.run().container;
    rig.on_event(SupervisionEvent::StopRequested(signal(
        container, before, "TERM",
    )));
    rig.dies(1);
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn docker_stop_is_respected_after_the_clock_was_set_back() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.pass_healthy(MINUTE);
    let container = rig.run().container;
    let at = UtcMs(rig.now().clock.utc.0 - 86_400_000);
    rig.on_event(SupervisionEvent::StopRequested(signal(
        container, at, "TERM",
    )));
    rig.dies(0);
    rig.pass_without_heartbeats(5 * SECOND);
    assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }));
}

#[test]
fn docker_start_ends_a_pending_restart() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(1);
    rig.pass_without_heartbeats(5 * SECOND);
    rig.starts();
    rig.pass_healthy(5 * MINUTE);
    assert!(rig.calls.is_empty());
    assert_eq!(
        (rig.unit().restarts, rig.unit().consecutive_failures),
        (1, 1)
    );
}

#[test]
fn new_container_ends_the_quarantine_of_a_misconfigured_unit() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 3");
    rig.dies(78);
    assert!(matches!(rig.phase(), UnitPhase::Quarantined { .. }));
    rig.recreate("--paper --auto-restart --restart-delay 4");
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
    rig.dies(1);
    assert_eq!(rig.restarts()[0].delay_ms, 4_000);
}

#[test]
fn docker_start_does_not_reset_restart_limits() {
    let mut rig = Rig::running("--paper --auto-restart --max-restarts 1 --restart-delay 0");
    rig.dies(1);
    rig.dies_and_is_quarantined(1);
    rig.starts();
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
    rig.dies_and_is_quarantined(1);
    assert!(matches!(rig.phase(), UnitPhase::Quarantined { .. }));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn removed_container_is_forgotten_but_its_counters_are_not() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(1);
    rig.remove();
    assert_eq!(rig.phase(), &UnitPhase::Gone);
    rig.pass_without_heartbeats(10 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.recreate(DEFAULT_FLAGS);
    assert_eq!(
        (rig.unit().restarts, rig.unit().consecutive_failures),
        (1, 1)
    );
    rig.dies(1);
    assert_eq!(rig.restarts()[1].delay_ms, 60_000);
}

#[test]
fn running_container_counts_while_it_is_replaced() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let mut made = rig.container().unwrap();
    made.run.container = "c2".to_owned();
    made.status = bearish_watchdog_core::container::Status::Created;
    let unit = crate::support::name();
    rig.on_event(SupervisionEvent::ContainerObserved {
        unit,
        container: made,
    });
    rig.pass_healthy(MINUTE);
    assert!(matches!(rig.phase(), UnitPhase::Running(run) if run.container == "c1"));
    assert!(rig.calls.is_empty());
}

#[test]
fn unit_that_exited_0_before_supervision_is_left_alone() {
    let mut rig = Rig::empty(DEFAULT_FLAGS);
    rig.begin();
    rig.end(0, false);
    rig.list();
    rig.pass_without_heartbeats(10 * MINUTE);
    assert!(rig.calls.is_empty());
    assert!(rig.operator_events().is_empty());
}

#[test]
fn unit_that_crashed_before_supervision_is_restarted() {
    let mut rig = Rig::empty(DEFAULT_FLAGS);
    rig.begin();
    rig.end(139, false);
    rig.list();
    rig.sleep_until_wake();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn docker_stop_during_watchdog_downtime_is_found_in_past_events() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.pass_healthy(MINUTE);
    let asked = signal(rig.run().container, rig.now().clock.utc, "TERM");
    rig.end(0, false);
    rig.restart_watchdog(rig.journal.len());
    let containers = vec![(crate::support::name(), rig.container().unwrap())];
    let stop_requests = vec![asked];
    rig.on_event(SupervisionEvent::Listed(ContainerList {
        containers,
        stop_requests,
        ..ContainerList::default()
    }));
    rig.pass_without_heartbeats(5 * SECOND);
    assert!(rig.calls.is_empty());
    assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }));
}

#[test]
fn start_of_another_container_is_the_operators_although_the_watchdog_starts_the_unit() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.call_behavior = CallBehavior::Pending;
    rig.dies(1);
    assert!(matches!(rig.phase(), UnitPhase::Starting { .. }));
    rig.begin();
    let mut other = rig.container().unwrap();
    other.run.container = "c9".to_owned();
    rig.on_event(SupervisionEvent::ContainerObserved {
        unit: name(),
        container: other,
    });
    let records = rig.unit_records();
    let started_by = records.iter().rev().find_map(|record| match record {
        UnitRecord::Started { by, .. } => Some(*by),
        _ => None,
    });
    assert_eq!(started_by, Some(StartedBy::Operator));
}
