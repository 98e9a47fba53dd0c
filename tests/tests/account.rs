//! Tests of what books share and of what a book stores: the account's latch and its unlatch, pauses and flatten,
//! snapshots, changed settings, and the account report.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bearish_tests::bus_reader;
use bearish_tests::candle_file::{WARM_UP_MINUTES, csv};
use bearish_tests::journals::Batches;
use bearish_tests::nats::Role;
use bearish_tests::system::System;
use bearish_tests::trader::TraderSetup;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use futures_util::TryStreamExt;
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::event::EventBody;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::{AccountKey, BookKey, Mode, SubjectToken};
use protocol::report::{AccountReport, BookReport};
use protocol::subject::{Subject, filter};
use runtime::bus::Bus;
use runtime::journal::Journal;
use runtime::streams;
use runtime::subscription::Subscription;
use trader_core::book::{BookPhase, BookRecord, ExitReason};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs a trader command; returns its exit code and its output.
async fn run_command(setup: &TraderSetup, arguments: &str) -> (i32, String) {
    let mut process = setup.clone().flags(arguments).start().into_process();
    let code = process.exit_within(DEFAULT_TIMEOUT).await;
    let output = [process.out(), process.err()].concat().join("\n");
    (code, output)
}

/// Waits for the event of a latch and returns the latch's id.
async fn wait_for_latch_id(system: &System) -> String {
    eventually("an event of the latch", DEFAULT_TIMEOUT, async || {
        let events = bus_reader::stored_events(system.operator_bus()).await;
        events
            .into_iter()
            .find_map(|stored| match stored.event.body {
                EventBody::AccountLatched { latch_id, .. } => Some(latch_id),
                _ => None,
            })
    })
    .await
}

/// Minutes of market after the history: long enough for the entry.
const PLAYED_MINUTES: i64 = 600;

/// Candle file of a market with one entry that stays open. Half hours alternate up and down, each pair a little
/// smaller than the one before, so that there is no signal and no trip of the volatility breaker. After the start
/// of the exchange, three moves down in a row make a bar oversold. Then the price stays above every stop.
fn market_with_one_lasting_entry() -> String {
    let mut last = 400_000;
    csv((0..WARM_UP_MINUTES + PLAYED_MINUTES).map(|n| {
        let (open, half_hour) = (last, n / 30);
        let step = 16 - 8 * n / WARM_UP_MINUTES;
        last += match half_hour - WARM_UP_MINUTES / 30 {
            ..4 if half_hour % 2 == 0 => step,
            ..7 => -step,
            _ => 0,
        };
        [open, open.max(last), open.min(last), last]
    }))
}

/// Checks that the last heartbeat names the latch, which the watchdog needs. Returns the boot of that heartbeat.
async fn assert_last_heartbeat_names_latch(
    system: &System,
    setup: &TraderSetup,
    latch: &str,
) -> SubjectToken {
    let heartbeat = bus_reader::latest_heartbeat(system.operator_bus(), setup.instance()).await;
    let heartbeat = heartbeat.unwrap();
    assert_eq!(
        (heartbeat.phase, heartbeat.latch_id.as_deref()),
        (ProcessPhase::Stopped, Some(latch))
    );
    let account = heartbeat.account.unwrap().to_string();
    assert!(account.starts_with("paper.binance-usdm."), "{account}");
    heartbeat.boot
}

#[tokio::test]
async fn account_breaker_latches_until_an_operator_unlatches() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("candles.csv");
    std::fs::write(&file, market_with_one_lasting_entry()).unwrap();
    let system = System::start(&[
        ("SIM_MARKET", "replay"),
        ("SIM_CANDLES_FILE", file.to_str().unwrap()),
        ("SIM_WARMUP_CANDLES", &WARM_UP_MINUTES.to_string()),
        ("SIM_SPEED", "300"),
    ])
    .await;
    // The fee of 1 % on an entry of five times the equity reaches the daily loss limit of 5 %.
    let with_high_fee = |name: &str| {
        let setup = system.trader_setup(name).env("SYMBOLS", "BTCUSDT");
        setup.env("LEVERAGE", "5").env("FEE_RATE", "0.01")
    };
    let (first, second) = (with_high_fee("first"), with_high_fee("second"));
    let (mut one, mut two) = (first.start(), second.start());
    assert_eq!(one.exit_within(seconds(120)).await, 21, "{:?}", one.err());
    assert_eq!(two.exit_within(seconds(30)).await, 21, "{:?}", two.err());
    let latch = wait_for_latch_id(&system).await;
    assert!(latch.starts_with("daily_loss-"), "{latch}");
    let closed = |r: &BookRecord| match r {
        BookRecord::PositionClosed(trade) => trade.reason == ExitReason::AccountLatched,
        _ => false,
    };
    system
        .wait_for_record("the open position is closed", DEFAULT_TIMEOUT, closed)
        .await;
    for (key, entries) in system.journals().await {
        let state = bearish_tests::journals::fold_book(&entries);
        assert!(state.position().is_none(), "{key}: {:?}", state.phase);
    }
    let reported = latch_events(&system).await;
    let [
        EventBody::AccountLatched { positions, .. },
        EventBody::AccountFlattened { trades, pnl, .. },
    ] = &reported[..]
    else {
        panic!("{reported:?}");
    };
    assert_eq!((positions.len(), *trades), (1, 1));
    assert!(pnl.is_sign_negative(), "{pnl}");
    // Neither a restart nor a wrong latch id ends the latch.
    let boot = assert_last_heartbeat_names_latch(&system, &first, &latch).await;
    assert_last_heartbeat_names_latch(&system, &second, &latch).await;
    let mut again = first.start();
    assert_eq!(again.exit_within(DEFAULT_TIMEOUT).await, 21);
    assert_ne!(
        assert_last_heartbeat_names_latch(&system, &first, &latch).await,
        boot
    );
    let (code, output) = run_command(&first, "status").await;
    assert!(
        code == 0 && output.contains(&format!("LATCHED by {latch}")),
        "{output}"
    );
    let (code, output) = run_command(&first, "unlatch --latch daily_loss-1 --reason hope").await;
    assert_eq!(code, 78, "{output}");
    assert!(
        output.contains(&latch),
        "the error does not name the actual latch: {output}"
    );
    let (code, output) =
        run_command(&first, &format!("unlatch --latch {latch} --reason tried")).await;
    assert_eq!(code, 0, "{output}");
    let back = first.start();
    back.wait_until_running().await;
    eventually("an event of the unlatch", DEFAULT_TIMEOUT, async || {
        let events = bus_reader::stored_events(system.operator_bus()).await;
        events
            .into_iter()
            .any(|stored| {
                matches!(&stored.event.body,
                EventBody::AccountUnlatched { latch_id: ended, reason, .. }
                    if *ended == latch && reason == "tried")
            })
            .then_some(())
    })
    .await;
}

/// The bodies of the events of a latch and its close, oldest first; each event once.
async fn latch_events(system: &System) -> Vec<EventBody> {
    let events = bus_reader::stored_events(system.operator_bus()).await;
    let mut ids = BTreeSet::new();
    let new = events
        .into_iter()
        .filter(|stored| ids.insert(stored.event.id.clone()));
    let bodies = new.map(|stored| stored.event.body);
    bodies
        .filter(|body| body.kind().starts_with("account_"))
        .collect()
}

/// Halts the only book as an inconsistency does. No trader may run.
async fn halt_book(system: &System) {
    let bus = system.nats.bus(Role::TraderPaper).await;
    let subject = Subject::BookJournal(wait_for_book(system).await);
    let writer = "test".parse().unwrap();
    let mut journal = Journal::open_at_end(&bus, &subject, writer).await.unwrap();
    let halted = BookRecord::BookHalted {
        reason: "a test".to_owned(),
    };
    journal.append(&[halted], 0, |_| {}).await.unwrap();
}

#[tokio::test]
async fn halted_book_of_a_latched_paper_account_is_reported_until_it_is_unhalted_and_closed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("candles.csv");
    std::fs::write(&file, market_with_one_lasting_entry()).unwrap();
    let system = System::start(&[
        ("SIM_MARKET", "replay"),
        ("SIM_CANDLES_FILE", file.to_str().unwrap()),
        ("SIM_WARMUP_CANDLES", &WARM_UP_MINUTES.to_string()),
        ("SIM_SPEED", "300"),
    ])
    .await;
    let setup = system.trader_setup("one").env("SYMBOLS", "BTCUSDT");
    let mut trader = setup.start();
    let opened = |r: &BookRecord| matches!(r, BookRecord::PositionOpened(_));
    system
        .wait_for_record("the entry is filled", seconds(120), opened)
        .await;
    trader.kill();
    halt_book(&system).await;
    let (code, output) = run_command(&setup, "flatten --confirm --reason enough").await;
    assert_eq!(code, 0, "{output}");
    let mut trader = setup.start();
    wait_for_latch_id(&system).await;
    let latched_at = Instant::now();
    let still_open = eventually("an event of what is open", seconds(90), async || {
        latch_events(&system).await.into_iter().nth(1)
    })
    .await;
    assert!(latched_at.elapsed() >= seconds(55), "too early");
    let EventBody::AccountStillOpen { positions, .. } = &still_open else {
        panic!("{still_open:?}");
    };
    let [position] = &positions[..] else {
        panic!("{positions:?}");
    };
    assert_eq!(position.stop_price, None, "nothing manages a halted book");
    assert_eq!(position.note.as_deref(), Some("the book is halted: a test"));
    assert!(!position.quantity.is_zero(), "{position:?}");
    let (code, output) = run_command(&setup, "unhalt --symbol BTCUSDT --reason tried").await;
    assert_eq!(code, 0, "{output}");
    assert_eq!(
        trader.exit_within(seconds(60)).await,
        21,
        "{:?}",
        trader.err()
    );
    let reported = latch_events(&system).await;
    let kinds: Vec<&str> = reported.iter().map(EventBody::kind).collect();
    assert_eq!(
        kinds,
        ["account_latched", "account_still_open", "account_flattened"]
    );
}

/// Waits for an event that `matches` accepts.
async fn wait_for_event(system: &System, what: &str, matches: impl Fn(&EventBody) -> bool) {
    eventually(what, DEFAULT_TIMEOUT, async || {
        let events = bus_reader::stored_events(system.operator_bus()).await;
        events
            .iter()
            .any(|stored| matches(&stored.event.body))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn operator_pauses_and_resumes_entries_and_flattens_the_account() {
    let system = System::start(&[("SIM_SPEED", "60"), ("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader_setup("commanded").env("SYMBOLS", "BTCUSDT");
    let mut trader = setup.start();
    trader.wait_until_running().await;
    wait_for_book(&system).await;
    // A wrong command, or one that changes nothing, is rejected at once and not stored.
    for (arguments, code, text) in [
        ("resume --reason calm", 78, "are not paused"),
        (
            "pause --symbol DOGEUSDT --reason vote",
            78,
            "expected one of the traded symbols: BTCUSDT",
        ),
        ("pause", 64, "--reason <TEXT>"),
        ("flatten --reason enough", 64, "--confirm"),
        (
            "pause --symbol BTCUSDT --reason vote",
            0,
            "pause: done for account paper.",
        ),
        (
            "pause --symbol BTCUSDT --reason vote",
            78,
            "are already paused",
        ),
        ("resume --reason calm", 0, "resume: done"),
        (
            "pause --reason vote --by operator",
            0,
            "open positions are still managed",
        ),
    ] {
        let (exit, output) = run_command(&setup, arguments).await;
        assert_eq!(exit, code, "{arguments}: {output}");
        assert!(output.contains(text), "{arguments}: {output}");
    }
    let (_, output) = run_command(&setup, "status").await;
    let line = "Paused:  entries of all books, by operator: vote";
    assert!(output.contains(line), "{output}");
    wait_for_event(
        &system,
        "an event of the pause",
        |body| matches!(body, EventBody::EntriesPaused { symbol: None, by, .. } if by == "operator"),
    )
    .await;
    wait_for_event(&system, "an event of the resume", |body| {
        matches!(body, EventBody::EntriesResumed { .. })
    })
    .await;
    // A command given while no trader runs is executed first after the start.
    trader.kill();
    let (code, output) = run_command(&setup, "flatten --confirm --reason enough").await;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("no trader leads account"), "{output}");
    let mut trader = setup.start();
    assert_eq!(
        trader.exit_within(DEFAULT_TIMEOUT).await,
        21,
        "{:?}",
        trader.err()
    );
    let latch = wait_for_latch_id(&system).await;
    assert!(latch.starts_with("operator-"), "{latch}");
    let reported = latch_events(&system).await;
    let [
        EventBody::AccountLatched { positions, .. },
        EventBody::AccountFlattened { trades: 0, .. },
    ] = &reported[..]
    else {
        panic!("{reported:?}");
    };
    assert!(positions.is_empty(), "{positions:?}");
    let (code, output) =
        run_command(&setup, &format!("unlatch --latch {latch} --reason calm")).await;
    assert_eq!(code, 0, "{output}");
    setup.start().wait_until_running().await;
    let (_, output) = run_command(&setup, "status").await;
    assert!(
        output.contains(line),
        "the pause did not outlive the latch: {output}"
    );
}

/// Gives the account commands as an operator does, and receives the account leader's reports.
struct CommandedAccount {
    bus: Bus,
    account: AccountKey,
    reports: Subscription,
}

impl CommandedAccount {
    async fn start(system: &System) -> Self {
        let bus = system.nats.bus(Role::TraderPaper).await;
        let account = wait_for_book(system).await.account;
        let reports = Subject::AccountReport(account.clone()).to_string();
        let reports = Subscription::start(&bus, streams::REPORTS, reports);
        Self {
            bus,
            account,
            reports,
        }
    }

    /// Stores a command; returns the time from then until the account leader reports its execution.
    async fn measure_execution(&mut self, command: AccountCommand) -> Duration {
        let subject = Subject::AccountCommandJournal(self.account.clone());
        let writer = "operator".parse().unwrap();
        let opened = Journal::open_at_end(&self.bus, &subject, writer).await;
        let command = AccountCommandRecord {
            command,
            by: "operator".to_owned(),
            reason: "test".to_owned(),
        };
        let stored = opened.unwrap().append(&[command], 0, |_| {}).await.unwrap();
        let stored_at = Instant::now();
        let executed = async {
            while let report = self.reports.next().await
                && let Some(report) = report.json::<AccountReport>()
                && report.command_seq < stored.seq
            {}
        };
        let executed = tokio::time::timeout(DEFAULT_TIMEOUT, executed).await;
        executed.unwrap();
        stored_at.elapsed()
    }
}

/// Pauses and resumes entries in turn.
const fn command_of_round(round: u32) -> AccountCommand {
    match round % 2 {
        0 => AccountCommand::Pause { symbol: None },
        _ => AccountCommand::Resume { symbol: None },
    }
}

#[tokio::test]
async fn command_is_pushed_to_the_account_leader_and_executed_within_300_ms() {
    let system = System::start(&[("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader_setup("pushed").env("SYMBOLS", "BTCUSDT");
    let trader = setup.start();
    trader.wait_until_running().await;
    let mut commanded = CommandedAccount::start(&system).await;
    let mut latencies = Vec::new();
    for round in 0..10 {
        latencies.push(commanded.measure_execution(command_of_round(round)).await);
    }
    latencies.sort();
    eprintln!(
        "stored to executed: median {:?}, all {latencies:?}",
        latencies[5]
    );
    assert!(latencies[5] < Duration::from_millis(300), "{latencies:?}");
}

#[tokio::test]
async fn account_leader_executes_commands_after_deleted_consumers_and_a_restart_of_the_bus() {
    let mut system = System::start(&[("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system
        .trader_setup("resubscribed")
        .env("SYMBOLS", "BTCUSDT");
    let trader = setup.start();
    trader.wait_until_running().await;
    let mut commanded = CommandedAccount::start(&system).await;
    commanded.measure_execution(command_of_round(0)).await;
    let admin = system.nats.bus(Role::BusInit).await;
    let mut deleted = 0;
    for stream in [streams::JOURNAL, streams::REPORTS] {
        let stream = admin.jetstream().get_stream(stream).await.unwrap();
        let names: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
        for name in names {
            stream.delete_consumer(&name).await.unwrap();
            deleted += 1;
        }
    }
    assert!(deleted >= 4, "{deleted}");
    // A subscription reads by itself after 15 s at the earliest.
    let waited = commanded.measure_execution(command_of_round(1)).await;
    assert!(waited < seconds(10), "{waited:?}");
    system.nats.kill();
    system.nats.restart().await;
    let mut commanded = CommandedAccount::start(&system).await;
    let waited = commanded.measure_execution(command_of_round(2)).await;
    assert!(waited < seconds(14), "{waited:?}");
    let waited = commanded.measure_execution(command_of_round(3)).await;
    assert!(waited < seconds(1), "{waited:?}");
}

/// Waits for a snapshot of a book whose stream sequence is above `after`; returns its sequence.
async fn wait_for_snapshot(system: &System, key: &BookKey, after: u64) -> u64 {
    let subject = Subject::BookSnapshot(key.clone()).to_string();
    eventually("a newer snapshot", seconds(60), async || {
        let newest = system
            .operator_bus()
            .latest_message(streams::SNAPSHOTS, &subject)
            .await;
        newest.unwrap().map(|n| n.seq).filter(|seq| *seq > after)
    })
    .await
}

async fn wait_for_book(system: &System) -> BookKey {
    eventually("a book's journal", DEFAULT_TIMEOUT, async || {
        system.journals().await.into_keys().next()
    })
    .await
}

#[tokio::test]
async fn book_recovers_from_its_snapshot_or_else_from_its_journal() {
    let system = System::start(&[("SIM_SPEED", "600"), ("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader_setup("snapshots").env("SYMBOLS", "BTCUSDT");
    let mut trader = setup.start();
    let key = wait_for_book(&system).await;
    let first = wait_for_snapshot(&system, &key, 0).await;
    system.wait_for_trades(1, seconds(120)).await;
    wait_for_snapshot(&system, &key, first).await;
    trader.kill();
    let mut second = setup.start();
    second.wait_for_log("resumed from snapshot").await;
    second.wait_until_running().await;
    assert!(system.audit(&second).await >= 1);
    second.kill();
    // An unreadable snapshot, and one of another journal, are ignored.
    let writer = system.nats.bus(Role::TraderPaper).await;
    let subject = Subject::BookSnapshot(key.clone()).to_string();
    let good = system
        .operator_bus()
        .latest_message(streams::SNAPSHOTS, &subject)
        .await;
    let good = good.unwrap().unwrap().payload;
    let mut foreign: serde_json::Value = serde_json::from_slice(&good).unwrap();
    foreign["batch"]["writer"] = "another".into();
    for (payload, text) in [
        (b"{\"v\":1".to_vec(), "snapshot not usable"),
        (
            serde_json::to_vec(&foreign).unwrap(),
            "does not belong to this journal",
        ),
    ] {
        let stored = writer.jetstream().publish(subject.clone(), payload.into());
        stored.await.unwrap().await.unwrap();
        let mut trader = setup.start();
        trader.wait_for_log(text).await;
        trader.wait_until_running().await;
        trader.kill();
    }
    let last = setup.start();
    last.wait_until_running().await;
    system.audit(&last).await;
}

#[tokio::test]
async fn changed_settings_are_published_and_capital_changes_only_while_flat() {
    let system = System::start(&[("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader_setup("changed").env("SYMBOLS", "BTCUSDT");
    let mut trader = setup.start();
    trader.wait_until_running().await;
    trader.signal("TERM");
    assert_eq!(trader.exit_within(DEFAULT_TIMEOUT).await, 0);
    let trader = setup
        .env("LEVERAGE", "2")
        .env("CAPITAL_USDT", "5000")
        .start();
    trader.wait_until_running().await;
    eventually(
        "an event with the changed settings",
        DEFAULT_TIMEOUT,
        async || {
            let events = bus_reader::stored_events(system.operator_bus()).await;
            events.into_iter().find(|stored| {
                matches!(&stored.event.body, EventBody::BookAcquired { config_changes, .. }
                if config_changes == &["leverage: 1 -> 2"])
            })
        },
    )
    .await;
    let flat = system.wait_for_record("the changed capital", seconds(120), |record| {
        matches!(record, BookRecord::CapitalChanged { capital } if *capital == 5000.into())
    });
    flat.await;
    system.audit(&trader).await;
}

/// Newest report on this subject. `None` if there is none.
async fn latest_report<R: serde::de::DeserializeOwned>(
    system: &System,
    subject: Subject,
) -> Option<R> {
    let subject = subject.to_string();
    let newest = system
        .operator_bus()
        .latest_message(streams::REPORTS, &subject)
        .await;
    serde_json::from_slice(&newest.unwrap()?.payload).ok()
}

#[tokio::test]
async fn delisted_book_still_counts_in_the_account_equity() {
    let symbols = ("SIM_SYMBOLS", "BTCUSDT,ETHUSDT");
    let mut system = System::start(&[("SIM_SPEED", "300"), symbols]).await;
    let setup = system.trader_setup("fewer");
    let both = setup.clone().env("SYMBOLS", "BTCUSDT,ETHUSDT");
    let delisted_book = |journals: &BTreeMap<BookKey, Batches>| {
        let (key, entries) = journals
            .iter()
            .find(|(key, _)| key.symbol.as_str() == "ETHUSDT")?;
        let state = bearish_tests::journals::fold_book(entries);
        let closed = state.trades > 0 && state.phase == BookPhase::Flat;
        closed.then(|| (key.clone(), state.equity - state.capital))
    };
    let mut trader = both.start();
    let (book, earned) = eventually("a closed trade and no position", seconds(120), async || {
        delisted_book(&system.journals().await)?;
        trader.kill();
        let found = delisted_book(&system.journals().await);
        if found.is_none() {
            trader = both.start();
        }
        found
    })
    .await;
    assert!(!earned.is_zero());
    let one = setup.env("SYMBOLS", "BTCUSDT").start();
    one.wait_until_running().await;
    // Without an exchange the equity does not change, so account report and book report can be compared.
    system.exchange.kill();
    let symbol = "BTCUSDT".parse().unwrap();
    let other = BookKey {
        symbol,
        ..book.clone()
    };
    eventually(
        "the account equity includes the delisted book",
        DEFAULT_TIMEOUT,
        async || {
            let account = Subject::AccountReport(book.account.clone());
            let account: AccountReport = latest_report(&system, account).await?;
            let book: BookReport =
                latest_report(&system, Subject::BookReport(other.clone())).await?;
            (account.equity == book.equity + earned).then_some(())
        },
    )
    .await;
}

#[tokio::test]
async fn replaced_market_exits_78_and_fails_the_dry_run() {
    let mut system = System::start(&[("SIM_SPEED", "600"), ("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader_setup("replaced").env("SYMBOLS", "BTCUSDT");
    let mut trader = setup.start();
    let key = wait_for_book(&system).await;
    let first = wait_for_snapshot(&system, &key, 0).await;
    wait_for_snapshot(&system, &key, first).await;
    trader.kill();
    system.exchange.replace_market("5").await;
    let (code, output) = run_command(&setup, "--paper --infinite").await;
    assert_eq!(code, 78, "{output}");
    let advice = "another market? To start over without the journals: scripts/down --volumes";
    assert!(output.contains(advice), "{output}");
    let (code, output) = run_command(&setup, "--paper --dry-run").await;
    assert_eq!(code, 78, "{output}");
    assert!(output.contains("FAIL  market"), "{output}");
    assert!(output.contains(advice), "{output}");
}

#[tokio::test]
async fn status_and_trades_answer_while_the_trader_is_down() {
    let system = System::start(&[("SIM_SPEED", "300")]).await;
    let setup = system.trader_setup("killed");
    let mut trader = setup.start();
    system.wait_for_trades(2, seconds(120)).await;
    trader.kill();
    let (code, output) = run_command(&setup, "status").await;
    assert_eq!(code, 0, "{output}");
    for text in [
        "ACCOUNT paper.binance-usdm.",
        "Profit:  ",
        "% of ",
        "Latch:   none",
        "BTCUSDT",
        "BTCUSDT: signals rejected: ",
        " because ",
        ", the last at ",
    ] {
        assert!(output.contains(text), "no {text:?} in\n{output}");
    }
    let (code, csv) = run_command(&setup, "trades --csv").await;
    assert_eq!(code, 0, "{csv}");
    let lines: Vec<&str> = csv.lines().collect();
    let columns = "book,strategy,side,entry_time,exit_time,quantity,entry_price,exit_price,fees,funding,pnl,\
                   equity,reason";
    assert_eq!(lines[0], columns);
    let closed = system.journals().await;
    let closed = bearish_tests::journals::count_trades(closed.values());
    assert_eq!(lines.len() - 1, closed, "{csv}");
    let reports = filter::book_reports(Mode::Paper);
    let reported = system
        .operator_bus()
        .subjects(streams::REPORTS, &reports)
        .await;
    assert_eq!(reported.unwrap().len(), 3);
}
