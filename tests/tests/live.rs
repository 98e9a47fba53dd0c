//! Real orders on the simulated exchange: the way of a position from entry to exit, and every dangerous
//! second on it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is how a test fails"
)]

use bearish_tests::live::{DOWN, LiveSystem, UP};
use engine::book::{BookRecord, ExitReason};

/// A candle in three seconds; the exchange takes an order for three seconds.
const SPEED: &str = "20";

fn closed_by(reason: ExitReason) -> impl Fn(&BookRecord) -> bool {
    move |record| matches!(record, BookRecord::PositionClosed(trade) if trade.reason == reason)
}

#[tokio::test]
async fn a_position_goes_from_entry_to_target_and_the_books_agree_to_the_last_digit() {
    let system = LiveSystem::start(&[(4, UP)], SPEED).await;
    let trader = system.trader("one").start();
    trader.works().await;
    system.guarded().await;
    system.audit().await;
    let target = closed_by(ExitReason::Target);
    system.record("the target is filled", target).await;
    system.trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn a_position_is_stopped_out_by_the_exchange_while_the_trader_is_dead() {
    let system = LiveSystem::start(&[(4, DOWN)], SPEED).await;
    let mut trader = system.trader("one").start();
    system.guarded().await;
    trader.kill();
    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
    let _again = system.trader("one").start();
    let stop = closed_by(ExitReason::Stop);
    system.record("the stop is adopted", stop).await;
    system.trades(1).await;
    system.audit().await;
}
