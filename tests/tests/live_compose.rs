//! Test of live mode with the settings of compose.yaml on the simulated exchange: the account is initialized, two
//! instances share its books, and one of them is killed.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use bearish_tests::docker::{
    Project, docker, inspect, require_all_images, require_image, run_command, run_name,
};
use bearish_tests::journals;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::ids::Mode;
use runtime::bus::Bus;
use tempfile::NamedTempFile;
use trader_core::book::{BookPhase, BookRecord};

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

/// The simulated exchange and an account that was initialized on it.
struct LiveRig {
    project: Project,
    variables: Vec<(&'static str, String)>,
    _secrets: [NamedTempFile; 2],
}

impl LiveRig {
    fn start(test: &str, trader_flags: &str) -> Self {
        let (key, secret) = (secret_file("livekey\n"), secret_file("livesecret\n"));
        let path = |file: &NamedTempFile| file.path().to_str().unwrap().to_owned();
        let variables = vec![
            ("COMPOSE_PROFILES", "live".to_owned()),
            ("LIVE_MARKET", "simulator".to_owned()),
            ("SIM_API_KEYS", "livekey:livesecret:trade".to_owned()),
            ("RECV_WINDOW_MS", "60000".to_owned()),
            ("BINANCE_API_KEY_FILE", path(&key)),
            ("BINANCE_API_SECRET_FILE", path(&secret)),
            ("TRADER_LIVE_FLAGS", trader_flags.to_owned()),
        ];
        let given: Vec<(&str, &str)> = variables.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let name = format!("{}-{test}", run_name());
        let project = Project::up(&name, &given, &["exchange-sim"]);
        let rig = Self {
            project,
            variables,
            _secrets: [key, secret],
        };
        let output = rig.compose("run --rm --no-TTY trader-live init --account");
        assert!(output.contains("opened; its orders carry"), "{output}");
        rig
    }

    fn compose(&self, arguments: &str) -> String {
        let mut command = self.project.compose();
        let variables = self.variables.iter().map(|(name, value)| (*name, value));
        command.envs(variables).args(arguments.split(' '));
        run_command(&mut command)
    }

    fn up(&self, services: &str) {
        let up = "up --no-build --detach --wait --wait-timeout 120";
        self.compose(&format!("{up} {services}"));
    }
}

async fn wait_until_an_entry_is_filled(bus: &Bus) {
    let what = "an entry is filled on the exchange";
    eventually(what, DEFAULT_TIMEOUT, async || {
        let journals = journals::read_mode(bus, Mode::Live).await;
        let opened = |r: &BookRecord| matches!(r, BookRecord::PositionOpened(_));
        journals::records(journals.values())
            .any(opened)
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_live_instance_loses_its_books_to_the_other() {
    for name in ["nats", "bus-init", "exchange-sim", "trader"] {
        require_image(name);
    }
    let rig = LiveRig::start("live", "--infinite --auto-restart --confirm-live");
    let project = &rig.project;
    rig.up("--scale trader-live=2 trader-live");
    let bus = project.operator_bus().await;
    wait_until_shared_by(&bus, &["trader-live-1", "trader-live-2"], DEFAULT_TIMEOUT).await;

    let first = project.container_name("trader-live", 1);
    docker(&["kill", "--signal", "KILL", &first]);
    wait_until_shared_by(&bus, &["trader-live-2"], TAKEOVER_TIMEOUT).await;
    wait_until_an_entry_is_filled(&bus).await;

    rig.compose("stop trader-live");
    let log = logs(&project.container_name("trader-live", 2));
    let ended = r#"ending reason="stop requested" exit=0"#;
    assert!(log.contains(ended), "{log}");
    for text in [log, logs(&first)] {
        assert!(!text.contains("livesecret"), "the API secret is in the log");
        assert!(!text.contains("book halted"), "{text}");
    }
}

/// How often each book's journal got a new writer.
async fn writer_changes(bus: &Bus) -> BTreeMap<String, usize> {
    let journals = journals::read_mode(bus, Mode::Live).await;
    let changed = |record: &&BookRecord| matches!(record, BookRecord::WriterChanged { .. });
    let count = |entries| journals::records([entries]).filter(changed).count();
    let counts = journals.iter();
    counts
        .map(|(key, entries)| (key.symbol.to_string(), count(entries)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn watchdog_restarts_a_killed_live_trader_which_manages_its_position_again() {
    require_all_images();
    let flags = "--infinite --auto-restart --restart-delay 1 --confirm-live";
    let rig = LiveRig::start("live-watchdog", flags);
    rig.up("trader-live watchdog");
    let bus = rig.project.operator_bus().await;
    wait_until_an_entry_is_filled(&bus).await;

    let before = writer_changes(&bus).await;
    let trader = rig.project.container_name("trader-live", 1);
    let run = || inspect(&trader, "{{.State.StartedAt}}");
    let killed_run = run();
    docker(&["kill", "--signal", "KILL", &trader]);
    let what = "each book is managed by the next run of the live trader";
    eventually(what, TAKEOVER_TIMEOUT, async || {
        let after = writer_changes(&bus).await;
        let all_again = before.iter().all(|(symbol, count)| after[symbol] > *count);
        (run() != killed_run && all_again).then_some(())
    })
    .await;
    let history = rig.compose("exec --no-TTY watchdog watchdog history trader-live-1");
    assert!(history.contains("SIGKILL"), "{history}");
    for (key, entries) in journals::read_mode(&bus, Mode::Live).await {
        let phase = journals::fold_book(&entries).phase;
        let halted = matches!(phase, BookPhase::Halted { .. });
        assert!(!halted, "{key}: {phase:?}");
    }
    let log = logs(&trader);
    assert!(!log.contains("livesecret"), "the API secret is in the log");
}
