//! Commands of operators: every command in every phase.

use std::time::Duration;

use bearish_watchdog_core::model::Action;
use bearish_watchdog_core::phase::UnitPhase;
use bearish_watchdog_core::record::UnitRecord;
use protocol::heartbeat::ProcessPhase;

use crate::support::{CallBehavior, DEFAULT_FLAGS, MINUTE, Rig, command, name};

const SECOND: Duration = Duration::from_secs(1);
const AT_ONCE: &str = "--paper --auto-restart --restart-delay 0";

/// A unit in the phase of this name.
fn rig_in(phase: &str) -> Rig {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    match phase {
        "running" => {}
        "paused" => rig.set_paused(true),
        "stopping" => {
            rig.call_behavior = CallBehavior::Pending;
            rig.pass_without_heartbeats(MINUTE);
        }
        "restart_pending" => rig.dies(1),
        "starting" => {
            rig.call_behavior = CallBehavior::Pending;
            rig.dies(1);
            rig.pass_without_heartbeats(31 * SECOND);
        }
        "quarantined" => rig.dies(78),
        "stopped" => {
            rig.request_stop();
            rig.dies(0);
            rig.pass_without_heartbeats(5 * SECOND);
        }
        "ended" => {
            rig = Rig::running("--paper");
            rig.dies(1);
        }
        "gone" => rig.remove(),
        "held" => rig.run_command(&command("hold")).unwrap(),
        other => panic!("{other} is no phase"),
    }
    rig
}

/// What follows at once: the calls made, or the rejection.
fn command_result(phase: &str, verb: &str) -> String {
    let mut rig = rig_in(phase);
    let calls = rig.calls.len();
    if let Err(reason) = rig.run_command(&command(verb)) {
        assert_eq!(rig.calls.len(), calls, "{verb} of a {phase} one");
        return reason;
    }
    let calls: Vec<&str> = rig.calls[calls..].iter().map(Action::as_str).collect();
    format!("{} -> {}", calls.join(" "), rig.phase().as_str())
}

#[test]
fn commands_have_the_specified_result_in_every_phase() {
    let gone = "the container was removed; run scripts/up";
    let quarantined = "quarantined; `scripts/bearish explain trader-paper-1` says how to start it";
    let held = "on hold by ops (maintenance); to release it first: `scripts/bearish release trader-paper-1`";
    let rows = [
        (
            "running",
            "stop -> stopped",
            "already running",
            "stop start -> running",
        ),
        (
            "paused",
            "paused by docker pause; unpause the container first",
            "already running",
            "paused by docker pause; unpause the container first",
        ),
        (
            "stopping",
            " -> stopping",
            "being stopped; repeat the command when the unit has stopped",
            "being stopped; repeat the command when the unit has stopped",
        ),
        (
            "restart_pending",
            " -> stopped",
            "start -> running",
            "start -> running",
        ),
        (
            "starting",
            " -> starting",
            "already being started",
            "already being started",
        ),
        ("quarantined", quarantined, quarantined, quarantined),
        (
            "stopped",
            "already stopped",
            "start -> running",
            "start -> running",
        ),
        (
            "ended",
            "already ended; the watchdog does not restart it",
            "start -> running",
            "start -> running",
        ),
        ("gone", gone, gone, gone),
        ("held", held, held, held),
    ];
    for (phase, stop, start, restart) in rows {
        for (verb, expected) in [("stop", stop), ("start", start), ("restart", restart)] {
            assert_eq!(
                command_result(phase, verb),
                expected,
                "{verb} of a {phase} one"
            );
        }
    }
}

#[test]
fn unknown_unit_rejects_commands() {
    for verb in ["stop", "start", "restart", "hold", "release"] {
        let mut rig = Rig::empty(DEFAULT_FLAGS);
        let reason = rig.run_command(&command(verb)).unwrap_err();
        assert!(
            reason.starts_with("no unit of this name is known"),
            "{verb}: {reason}"
        );
    }
}

#[test]
fn hold_and_release_work_in_every_known_phase() {
    for phase in [
        "running",
        "paused",
        "stopping",
        "restart_pending",
        "starting",
        "quarantined",
        "stopped",
        "ended",
        "gone",
    ] {
        let mut rig = rig_in(phase);
        rig.run_command(&command("hold")).unwrap();
        let error = rig.run_command(&command("hold")).unwrap_err();
        assert_eq!(error, "already on hold by ops (maintenance)", "{phase}");
        rig.run_command(&command("release")).unwrap();
        assert_eq!(rig.unit().hold, None, "{phase}");
    }
}

#[test]
fn stopped_unit_stays_down_over_watchdog_restarts_until_started() {
    let mut rig = Rig::running(AT_ONCE);
    rig.run_command(&command("stop")).unwrap();
    assert!(!rig.is_alive());
    rig.pass_without_heartbeats(10 * MINUTE);
    rig.restart_watchdog(rig.journal.len());
    rig.list();
    rig.pass_without_heartbeats(10 * MINUTE);
    assert_eq!(rig.starts_called(), 0);
    assert_eq!(rig.operator_event_kinds(), ["unit_stopped"]);
    rig.run_command(&command("start")).unwrap();
    rig.send_heartbeat(ProcessPhase::Running);
    assert!(rig.is_alive());
    assert_eq!(
        rig.operator_event_kinds(),
        ["unit_stopped", "unit_command_executed"]
    );
    assert_eq!(
        (rig.unit().restarts, rig.unit().consecutive_failures),
        (0, 0)
    );
    rig.dies(1);
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn commanded_restart_is_not_counted_and_no_failure() {
    let mut rig = Rig::running("--paper --auto-restart --restart-delay 0 --max-restarts 1");
    for _ in 0..20 {
        rig.run_command(&command("restart")).unwrap();
        rig.send_heartbeat(ProcessPhase::Running);
    }
    assert_eq!(
        (rig.unit().restarts, rig.unit().consecutive_failures),
        (0, 0)
    );
    assert!(rig.restarts().is_empty());
    assert!(
        rig.operator_event_kinds()
            .iter()
            .all(|kind| *kind == "unit_command_executed")
    );
    let intents = |record: &&UnitRecord| {
        matches!(
            record,
            UnitRecord::StopIntended { .. } | UnitRecord::StartIntended { .. }
        )
    };
    assert_eq!(rig.unit_records().into_iter().filter(intents).count(), 40);
}

#[test]
fn command_and_intent_are_one_batch_and_survive_a_kill_at_any_step() {
    for (verb, stops, starts) in [("stop", 1, 0), ("restart", 1, 1)] {
        let mut whole = Rig::running(DEFAULT_FLAGS);
        let before = whole.journal.len();
        whole.run_command(&command(verb)).unwrap();
        let total = whole.journal.len();
        // The command is stored with its intent: the first possible cut is after both.
        for cut in before + 2..=total {
            let mut rig = Rig::running(DEFAULT_FLAGS);
            rig.call_behavior = CallBehavior::Pending;
            rig.run_command(&command(verb)).unwrap();
            assert_eq!(rig.journal.len(), before + 2, "{verb}: one message");
            rig.call_behavior = CallBehavior::Immediate;
            rig.journal = whole.journal[..cut].to_vec();
            let done = cut > before + 2;
            if done {
                rig.end(0, false);
            }
            rig.calls.clear();
            rig.restart_watchdog(cut);
            rig.list();
            rig.pass_without_heartbeats(3 * SECOND);
            let (stopped, started) = (rig.calls.len() - rig.starts_called(), rig.starts_called());
            assert_eq!(stopped, if done { 0 } else { stops }, "{verb}, cut {cut}");
            assert!(started <= starts, "{verb}, cut {cut}");
            assert_eq!(
                rig.is_alive(),
                verb == "restart" && started == starts,
                "{verb}, cut {cut}"
            );
        }
    }
}

#[test]
fn stop_during_a_start_stops_the_new_run() {
    let mut rig = rig_in("starting");
    rig.run_command(&command("stop")).unwrap();
    let start = rig.calls.last().unwrap().clone();
    rig.call_behavior = CallBehavior::Immediate;
    rig.perform(&start);
    rig.inspect();
    rig.finish_call(None);
    rig.pass_without_heartbeats(5 * SECOND);
    assert!(!rig.is_alive());
    assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }));
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn failed_start_without_auto_restart_is_reported_once() {
    let mut rig = rig_in("ended");
    rig.call_behavior = CallBehavior::Fails;
    rig.run_command(&command("start")).unwrap();
    rig.pass_without_heartbeats(MINUTE);
    assert_eq!(rig.starts_called(), 1);
    assert!(matches!(rig.phase(), UnitPhase::Ended { .. }));
    assert_eq!(
        rig.operator_event_kinds().last(),
        Some(&"unit_restart_skipped")
    );
}

#[test]
fn start_commanded_after_a_failed_start_is_a_new_attempt() {
    let mut rig = rig_in("starting");
    rig.run_command(&command("stop")).unwrap();
    rig.finish_call(Some("no such image"));
    rig.settle();
    assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }));
    rig.call_behavior = CallBehavior::Immediate;
    rig.run_command(&command("start")).unwrap();
    assert!(rig.is_alive());
    assert_eq!(rig.starts_called(), 2);
}

#[test]
fn unit_on_hold_is_observed_and_left_alone_until_its_release() {
    let mut rig = Rig::running(AT_ONCE);
    rig.run_command(&command("hold")).unwrap();
    rig.pass_without_heartbeats(10 * MINUTE);
    assert_eq!(
        rig.operator_event_kinds(),
        ["unit_command_executed", "unit_restart_skipped"]
    );
    rig.dies(70);
    rig.pass_without_heartbeats(10 * MINUTE);
    rig.restart_watchdog(rig.journal.len());
    rig.list();
    rig.pass_without_heartbeats(10 * MINUTE);
    assert!(rig.calls.is_empty());
    assert!(matches!(rig.phase(), UnitPhase::Ended { .. }));
    assert_eq!(
        (rig.unit().restarts, rig.unit().consecutive_failures),
        (0, 0)
    );
    rig.run_command(&command("release")).unwrap();
    assert!(rig.is_alive());
    assert_eq!(rig.unit().hold, None);
    assert_eq!(rig.observed.unit(&name()).unwrap().in_flight, None);
}

#[test]
fn hold_suspends_a_pending_restart_until_its_release() {
    let mut rig = rig_in("restart_pending");
    rig.run_command(&command("hold")).unwrap();
    rig.pass_without_heartbeats(10 * MINUTE);
    assert_eq!(rig.starts_called(), 0);
    rig.run_command(&command("release")).unwrap();
    assert_eq!(rig.starts_called(), 1);
}

#[test]
fn release_does_not_start_a_unit_that_finished_on_hold() {
    let mut rig = Rig::running(DEFAULT_FLAGS);
    rig.run_command(&command("hold")).unwrap();
    rig.request_stop();
    rig.dies(0);
    rig.pass_without_heartbeats(5 * SECOND);
    rig.run_command(&command("release")).unwrap();
    rig.pass_without_heartbeats(10 * MINUTE);
    assert!(rig.calls.is_empty());
    assert!(matches!(rig.phase(), UnitPhase::Stopped { .. }));
}

#[test]
fn release_without_hold_or_quarantine_names_the_next_step() {
    let rows = [
        ("running", "no action is needed"),
        ("stopped", "scripts/bearish start trader-paper-1"),
        ("restart_pending", "scripts/bearish start trader-paper-1"),
        ("gone", "scripts/up"),
    ];
    for (phase, next_step) in rows {
        let mut rig = rig_in(phase);
        let error = rig.run_command(&command("release")).unwrap_err();
        assert!(error.contains("neither quarantined nor on hold"), "{error}");
        assert!(error.contains(next_step), "{phase}: {error}");
    }
}
