//! Docker outages: a unit that Docker ended is restarted without counting it.

use bearish_watchdog_core::docker_outage::DockerOutage;
use bearish_watchdog_core::observed_state::SupervisionEvent;
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::reason::RestartReason;
use protocol::time::UtcMs;

use crate::support::{CallBehavior, DEFAULT_FLAGS, MINUTE, Rig};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

/// Docker goes down, ends the unit with this code, and is up again ten seconds later.
fn end_in_docker_outage(rig: &mut Rig, code: i64, oom: bool) {
    let from = rig.now().clock.utc;
    rig.on_event(SupervisionEvent::DockerLost("no answer".to_owned()));
    rig.pass_without_heartbeats(2 * SECOND);
    rig.end(code, oom);
    rig.pass_without_heartbeats(8 * SECOND);
    let until = rig.now().clock.utc;
    rig.on_event(SupervisionEvent::DockerRecovered(DockerOutage {
        from,
        until,
    }));
    rig.list();
}

#[test]
fn unit_ended_by_a_docker_outage_restarts_at_once_and_uncounted() {
    for code in [0, 137, 143, 255] {
        let mut rig = Rig::running(DEFAULT_FLAGS);
        rig.pass_healthy(MINUTE);
        end_in_docker_outage(&mut rig, code, false);
        assert_eq!(rig.starts_called(), 1, "exit {code}");
        let unit = rig.unit();
        assert_eq!(
            (unit.restarts, unit.consecutive_failures),
            (0, 0),
            "exit {code}"
        );
        assert_eq!((unit.recent_restarts.len(), unit.last_delay_ms), (0, 0));
        assert!(unit.failures.groups(rig.now().clock.utc).is_empty());
        let restart = rig.restarts()[0];
        assert_eq!(restart.reason, RestartReason::DockerOutage { code });
        assert_eq!((restart.attempt, restart.delay_ms), (0, 0));
        rig.pass_healthy(MINUTE);
        assert_eq!(
            rig.operator_event_kinds(),
            ["unit_restart_scheduled", "unit_recovered"]
        );
    }
}

#[test]
fn unit_exit_code_of_its_own_counts_during_a_docker_outage() {
    for (code, kind) in [
        (70, "unit_restart_scheduled"),
        (78, "unit_quarantined"),
        (20, "unit_cycle_finished"),
    ] {
        let mut rig = Rig::running(DEFAULT_FLAGS);
        end_in_docker_outage(&mut rig, code, false);
        assert_eq!(rig.operator_event_kinds(), [kind], "exit {code}");
        assert_eq!(rig.starts_called(), 0, "exit {code}: after its delay");
    }
    let mut rig = Rig::running(DEFAULT_FLAGS);
    end_in_docker_outage(&mut rig, 137, true);
    assert_eq!(rig.restarts()[0].reason, RestartReason::OutOfMemory);
    assert_eq!(rig.unit().restarts, 1);
}

#[test]
fn exit_outside_the_docker_outage_is_a_failure() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.pass_healthy(MINUTE);
    end_in_docker_outage(&mut rig, 0, false);
    rig.pass_healthy(MINUTE);
    rig.dies(137);
    assert_eq!(
        rig.restarts()[1].reason,
        RestartReason::Crashed { code: 137 }
    );
    assert_eq!(
        (rig.unit().restarts, rig.unit().consecutive_failures),
        (1, 1)
    );
}

#[test]
fn exit_255_found_at_start_is_a_docker_outage_for_a_new_watchdog() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.pass_healthy(MINUTE);
    rig.end(255, false);
    rig.restart_watchdog(rig.journal.len());
    rig.list();
    assert_eq!((rig.starts_called(), rig.unit().restarts), (1, 0));
    rig.pass_healthy(MINUTE);
    // But not to a watchdog that saw it happen.
    rig.dies(255);
    assert_eq!(
        rig.restarts()[1].reason,
        RestartReason::Crashed { code: 255 }
    );
    let mut killed = Rig::running(DEFAULT_FLAGS);
    killed.pass_healthy(MINUTE);
    killed.end(137, false);
    killed.restart_watchdog(killed.journal.len());
    killed.list();
    assert_eq!(killed.unit().restarts, 1);
}

#[test]
fn docker_outage_leaves_consecutive_failures_unchanged() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(70);
    rig.sleep_until_wake();
    rig.pass_healthy(MINUTE);
    end_in_docker_outage(&mut rig, 255, false);
    let unit = rig.unit();
    assert_eq!((unit.restarts, unit.consecutive_failures), (1, 1));
    assert_eq!(unit.last_delay_ms, 30_000);
}

#[test]
fn docker_outage_keeps_pending_restarts_and_operator_stops() {
    let mut waits = Rig::running(DEFAULT_FLAGS);
    waits.dies(70);
    let mut stopped = Rig::running(DEFAULT_FLAGS);
    stopped.request_stop();
    stopped.dies(0);
    stopped.pass_without_heartbeats(2 * SECOND);
    for rig in [&mut waits, &mut stopped] {
        let until = UtcMs(rig.now().clock.utc.0 + 5_000);
        rig.on_event(SupervisionEvent::DockerLost("no answer".to_owned()));
        rig.pass_without_heartbeats(5 * SECOND);
        let from = UtcMs(0);
        rig.on_event(SupervisionEvent::DockerRecovered(DockerOutage {
            from,
            until,
        }));
        rig.list();
        assert_eq!(rig.starts_called(), 0);
        rig.pass_without_heartbeats(MINUTE);
    }
    assert_eq!(waits.starts_called(), 1);
    assert_eq!(waits.restarts().len(), 1);
    assert!(matches!(stopped.phase(), UnitPhase::Stopped { .. }));
    assert_eq!(stopped.starts_called(), 0);
}

#[test]
fn start_lost_in_a_docker_outage_is_no_failure() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.call_behavior = CallBehavior::Pending;
    rig.dies(70);
    assert_eq!(rig.starts_called(), 1);
    rig.on_event(SupervisionEvent::DockerLost("no answer".to_owned()));
    rig.finish_call(Some("connection reset"));
    rig.pass_without_heartbeats(5 * SECOND);
    assert_eq!((rig.starts_called(), rig.restarts().len()), (1, 1));
    rig.call_behavior = CallBehavior::Immediate;
    rig.list();
    assert_eq!((rig.starts_called(), rig.restarts().len()), (2, 1));
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
}

/// An operator's stop is in progress when Docker or the whole host goes down: its events are lost.
#[test]
fn operators_stop_outlasts_an_outage_of_docker_the_host_or_the_watchdog() {
    for code in [0, 137, 143, 255] {
        for is_watchdog_down in [false, true] {
            let mut rig = Rig::running(DEFAULT_FLAGS);
            rig.pass_healthy(MINUTE);
            rig.request_stop();
            if is_watchdog_down {
                rig.restart_watchdog(rig.journal.len());
                rig.mono += 60_000;
                rig.end(code, false);
                rig.list();
            } else {
                end_in_docker_outage(&mut rig, code, false);
            }
            rig.pass_without_heartbeats(5 * MINUTE);
            let what = format!("exit {code}, watchdog down: {is_watchdog_down}");
            assert!(rig.calls.is_empty(), "{what}");
            assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }), "{what}");
        }
    }
}

#[test]
fn request_that_the_process_survived_explains_no_later_outage() {
    for is_watchdog_replaced in [false, true] {
        let mut rig = Rig::running(DEFAULT_FLAGS);
        rig.pass_healthy(MINUTE);
        rig.request_stop();
        if is_watchdog_replaced {
            rig.restart_watchdog(rig.journal.len());
            rig.list();
        }
        rig.pass_healthy(MINUTE);
        end_in_docker_outage(&mut rig, 255, false);
        rig.pass_without_heartbeats(2 * SECOND);
        assert_eq!(rig.starts_called(), 1, "{is_watchdog_replaced}");
    }
}

#[test]
fn request_to_stop_is_recorded_once() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let records = rig.journal.len();
    for _ in 0..20 {
        rig.request_stop();
    }
    assert_eq!(rig.journal.len(), records + 1);
}
