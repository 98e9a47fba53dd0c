//! Missing heartbeats: a hang of the unit, or a blind watchdog.

use std::time::Duration;

use bearish_watchdog_core::container::{ContainerHealth, FailedCheck};
use bearish_watchdog_core::decide::wake_at;
use bearish_watchdog_core::liveness::HeartbeatSample;
use bearish_watchdog_core::model::Action;
use bearish_watchdog_core::observed_state::SupervisionEvent;
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::reason::RestartReason;
use bearish_watchdog_core::record::UnitRecord;
use protocol::event::EventBody;
use protocol::heartbeat::{ComponentState, Heartbeat, ProcessPhase};
use protocol::ids::Mode;

use crate::support::{CallBehavior, DEFAULT_FLAGS, MINUTE, Rig, name};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn unit_without_heartbeat_for_three_intervals_is_hung_and_not_before() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.pass_healthy(MINUTE);
    rig.pass_without_heartbeats(15 * SECOND);
    assert!(rig.calls.is_empty());
    rig.pass_without_heartbeats(SECOND);
    let [Action::Stop { grace_ms: 0, .. }] = rig.calls[..] else {
        panic!("a unit without heartbeats gets no grace: {:?}", rig.calls);
    };
    let restart = rig.restarts()[0];
    assert!(matches!(
        restart.reason,
        RestartReason::HeartbeatLost { .. }
    ));
    assert_eq!(
        (restart.consecutive_failures, restart.exit_code),
        (1, Some(137))
    );
    rig.sleep_until_wake();
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
}

#[test]
fn unit_with_a_stalled_component_is_hung_despite_heartbeats() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    for iterations in 1..100 {
        rig.set_component("feed", iterations);
        rig.pass_healthy(5 * SECOND);
    }
    assert!(rig.calls.is_empty());
    rig.pass_healthy(10 * SECOND);
    assert!(rig.calls.is_empty(), "ten seconds are what it promised");
    rig.pass_healthy(5 * SECOND);
    let restart = rig.restarts()[0];
    let expected = "hung: component feed made no progress for 15s";
    assert_eq!(restart.reason.to_string(), expected);
    let [
        Action::Stop {
            grace_ms: 10_000, ..
        },
    ] = rig.calls[..]
    else {
        panic!(
            "a unit with heartbeats may shut down gracefully: {:?}",
            rig.calls
        );
    };
}

#[test]
fn component_without_deadline_or_retrying_may_stall() {
    let golden = include_str!("../../../../protocol/tests/golden/heartbeat_full.json");
    let mut heartbeat: Heartbeat = serde_json::from_str(golden).unwrap();
    assert!(
        HeartbeatSample::new(Mode::Paper, &heartbeat)
            .components
            .is_empty()
    );
    heartbeat.components.get_mut("feed").unwrap().state = ComponentState::Ok;
    let heartbeat = HeartbeatSample::new(Mode::Paper, &heartbeat);
    assert_eq!(heartbeat.components.keys().collect::<Vec<_>>(), ["feed"]);
}

#[test]
fn component_is_not_stalled_by_one_late_heartbeat() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.set_component("feed", 7);
    rig.pass_healthy(5 * SECOND);
    rig.pass_without_heartbeats(13 * SECOND);
    rig.send_heartbeat(ProcessPhase::Running);
    assert!(rig.calls.is_empty());
    rig.set_component("feed", 8);
    rig.pass_healthy(5 * SECOND);
    assert!(rig.calls.is_empty());
}

#[test]
fn stalled_component_gets_its_full_deadline_after_a_bus_outage() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.set_component("fleet", 7);
    rig.pass_healthy(10 * SECOND);
    rig.has_bus_echoes = false;
    rig.pass_without_heartbeats(10 * MINUTE);
    rig.has_bus_echoes = true;
    rig.pass_healthy(20 * SECOND);
    assert!(
        rig.calls.is_empty(),
        "ten seconds to find the bus, ten that it promised"
    );
    rig.pass_healthy(5 * SECOND);
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn component_progress_of_an_earlier_boot_is_ignored() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.set_component("feed", 7);
    rig.pass_healthy(10 * SECOND);
    rig.dies(1);
    rig.settle();
    rig.pass_healthy(10 * SECOND);
    assert_eq!(rig.calls.len(), 1, "the start alone: {:?}", rig.calls);
}

#[test]
fn stop_is_journaled_before_the_docker_call() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.call_behavior = CallBehavior::Pending;
    rig.pass_without_heartbeats(16 * SECOND);
    let run = rig.run();
    assert!(
        matches!(rig.unit_records().last(), Some(UnitRecord::StopIntended { run: r, .. }) if *r == run)
    );
    assert_eq!(rig.calls.len(), 1);
    rig.pass_without_heartbeats(5 * MINUTE);
    assert_eq!(
        rig.calls.len(),
        1,
        "a second call while the first is under way"
    );
}

#[test]
fn failed_stop_is_retried_later() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.call_behavior = CallBehavior::Fails;
    rig.pass_without_heartbeats(25 * SECOND);
    assert_eq!(rig.calls.len(), 1);
    rig.pass_without_heartbeats(2 * SECOND);
    assert_eq!(rig.calls.len(), 2);
    assert!(matches!(rig.phase(), UnitPhase::Stopping { .. }));
}

/// The container watcher reports the end of a stopped run. Until then the stop is not called again at once.
#[test]
fn stop_whose_end_is_not_observed_is_repeated_later() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.call_behavior = CallBehavior::Pending;
    rig.pass_without_heartbeats(16 * SECOND);
    rig.finish_call(None);
    rig.pass_without_heartbeats(9 * SECOND);
    assert_eq!(rig.calls.len(), 1);
    rig.pass_without_heartbeats(2 * SECOND);
    assert_eq!(rig.calls.len(), 2);
    rig.call_behavior = CallBehavior::Immediate;
    rig.end(137, false);
    rig.inspect();
    rig.finish_call(None);
    rig.settle();
    assert!(matches!(rig.phase(), UnitPhase::RestartPending { .. }));
    assert_eq!(rig.calls.len(), 2);
}

#[test]
fn own_stop_is_not_taken_for_an_operator_stop() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.call_behavior = CallBehavior::Pending;
    rig.pass_without_heartbeats(16 * SECOND);
    rig.request_stop();
    rig.end(0, false);
    rig.inspect();
    rig.finish_call(None);
    rig.settle();
    assert_eq!(rig.starts_called(), 1);
    assert!(!rig.operator_event_kinds().contains(&"unit_stopped"));
}

#[test]
fn starting_trader_that_waits_for_something_is_never_hung() {
    let mut rig = Rig::empty(DEFAULT_FLAGS);
    rig.is_waiting = true;
    rig.starts();
    for _ in 0..720 {
        rig.mono += 5_000;
        rig.send_heartbeat(ProcessPhase::Starting);
    }
    assert!(rig.calls.is_empty());
    assert!(rig.unit().healthy_since.is_none());
}

#[test]
fn starting_trader_that_waits_for_nothing_is_hung_after_its_deadline() {
    let mut rig = Rig::empty(DEFAULT_FLAGS);
    rig.starts();
    for _ in 0..60 {
        rig.mono += 5_000;
        rig.send_heartbeat(ProcessPhase::Starting);
    }
    assert!(rig.calls.is_empty());
    for _ in 0..2 {
        rig.mono += 5_000;
        rig.send_heartbeat(ProcessPhase::Starting);
    }
    assert!(
        matches!(rig.restarts()[0].reason, RestartReason::StartStalled { .. }),
        "{:?}",
        rig.restarts()
    );
}

#[test]
fn unit_that_docker_calls_unhealthy_for_long_is_hung_unless_it_waits() {
    for (exit_code, restarts) in [(1, 1), (69, 0)] {
        let mut rig = Rig::running(DEFAULT_FLAGS);
        rig.health = ContainerHealth::Unhealthy(vec![FailedCheck {
            exit_code,
            docker_error: None,
        }]);
        rig.list();
        rig.pass_healthy(2 * MINUTE);
        assert_eq!(rig.restarts().len(), 0, "exit {exit_code}");
        rig.pass_healthy(10 * SECOND);
        assert_eq!(rig.restarts().len(), restarts, "exit {exit_code}");
    }
}

#[test]
fn unit_without_a_first_heartbeat_is_hung_after_two_minutes() {
    let mut rig = Rig::empty(DEFAULT_FLAGS);
    rig.starts();
    rig.pass_without_heartbeats(2 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.pass_without_heartbeats(SECOND);
    assert_eq!(rig.calls.len(), 1);
    assert!(matches!(
        rig.restarts()[0].reason,
        RestartReason::NoFirstHeartbeat { .. }
    ));
}

#[test]
fn late_heartbeat_of_the_previous_run_does_not_count_for_the_new_run() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.pass_healthy(MINUTE);
    let old = rig.heartbeat_sample(ProcessPhase::Running);
    rig.dies(1);
    rig.pass_without_heartbeats(SECOND);
    rig.on_event(SupervisionEvent::HeartbeatReceived {
        unit: name(),
        heartbeat: old,
    });
    assert!(rig.unit().healthy_since.is_none());
    rig.pass_without_heartbeats(118 * SECOND);
    assert_eq!(rig.calls.len(), 1);
    rig.pass_without_heartbeats(2 * SECOND);
    assert!(
        matches!(rig.calls[1], Action::Stop { .. }),
        "the new run never beat"
    );
}

#[test]
fn heartbeat_received_before_the_start_was_observed_counts() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    rig.call_behavior = CallBehavior::Pending;
    rig.pass_healthy(MINUTE);
    rig.dies(1);
    rig.mono += 300;
    rig.begin();
    rig.mono += 100;
    rig.send_heartbeat(ProcessPhase::Running);
    rig.inspect();
    rig.finish_call(None);
    rig.settle();
    assert!(rig.unit().healthy_since.is_some(), "{:?}", rig.unit());
}

#[test]
fn paused_container_is_not_touched_and_gets_a_new_deadline() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.set_paused(true);
    rig.pass_without_heartbeats(60 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.set_paused(false);
    rig.pass_without_heartbeats(15 * SECOND);
    assert!(rig.calls.is_empty());
    rig.pass_without_heartbeats(SECOND);
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn missing_heartbeats_are_ignored_while_the_bus_is_blind() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.has_bus_echoes = false;
    rig.pass_without_heartbeats(30 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.has_bus_echoes = true;
    // Every unit gets time to reconnect: 10 s, then three intervals.
    rig.pass_without_heartbeats(25 * SECOND);
    assert!(rig.calls.is_empty());
    rig.pass_without_heartbeats(2 * SECOND);
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn missing_heartbeats_do_not_count_during_a_watchdog_stall() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.mono += 300_000;
    rig.on_event(SupervisionEvent::Ticked);
    rig.pass_without_heartbeats(25 * SECOND);
    assert!(rig.calls.is_empty());
    rig.pass_without_heartbeats(SECOND);
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn watchdog_decides_nothing_without_docker() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.on_event(SupervisionEvent::DockerLost("no answer".to_owned()));
    rig.pass_without_heartbeats(10 * MINUTE);
    assert!(rig.calls.is_empty());
    rig.list();
    assert_eq!(rig.calls.len(), 1);
}

#[test]
fn hang_without_auto_restart_is_reported_once() {
    let mut rig = Rig::running("--paper --infinite");
    rig.pass_without_heartbeats(10 * MINUTE);
    assert!(rig.calls.is_empty());
    let events = rig.operator_events();
    let [EventBody::UnitRestartSkipped { reason, .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert!(reason.starts_with("hung: no heartbeat for 16s"), "{reason}");
}

#[test]
fn eleventh_consecutive_hang_is_stopped_and_quarantined() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    for _ in 0..10 {
        while !matches!(rig.phase(), UnitPhase::RestartPending { .. }) {
            rig.pass_without_heartbeats(SECOND);
        }
        rig.sleep_until_wake();
    }
    rig.pass_without_heartbeats(3 * MINUTE);
    assert!(
        matches!(rig.phase(), UnitPhase::Quarantined { .. }),
        "{:?}",
        rig.phase()
    );
    assert!(!rig.is_alive());
    assert_eq!(rig.starts_called(), 10);
}

#[test]
fn new_watchdog_waits_three_intervals_for_a_known_unit() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.restart_watchdog(rig.journal.len());
    rig.list();
    rig.pass_without_heartbeats(15 * SECOND);
    assert!(rig.calls.is_empty());
    rig.pass_without_heartbeats(SECOND);
    assert_eq!(rig.calls.len(), 1);
}

/// The shell sleeps until then if no event comes.
#[test]
fn next_decision_about_a_running_unit_is_due_when_it_would_be_hung() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.pass_healthy(MINUTE);
    let now = rig.now().clock.mono;
    let wake = wake_at(&rig.state, &rig.observed, &name(), rig.now());
    assert_eq!(wake, Some(now + 15_001));
    rig.pass_without_heartbeats(15 * SECOND);
    assert!(rig.calls.is_empty());
    rig.mono += 1;
    rig.on_event(SupervisionEvent::Ticked);
    assert_eq!(rig.calls.len(), 1);
}
