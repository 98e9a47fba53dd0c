//! Orders of persons: the real watchdog, given them over the real bus by its own commands, and killed
//! between an order and what follows from it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::patience::{Dice, eventually};
use bearish_tests::watchdog::{Kennel, Unit};
use protocol::VERSION;
use protocol::command::{Answer, Request, UnitOrder};
use protocol::event::EventBody;
use runtime::bus::Bus;
use serde_json::Value;
use supervision::phase::Phase;
use supervision::record::Fact;

const AT_ONCE: &str = "--paper --infinite --auto-restart --restart-delay 0";
const A_WHILE: Duration = Duration::from_secs(3);
const SOON: Duration = Duration::from_secs(20);

async fn obeyed(kennel: &Kennel, words: &[&str]) -> String {
    let (said, code) = kennel.ask(words).await;
    assert_eq!(code, 0, "{words:?}: {said}");
    said
}

async fn refused(kennel: &Kennel, words: &[&str], why: &str) {
    let (said, code) = kennel.ask(words).await;
    assert_eq!(code, 64, "{words:?}: {said}");
    assert!(said.contains(why), "{words:?}: {said}");
}

async fn is_stopped(kennel: &Kennel, unit: &Unit) {
    let stopped = |phase: &Phase| matches!(phase, Phase::Stopped { .. });
    kennel.phase(unit, "stopped", stopped).await;
}

async fn json(kennel: &Kennel, words: &[&str]) -> Value {
    let (said, _) = kennel.ask(words).await;
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{words:?}: {error}: {said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_start_and_restart_do_what_they_say_and_cost_nothing() {
    let mut kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    refused(&kennel, &["start", &unit.name], "it is running already").await;
    let before = unit.started_at();
    obeyed(&kennel, &["restart", &unit.name]).await;
    unit.started_after(&before).await;
    kennel.healthy(&unit).await;
    obeyed(&kennel, &["stop", &unit.name]).await;
    is_stopped(&kennel, &unit).await;
    let EventBody::UnitStopped { reason, .. } = kennel.tells("unit_stopped").await else {
        unreachable!()
    };
    assert_eq!(reason, "stopped by watchdog (exit 0)");
    refused(&kennel, &["stop", &unit.name], "it is stopped already").await;
    kennel.replace_watchdog();
    kennel.watchdog.says("supervising").await;
    unit.stays(false, A_WHILE).await;
    obeyed(&kennel, &["start", &unit.name]).await;
    kennel.healthy(&unit).await;
    let state = kennel.state().await;
    let known = &state.units[&unit.name.parse().unwrap()];
    assert_eq!((known.restarts, known.consecutive), (0, 0));
    let told = kennel.told().await;
    assert!(
        !told.iter().any(|body| body.kind() == "restart_triggered"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_left_alone_and_explained_until_its_release() {
    let kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    obeyed(&kennel, &["hold", &unit.name, "--why", "maintenance"]).await;
    unit.signal("USR1");
    let ended = |phase: &Phase| matches!(phase, Phase::Ended { .. });
    kennel.phase(&unit, "ended", ended).await;
    unit.stays(false, A_WHILE).await;
    refused(
        &kennel,
        &["start", &unit.name],
        "it is held by watchdog (maintenance)",
    )
    .await;
    let said = obeyed(&kennel, &["explain", &unit.name]).await;
    assert!(
        said.contains("maintenance") && said.contains("watchdog release"),
        "{said}"
    );
    obeyed(&kennel, &["release", &unit.name]).await;
    eventually("it runs again", SOON, async || unit.runs().then_some(())).await;
    let said = obeyed(&kennel, &["history", &unit.name]).await;
    for line in [
        "held by watchdog: maintenance",
        "ended with exit 70",
        "released by watchdog",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_killed_between_order_and_action_carries_it_out_once() {
    let mut dice = Dice::new();
    let mut kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    for _ in 0..4 {
        let before = unit.started_at();
        let (said, code) = kennel.ask(&["restart", &unit.name]).await;
        assert_eq!(code, 0, "{said}");
        tokio::time::sleep(dice.millis(0..120)).await;
        kennel.replace_watchdog();
        unit.started_after(&before).await;
        kennel.watchdog.says("supervising").await;
        let running = |phase: &Phase| matches!(phase, Phase::Running(_));
        kennel.phase(&unit, "running", running).await;
        kennel.healthy(&unit).await;
    }
    obeyed(&kennel, &["stop", &unit.name]).await;
    kennel.replace_watchdog();
    is_stopped(&kennel, &unit).await;
    unit.stays(false, A_WHILE).await;
    let facts = kennel.facts(&unit).await;
    let count = |wish: fn(&Fact) -> bool| facts.iter().filter(|fact| wish(fact)).count();
    assert_eq!(
        count(|fact| matches!(fact, Fact::Ordered { .. })),
        5,
        "{facts:#?}"
    );
    assert_eq!(
        count(|fact| matches!(fact, Fact::StartIntended { .. })),
        4,
        "{facts:#?}"
    );
    assert_eq!(
        count(|fact| matches!(fact, Fact::RestartScheduled(_))),
        0,
        "{facts:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_answers_in_json_and_asking_works_with_the_watchdog_dead() {
    let mut kennel = Kennel::open().await;
    let unit = kennel.unit(1, AT_ONCE).start();
    kennel.healthy(&unit).await;
    let refused = json_lines(&kennel, &["start", &unit.name, "--json"]).await;
    assert_eq!(refused["done"], false);
    let done = json(&kennel, &["hold", &unit.name, "--why", "a look", "--json"]).await;
    assert_eq!(
        (&done["done"], &done["unit"]),
        (&true.into(), &unit.name.clone().into())
    );
    let answer = over_the_bus(
        &kennel,
        UnitOrder::Explain {
            unit: unit.name.parse().unwrap(),
        },
    )
    .await;
    assert!(answer.done && answer.text.contains("a look"), "{answer:?}");
    assert_eq!(answer.data.unwrap()["verdict"], "running, held");
    kennel.watchdog.kill();
    let status = json(&kennel, &["status", "--json"]).await;
    let row = &status["units"][0];
    assert_eq!(
        (&row["unit"], &row["verdict"]),
        (&unit.name.clone().into(), &"running".into())
    );
    assert_eq!(row["held"]["why"], "a look");
    let said = json(&kennel, &["explain", &unit.name, "--json"]).await;
    assert_eq!(said["verdict"], "running, held");
    let facts = json(&kennel, &["history", &unit.name, "--json"]).await;
    assert!(facts["history"].as_array().unwrap().len() > 2, "{facts}");
    let (said, code) = kennel.ask(&["explain", "nobody-1"]).await;
    assert_eq!(code, 64, "{said}");
    let (said, code) = kennel.ask(&["stop", &unit.name]).await;
    assert_eq!(code, 69, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_unit_said_last_is_kept_with_the_decision_and_without_its_secrets() {
    let mut kennel = Kennel::behind_a_guard().await;
    let setup = kennel.unit(1, "--paper --auto-restart --restart-delay 600");
    let says = "SAYS=code -2015: Invalid API-key; API_SECRET=hunter2";
    let unit = setup.env(says).start();
    kennel.healthy(&unit).await;
    unit.signal("USR1");
    let waiting = |phase: &Phase| matches!(phase, Phase::Waiting { .. });
    kennel.phase(&unit, "waiting", waiting).await;
    kennel.watchdog.kill();
    let said = obeyed(&kennel, &["history", &unit.name]).await;
    for line in [
        "| code -2015: Invalid API-key; API_SECRET=***",
        "exit 70; ran from",
        "running, 0 errors",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    let said = obeyed(&kennel, &["explain", &unit.name]).await;
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
async fn json_lines(kennel: &Kennel, words: &[&str]) -> Value {
    let (said, _) = kennel.ask(words).await;
    let parsed = |line: &str| serde_json::from_str::<Value>(line).ok();
    said.lines()
        .find_map(parsed)
        .unwrap_or_else(|| panic!("{words:?}: {said}"))
}

/// As another service asks: its own role is allowed to by nobody yet, so under the watchdog's.
async fn over_the_bus(kennel: &Kennel, order: UnitOrder) -> Answer {
    let bus: Bus = kennel.nats.bus(bearish_tests::nats::Role::Watchdog).await;
    let subject = format!("command.v1.watchdog.{}", order.verb());
    let by = "somebody".to_owned();
    let request = Request {
        v: VERSION,
        by,
        order,
    };
    let payload = serde_json::to_vec(&request).unwrap();
    let answer = bus.client().request(subject, payload.into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}
