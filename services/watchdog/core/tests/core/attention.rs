//! What is reported although no run failed: containers that vanish, are excluded or never start, stops of an operator by
//! any signal, new configurations, two processes under one name, steps of the clock.

use std::time::Duration;

use bearish_watchdog_core::container::Status;
use bearish_watchdog_core::observed_state::{ContainerList, ExcludedContainer, SupervisionEvent};
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::stop_request::{StopEvidence, StopRequest};
use protocol::command::UnitCommand;
use protocol::event::EventBody;
use protocol::heartbeat::ProcessPhase;

use crate::support::{DEFAULT_FLAGS, MINUTE, Rig, command, listed, name, signal};

const SECOND: Duration = Duration::from_secs(1);
const RESTART_AT_ONCE: &str = "--paper --auto-restart --restart-delay 0";
const HOUR_MS: i64 = 3_600_000;

fn warnings(rig: &Rig) -> Vec<String> {
    let warning = |event| match event {
        EventBody::UnitWarning { reason, .. } => Some(reason),
        _ => None,
    };
    rig.operator_events()
        .into_iter()
        .filter_map(warning)
        .collect()
}

fn finished_stop(rig: &Rig) -> SupervisionEvent {
    SupervisionEvent::StopRequested(StopRequest {
        container: rig.run().container,
        at: rig.now().clock.utc,
        evidence: StopEvidence::Finished,
        is_of_last_run: false,
    })
}

#[test]
fn removed_unit_is_reported_once_and_can_be_forgotten() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.remove();
    rig.pass_without_heartbeats(10 * MINUTE);
    assert_eq!(warnings(&rig).len(), 1, "{:?}", warnings(&rig));
    let unit = name();
    rig.run_command(&UnitCommand::Forget { unit }).unwrap();
    assert!(!rig.state.units.contains_key(&name()));
    rig.list();
    rig.pass_without_heartbeats(10 * MINUTE);
    assert!(!rig.state.units.contains_key(&name()));
    assert_eq!(warnings(&rig).len(), 1);
}

#[test]
fn recreated_or_stopped_unit_is_not_reported_as_removed() {
    let mut recreated = Rig::running(DEFAULT_FLAGS);
    recreated.recreate(DEFAULT_FLAGS);
    recreated.pass_healthy(5 * MINUTE);
    let mut stopped = Rig::running(DEFAULT_FLAGS);
    stopped.request_stop();
    stopped.dies(0);
    stopped.pass_without_heartbeats(3 * SECOND);
    stopped.remove();
    stopped.pass_without_heartbeats(5 * MINUTE);
    for rig in [recreated, stopped] {
        assert!(warnings(&rig).is_empty(), "{:?}", warnings(&rig));
    }
}

#[test]
fn running_unit_is_not_forgotten() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let unit = name();
    let error = rig.run_command(&UnitCommand::Forget { unit }).unwrap_err();
    assert!(error.contains("exists"), "{error}");
}

#[test]
fn excluded_unit_is_shown_with_its_reason_and_comes_back() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    for _ in 0..3 {
        rig.on_event(SupervisionEvent::Listed(ContainerList {
            excluded: vec![ExcludedContainer {
                unit: name(),
                container: rig.run().container,
                reason: "Docker's restart policy is always; expected no".to_owned(),
            }],
            ..ContainerList::default()
        }));
        rig.pass_healthy(MINUTE);
    }
    let UnitPhase::NotSupervised { reason } = rig.phase() else {
        panic!("{:?}", rig.phase())
    };
    assert!(reason.contains("restart policy is always"));
    assert_eq!(warnings(&rig).len(), 1);
    rig.list();
    assert!(matches!(rig.phase(), UnitPhase::Running(_)));
}

#[test]
fn container_that_was_created_and_not_started_is_reported_with_dockers_text() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.remove();
    let mut made = crate::support::Rig::running(DEFAULT_FLAGS)
        .container()
        .unwrap();
    made.run.container = "c9".to_owned();
    made.status = Status::Created;
    made.error = Some("Bind for 0.0.0.0:80 failed: port is already allocated".to_owned());
    rig.on_event(listed(vec![(name(), made)]));
    rig.pass_without_heartbeats(5 * MINUTE);
    let expected = "not supervised: created and not started: Bind for 0.0.0.0:80 failed: port is \
                    already allocated";
    assert_eq!(warnings(&rig), [expected]);
}

#[test]
fn docker_stop_with_any_signal_is_respected() {
    for (name, own) in [("QUIT", "QUIT"), ("USR1", "TERM"), ("HUP", "TERM")] {
        let mut rig = Rig::empty(RESTART_AT_ONCE);
        own.clone_into(&mut rig.stop_signal);
        rig.starts();
        rig.send_heartbeat(ProcessPhase::Running);
        let (container, at) = (rig.run().container, rig.now().clock.utc);
        rig.on_event(SupervisionEvent::StopRequested(signal(container, at, name)));
        rig.dies(1);
        rig.on_event(finished_stop(&rig));
        rig.pass_without_heartbeats(5 * MINUTE);
        assert!(rig.calls.is_empty(), "{name}");
        assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }), "{name}");
    }
}

#[test]
fn stop_that_waited_for_the_inspection_belongs_to_the_run_that_it_shows() {
    let mut rig = Rig::running(RESTART_AT_ONCE);
    rig.dies(1);
    rig.send_heartbeat(ProcessPhase::Running);
    // Docker started and stopped another run before anything was observed.
    rig.mono += 1_000;
    rig.begin();
    let (container, at) = (rig.run().container, rig.now().clock.utc);
    let request = StopRequest {
        is_of_last_run: true,
        ..signal(container, at, "TERM")
    };
    rig.on_event(SupervisionEvent::StopRequested(request));
    let starts = rig.starts_called();
    rig.dies(0);
    rig.pass_without_heartbeats(5 * SECOND);
    assert_eq!(rig.starts_called(), starts);
    assert!(
        matches!(rig.phase(), UnitPhase::Stopped { .. }),
        "{:?}",
        rig.phase()
    );
}

#[test]
fn signal_that_is_no_stop_is_a_failure() {
    for name in ["USR1", "KILL"] {
        let mut rig = Rig::running(RESTART_AT_ONCE);
        let (container, at) = (rig.run().container, rig.now().clock.utc);
        rig.on_event(SupervisionEvent::StopRequested(signal(container, at, name)));
        rig.dies(1);
        rig.pass_without_heartbeats(2 * SECOND);
        assert_eq!(rig.starts_called(), 1, "{name}");
    }
}

#[test]
fn stop_that_is_reported_after_the_restart_was_scheduled_still_counts() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(1);
    assert!(matches!(rig.phase(), UnitPhase::RestartPending { .. }));
    rig.on_event(finished_stop(&rig));
    rig.pass_without_heartbeats(5 * MINUTE);
    assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }));
    rig.run_command(&command("start")).unwrap();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn stop_signal_that_the_process_survived_explains_no_later_end() {
    let mut rig = Rig::running(RESTART_AT_ONCE);
    rig.request_stop();
    rig.pass_healthy(20 * SECOND);
    rig.dies(137);
    rig.pass_without_heartbeats(2 * SECOND);
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn new_configuration_begins_without_failures_in_a_row() {
    for (config, consecutive) in [("image 1", 3), ("image 2", 1)] {
        let mut rig = Rig::running(RESTART_AT_ONCE);
        rig.dies(1);
        rig.dies(1);
        config.clone_into(&mut rig.config);
        rig.recreate(RESTART_AT_ONCE);
        rig.dies(1);
        assert_eq!(
            (rig.unit().consecutive_failures, rig.unit().restarts),
            (consecutive, 3),
            "{config}"
        );
    }
}

#[test]
fn two_processes_under_one_name_are_one_event() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    let records = rig.journal.len();
    for _ in 0..200 {
        rig.mono += 2_500;
        rig.send_heartbeat(ProcessPhase::Running);
        rig.mono += 2_500;
        let mut second = rig.heartbeat_sample(ProcessPhase::Running);
        second.boot = "second".parse().unwrap();
        rig.on_event(SupervisionEvent::HeartbeatReceived {
            unit: name(),
            heartbeat: second,
        });
    }
    assert_eq!(rig.journal.len(), records + 1);
    assert_eq!(warnings(&rig).len(), 1);
    rig.set_component("feed", 7);
    rig.pass_healthy(MINUTE);
    assert!(!rig.restarts().is_empty(), "a stall of the unit is found");
}

#[test]
fn steps_of_the_clock_change_no_decision() {
    for step in [-3_000, -HOUR_MS, HOUR_MS, -24 * HOUR_MS] {
        let mut rig = Rig::running(RESTART_AT_ONCE);
        rig.pass_healthy(MINUTE);
        rig.wall += step;
        rig.list();
        rig.pass_healthy(MINUTE);
        assert!(rig.calls.is_empty(), "{step}: {:?}", rig.calls);
        rig.restart_watchdog(rig.journal.len());
        // A heartbeat before the first list, from a process whose clock differs from Docker's.
        rig.send_heartbeat(ProcessPhase::Running);
        rig.list();
        rig.pass_healthy(2 * MINUTE);
        assert!(rig.calls.is_empty(), "{step}: {:?}", rig.calls);
        rig.dies(137);
        assert_eq!(rig.starts_called(), 1, "{step}");
        rig.pass_healthy(MINUTE);
        rig.request_stop();
        rig.dies(0);
        rig.pass_without_heartbeats(MINUTE);
        assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }), "{step}");
    }
}

#[test]
fn heartbeats_of_a_process_with_another_clock_are_never_ignored() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.pass_healthy(MINUTE);
    rig.restart_watchdog(rig.journal.len());
    rig.send_heartbeat(ProcessPhase::Running);
    let mut container = rig.container().unwrap();
    container.start_time.0 += HOUR_MS;
    rig.on_event(listed(vec![(name(), container)]));
    rig.pass_healthy(2 * MINUTE);
    assert!(rig.calls.is_empty(), "{:?}", rig.calls);
}

#[test]
fn many_restarts_within_a_day_are_reported_with_their_interval() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0");
    for _ in 0..12 {
        rig.pass_healthy(11 * MINUTE);
        rig.dies(1);
        rig.send_heartbeat(ProcessPhase::Running);
    }
    let reasons: Vec<String> = rig
        .operator_events()
        .into_iter()
        .filter_map(|event| match event {
            EventBody::UnitRestartScheduled { reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    assert!(!reasons[9].contains("within 24h"), "{}", reasons[9]);
    assert!(
        reasons[10].contains("11 restarts within 24h, about every 11m"),
        "{}",
        reasons[10]
    );
}

/// Reasons of all restarts, as the operator receives them.
fn restart_reasons(rig: &Rig) -> Vec<String> {
    let reason = |event| match event {
        EventBody::UnitRestartScheduled { reason, .. } => Some(reason),
        _ => None,
    };
    let events = rig.operator_events().into_iter();
    events.filter_map(reason).collect()
}

#[test]
fn restarts_after_each_deployment_or_at_the_full_hour_are_reported_with_their_pattern() {
    let mut deployed = Rig::running(RESTART_AT_ONCE);
    for round in 0..12_u32 {
        deployed.pass_healthy((17 + round * 23 % 61) * MINUTE);
        deployed.recreate(RESTART_AT_ONCE);
        deployed.dies(1);
        deployed.send_heartbeat(ProcessPhase::Running);
    }
    let last = restart_reasons(&deployed).pop().unwrap();
    assert!(
        last.ends_with("within 24h, each after a deployment"),
        "{last}"
    );
    let mut hourly = Rig::running(RESTART_AT_ONCE);
    // From now to the next full hour, then hour by hour.
    let past = u64::try_from(hourly.now().clock.utc.0.rem_euclid(HOUR_MS)).unwrap();
    hourly.pass_healthy((60 * MINUTE).saturating_sub(Duration::from_millis(past)));
    for _ in 0..12 {
        hourly.pass_healthy(60 * MINUTE);
        hourly.dies(1);
        hourly.send_heartbeat(ProcessPhase::Running);
    }
    let last = restart_reasons(&hourly).pop().unwrap();
    assert!(last.contains("about every 1h, at the full hour"), "{last}");
}

#[test]
fn sender_that_changes_its_boot_id_does_not_fill_the_journal() {
    for interval_ms in [0, 5_000] {
        let mut rig = Rig::running(DEFAULT_FLAGS);
        let records = rig.journal.len();
        for beat in 0..2_000 {
            rig.mono += 20_000;
            let mut heartbeat = rig.heartbeat_sample(ProcessPhase::Running);
            heartbeat.boot = format!("boot-{beat}-x").parse().unwrap();
            heartbeat.interval_ms = interval_ms;
            rig.on_event(SupervisionEvent::HeartbeatReceived {
                unit: name(),
                heartbeat,
            });
        }
        let written = rig.journal.len() - records;
        assert!(written <= 20, "interval {interval_ms}: {written} records");
        assert_eq!(warnings(&rig).len(), 1);
    }
}
