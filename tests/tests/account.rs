//! What several books share, and what a book remembers: the account's latch and its only way out, the
//! snapshot that a book goes on from, the settings that changed meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use bearish_tests::candle_file::{PAST, csv};
use bearish_tests::journals::Entries;
use bearish_tests::nats::Role;
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::system::System;
use bearish_tests::told;
use bearish_tests::trader::Setup;
use engine::book::{BookRecord, ExitReason, Phase as BookPhase};
use protocol::event::EventBody;
use protocol::heartbeat::Phase;
use protocol::ids::{BookKey, Mode, Token};
use protocol::report::{AccountReport, BookReport};
use protocol::subject::{Subject, filter};
use runtime::streams;

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Runs one of the trader's commands; its exit code and what it printed.
async fn command(setup: &Setup, words: &str) -> (i32, String) {
    let mut process = setup.clone().flags(words).start().into_process();
    let code = process.exit_within(SOON).await;
    let said = [process.out(), process.err()].concat().join("\n");
    (code, said)
}

/// The id of the latch that the owner was told of.
async fn latch(system: &System) -> String {
    eventually("the owner hears of the latch", SOON, async || {
        let told = told::events(system.operator()).await;
        told.into_iter().find_map(|told| match told.event.body {
            EventBody::AccountLatched { latch, .. } => Some(latch),
            _ => None,
        })
    })
    .await
}

/// Minutes of the market after which a book must have entered and not left again.
const PLAYED: i64 = 600;

/// Half hours of the same size up and down, each pair a little smaller than the one before, so that no
/// signal and no turbulence is in it; once the exchange has opened, three down in a row, which is oversold;
/// then a market that stands still, above every stop. What was entered stays open.
fn one_entry_that_stays() -> String {
    let mut last = 400_000;
    csv((0..PAST + PLAYED).map(|n| {
        let (open, half_hour) = (last, n / 30);
        let step = 16 - 8 * n / PAST;
        last += match half_hour - PAST / 30 {
            ..4 if half_hour % 2 == 0 => step,
            ..7 => -step,
            _ => 0,
        };
        [open, open.max(last), open.min(last), last]
    }))
}

/// By that the watchdog knows what keeps a trader down. The boot that beat last.
async fn last_beat_names(system: &System, setup: &Setup, latch: &str) -> Token {
    let beat = told::heartbeat(system.operator(), setup.instance()).await;
    let beat = beat.unwrap();
    assert_eq!(
        (beat.phase, beat.latch.as_deref()),
        (Phase::Stopped, Some(latch))
    );
    let account = beat.account.unwrap().to_string();
    assert!(account.starts_with("paper.binance-usdm."), "{account}");
    beat.boot
}

#[tokio::test]
async fn a_critical_breaker_closes_everything_and_only_an_operator_ends_that() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("candles.csv");
    std::fs::write(&file, one_entry_that_stays()).unwrap();
    let system = System::start(&[
        ("SIM_MARKET", "replay"),
        ("SIM_CANDLES", file.to_str().unwrap()),
        ("SIM_WARMUP_CANDLES", &PAST.to_string()),
        ("SIM_SPEED", "300"),
    ])
    .await;
    // An entry of five times the equity at a fee of 1 % costs more than the 5 % of a day.
    let dear = |name: &str| {
        let setup = system.trader(name).env("SYMBOLS", "BTCUSDT");
        setup.env("LEVERAGE", "5").env("FEE_RATE", "0.01")
    };
    let (keeper, other) = (dear("first"), dear("second"));
    let (mut one, mut two) = (keeper.start(), other.start());
    assert_eq!(one.exit_within(seconds(120)).await, 21, "{:?}", one.err());
    assert_eq!(two.exit_within(seconds(30)).await, 21, "{:?}", two.err());
    let latch = latch(&system).await;
    assert!(latch.starts_with("daily_loss-"), "{latch}");
    let closed = |r: &BookRecord| match r {
        BookRecord::PositionClosed(trade) => trade.reason == ExitReason::AccountLatched,
        _ => false,
    };
    system.record("what was open is closed", SOON, closed).await;
    for (key, entries) in system.journals().await {
        let state = bearish_tests::journals::fold(&entries);
        assert!(state.position().is_none(), "{key}: {:?}", state.phase);
    }
    // Neither a restart nor a wrong word opens it again.
    let boot = last_beat_names(&system, &keeper, &latch).await;
    last_beat_names(&system, &other, &latch).await;
    let mut again = keeper.start();
    assert_eq!(again.exit_within(SOON).await, 21);
    assert_ne!(last_beat_names(&system, &keeper, &latch).await, boot);
    let (code, said) = command(&keeper, "status").await;
    assert!(
        code == 0 && said.contains(&format!("LATCHED by {latch}")),
        "{said}"
    );
    let (code, said) = command(&keeper, "unlatch --latch daily_loss-1 --why hope").await;
    assert_eq!(code, 78, "{said}");
    assert!(
        said.contains(&latch),
        "the refusal names the latch that is there: {said}"
    );
    let (code, said) = command(&keeper, &format!("unlatch --latch {latch} --why tried")).await;
    assert_eq!(code, 0, "{said}");
    let back = keeper.start();
    back.works().await;
    eventually("the owner hears of its end", SOON, async || {
        let told = told::events(system.operator()).await;
        told.into_iter()
            .any(|told| {
                matches!(&told.event.body,
                EventBody::AccountUnlatched { latch: ended, why, .. }
                    if *ended == latch && why == "tried")
            })
            .then_some(())
    })
    .await;
}

/// Waits until the owner is told of this.
async fn hears(system: &System, what: &str, wish: impl Fn(&EventBody) -> bool) {
    eventually(what, SOON, async || {
        let told = told::events(system.operator()).await;
        told.iter().any(|told| wish(&told.event.body)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_person_pauses_entries_lets_them_go_on_and_closes_everything() {
    let system = System::start(&[("SIM_SPEED", "60"), ("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader("told").env("SYMBOLS", "BTCUSDT");
    let mut trader = setup.start();
    trader.works().await;
    a_book(&system).await;
    // What is wrong or changes nothing is said at once, and stored nowhere.
    for (words, code, says) in [
        ("resume --why calm", 78, "are not paused"),
        (
            "pause --symbol DOGEUSDT --why vote",
            78,
            "allowed are the symbols traded: BTCUSDT",
        ),
        ("pause", 64, "--why <REASON>"),
        ("flatten --why enough", 64, "--confirm"),
        (
            "pause --symbol BTCUSDT --why vote",
            0,
            "pause: done for account paper.",
        ),
        (
            "pause --symbol BTCUSDT --why vote",
            78,
            "are paused already",
        ),
        ("resume --why calm", 0, "resume: done"),
        (
            "pause --why vote --who owner",
            0,
            "positions are managed as before",
        ),
    ] {
        let (exit, said) = command(&setup, words).await;
        assert_eq!(exit, code, "{words}: {said}");
        assert!(said.contains(says), "{words}: {said}");
    }
    let (_, said) = command(&setup, "status").await;
    let line = "entries of every book PAUSED by owner: vote";
    assert!(said.contains(line), "{said}");
    hears(
        &system,
        "a pause",
        |body| matches!(body, EventBody::EntriesPaused { symbol: None, who, .. } if who == "owner"),
    )
    .await;
    hears(&system, "its end", |body| {
        matches!(body, EventBody::EntriesResumed { .. })
    })
    .await;
    // A word that nobody was there to hear is carried out before anything else.
    trader.kill();
    let (code, said) = command(&setup, "flatten --confirm --why enough").await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("no trader keeps account"), "{said}");
    let mut trader = setup.start();
    assert_eq!(trader.exit_within(SOON).await, 21, "{:?}", trader.err());
    let latch = latch(&system).await;
    assert!(latch.starts_with("operator-"), "{latch}");
    let (code, said) = command(&setup, &format!("unlatch --latch {latch} --why calm")).await;
    assert_eq!(code, 0, "{said}");
    setup.start().works().await;
    let (_, said) = command(&setup, "status").await;
    assert!(said.contains(line), "a pause outlives a latch: {said}");
}

/// Waits until the newest snapshot of a book is this one's or a later one.
async fn snapshot(system: &System, key: &BookKey, after: u64) -> u64 {
    let subject = Subject::BookSnapshot(key.clone()).to_string();
    eventually("a snapshot", seconds(60), async || {
        let newest = system.operator().newest(streams::SNAPSHOTS, &subject).await;
        newest.unwrap().map(|n| n.seq).filter(|seq| *seq > after)
    })
    .await
}

async fn a_book(system: &System) -> BookKey {
    eventually("a book's journal", SOON, async || {
        system.journals().await.into_keys().next()
    })
    .await
}

#[tokio::test]
async fn a_book_goes_on_from_its_snapshot_and_without_a_good_one_from_its_journal() {
    let system = System::start(&[("SIM_SPEED", "600"), ("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader("kept").env("SYMBOLS", "BTCUSDT");
    let mut trader = setup.start();
    let key = a_book(&system).await;
    let first = snapshot(&system, &key, 0).await;
    system.trades(1, seconds(120)).await;
    snapshot(&system, &key, first).await;
    trader.kill();
    let mut second = setup.start();
    second.says("goes on from its snapshot").await;
    second.works().await;
    assert!(system.audit(&second).await >= 1);
    second.kill();
    // One that cannot be read, and one of another journal, are as good as none.
    let writer = system.nats.bus(Role::TraderPaper).await;
    let subject = Subject::BookSnapshot(key.clone()).to_string();
    let good = system.operator().newest(streams::SNAPSHOTS, &subject).await;
    let good = good.unwrap().unwrap().payload;
    let mut foreign: serde_json::Value = serde_json::from_slice(&good).unwrap();
    foreign["mark"]["writer"] = "another".into();
    for (payload, says) in [
        (b"{\"v\":1".to_vec(), "snapshot not usable"),
        (
            serde_json::to_vec(&foreign).unwrap(),
            "does not belong to this journal",
        ),
    ] {
        let stored = writer.jetstream().publish(subject.clone(), payload.into());
        stored.await.unwrap().await.unwrap();
        let mut trader = setup.start();
        trader.says(says).await;
        trader.works().await;
        trader.kill();
    }
    let last = setup.start();
    last.works().await;
    system.audit(&last).await;
}

#[tokio::test]
async fn settings_that_changed_are_told_and_capital_changes_only_while_a_book_is_flat() {
    let system = System::start(&[("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader("changed").env("SYMBOLS", "BTCUSDT");
    let mut trader = setup.start();
    trader.works().await;
    trader.signal("TERM");
    assert_eq!(trader.exit_within(SOON).await, 0);
    let trader = setup
        .env("LEVERAGE", "2")
        .env("CAPITAL_USDT", "5000")
        .start();
    trader.works().await;
    eventually("the owner hears what changed", SOON, async || {
        let told = told::events(system.operator()).await;
        told.into_iter().find(|told| {
            matches!(&told.event.body, EventBody::BookClaimed { changes, .. }
                if changes == &["leverage: 1 -> 2"])
        })
    })
    .await;
    let flat = system.record("it has its new share", seconds(120), |record| {
        matches!(record, BookRecord::CapitalChanged { capital } if *capital == 5000.into())
    });
    flat.await;
    system.audit(&trader).await;
}

/// The newest report on this subject.
async fn report<R: serde::de::DeserializeOwned>(system: &System, subject: Subject) -> Option<R> {
    let subject = subject.to_string();
    let newest = system.operator().newest(streams::REPORTS, &subject).await;
    serde_json::from_slice(&newest.unwrap()?.payload).ok()
}

#[tokio::test]
async fn what_a_book_earned_counts_after_its_symbol_is_traded_no_more() {
    let symbols = ("SIM_SYMBOLS", "BTCUSDT,ETHUSDT");
    let mut system = System::start(&[("SIM_SPEED", "300"), symbols]).await;
    let setup = system.trader("fewer");
    let both = setup.clone().env("SYMBOLS", "BTCUSDT,ETHUSDT");
    let retired = |journals: &BTreeMap<BookKey, Entries>| {
        let (key, entries) = journals
            .iter()
            .find(|(key, _)| key.symbol.as_str() == "ETHUSDT")?;
        let state = bearish_tests::journals::fold(entries);
        let done = state.trades > 0 && state.phase == BookPhase::Flat;
        done.then(|| (key.clone(), state.equity - state.capital))
    };
    let mut trader = both.start();
    let (book, earned) = eventually("a trade, and nothing open", seconds(120), async || {
        retired(&system.journals().await)?;
        trader.kill();
        let left = retired(&system.journals().await);
        if left.is_none() {
            trader = both.start();
        }
        left
    })
    .await;
    assert!(!earned.is_zero());
    let one = setup.env("SYMBOLS", "BTCUSDT").start();
    one.works().await;
    // Both stand still then: what the keeper adds up is what the book says.
    system.exchange.kill();
    let symbol = "BTCUSDT".parse().unwrap();
    let other = BookKey {
        symbol,
        ..book.clone()
    };
    eventually("the account is worth both", SOON, async || {
        let account = Subject::AccountReport(book.account.clone());
        let account: AccountReport = report(&system, account).await?;
        let book: BookReport = report(&system, Subject::BookReport(other.clone())).await?;
        (account.equity == book.equity + earned).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_trader_did_is_answered_with_the_trader_dead() {
    let system = System::start(&[("SIM_SPEED", "300")]).await;
    let setup = system.trader("dead");
    let mut trader = setup.start();
    system.trades(2, seconds(120)).await;
    trader.kill();
    let (code, said) = command(&setup, "status").await;
    assert_eq!(code, 0, "{said}");
    for text in [
        "ACCOUNT paper.binance-usdm.",
        ", clear",
        ".BTCUSDT",
        "signals refused: ",
    ] {
        assert!(said.contains(text), "no {text:?} in\n{said}");
    }
    let (code, csv) = command(&setup, "trades --csv").await;
    assert_eq!(code, 0, "{csv}");
    let lines: Vec<&str> = csv.lines().collect();
    let columns = "book,strategy,side,entry_time,exit_time,quantity,entry,exit,fees,funding,pnl,\
                   equity,reason";
    assert_eq!(lines[0], columns);
    let closed = system.journals().await;
    let closed = bearish_tests::journals::trades(closed.values());
    assert_eq!(lines.len() - 1, closed, "{csv}");
    let reports = filter::book_reports(Mode::Paper);
    let reported = system.operator().subjects(streams::REPORTS, &reports).await;
    assert_eq!(reported.unwrap().len(), 3);
}
