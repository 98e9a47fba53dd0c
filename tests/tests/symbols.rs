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
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::ids::BookKey;
use serde_json::json;
use trader_core::book::{BookPhase, BookRecord, BookState, ExitReason};

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
    system.wait_for_trades(1, Duration::from_secs(120)).await;
    let mut health = setup.clone().flags("health").start().into_process();
    let code = health.exit_within(DEFAULT_TIMEOUT).await;
    let said = health.out().join("\n");
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("SOLUSDT waits: ") && said.contains("not listed"),
        "{said}"
    );
    assert!(book(&system, "SOLUSDT").await.is_none(), "not opened yet");
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

/// The exchange answers -1121 to every call about the symbol: nothing can be done but wait, and say so.
#[tokio::test]
async fn symbol_that_vanishes_with_a_position_halts_nothing_and_continues_when_it_is_back() {
    let system = LiveSystem::start(&[], "20").await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    trader.kill();
    let unlist = |on| json!({"fault": "unlist", "symbol": SYMBOL, "on": on});
    system.arm_fault(&unlist(true)).await;
    let again = system.trader_setup("one").start();
    again
        .wait_for_log("symbol filters are those of the book's journal")
        .await;
    again.wait_for_log("book is stalled").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let journal = system.read_journal().await;
    let is_halt = |r: &BookRecord| matches!(r, BookRecord::BookHalted { .. });
    assert!(!journals::records([&journal]).any(is_halt));
    system.arm_fault(&unlist(false)).await;
    again.wait_until_running().await;
    system.audit().await;
}

#[tokio::test]
async fn removed_symbol_is_wound_down_and_then_retired() {
    let sim = [("SIM_SPEED", "120"), ("SIM_SYMBOLS", "BTCUSDT,ETHUSDT")];
    let system = System::start(&sim).await;
    let setup = system.trader_setup("fewer");
    let mut trader = setup.clone().env("SYMBOLS", "BTCUSDT,ETHUSDT").start();
    let within = Duration::from_secs(150);
    let key = eventually("a position that outlives its trader", within, async || {
        let (_, state) = book(&system, "ETHUSDT").await?;
        if !matches!(state.phase, BookPhase::Open(_)) {
            return None;
        }
        trader.kill();
        let (key, state) = book(&system, "ETHUSDT").await?;
        if matches!(state.phase, BookPhase::Open(_)) {
            return Some(key);
        }
        trader = setup.clone().env("SYMBOLS", "BTCUSDT,ETHUSDT").start();
        None
    })
    .await;
    let fewer = setup.clone().env("SYMBOLS", "BTCUSDT").start();
    fewer
        .wait_for_log("symbol removed from SYMBOLS with an open position")
        .await;
    fewer
        .wait_for_log_within("position of a removed symbol is closed", within)
        .await;
    let (_, retired) = book(&system, "ETHUSDT").await.unwrap();
    assert_eq!(retired.phase, BookPhase::Flat);
    let entries = system.journals().await.remove(&key).unwrap();
    let entered = |r: &&BookRecord| matches!(r, BookRecord::EntryDecided(_));
    let closed = |r: &&BookRecord| matches!(r, BookRecord::PositionClosed(_));
    let entered = journals::records([&entries]).filter(entered).count();
    assert_eq!(
        entered,
        journals::records([&entries]).filter(closed).count()
    );
    let is_own = |r: &&BookRecord| matches!(r, BookRecord::PositionClosed(t) if t.reason == ExitReason::External);
    assert_eq!(journals::records([&entries]).filter(is_own).count(), 0);
    // The other book still trades, so the account's worth is known.
    let trades = system.journals().await;
    let before = journals::count_trades(trades.values());
    system.wait_for_trades(before + 1, within).await;
}
