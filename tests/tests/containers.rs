//! Tests of the images with compose.yaml's users and limits: start, kill and restart of containers, exit codes,
//! contents of the images, and replicas that share symbols.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use bearish_tests::bus_reader;
use bearish_tests::docker::{self, ComposeStack, LABEL, Project, docker, require_image};
use bearish_tests::journals::{self, Batches};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::event::EventBody;
use protocol::heartbeat::{Heartbeat, ProcessPhase};
use protocol::ids::BookKey;
use runtime::bus::Bus;
use trader_core::book::{BookPhase, BookRecord, Position};

/// Time within which the default market brings the first trade.
const FIRST_TRADE_TIMEOUT: Duration = Duration::from_mins(1);
/// Time within which a stop or target is reached.
const EXIT_TIMEOUT: Duration = Duration::from_mins(2);
const EXIT_CODE_SIGKILL: i64 = 137;
/// Files of every image besides its program.
const EVERY_IMAGE: [&str; 3] = [
    "etc/nsswitch.conf",
    "etc/passwd",
    "etc/ssl/certs/ca-certificates.crt",
];

type Journals = BTreeMap<BookKey, Batches>;

/// Waits until a book has a position; returns its key.
async fn wait_for_position(bus: &Bus) -> BookKey {
    eventually("a position", FIRST_TRADE_TIMEOUT, async || {
        let journals = journals::read_paper(bus).await;
        let found = journals
            .into_iter()
            .find(|(_, entries)| has_position(entries));
        found.map(|(key, _)| key)
    })
    .await
}

fn has_position(entries: &Batches) -> bool {
    open_position(entries).is_some()
}

fn open_position(entries: &Batches) -> Option<Position> {
    match journals::fold_book(entries).phase {
        BookPhase::Open(position) => Some(position),
        _ => None,
    }
}

/// Waits until the trader is running with fresh candles; returns its newest heartbeat.
async fn wait_until_caught_up(bus: &Bus, instance: &str) -> Heartbeat {
    bus_reader::wait_until_caught_up(bus, instance, DEFAULT_TIMEOUT).await
}

/// Checks that each journal begins with the batches of `before`, unchanged.
fn assert_continues(before: &Journals, after: &Journals) {
    for (key, old) in before {
        let new = &after[key];
        assert!(new.starts_with(old), "{key} does not continue");
    }
}

#[tokio::test]
async fn killed_trader_container_restarts_with_its_position_and_trades_on() {
    let stack = ComposeStack::up("trader-killed").await;
    let trader = stack.trader().start_healthy().await;
    let bus = stack.operator_bus().await;
    let first = wait_until_caught_up(&bus, "trader-paper-1").await;
    let book = wait_for_position(&bus).await;

    trader.kill().await;
    assert_eq!(trader.wait_for_exit_code().await, EXIT_CODE_SIGKILL);
    let before = journals::read_paper(&bus).await;
    let position = open_position(&before[&book]).expect("the position was closed before the kill");
    trader.restart().await;
    trader.wait_until_healthy().await;

    let second = wait_until_caught_up(&bus, "trader-paper-1").await;
    assert_ne!(second.boot, first.boot);
    let exit = wait_for_exit(&bus, &book, before[&book].len()).await;
    let after = journals::read_paper(&bus).await;
    assert_continues(&before, &after);
    for (key, old) in &before {
        let first_batch = &after[key][old.len()].batch;
        assert_eq!(first_batch.writer, second.boot, "{key}");
        assert!(
            matches!(&first_batch.records[0], BookRecord::WriterChanged { instance, .. }
                if instance.as_str() == "trader-paper-1"),
            "{first_batch:?}"
        );
    }
    let BookRecord::PositionClosed(trade) = exit else {
        panic!("expected the close of the open position: {exit:?}");
    };
    assert_eq!(trade.entry_price, position.entry_price);
    assert_eq!(trade.quantity, position.quantity);
    let equity = journals::fold_book(&before[&book]).equity;
    assert_eq!(trade.equity, equity + trade.pnl);
    stack.assert_no_secret_in_logs(&[&trader]).await;
}

/// Waits for the first record after `known` batches of the book's journal that is neither a change of writer nor a rejected
/// signal.
async fn wait_for_exit(bus: &Bus, book: &BookKey, known: usize) -> BookRecord {
    eventually("a record after the restart", EXIT_TIMEOUT, async || {
        let entries = journals::read_book(bus, book).await;
        let mut new = entries
            .into_iter()
            .skip(known)
            .flat_map(|s| s.batch.records);
        let is_other = |record: &BookRecord| {
            !matches!(
                record,
                BookRecord::WriterChanged { .. } | BookRecord::SignalRejected { .. }
            )
        };
        new.find(is_other)
    })
    .await
}

#[tokio::test]
async fn acknowledged_records_survive_a_bus_kill_and_the_trader_continues() {
    let stack = ComposeStack::up("bus-killed").await;
    let trader = stack.trader().start_healthy().await;
    let bus = stack.operator_bus().await;
    wait_for_position(&bus).await;
    let before = wait_until_caught_up(&bus, "trader-paper-1").await;
    let acknowledged = journals::read_paper(&bus).await;

    stack.nats.kill().await;
    assert_eq!(stack.nats.wait_for_exit_code().await, EXIT_CODE_SIGKILL);
    stack.nats.restart().await;

    let bus = stack.operator_bus().await;
    assert_continues(&acknowledged, &journals::read_paper(&bus).await);
    let after = wait_until_caught_up(&bus, "trader-paper-1").await;
    assert_eq!(after.boot, before.boot, "the trader was restarted");
    let length = |journals: &Journals| journals.values().map(Vec::len).sum::<usize>();
    eventually("a decision after the restart", EXIT_TIMEOUT, async || {
        let now = journals::read_paper(&bus).await;
        (length(&now) > length(&acknowledged)).then_some(())
    })
    .await;
    assert_continues(&acknowledged, &journals::read_paper(&bus).await);
    assert!(trader.is_running().await);
    stack.assert_no_secret_in_logs(&[&trader]).await;
}

#[tokio::test]
async fn trader_container_ends_with_the_exit_code_of_its_reason() {
    let stack = ComposeStack::up("exit-codes").await;
    let bus = stack.operator_bus().await;

    let trader = stack.trader().start_healthy().await;
    let took = trader.stop().await;
    assert_eq!(
        trader.wait_for_exit_code().await,
        0,
        "{}",
        trader.log().await
    );
    assert!(
        took < Duration::from_secs(10),
        "stopped only after {took:?}"
    );
    let last = bus_reader::latest_heartbeat(&bus, "trader-paper-1")
        .await
        .unwrap();
    assert_eq!(last.phase, ProcessPhase::Stopped);

    let cycle = "--paper --duration 2 --auto-restart";
    let cycle = stack
        .trader()
        .with_hostname("lonely")
        .flags(cycle)
        .start()
        .await;
    assert_eq!(
        cycle.wait_for_exit_code().await,
        20,
        "{}",
        cycle.log().await
    );
    let stopped = "event.v1.trader.paper.bearish-alpha.local.lonely.info.trader_stopped";
    let events = bus_reader::stored_events(&bus).await;
    let event = events.iter().find(|stored| stored.subject == stopped);
    let body = event.map(|stored| &stored.event.body);
    assert!(
        matches!(body, Some(EventBody::TraderStopped { exit_code: 20, .. })),
        "{body:?}"
    );

    for (host, flags, variable, value, code, text) in [
        ("live", "--infinite --auto-restart", "X", "", 64, "--paper"),
        ("flag", "--paper --forever", "X", "", 64, "--forever"),
        (
            "intruder",
            "--paper",
            "NATS_PASSWORD",
            "guessed-wrong",
            78,
            "trader-paper",
        ),
    ] {
        let rejected = stack
            .trader()
            .with_hostname(host)
            .flags(flags)
            .env(variable, value);
        let rejected = rejected.start().await;
        let found = rejected.wait_for_exit_code().await;
        let stderr = rejected.stderr().await;
        assert_eq!(found, code, "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains(text), "{stderr}");
        assert!(!rejected.log().await.contains("guessed-wrong"));
        stack.assert_no_secret_in_logs(&[&rejected]).await;
    }
    stack.assert_no_secret_in_logs(&[&trader, &cycle]).await;
}

/// The tests' own programs are not optimised; `scripts/test --release` checks what people run.
fn max_image_size() -> u64 {
    let is_release = env::var("BEARISH_PROFILE").is_ok_and(|profile| profile == "release");
    if is_release { 25_000_000 } else { 50_000_000 }
}

#[test]
fn image_holds_its_program_and_nothing_else() {
    let bin = "usr/local/bin";
    for (name, entry, more) in [
        (
            "nats",
            "nats-server",
            vec!["etc/nats.conf", "usr/local/bin/bus-init"],
        ),
        ("bus-init", "bus-init", vec![]),
        ("exchange-sim", "exchange-sim", vec![]),
        ("trader", "trader", vec![]),
        ("watchdog", "watchdog", vec![]),
        ("notifier", "notifier", vec![]),
        ("socket-guard", "socket-guard", vec![]),
    ] {
        let (full, details) = require_image(name);
        let size = details["Size"].as_u64().unwrap();
        assert!(size < max_image_size(), "{full} has {size} bytes");
        let config = &details["Config"];
        // Docker's socket belongs to root.
        let user = if name == "socket-guard" {
            "0:0"
        } else {
            "10001:10001"
        };
        assert_eq!(config["User"], user, "{full}");
        assert_eq!(config["Entrypoint"][0], format!("/{bin}/{entry}"), "{full}");
        let entry = format!("{bin}/{entry}");
        let mut expected = BTreeSet::from(EVERY_IMAGE);
        expected.insert(&entry);
        expected.extend(more);
        let found = image_files(&full);
        let found: BTreeSet<&str> = found
            .iter()
            .map(String::as_str)
            // A dynamically linked nats-server needs its loader and libc.
            .filter(|file| !(name == "nats" && file.starts_with("lib") && file.contains(".so")))
            .collect();
        assert_eq!(found, expected, "{full}");
    }
}

/// Files of an image, without those that Docker adds to a container.
fn image_files(image: &str) -> Vec<String> {
    let label = format!("{LABEL}={}", docker::run_name());
    let id = docker(&["create", "--label", &label, image]);
    let id = id.trim();
    let mut export = Command::new("docker")
        .args(["export", id])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let listed = Command::new("tar")
        .arg("-t")
        .stdin(export.stdout.take().unwrap())
        .output();
    assert!(export.wait().unwrap().success());
    docker(&["rm", id]);
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let added_by_docker = [
        ".dockerenv",
        "dev/",
        "etc/hostname",
        "etc/hosts",
        "etc/mtab",
        "etc/resolv.conf",
    ];
    let own =
        |line: &&str| !line.ends_with('/') && !added_by_docker.iter().any(|a| line.starts_with(a));
    listed.lines().filter(own).map(str::to_owned).collect()
}

#[tokio::test]
async fn compose_replicas_share_the_symbols() {
    for name in ["nats", "bus-init", "exchange-sim", "trader"] {
        require_image(name);
    }
    let scale = ["--scale", "trader-paper=2"];
    let project = Project::up(&docker::run_name(), &[], &scale);
    let bus = project.operator_bus().await;
    let books = async |instance: &str| {
        let heartbeat = bus_reader::latest_heartbeat(&bus, instance).await?;
        let books = heartbeat
            .books
            .into_iter()
            .map(|b| b.book.symbol.to_string());
        (heartbeat.phase == ProcessPhase::Running).then(|| books.collect::<BTreeSet<String>>())
    };
    let (one, two) = eventually("both replicas have books", DEFAULT_TIMEOUT, async || {
        let shares = (
            books("trader-paper-1").await?,
            books("trader-paper-2").await?,
        );
        let fair = |share: &BTreeSet<String>| (1..=2).contains(&share.len());
        (fair(&shares.0) && fair(&shares.1)).then_some(shares)
    })
    .await;
    assert!(one.is_disjoint(&two), "{one:?} and {two:?}");
    let all: BTreeSet<&str> = one.union(&two).map(String::as_str).collect();
    assert_eq!(all, BTreeSet::from(["BTCUSDT", "ETHUSDT", "SOLUSDT"]));
    // At most three writers: acquired by the first trader, handed over, handed back.
    for (key, entries) in journals::read_paper(&bus).await {
        let writers = journals::records([&entries])
            .filter(|record| matches!(record, BookRecord::WriterChanged { .. }))
            .count();
        assert!(writers <= 3, "{key} had {writers} writers");
    }
}
