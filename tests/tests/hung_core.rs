//! Tests of a book whose core hangs and blocks a thread of its trader, or panics: only this book is halted, the halt is
//! in its journal, the other books continue, and the operator can unhalt the book.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use bearish_tests::bus_reader;
use bearish_tests::journals;
use bearish_tests::system::System;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::event::EventBody;
use protocol::exit_code::ExitCode;
use trader_core::book::{BookPhase, BookRecord};

const HUNG_SYMBOL: &str = "ETHUSDT";
/// Time within which the trader exits: ten seconds until the hang is detected, then the halt is stored.
const HALT_TIMEOUT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn hung_core_halts_its_book_only_and_the_other_books_trade_on() {
    let system = System::start(&[("SIM_SPEED", "600")]).await;
    // The failpoint stays armed: every call of this core hangs.
    let setup = system
        .trader_setup("spinning")
        .env("FAILPOINT_SPIN", HUNG_SYMBOL);
    let mut first = setup.start_with_failpoints();
    let exit = first.exit_within(HALT_TIMEOUT).await;
    assert_eq!(exit, i32::from(ExitCode::Internal.number()));
    assert_eq!(first.count_logs("core call timed out; halting the book"), 1);

    let before = journals::count_trades(system.journals().await.values());
    let next = setup.start_with_failpoints();
    next.wait_until_running().await;
    system.wait_for_trades(before + 1, DEFAULT_TIMEOUT).await;
    system.audit(&next).await;
    for (key, entries) in system.journals().await {
        let halted = matches!(
            journals::fold_book(&entries).phase,
            BookPhase::Halted { .. }
        );
        assert_eq!(halted, key.symbol.as_str() == HUNG_SYMBOL, "{key}");
        let halts = journals::records([&entries]);
        let halts = halts.filter(|record| matches!(record, BookRecord::BookHalted { .. }));
        assert_eq!(halts.count(), usize::from(halted), "{key}");
    }
    let heartbeat =
        bus_reader::wait_until_caught_up(system.operator_bus(), next.instance(), DEFAULT_TIMEOUT)
            .await;
    let halted = heartbeat
        .books
        .iter()
        .filter(|book| book.halt_reason.is_some());
    assert_eq!(halted.count(), 1);
    let events = bus_reader::stored_events(system.operator_bus()).await;
    let halts = events.iter().filter_map(|stored| match &stored.event.body {
        EventBody::BookHalted { book, reason } => Some((book.symbol.as_str(), reason.as_str())),
        _ => None,
    });
    let expected = "bug: a decision did not return within 10s";
    assert_eq!(halts.collect::<Vec<_>>(), [(HUNG_SYMBOL, expected)]);

    drop(next);
    unhalt_book(&system).await;
}

/// Starts a trader whose core does not hang: the book stays halted until the operator unhalts it.
async fn unhalt_book(system: &System) {
    let trader = system.trader_setup("spinning").start();
    trader.wait_until_running().await;
    trader.wait_for_log("book halted").await;
    let (code, output) = run_unhalt(system, "BTCUSDT").await;
    assert_eq!(code, 78, "{output}");
    assert!(
        output.contains("--symbol=\"BTCUSDT\": expected a halted book"),
        "{output}"
    );
    let (code, output) = run_unhalt(system, "ETHUSDT --closed-at 40000").await;
    assert_eq!(code, 78, "{output}");
    assert!(
        output.contains(
            "--closed-at=\"40000\": expected no price: no external order can close a paper"
        ),
        "{output}"
    );
    let (code, output) = run_unhalt(system, HUNG_SYMBOL).await;
    assert_eq!(code, 0, "{output}");
    trader
        .wait_for_log("book unhalted; restarting its task")
        .await;
    bus_reader::wait_for_heartbeat(
        system.operator_bus(),
        trader.instance(),
        "no book halted",
        DEFAULT_TIMEOUT,
        |h| !h.books.is_empty() && h.books.iter().all(|book| book.halt_reason.is_none()),
    )
    .await;
    system.audit(&trader).await;
    let events = bus_reader::stored_events(system.operator_bus()).await;
    let unhalted = events.iter().filter(|stored| {
        matches!(&stored.event.body, EventBody::BookUnhalted { book, .. } if book.symbol.as_str() == HUNG_SYMBOL)
    });
    assert_eq!(unhalted.count(), 1);
}

async fn run_unhalt(system: &System, symbol: &str) -> (i32, String) {
    let arguments = format!("unhalt --reason fixed --symbol {symbol}");
    let mut process = system
        .trader_setup("operator")
        .flags(&arguments)
        .start()
        .into_process();
    let code = process.exit_within(DEFAULT_TIMEOUT).await;
    (code, [process.out(), process.err()].concat().join("\n"))
}

#[tokio::test]
async fn halt_after_a_panic_survives_a_kill_and_ends_by_the_command_of_its_message() {
    let system = System::start(&[("SIM_SPEED", "600")]).await;
    let setup = system.trader_setup("panicking");
    let armed = setup.clone().env("FAILPOINT_PANIC", HUNG_SYMBOL);
    let mut first = armed.start_with_failpoints();
    first.wait_for_log("book halted").await;
    first.kill();
    let halts = async || {
        let journals = system.journals().await;
        let is_halt = |r: &&BookRecord| matches!(r, BookRecord::BookHalted { .. });
        journals::records(journals.values()).filter(is_halt).count()
    };
    assert_eq!(halts().await, 1, "in the journal");

    let next = setup.start();
    next.wait_until_running().await;
    next.wait_for_log("book halted").await;
    let health = async || {
        let mut health = setup.clone().flags("health").start().into_process();
        let code = health.exit_within(DEFAULT_TIMEOUT).await;
        let output = health.out().join("\n");
        (code == 0 && output.contains("ETHUSDT halted: bug: ")).then_some(())
    };
    eventually("health names the halt", DEFAULT_TIMEOUT, health).await;
    let status = setup.clone().flags("status").start().into_process();
    status.wait_for_log("ETHUSDT: halted: bug: ").await;
    let (code, output) = run_unhalt(&system, HUNG_SYMBOL).await;
    assert_eq!(code, 0, "{output}");
    next.wait_for_log("book unhalted; restarting its task")
        .await;
    bus_reader::wait_for_heartbeat(
        system.operator_bus(),
        next.instance(),
        "no book halted",
        DEFAULT_TIMEOUT,
        |h| !h.books.is_empty() && h.books.iter().all(|book| book.halt_reason.is_none()),
    )
    .await;
    assert_eq!(halts().await, 1);
    let events = bus_reader::stored_events(system.operator_bus()).await;
    let is_halt = |body: &EventBody| matches!(body, EventBody::BookHalted { .. });
    let halts = events.iter().filter(|stored| is_halt(&stored.event.body));
    assert_eq!(halts.count(), 1, "published once");
}
