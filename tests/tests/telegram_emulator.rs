//! The real notifier and an emulator of the Bot API that others wrote (`telegram-test-api` from npm): what is sent
//! is understood there, and what people say there is understood here. It is less strict than ours, and does not
//! share our mistakes. Says that it is skipped where there is no npm.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails, and a skipped test says so"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{NotifierSetup, publish_event};
use bearish_tests::ports;
use bearish_tests::process::Process;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::event::EventBody;
use protocol::unit_remedy::UnitRemedy;
use serde_json::Value;

const PACKAGE: &str = "telegram-test-api";
const VERSION: &str = "4.2.1";
const TOKEN: &str = "123456789:AAF-this_is_a_token_of_nobodys_Bot";
const OPERATOR: &str = "700000001";

/// Where the emulator is, installed if it is not; none without npm.
fn install_emulator() -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/npm");
    let package = tools.join("node_modules").join(PACKAGE);
    if package.is_dir() {
        return Some(package);
    }
    let mut install = Command::new("npm");
    install.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
    install.arg(&tools).arg(format!("{PACKAGE}@{VERSION}"));
    match install.status() {
        Ok(status) => {
            assert!(
                status.success(),
                "npm install {PACKAGE}@{VERSION}: {status}"
            );
            Some(package)
        }
        Err(_) => None,
    }
}

/// The bot's messages so far.
fn messages(emulator: &Process) -> Vec<Value> {
    let lines = emulator.out().into_iter();
    lines
        .filter_map(|line| serde_json::from_str(&line).ok())
        .collect()
}

async fn wait_for_message(emulator: &Process, place: usize) -> Value {
    let what = format!("message {place}, so far {:?}", emulator.err());
    eventually(&what, DEFAULT_TIMEOUT, async || {
        messages(emulator).get(place).cloned()
    })
    .await
}

#[tokio::test]
#[ignore = "needs npm and its registry: `scripts/test --all`"]
async fn notifier_works_with_a_third_party_bot_api_emulator() {
    let Some(package) = install_emulator() else {
        eprintln!("SKIPPED: there is no npm on this machine to install {PACKAGE} with");
        return;
    };
    let (nats, port) = (NatsServer::with_streams().await, ports::reserve());
    let drive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/telegram_emulator/drive.js");
    let mut command = Command::new("node");
    command.arg(drive).arg(package);
    command.args([&port.to_string(), TOKEN, OPERATOR]);
    let emulator = Process::start(PACKAGE, command);
    emulator.wait_for_log("listening").await;
    let setup = NotifierSetup::new(&nats)
        .env("TELEGRAM_BOT_TOKEN", TOKEN)
        .env("TELEGRAM_CHAT_ID", OPERATOR)
        .env("TELEGRAM_ALLOWED_USERS", OPERATOR)
        .env("TELEGRAM_API_URL", &format!("http://127.0.0.1:{port}"));
    let notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    let bus = nats.bus(Role::TraderPaper).await;
    let body = EventBody::UnitQuarantined {
        unit: "trader-paper-1".parse().unwrap(),
        reason: "🐻 reason".to_owned(),
        restarts: 11,
        consecutive_failures: 11,
        exit_code: Some(137),
        remedy: UnitRemedy::Release {
            reset_restarts: false,
        },
    };
    publish_event(&bus, "trader-paper-1", "e1", body).await;

    let critical = wait_for_message(&emulator, 0).await;
    let text = critical["text"].as_str().unwrap();
    assert!(
        text.starts_with("🚨 MANUAL INTERVENTION REQUIRED: PAPER trader-paper-1\n"),
        "{text}"
    );
    assert_eq!(critical["entities"][0]["length"], 53, "{critical}");
    assert_eq!(critical["chat_id"].to_string(), OPERATOR);
    let help = wait_for_message(&emulator, 1).await;
    assert!(
        help["text"].as_str().unwrap().contains("/performance"),
        "{help}"
    );
    let question = wait_for_message(&emulator, 2).await;
    assert!(
        question["text"]
            .as_str()
            .unwrap()
            .contains("PLEASE CONFIRM"),
        "{question}"
    );
    let answer = wait_for_message(&emulator, 3).await;
    assert!(
        answer["text"]
            .as_str()
            .unwrap()
            .contains("No watchdog is running"),
        "{answer}"
    );
}
