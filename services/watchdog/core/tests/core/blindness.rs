//! What the watchdog cannot see: Docker, or the container of one unit. Other units are judged as before.

use std::time::Duration;

use bearish_watchdog_core::observed_state::{
    ContainerList, FailedInspection, ObservedState, SupervisionEvent,
};
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::record::{SupervisionRecord, UnitRecord};
use protocol::event::EventBody;
use protocol::ids::SubjectToken;

use crate::support::{CallBehavior, DEFAULT_FLAGS, MINUTE, Rig, command, name};

const SECOND: Duration = Duration::from_secs(1);
const RESTART_AT_ONCE: &str = "--paper --auto-restart --restart-delay 0";

fn other() -> SubjectToken {
    "trader-paper-2".parse().unwrap()
}

fn failed(unit: SubjectToken) -> FailedInspection {
    FailedInspection {
        unit,
        container: "c2".to_owned(),
        error: "no answer within 3s".to_owned(),
    }
}

fn blindness(observed: &ObservedState, mono: u64) -> Vec<String> {
    let blindness = observed.blindness(mono);
    blindness.map_or_else(Vec::new, |blindness| {
        blindness.units.iter().map(ToString::to_string).collect()
    })
}

#[test]
fn container_that_cannot_be_inspected_makes_no_other_unit_uncertain() {
    let mut rig = Rig::running(RESTART_AT_ONCE);
    rig.on_event(SupervisionEvent::InspectionFailed(failed(other())));
    rig.dies(1);
    assert_eq!(rig.starts_called(), 1, "the other unit is judged");
    rig.pass_healthy(20 * SECOND);
    let mono = rig.now().clock.mono;
    assert_eq!(blindness(&rig.observed, mono), ["trader-paper-2"]);
    let began = |record: &SupervisionRecord| matches!(record, SupervisionRecord::BlindnessBegan { units, .. } if *units == [other()]);
    assert_eq!(rig.journal.iter().filter(|record| began(record)).count(), 1);
}

#[test]
fn unit_that_cannot_be_inspected_is_not_started_and_not_missing() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.dies(1);
    let unjudged = vec![FailedInspection {
        container: rig.run().container,
        ..failed(name())
    }];
    rig.on_event(SupervisionEvent::Listed(ContainerList {
        unjudged,
        ..ContainerList::default()
    }));
    rig.pass_without_heartbeats(2 * MINUTE);
    assert_eq!(rig.starts_called(), 0);
    assert!(!matches!(rig.phase(), UnitPhase::Gone), "{:?}", rig.phase());
    rig.list();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn unit_that_cannot_be_stopped_is_reported_once_as_exactly_that() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.call_behavior = CallBehavior::Fails;
    // Docker cannot describe the container either.
    rig.on_event(SupervisionEvent::InspectionFailed(FailedInspection {
        container: rig.run().container,
        ..failed(name())
    }));
    rig.pass_without_heartbeats(2 * MINUTE);
    assert!(rig.calls.len() > 3, "the watchdog continues to try");
    assert!(
        rig.calls.len() < 20,
        "with a pause between: {}",
        rig.calls.len()
    );
    assert_eq!(rig.operator_event_kinds(), ["unit_stop_failed"]);
    let events = rig.operator_events();
    assert!(
        matches!(&events[0], EventBody::UnitStopFailed { error, .. } if error == "it cannot be done")
    );
}

#[test]
fn blindness_ends_with_what_was_missed() {
    let mut rig = Rig::running(RESTART_AT_ONCE);
    rig.on_event(SupervisionEvent::DockerLost(
        "no answer within 3s".to_owned(),
    ));
    rig.pass_healthy(10 * SECOND);
    assert_eq!(rig.observed.blindness(rig.now().clock.mono), None);
    rig.pass_healthy(3 * MINUTE);
    assert!(rig.observed.blindness(rig.now().clock.mono).is_some());
    rig.end(137, false);
    rig.list();
    let missed = rig
        .operator_events()
        .into_iter()
        .find_map(|event| match event {
            EventBody::WatchdogBlindnessEnded { missed, .. } => Some(missed),
            _ => None,
        });
    assert_eq!(missed.unwrap(), ["trader-paper-1 has ended (exit 137)"]);
    assert_eq!(rig.starts_called(), 1, "and it is handled");
}

#[test]
fn short_absence_of_docker_is_no_blindness() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.on_event(SupervisionEvent::DockerLost("reset".to_owned()));
    rig.pass_healthy(10 * SECOND);
    rig.list();
    assert!(rig.operator_events().is_empty());
}

#[test]
fn command_waits_for_docker_and_expires() {
    for (away, is_running) in [(2 * MINUTE, false), (6 * MINUTE, true)] {
        let mut rig = Rig::running(DEFAULT_FLAGS);
        rig.on_event(SupervisionEvent::DockerLost(
            "no answer within 3s".to_owned(),
        ));
        rig.run_command(&command("stop")).unwrap();
        rig.pass_healthy(away);
        assert!(rig.calls.is_empty(), "{away:?}");
        rig.list();
        rig.pass_healthy(5 * SECOND);
        assert_eq!(rig.is_alive(), is_running, "{away:?}");
        let expired = rig
            .unit_records()
            .iter()
            .any(|record| matches!(record, UnitRecord::CommandExpired { .. }));
        assert_eq!(expired, is_running, "{away:?}");
    }
}

#[test]
fn command_that_expired_leaves_a_stopped_unit_stopped() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.request_stop();
    rig.dies(0);
    rig.pass_without_heartbeats(3 * SECOND);
    rig.on_event(SupervisionEvent::DockerLost(
        "no answer within 3s".to_owned(),
    ));
    rig.run_command(&command("start")).unwrap();
    rig.pass_without_heartbeats(6 * MINUTE);
    rig.list();
    rig.pass_without_heartbeats(MINUTE);
    assert_eq!(rig.starts_called(), 0);
    assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }));
}

#[test]
fn exit_status_of_the_last_run_is_no_evidence_of_a_rejected_start() {
    let mut rig = Rig::running(RESTART_AT_ONCE);
    rig.call_behavior = CallBehavior::Fails;
    rig.end(1, false);
    rig.inspect();
    let rejected = rig.restarts()[1];
    assert!(
        rejected
            .reason
            .to_string()
            .starts_with("start failed: it cannot")
    );
    assert_eq!((&rejected.evidence, &rejected.last_error), (&None, &None));
    assert!(rig.restarts()[0].evidence.is_some());
}

#[test]
fn decision_without_end_is_halted_and_reported() {
    let rig = Rig::running(DEFAULT_FLAGS);
    let mut crashed = rig.clone();
    crashed.end(1, false);
    let container = crashed.container().unwrap();
    let unit = name();
    crashed.observed.observe(
        &rig.state,
        SupervisionEvent::ContainerObserved { unit, container },
        rig.now(),
    );
    let round = |rounds| {
        bearish_watchdog_core::decide::decide_round(
            &crashed.state,
            &crashed.observed,
            &name(),
            crashed.now(),
            rounds,
        )
    };
    let first = round(0);
    assert!(!first.is_empty() && first == round(15));
    let [SupervisionRecord::Unit { record, .. }] = &round(16)[..] else {
        panic!("one record")
    };
    assert_eq!(record, &UnitRecord::DecisionHalted);
    crashed.append(round(16));
    assert_eq!(crashed.unit().hold.as_ref().unwrap().by, "watchdog");
    crashed.settle();
    assert!(crashed.calls.is_empty());
    assert_eq!(crashed.operator_event_kinds(), ["unit_warning"]);
    crashed.release(false).unwrap();
    assert_eq!(crashed.restarts().len(), 1, "judged again");
}
