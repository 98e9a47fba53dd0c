//! Test of live mode with the settings of compose.yaml on the simulated exchange: the account is initialized, two
//! instances share its books, and one of them is killed.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use bearish_tests::docker::{Project, docker, require_image, run_command, run_name};
use bearish_tests::journals;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::ids::Mode;
use runtime::bus::Bus;
use tempfile::NamedTempFile;
use trader_core::book::BookRecord;

const BOOKS: usize = 3;
/// Time for a takeover: a lease expires after 15 s, and another instance acquires it in its next pass.
const TAKEOVER_TIMEOUT: Duration = Duration::from_mins(1);

/// Writes a file that the image's user can read.
fn secret_file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    run_command(Command::new("chmod").arg("644").arg(file.path()));
    file
}

/// Newest writer of each book, by symbol.
async fn book_writers(bus: &Bus) -> BTreeMap<String, String> {
    let journals = journals::read_mode(bus, Mode::Live).await;
    let writer = |record: &BookRecord| match record {
        BookRecord::WriterChanged { instance, .. } => Some(instance.to_string()),
        _ => None,
    };
    let last = journals.iter().filter_map(|(key, entries)| {
        let last = journals::records([entries]).filter_map(writer).last();
        Some((key.symbol.to_string(), last?))
    });
    last.collect()
}

async fn wait_until_shared_by(bus: &Bus, instances: &[&str], within: Duration) {
    let what = format!("{instances:?} have the books");
    let expected: BTreeSet<&str> = instances.iter().copied().collect();
    eventually(&what, within, async || {
        let writers = book_writers(bus).await;
        let names: BTreeSet<&str> = writers.values().map(String::as_str).collect();
        (writers.len() == BOOKS && names == expected).then_some(())
    })
    .await;
}

fn logs(container: &str) -> String {
    let both = ["-c", "docker logs \"$0\" 2>&1", container];
    run_command(Command::new("sh").args(both))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_live_instance_loses_its_books_to_the_other() {
    for name in ["nats", "bus-init", "exchange-sim", "trader"] {
        require_image(name);
    }
    let (key, secret) = (secret_file("livekey\n"), secret_file("livesecret\n"));
    let variables = [
        ("COMPOSE_PROFILES", "live"),
        ("LIVE_MARKET", "simulator"),
        ("SIM_API_KEYS", "livekey:livesecret:trade"),
        ("RECV_WINDOW_MS", "60000"),
        ("BINANCE_API_KEY_FILE", key.path().to_str().unwrap()),
        ("BINANCE_API_SECRET_FILE", secret.path().to_str().unwrap()),
        (
            "TRADER_LIVE_FLAGS",
            "--infinite --auto-restart --confirm-live",
        ),
    ];
    let name = format!("{}-live", run_name());
    let project = Project::up(&name, &variables, &["exchange-sim"]);
    let compose = |arguments: &str| {
        let mut command = project.compose();
        command.envs(variables).args(arguments.split(' '));
        run_command(&mut command)
    };
    let output = compose("run --rm --no-TTY trader-live init --account");
    assert!(output.contains("opened; its orders carry"), "{output}");
    compose("up --no-build --detach --wait --wait-timeout 120 --scale trader-live=2 trader-live");
    let bus = project.operator_bus().await;
    wait_until_shared_by(&bus, &["trader-live-1", "trader-live-2"], DEFAULT_TIMEOUT).await;

    let first = project.container_name("trader-live", 1);
    docker(&["kill", "--signal", "KILL", &first]);
    wait_until_shared_by(&bus, &["trader-live-2"], TAKEOVER_TIMEOUT).await;
    let what = "an entry is filled on the exchange";
    eventually(what, DEFAULT_TIMEOUT, async || {
        let journals = journals::read_mode(&bus, Mode::Live).await;
        let opened = |r: &BookRecord| matches!(r, BookRecord::PositionOpened(_));
        journals::records(journals.values())
            .any(opened)
            .then_some(())
    })
    .await;

    compose("stop trader-live");
    let log = logs(&project.container_name("trader-live", 2));
    let ended = r#"ending reason="stop requested" exit=0"#;
    assert!(log.contains(ended), "{log}");
    for text in [log, logs(&first)] {
        assert!(!text.contains("livesecret"), "the API secret is in the log");
        assert!(!text.contains("book halted"), "{text}");
    }
}
