//! Tests of the operator's commands to the watchdog, over the bus and by the `watchdog` command line, with kills of
//! the watchdog between a command and its execution.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::wait::{SeededRandom, eventually};
use bearish_tests::watchdog::{Unit, WatchdogRig};
use protocol::VERSION;
use protocol::command::{CommandReply, UnitCommand, UnitCommandRequest};
use protocol::event::EventBody;
use protocol::subject::Subject;
use runtime::bus::Bus;
use serde_json::Value;
use watchdog_core::phase::UnitPhase;
use watchdog_core::record::UnitRecord;

const RESTART_AT_ONCE_FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";
const SETTLE_TIME: Duration = Duration::from_secs(3);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

async fn run_command_ok(rig: &WatchdogRig, arguments: &[&str]) -> String {
    let (output, code) = rig.run_command(arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {output}");
    output
}

async fn assert_rejected(rig: &WatchdogRig, arguments: &[&str], reason: &str) {
    let (output, code) = rig.run_command(arguments).await;
    assert_eq!(code, 64, "{arguments:?}: {output}");
    assert!(output.contains(reason), "{arguments:?}: {output}");
}

async fn wait_until_stopped(rig: &WatchdogRig, unit: &Unit) {
    let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
    rig.wait_for_phase(unit, "stopped", stopped).await;
}

async fn run_json_command(rig: &WatchdogRig, arguments: &[&str]) -> Value {
    let (output, _) = rig.run_command(arguments).await;
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_start_and_restart_commands_work_and_spend_no_restarts() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    assert_rejected(&rig, &["start", &unit.name], "already running").await;
    let before = unit.started_at();
    run_command_ok(&rig, &["restart", &unit.name]).await;
    unit.wait_until_started_after(&before).await;
    rig.wait_until_healthy(&unit).await;
    run_command_ok(&rig, &["stop", &unit.name]).await;
    wait_until_stopped(&rig, &unit).await;
    let EventBody::UnitStopped { reason, .. } = rig.wait_for_event("unit_stopped").await else {
        unreachable!()
    };
    assert_eq!(reason, "stopped by operator (exit 0)");
    assert_rejected(&rig, &["stop", &unit.name], "already stopped").await;
    rig.replace_watchdog();
    rig.watchdog.wait_for_log("supervising").await;
    unit.assert_stays(false, SETTLE_TIME).await;
    run_command_ok(&rig, &["start", &unit.name]).await;
    rig.wait_until_healthy(&unit).await;
    let state = rig.state().await;
    let known = &state.units[&unit.name.parse().unwrap()];
    assert_eq!((known.restarts, known.consecutive_failures), (0, 0));
    let events = rig.stored_events().await;
    assert!(
        !events
            .iter()
            .any(|body| body.kind() == "unit_restart_scheduled"),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unit_on_hold_is_left_alone_and_explained_until_released() {
    let rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let hold = ["hold", &unit.name, "--reason", "maintenance", "--by", "ops"];
    run_command_ok(&rig, &hold).await;
    unit.signal("USR1");
    let ended = |phase: &UnitPhase| matches!(phase, UnitPhase::Ended { .. });
    rig.wait_for_phase(&unit, "ended", ended).await;
    unit.assert_stays(false, SETTLE_TIME).await;
    assert_rejected(&rig, &["start", &unit.name], "on hold by ops (maintenance)").await;
    let output = run_command_ok(&rig, &["explain", &unit.name]).await;
    assert!(
        output.contains("maintenance") && output.contains("scripts/bearish release"),
        "{output}"
    );
    run_command_ok(&rig, &["release", &unit.name]).await;
    eventually("the unit is running again", COMMAND_TIMEOUT, async || {
        unit.is_running().then_some(())
    })
    .await;
    let output = run_command_ok(&rig, &["history", &unit.name]).await;
    for line in [
        "on hold by ops: maintenance",
        "ended with exit 70",
        "released by operator",
    ] {
        assert!(output.contains(line), "{line}: {output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_killed_between_command_and_action_executes_it_once() {
    let mut random = SeededRandom::new();
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    for _ in 0..4 {
        let before = unit.started_at();
        let (output, code) = rig.run_command(&["restart", &unit.name]).await;
        assert_eq!(code, 0, "{output}");
        tokio::time::sleep(random.duration_ms(0..120)).await;
        rig.replace_watchdog();
        unit.wait_until_started_after(&before).await;
        rig.watchdog.wait_for_log("supervising").await;
        let running = |phase: &UnitPhase| matches!(phase, UnitPhase::Running(_));
        rig.wait_for_phase(&unit, "running", running).await;
        rig.wait_until_healthy(&unit).await;
    }
    run_command_ok(&rig, &["stop", &unit.name]).await;
    rig.replace_watchdog();
    wait_until_stopped(&rig, &unit).await;
    unit.assert_stays(false, SETTLE_TIME).await;
    let records = rig.unit_records(&unit).await;
    let count =
        |matches: fn(&UnitRecord) -> bool| records.iter().filter(|record| matches(record)).count();
    assert_eq!(
        count(|record| matches!(record, UnitRecord::Commanded { .. })),
        5,
        "{records:#?}"
    );
    assert_eq!(
        count(|record| matches!(record, UnitRecord::StartIntended { .. })),
        4,
        "{records:#?}"
    );
    assert_eq!(
        count(|record| matches!(record, UnitRecord::RestartScheduled(_))),
        0,
        "{records:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_answers_in_json_and_queries_work_without_a_watchdog() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let rejected = run_json_command_mixed(&rig, &["start", &unit.name, "--json"]).await;
    assert_eq!(rejected["ok"], false);
    let done = run_json_command(
        &rig,
        &["hold", &unit.name, "--reason", "an inspection", "--json"],
    )
    .await;
    assert_eq!(
        (&done["ok"], &done["unit"]),
        (&true.into(), &unit.name.clone().into())
    );
    let answer = request_over_bus(
        &rig,
        UnitCommand::Explain {
            unit: unit.name.parse().unwrap(),
        },
    )
    .await;
    assert!(
        answer.ok && answer.text.contains("an inspection"),
        "{answer:?}"
    );
    assert_eq!(answer.data.unwrap()["phase"], "running, on hold");
    rig.watchdog.kill();
    let status = run_json_command(&rig, &["status", "--json"]).await;
    let row = &status["units"][0];
    assert_eq!(
        (&row["unit"], &row["phase"]),
        (&unit.name.clone().into(), &"running".into())
    );
    assert_eq!(row["hold"]["reason"], "an inspection");
    let output = run_json_command(&rig, &["explain", &unit.name, "--json"]).await;
    assert_eq!(output["phase"], "running, on hold");
    let records = run_json_command(&rig, &["history", &unit.name, "--json"]).await;
    assert!(
        records["history"].as_array().unwrap().len() > 2,
        "{records}"
    );
    let (output, code) = rig.run_command(&["explain", "unknown-1"]).await;
    assert_eq!(code, 64, "{output}");
    let (output, code) = rig.run_command(&["stop", &unit.name]).await;
    assert_eq!(code, 69, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_keeps_the_log_tail_of_a_unit_without_its_secrets() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let setup = rig.unit_setup(1, "--paper --auto-restart --restart-delay 600");
    let log_line = "LOG_LINE=code -2015: Invalid API-key; API_SECRET=hunter2";
    let unit = setup.env(log_line).start();
    rig.wait_until_healthy(&unit).await;
    unit.signal("USR1");
    let waiting = |phase: &UnitPhase| matches!(phase, UnitPhase::RestartPending { .. });
    rig.wait_for_phase(&unit, "waiting", waiting).await;
    rig.watchdog.kill();
    let output = run_command_ok(&rig, &["history", &unit.name]).await;
    for line in [
        "| code -2015: Invalid API-key; API_SECRET=***",
        "exit 70; ran from",
        "running, 0 errors",
    ] {
        assert!(output.contains(line), "{line}: {output}");
    }
    assert!(!output.contains("hunter2"), "{output}");
    let output = run_command_ok(&rig, &["explain", &unit.name]).await;
    for line in [
        "internal error (exit 70)",
        "The next start is in",
        "rejects the API credentials",
        "\n  internal error (exit 70): code -2015",
    ] {
        assert!(output.contains(line), "{line}: {output}");
    }
}

/// Runs a command and parses the first line that is JSON; a rejection also prints a line on standard error.
async fn run_json_command_mixed(rig: &WatchdogRig, arguments: &[&str]) -> Value {
    let (output, _) = rig.run_command(arguments).await;
    let parsed = |line: &str| serde_json::from_str::<Value>(line).ok();
    output
        .lines()
        .find_map(parsed)
        .unwrap_or_else(|| panic!("{arguments:?}: {output}"))
}

/// Sends a command as another service would. No other role has the permission yet, so it uses the watchdog's.
async fn request_over_bus(rig: &WatchdogRig, command: UnitCommand) -> CommandReply {
    let bus: Bus = rig.nats.bus(bearish_tests::nats::Role::Watchdog).await;
    let subject = Subject::WatchdogCommand {
        host: rig.host(),
        verb: command.verb().into(),
    };
    let subject = subject.to_string();
    let by = "tester".to_owned();
    let request = UnitCommandRequest {
        v: VERSION,
        by,
        command,
    };
    let payload = serde_json::to_vec(&request).unwrap();
    let answer = bus.client().request(subject, payload.into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}
