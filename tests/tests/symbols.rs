//! Symbols do not drag each other down: one that is not listed, settles, vanishes or is removed from the settings
//! concerns its own book only.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::journals;
use bearish_tests::live::{LiveSystem, SYMBOL};
use bearish_tests::system::System;
use bearish_tests::trader::TraderSetup;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::ids::BookKey;
use serde_json::json;
use trader_core::book::{BookPhase, BookRecord, BookState, ExitReason};

/// Longest wait for what the market decides.
const LONG: Duration = Duration::from_secs(150);

async fn book(system: &System, symbol: &str) -> Option<(BookKey, BookState)> {
    let journals = system.journals().await;
    let mut found = journals
        .iter()
        .filter(|(key, _)| key.symbol.as_str() == symbol);
    found
        .next()
        .map(|(key, entries)| (key.clone(), journals::fold_book(entries)))
}

#[tokio::test]
async fn unlisted_symbol_waits_for_its_listing_and_the_others_trade() {
    let symbols = "BTCUSDT,ETHUSDT,SOLUSDT";
    let sim = [
        ("SIM_SYMBOLS", symbols),
        ("SIM_SPEED", "300"),
        ("SIM_FAULT_API", "1"),
    ];
    let system = System::start(&sim).await;
    let unlist = |on| json!({"fault": "unlist", "symbol": "SOLUSDT", "on": on});
    system.exchange.arm_fault(&unlist(true)).await;
    let setup = system.trader_setup("one").env("SYMBOLS", symbols);
    let trader = setup.start();
    trader.wait_until_running().await;
    trader.wait_for_log("book waits for its symbol").await;
    system.wait_for_trades(1, Duration::from_mins(2)).await;
    let mut health = setup.clone().flags("health").start().into_process();
    let code = health.exit_within(DEFAULT_TIMEOUT).await;
    let said = health.out().join("\n");
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("SOLUSDT waits: ") && said.contains("not listed"),
        "{said}"
    );
    assert!(book(&system, "SOLUSDT").await.is_none(), "not opened yet");
    eventually(
        "status says for what it waits",
        DEFAULT_TIMEOUT,
        async || {
            let mut status = setup.clone().flags("status").start().into_process();
            let code = status.exit_within(DEFAULT_TIMEOUT).await;
            let said = status.out().join("\n");
            (code == 0 && said.contains("SOLUSDT: waits since ") && said.contains("not listed"))
                .then_some(())
        },
    )
    .await;
    system.exchange.arm_fault(&unlist(false)).await;
    let within = Duration::from_secs(100);
    eventually("the listed symbol's book is open", within, async || {
        let (_, state) = book(&system, "SOLUSDT").await?;
        (state.phase != BookPhase::Unopened).then_some(())
    })
    .await;
}

#[tokio::test]
async fn symbol_that_settles_while_the_trader_is_down_is_managed_and_closed() {
    let system = LiveSystem::start(&[], "20").await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    trader.kill();
    let settling = json!({"fault": "contract-status", "symbol": SYMBOL, "status": "SETTLING"});
    system.arm_fault(&settling).await;
    let mut again = system.trader_setup("one").start();
    again.wait_until_running().await;
    system.audit().await;
    let (code, output) = system
        .run_command("operator", "flatten --confirm --reason tried")
        .await;
    assert_eq!(code, 0, "{output}");
    assert_eq!(again.exit_within(DEFAULT_TIMEOUT).await, 21);
    let book = system.book_state().await;
    assert_eq!(book.phase, BookPhase::Flat);
    system.audit().await;
}

/// Starts a trader of two symbols, and kills it while the book of ETHUSDT has a position. Returns the book's key.
async fn kill_with_position(system: &System, setup: &TraderSetup) -> BookKey {
    let mut trader = setup.start();
    eventually("a position that outlives its trader", LONG, async || {
        let (_, state) = book(system, "ETHUSDT").await?;
        if !matches!(state.phase, BookPhase::Open(_)) {
            return None;
        }
        trader.kill();
        let (key, state) = book(system, "ETHUSDT").await?;
        if matches!(state.phase, BookPhase::Open(_)) {
            return Some(key);
        }
        trader = setup.start();
        None
    })
    .await
}

#[tokio::test]
async fn symbol_that_vanishes_with_a_position_waits_and_is_managed_when_it_is_back() {
    let sim = [
        ("SIM_SPEED", "120"),
        ("SIM_SYMBOLS", "BTCUSDT,ETHUSDT"),
        ("SIM_FAULT_API", "1"),
    ];
    let system = System::start(&sim).await;
    let setup = system.trader_setup("one").env("SYMBOLS", "BTCUSDT,ETHUSDT");
    kill_with_position(&system, &setup).await;
    let unlist = |on| json!({"fault": "unlist", "symbol": "ETHUSDT", "on": on});
    system.exchange.arm_fault(&unlist(true)).await;
    let trader = setup.start();
    let from_journal = "symbol filters are those of the book's journal";
    trader.wait_for_log(from_journal).await;
    trader.wait_until_running().await;
    let (_, waiting) = book(&system, "ETHUSDT").await.unwrap();
    assert!(
        matches!(waiting.phase, BookPhase::Open(_)),
        "halted or lost"
    );
    system.exchange.arm_fault(&unlist(false)).await;
    eventually("the position is closed", LONG, async || {
        let (_, state) = book(&system, "ETHUSDT").await?;
        (state.trades > 0).then_some(())
    })
    .await;
    system.audit(&trader).await;
}

#[tokio::test]
async fn removed_symbol_is_wound_down_and_then_retired() {
    let sim = [("SIM_SPEED", "120"), ("SIM_SYMBOLS", "BTCUSDT,ETHUSDT")];
    let system = System::start(&sim).await;
    let setup = system.trader_setup("fewer");
    let both = setup.clone().env("SYMBOLS", "BTCUSDT,ETHUSDT");
    let key = kill_with_position(&system, &both).await;
    let fewer = setup.clone().env("SYMBOLS", "BTCUSDT").start();
    fewer
        .wait_for_log("symbol removed from SYMBOLS with an open position")
        .await;
    fewer
        .wait_for_log_within("position of a removed symbol is closed", LONG)
        .await;
    let (_, retired) = book(&system, "ETHUSDT").await.unwrap();
    assert_eq!(retired.phase, BookPhase::Flat);
    let entries = system.journals().await.remove(&key).unwrap();
    let entered_by = |r: &&BookRecord| matches!(r, BookRecord::EntryDecided(_));
    let closed = |r: &&BookRecord| matches!(r, BookRecord::PositionClosed(_));
    let entered = journals::records([&entries]).filter(entered_by).count();
    assert_eq!(
        entered,
        journals::records([&entries]).filter(closed).count()
    );
    let is_own = |r: &&BookRecord| matches!(r, BookRecord::PositionClosed(t) if t.reason == ExitReason::External);
    assert_eq!(journals::records([&entries]).filter(is_own).count(), 0);
    // The other book still enters, so the account's worth is known.
    let entries = async || {
        let (key, _) = book(&system, "BTCUSDT").await.unwrap();
        let entries = system.journals().await.remove(&key).unwrap();
        journals::records([&entries]).filter(entered_by).count()
    };
    let before = entries().await;
    eventually("another entry", LONG, async || {
        (entries().await > before).then_some(())
    })
    .await;
}
