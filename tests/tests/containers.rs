//! The images as people run them: from scratch, read-only, under compose.yaml's users and limits. How
//! they begin, what ends them, and what is left of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::Duration;

use bearish_tests::docker::{self, LABEL, Project, Stage, docker, image};
use bearish_tests::journals::{self, Entries};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::told;
use engine::book::{BookRecord, Phase as BookPhase, Position};
use protocol::event::EventBody;
use protocol::heartbeat::{Heartbeat, Phase};
use protocol::ids::BookKey;
use runtime::bus::Bus;

/// The first trade of the default market on the default clock.
const FIRST_TRADE_WITHIN: Duration = Duration::from_mins(1);
/// A stop or a target is reached.
const EXIT_WITHIN: Duration = Duration::from_mins(2);
const SIGKILLED: i64 = 137;
/// What is in every image beside its program.
const EVERY_IMAGE: [&str; 3] = [
    "etc/nsswitch.conf",
    "etc/passwd",
    "etc/ssl/certs/ca-certificates.crt",
];

type Journals = BTreeMap<BookKey, Entries>;

/// Waits until some book holds a position.
async fn position_opened(bus: &Bus) -> BookKey {
    eventually("a position", FIRST_TRADE_WITHIN, async || {
        let journals = journals::all(bus).await;
        let held = journals.into_iter().find(|(_, entries)| held(entries));
        held.map(|(key, _)| key)
    })
    .await
}

fn held(entries: &Entries) -> bool {
    position(entries).is_some()
}

fn position(entries: &Entries) -> Option<Position> {
    match journals::fold(entries).phase {
        BookPhase::Open(position) => Some(position),
        _ => None,
    }
}

/// The newest heartbeat, once the trader is at work with candles as fresh as they should be.
async fn at_work(bus: &Bus, instance: &str) -> Heartbeat {
    told::caught_up(bus, instance, SOON).await
}

/// Every message that was there before is there, unchanged, and only then come others.
fn continues(before: &Journals, after: &Journals) {
    for (key, old) in before {
        let new = &after[key];
        assert!(new.starts_with(old), "{key} does not continue");
    }
}

#[tokio::test]
async fn a_killed_trader_starts_again_as_itself_keeps_its_position_and_trades_on() {
    let stage = Stage::up("trader-killed").await;
    let trader = stage.trader().start_healthy().await;
    let bus = stage.operator().await;
    let first = at_work(&bus, "trader-paper-1").await;
    let book = position_opened(&bus).await;

    trader.kill().await;
    assert_eq!(trader.exit_code().await, SIGKILLED);
    let before = journals::all(&bus).await;
    let position = position(&before[&book]).expect("it is held for longer than a kill takes");
    trader.start_again().await;
    trader.is_healthy().await;

    let second = at_work(&bus, "trader-paper-1").await;
    assert_ne!(second.boot, first.boot);
    let exit = next_exit(&bus, &book, before[&book].len()).await;
    let after = journals::all(&bus).await;
    continues(&before, &after);
    for (key, old) in &before {
        let taken_over = &after[key][old.len()].entry;
        assert_eq!(taken_over.writer, second.boot, "{key}");
        assert!(
            matches!(&taken_over.records[0], BookRecord::OwnerTookOver { instance, .. }
                if instance.as_str() == "trader-paper-1"),
            "{taken_over:?}"
        );
    }
    let BookRecord::PositionClosed(trade) = exit else {
        panic!("the position that was open is not closed next: {exit:?}");
    };
    assert_eq!(trade.entry, position.price);
    assert_eq!(trade.quantity, position.quantity);
    let kept = journals::fold(&before[&book]).equity;
    assert_eq!(trade.equity, kept + trade.pnl);
    stage.no_secret_was_told_by(&[&trader]).await;
}

/// The first record in the book's journal behind `known` messages that is no change of owner.
async fn next_exit(bus: &Bus, book: &BookKey, known: usize) -> BookRecord {
    eventually("an exit", EXIT_WITHIN, async || {
        let entries = journals::of(bus, book).await;
        let mut new = entries
            .into_iter()
            .skip(known)
            .flat_map(|s| s.entry.records);
        new.find(|record| !matches!(record, BookRecord::OwnerTookOver { .. }))
    })
    .await
}

#[tokio::test]
async fn what_the_bus_acknowledged_survives_its_kill_and_the_trader_goes_on_by_itself() {
    let stage = Stage::up("bus-killed").await;
    let trader = stage.trader().start_healthy().await;
    let bus = stage.operator().await;
    position_opened(&bus).await;
    let before = at_work(&bus, "trader-paper-1").await;
    let acknowledged = journals::all(&bus).await;

    stage.nats.kill().await;
    assert_eq!(stage.nats.exit_code().await, SIGKILLED);
    stage.nats.start_again().await;

    let bus = stage.operator().await;
    continues(&acknowledged, &journals::all(&bus).await);
    let after = at_work(&bus, "trader-paper-1").await;
    assert_eq!(after.boot, before.boot, "the trader started again");
    let length = |journals: &Journals| journals.values().map(Vec::len).sum::<usize>();
    eventually("a decision after the restart", EXIT_WITHIN, async || {
        let now = journals::all(&bus).await;
        (length(&now) > length(&acknowledged)).then_some(())
    })
    .await;
    continues(&acknowledged, &journals::all(&bus).await);
    assert!(trader.runs().await);
    stage.no_secret_was_told_by(&[&trader]).await;
}

#[tokio::test]
async fn a_container_ends_with_the_exit_code_that_says_why() {
    let stage = Stage::up("exit-codes").await;
    let bus = stage.operator().await;

    let trader = stage.trader().start_healthy().await;
    let took = trader.stop().await;
    assert_eq!(trader.exit_code().await, 0, "{}", trader.log().await);
    assert!(
        took < Duration::from_secs(10),
        "stopped only after {took:?}"
    );
    let last = told::heartbeat(&bus, "trader-paper-1").await.unwrap();
    assert_eq!(last.phase, Phase::Stopped);

    let cycle = "--paper --duration 2 --auto-restart";
    let cycle = stage.trader().on_host("lonely").flags(cycle).start().await;
    assert_eq!(cycle.exit_code().await, 20, "{}", cycle.log().await);
    let goodbye = "event.v1.trader.lonely.info.trader_stopped";
    let told = told::events(&bus).await;
    let told = told.iter().find(|told| told.subject == goodbye);
    let said = told.map(|told| &told.event.body);
    assert!(
        matches!(said, Some(EventBody::TraderStopped { exit: 20, .. })),
        "{said:?}"
    );

    for (host, flags, variable, value, code, words) in [
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
        let refused = stage
            .trader()
            .on_host(host)
            .flags(flags)
            .env(variable, value);
        let refused = refused.start().await;
        let found = refused.exit_code().await;
        let complaint = refused.complaints().await;
        assert_eq!(found, code, "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(complaint.contains(words), "{complaint}");
        assert!(!refused.log().await.contains("guessed-wrong"));
        stage.no_secret_was_told_by(&[&refused]).await;
    }
    stage.no_secret_was_told_by(&[&trader, &cycle]).await;
}

#[test]
fn an_image_holds_its_program_and_nothing_to_break_in_with() {
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
        let (full, known) = image(name);
        let size = known["Size"].as_u64().unwrap();
        assert!(size < 25_000_000, "{full} has {size} bytes");
        let config = &known["Config"];
        // The engine's socket belongs to root.
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
        let found = files(&full);
        let found: BTreeSet<&str> = found
            .iter()
            .map(String::as_str)
            // A server that is linked dynamically brings its loader and libc.
            .filter(|file| !(name == "nats" && file.starts_with("lib") && file.contains(".so")))
            .collect();
        assert_eq!(found, expected, "{full}");
    }
}

/// Every file of an image, without what the engine puts into a container.
fn files(image: &str) -> Vec<String> {
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
    let engines = [
        ".dockerenv",
        "dev/",
        "etc/hostname",
        "etc/hosts",
        "etc/mtab",
        "etc/resolv.conf",
    ];
    let own = |line: &&str| !line.ends_with('/') && !engines.iter().any(|e| line.starts_with(e));
    listed.lines().filter(own).map(str::to_owned).collect()
}

#[tokio::test]
async fn two_replicas_of_compose_share_the_symbols() {
    for name in ["nats", "bus-init", "exchange-sim", "trader"] {
        image(name);
    }
    let scale = ["--scale", "trader-paper=2"];
    let project = Project::up(&docker::run_name(), &[], &scale);
    let bus = project.operator().await;
    let books = async |instance: &str| {
        let heartbeat = told::heartbeat(&bus, instance).await?;
        let books = heartbeat
            .books
            .into_iter()
            .map(|b| b.book.symbol.to_string());
        (heartbeat.phase == Phase::Running).then(|| books.collect::<BTreeSet<String>>())
    };
    let (one, two) = eventually("both trade", SOON, async || {
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
    // Claimed by the first to come, handed over, at worst handed back: no more.
    for (key, entries) in journals::all(&bus).await {
        let owners = journals::records([&entries])
            .filter(|record| matches!(record, BookRecord::OwnerTookOver { .. }))
            .count();
        assert!(owners <= 3, "{key} had {owners} owners");
    }
}
