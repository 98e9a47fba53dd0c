//! Orders of persons: the real watchdog, given them over the real bus by its own commands, and killed
//! between an order and what follows from it.

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
use runtime::bus::Bus;
use serde_json::Value;
use watchdog_core::phase::UnitPhase;
use watchdog_core::record::UnitRecord;

const RESTART_AT_ONCE_FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";
const SETTLE_TIME: Duration = Duration::from_secs(3);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);

async fn run_command_ok(rig: &WatchdogRig, arguments: &[&str]) -> String {
    let (said, code) = rig.run_command(arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {said}");
    said
}

async fn assert_rejected(rig: &WatchdogRig, arguments: &[&str], reason: &str) {
    let (said, code) = rig.run_command(arguments).await;
    assert_eq!(code, 64, "{arguments:?}: {said}");
    assert!(said.contains(reason), "{arguments:?}: {said}");
}

async fn wait_until_stopped(rig: &WatchdogRig, unit: &Unit) {
    let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
    rig.wait_for_phase(unit, "stopped", stopped).await;
}

async fn run_json_command(rig: &WatchdogRig, arguments: &[&str]) -> Value {
    let (said, _) = rig.run_command(arguments).await;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_start_and_restart_commands_work_and_spend_no_restarts() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    assert_rejected(&rig, &["start", &unit.name], "it is running already").await;
    let before = unit.started_at();
    run_command_ok(&rig, &["restart", &unit.name]).await;
    unit.wait_until_started_after(&before).await;
    rig.wait_until_healthy(&unit).await;
    run_command_ok(&rig, &["stop", &unit.name]).await;
    wait_until_stopped(&rig, &unit).await;
    let EventBody::UnitStopped { reason, .. } = rig.wait_for_event("unit_stopped").await else {
        unreachable!()
    };
    assert_eq!(reason, "stopped by watchdog (exit 0)");
    assert_rejected(&rig, &["stop", &unit.name], "it is stopped already").await;
    rig.replace_watchdog();
    rig.watchdog.wait_for_log("supervising").await;
    unit.assert_stays(false, SETTLE_TIME).await;
    run_command_ok(&rig, &["start", &unit.name]).await;
    rig.wait_until_healthy(&unit).await;
    let state = rig.state().await;
    let known = &state.units[&unit.name.parse().unwrap()];
    assert_eq!((known.restarts, known.consecutive_failures), (0, 0));
    let told = rig.stored_events().await;
    assert!(
        !told
            .iter()
            .any(|body| body.kind() == "unit_restart_scheduled"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unit_on_hold_is_left_alone_and_explained_until_released() {
    let rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    run_command_ok(&rig, &["hold", &unit.name, "--reason", "maintenance"]).await;
    unit.signal("USR1");
    let ended = |phase: &UnitPhase| matches!(phase, UnitPhase::Ended { .. });
    rig.wait_for_phase(&unit, "ended", ended).await;
    unit.assert_stays(false, SETTLE_TIME).await;
    assert_rejected(
        &rig,
        &["start", &unit.name],
        "it is held by watchdog (maintenance)",
    )
    .await;
    let said = run_command_ok(&rig, &["explain", &unit.name]).await;
    assert!(
        said.contains("maintenance") && said.contains("watchdog release"),
        "{said}"
    );
    run_command_ok(&rig, &["release", &unit.name]).await;
    eventually("it runs again", COMMAND_TIMEOUT, async || {
        unit.is_running().then_some(())
    })
    .await;
    let said = run_command_ok(&rig, &["history", &unit.name]).await;
    for line in [
        "held by watchdog: maintenance",
        "ended with exit 70",
        "released by watchdog",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_killed_between_command_and_action_executes_it_once() {
    let mut dice = SeededRandom::new();
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    for _ in 0..4 {
        let before = unit.started_at();
        let (said, code) = rig.run_command(&["restart", &unit.name]).await;
        assert_eq!(code, 0, "{said}");
        tokio::time::sleep(dice.duration_ms(0..120)).await;
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
    let facts = rig.unit_records(&unit).await;
    let count = |wish: fn(&UnitRecord) -> bool| facts.iter().filter(|fact| wish(fact)).count();
    assert_eq!(
        count(|fact| matches!(fact, UnitRecord::Commanded { .. })),
        5,
        "{facts:#?}"
    );
    assert_eq!(
        count(|fact| matches!(fact, UnitRecord::StartIntended { .. })),
        4,
        "{facts:#?}"
    );
    assert_eq!(
        count(|fact| matches!(fact, UnitRecord::RestartScheduled(_))),
        0,
        "{facts:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_answers_in_json_and_queries_work_without_a_watchdog() {
    let mut rig = WatchdogRig::start().await;
    let unit = rig.unit_setup(1, RESTART_AT_ONCE_FLAGS).start();
    rig.wait_until_healthy(&unit).await;
    let refused = run_json_command_mixed(&rig, &["start", &unit.name, "--json"]).await;
    assert_eq!(refused["ok"], false);
    let done = run_json_command(&rig, &["hold", &unit.name, "--reason", "a look", "--json"]).await;
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
    assert!(answer.ok && answer.text.contains("a look"), "{answer:?}");
    assert_eq!(answer.data.unwrap()["phase"], "running, on hold");
    rig.watchdog.kill();
    let status = run_json_command(&rig, &["status", "--json"]).await;
    let row = &status["units"][0];
    assert_eq!(
        (&row["unit"], &row["phase"]),
        (&unit.name.clone().into(), &"running".into())
    );
    assert_eq!(row["hold"]["reason"], "a look");
    let said = run_json_command(&rig, &["explain", &unit.name, "--json"]).await;
    assert_eq!(said["phase"], "running, on hold");
    let facts = run_json_command(&rig, &["history", &unit.name, "--json"]).await;
    assert!(facts["history"].as_array().unwrap().len() > 2, "{facts}");
    let (said, code) = rig.run_command(&["explain", "nobody-1"]).await;
    assert_eq!(code, 64, "{said}");
    let (said, code) = rig.run_command(&["stop", &unit.name]).await;
    assert_eq!(code, 69, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_keeps_the_log_tail_of_a_unit_without_its_secrets() {
    let mut rig = WatchdogRig::start_behind_guard().await;
    let setup = rig.unit_setup(1, "--paper --auto-restart --restart-delay 600");
    let says = "LOG_LINE=code -2015: Invalid API-key; API_SECRET=hunter2";
    let unit = setup.env(says).start();
    rig.wait_until_healthy(&unit).await;
    unit.signal("USR1");
    let waiting = |phase: &UnitPhase| matches!(phase, UnitPhase::RestartPending { .. });
    rig.wait_for_phase(&unit, "waiting", waiting).await;
    rig.watchdog.kill();
    let said = run_command_ok(&rig, &["history", &unit.name]).await;
    for line in [
        "| code -2015: Invalid API-key; API_SECRET=***",
        "exit 70; ran from",
        "running, 0 errors",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    let said = run_command_ok(&rig, &["explain", &unit.name]).await;
    for line in [
        "internal error (exit 70)",
        "It is started again in",
        "refuses the API credentials",
        "1x internal error",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

/// The first line that is JSON: a refusal also says so on the standard error.
async fn run_json_command_mixed(rig: &WatchdogRig, words: &[&str]) -> Value {
    let (said, _) = rig.run_command(words).await;
    let parsed = |line: &str| serde_json::from_str::<Value>(line).ok();
    said.lines()
        .find_map(parsed)
        .unwrap_or_else(|| panic!("{words:?}: {said}"))
}

/// As another service asks: its own role is allowed to by nobody yet, so under the watchdog's.
async fn request_over_bus(rig: &WatchdogRig, order: UnitCommand) -> CommandReply {
    let bus: Bus = rig.nats.bus(bearish_tests::nats::Role::Watchdog).await;
    let subject = format!("command.v1.watchdog.{}", order.verb());
    let by = "somebody".to_owned();
    let request = UnitCommandRequest {
        v: VERSION,
        by,
        command: order,
    };
    let payload = serde_json::to_vec(&request).unwrap();
    let answer = bus.client().request(subject, payload.into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}
