//! Real orders on the simulated exchange: the way of a position from entry to exit, and every dangerous
//! second on it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::bus_reader::{self, StoredEvent};
use bearish_tests::gateway::{Gateway, HoldPoint, ReleaseAction};
use bearish_tests::journals;
use bearish_tests::live::scenario::LiveScenario;
use bearish_tests::live::step::{Initiator, STEPS, TraderEnd};
use bearish_tests::live::{API_KEY, DOWN, LiveSystem, SYMBOL, UP, is_protected};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use binance_sdk::derivatives_trading_usds_futures::rest_api::NewOrderSideEnum;
use protocol::event::EventBody;
use rust_decimal::dec;
use serde_json::json;
use trader_core::book::{BookPhase, BookRecord, ExitReason};

/// A candle in three seconds; the exchange takes an order for three seconds.
const SPEED: &str = "20";

fn closed_by(reason: ExitReason) -> impl Fn(&BookRecord) -> bool {
    move |record| matches!(record, BookRecord::PositionClosed(trade) if trade.reason == reason)
}

#[tokio::test]
async fn position_reaches_its_target_and_journal_and_exchange_agree() {
    let system = LiveSystem::start(&[(4, UP)], SPEED).await;
    let trader = system.trader_setup("one").start();
    trader.wait_until_running().await;
    system.wait_until_protected().await;
    system.audit().await;
    let (code, said) = system.run_command("eyes", "status").await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("ACCOUNT live.") && said.contains("long 0.25 at"),
        "{said}"
    );
    let target = closed_by(ExitReason::Target);
    system.wait_for_record("the target is filled", target).await;
    system.wait_for_trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn position_stopped_out_while_the_trader_is_down_is_adopted() {
    let system = LiveSystem::start(&[(4, DOWN)], SPEED).await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    trader.kill();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let _again = system.trader_setup("one").start();
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is adopted", stop).await;
    system.wait_for_trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn flatten_closes_everything_on_the_exchange() {
    let system = LiveSystem::start(&[], SPEED).await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let (code, said) = system
        .run_command("word", "flatten --confirm --reason tried")
        .await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(trader.exit_within(DEFAULT_TIMEOUT).await, 21);
    let closed = closed_by(ExitReason::AccountLatched);
    system
        .wait_for_record("what was open is closed", closed)
        .await;
    system.audit().await;
}

/// A person has everything closed, and the trader is killed before the exchange hears of it.
async fn kill_while_closing() -> LiveScenario {
    let mut run = LiveScenario::prepare(&[], SPEED).await;
    let exit = STEPS
        .iter()
        .find(|step| step.initiator == Initiator::Operator)
        .unwrap();
    let held = run.run_until(exit, HoldPoint::BeforeExchange).await;
    run.end_trader(TraderEnd::Killed).await;
    held.release(ReleaseAction::Discard);
    run
}

#[tokio::test]
async fn trader_killed_during_flatten_finishes_it_after_restart() {
    let mut run = kill_while_closing().await;
    run.finish(Initiator::Operator).await;
    let closed = closed_by(ExitReason::AccountLatched);
    run.system
        .wait_for_record("what was open is closed", closed)
        .await;
}

#[tokio::test]
async fn new_trader_on_a_latched_account_closes_the_books_of_a_killed_one() {
    let run = kill_while_closing().await;
    // Latched, and its only book is leased to the dead one.
    let mut another = run.start_another("two");
    assert_eq!(another.exit_within(DEFAULT_TIMEOUT).await, 21);
    let book = run.system.book_state().await;
    assert_eq!(
        book.phase,
        BookPhase::Flat,
        "it left before it had closed it"
    );
    run.system.audit().await;
}

#[tokio::test]
async fn trader_told_to_end_replaces_a_lost_stop_order_first() {
    // The exchange takes an order for four seconds.
    let mut run = LiveScenario::prepare(&[], "15").await;
    let stop = STEPS.iter().find(|step| step.name == "stop").unwrap();
    let held = run.run_until(stop, HoldPoint::BeforeExchange).await;
    let lost = json!({"fault": "fail-before", "status": 503, "code": -1007, "method": stop.method,
        "path": stop.path, "times": 1});
    run.system.arm_fault(&lost).await;
    held.release(ReleaseAction::Forward);
    let unclear = |r: &BookRecord| matches!(r, BookRecord::OrderOutcomeUnknown { .. });
    run.system
        .wait_for_record("nobody knows of it", unclear)
        .await;
    run.end_trader(TraderEnd::Stopped).await;
    let book = run.system.book_state().await;
    assert!(is_protected(&book), "{:?} {:?}", book.phase, book.orders);
    assert!(run.system.is_protected_on_exchange().await);
}

#[tokio::test]
async fn trader_told_to_end_with_unknown_entry_leaves_no_unprotected_position() {
    let mut run = LiveScenario::prepare(&[], SPEED).await;
    let held = run.run_until(&STEPS[0], HoldPoint::AfterExchange).await;
    held.release(ReleaseAction::Discard);
    run.end_trader(TraderEnd::Stopped).await;
    let book = run.system.book_state().await;
    assert!(is_protected(&book), "{:?} {:?}", book.phase, book.orders);
    assert!(run.system.is_protected_on_exchange().await);
}

#[tokio::test]
async fn direct_flatten_without_the_bus_is_adopted_by_the_book() {
    let mut system = LiveSystem::start(&[], SPEED).await;
    let _trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    system.nats.kill();
    let words = "flatten --confirm --direct --reason tried";
    let (code, said) = system.run_command("hand", words).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("BTCUSDT: flat"), "{said}");
    assert!(said.contains("not latched"), "{said}");
    system.nats.restart().await;
    let adopted = closed_by(ExitReason::External);
    system
        .wait_for_record("the closing is adopted", adopted)
        .await;
    system.audit().await;
}

#[tokio::test]
async fn trader_frozen_while_sending_executes_nothing_after_losing_its_book() {
    let system = LiveSystem::start_without_account(&[], SPEED).await;
    let gateway = Gateway::start(system.exchange.address()).await;
    let trader = |name: &str| {
        system
            .trader_setup(name)
            .env("BINANCE_REST_URL", &gateway.url())
    };
    let (code, said) = system
        .run_command_with(&trader("init"), "init --account")
        .await;
    assert_eq!(code, 0, "{said}");
    let mut held = gateway.hold_call("POST", "/fapi/v1/order", 0, HoldPoint::BeforeExchange);
    let first = trader("first").start();
    held.wait_until_held(DEFAULT_TIMEOUT).await;
    first.signal("STOP");
    let second = trader("second").start();
    let dropped = |r: &BookRecord| matches!(r, BookRecord::EntryDropped { .. });
    system
        .wait_for_record("the second one gives the entry up", dropped)
        .await;
    held.release(ReleaseAction::Forward);
    first.signal("CONT");
    first.wait_for_log("book lost").await;
    second.wait_until_running().await;
    let book = system.book_state().await;
    assert_eq!((book.trades, &book.phase), (0, &BookPhase::Flat));
    system.audit().await;
}

#[tokio::test]
async fn muted_user_stream_is_compensated_by_reconciliation() {
    let system = LiveSystem::start(&[(4, DOWN)], SPEED).await;
    let _trader = system.trader_setup("one").start();
    system
        .arm_fault(&json!({"fault": "mute", "on": true, "to": "user"}))
        .await;
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is found", stop).await;
    system.audit().await;
}

#[tokio::test]
async fn unexplained_position_halts_the_book_until_the_operator_unhalts_it() {
    let system = LiveSystem::start(&[], SPEED).await;
    let trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    // More than the position of 0.25, so not its end.
    system
        .place_manual_order(NewOrderSideEnum::Sell, dec!(0.3))
        .await;
    system
        .place_manual_order(NewOrderSideEnum::Buy, dec!(0.05))
        .await;
    trader.wait_for_log("book halted").await;
    let halted = system.book_state().await;
    assert!(
        matches!(&halted.phase, BookPhase::Halted { reason, position: Some(_), .. }
        if reason.contains("no trade explains it"))
    );

    // Said without a word on the position, it is halted for the same again.
    let (code, said) = system
        .run_command("word", "unhalt --symbol BTCUSDT --reason tried")
        .await;
    assert_eq!(code, 0, "{said}");
    trader.wait_for_log("the book is released").await;
    let halts = async || {
        let journal = system.read_journal().await;
        let halted = |r: &&BookRecord| matches!(r, BookRecord::BookHalted { .. });
        let halts = journals::records([&journal]).filter(halted).count();
        (halts == 2).then_some(())
    };
    eventually("halted again", DEFAULT_TIMEOUT, halts).await;

    let words = "unhalt --symbol BTCUSDT --closed-at 40100 --reason sold-it-all";
    let (code, said) = system.run_command("word", words).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("booked as closed at 40100, profit"), "{said}");
    let owned_again = async || {
        let book = system.book_state().await;
        let journal = system.read_journal().await;
        let taken = matches!(
            journals::records([&journal]).last(),
            Some(BookRecord::WriterChanged { .. })
        );
        (taken && book.phase == BookPhase::Flat).then_some(book)
    };
    let book = eventually("the book trades on, flat", DEFAULT_TIMEOUT, owned_again).await;
    assert_eq!(book.trades, 1);
    system.wait_until_nothing_rests().await;
}

#[tokio::test]
async fn missing_candles_are_a_gap_and_the_position_is_still_managed() {
    let system = LiveSystem::start(&[(6, DOWN)], SPEED).await;
    let trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let hole = json!({"fault": "missing-candle", "symbol": SYMBOL, "interval": "1m", "count": 2});
    system.arm_fault(&hole).await;
    trader
        .wait_for_log("the exchange has no candles here")
        .await;
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is taken in", stop).await;
    system.wait_for_trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn revoked_key_is_published_once_retried_slowly_and_used_again() {
    let system = LiveSystem::start(&[(4, DOWN)], SPEED).await;
    let trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let key = |on| json!({"fault": "revoke-key", "key": API_KEY, "on": on});
    system.arm_fault(&key(true)).await;
    let refused = "book does not get on";
    // The stop fills on the exchange, and the trader cannot ask what became of it.
    trader.wait_for_log(refused).await;
    // Some candles come, which do not make it well.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let tries = trader.count_logs(refused);
    assert!(tries <= 3, "{tries} tries in 12 s");
    let told = bus_reader::stored_events(system.operator_bus()).await;
    let failed = |t: &&StoredEvent| matches!(&t.event.body, EventBody::ComponentFailed { component, .. } if component == SYMBOL);
    let failures: Vec<&StoredEvent> = told.iter().filter(failed).collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    system.arm_fault(&key(false)).await;
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is found", stop).await;
    system.wait_for_trades(1).await;
    system.audit().await;
    eventually("word that it is well again", DEFAULT_TIMEOUT, async || {
        let told = bus_reader::stored_events(system.operator_bus()).await;
        let well = |t: &StoredEvent| matches!(t.event.body, EventBody::ComponentRecovered { .. });
        told.iter().any(well).then_some(())
    })
    .await;
}

#[tokio::test]
async fn liquidation_is_adopted_published_and_accounted() {
    let system = LiveSystem::start(&[], SPEED).await;
    let _trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let end = json!({"fault": "liquidate", "account": API_KEY, "symbol": SYMBOL});
    system.arm_fault(&end).await;
    let closed = closed_by(ExitReason::External);
    system
        .wait_for_record("the liquidation is adopted", closed)
        .await;
    system.audit().await;
    eventually("word of it", DEFAULT_TIMEOUT, async || {
        let told = bus_reader::stored_events(system.operator_bus()).await;
        let closed = |t: &StoredEvent| matches!(t.event.body, EventBody::PositionClosed { .. });
        told.iter().any(closed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn account_is_initialized_once_and_by_the_operator() {
    let system = LiveSystem::start_without_account(&[], SPEED).await;
    let mut early = system.trader_setup("early").start();
    assert_eq!(early.exit_within(DEFAULT_TIMEOUT).await, 78);
    let complaint = early.err().join("\n");
    assert!(complaint.contains("trader init --account"), "{complaint}");
    system.init_account().await;
    let (code, said) = system.run_command("again", "init --account").await;
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("has a journal already"), "{said}");
    let (code, said) = system.run_command("dry", "--dry-run").await;
    assert!(said.contains("SIMULATOR"), "{said}");
    assert!(said.contains("may not withdraw"), "{said}");
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn funding_paid_while_the_trader_was_down_is_in_the_profit() {
    // Half an hour before funding is due, and stopped out a few minutes after it.
    let system = LiveSystem::start_with_entry_at(&[(34, DOWN)], "40", 450).await;
    system.init_account().await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    trader.kill();
    tokio::time::sleep(std::time::Duration::from_secs(48)).await;
    let _again = system.trader_setup("one").start();
    let funded = |r: &BookRecord| matches!(r, BookRecord::FundingPaid { .. });
    system.wait_for_record("the funding is found", funded).await;
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is adopted", stop).await;
    system.wait_for_trades(1).await;
    system.audit().await;
}
