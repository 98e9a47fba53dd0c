//! Real orders on the simulated exchange: the way of a position from entry to exit, and every dangerous
//! second on it.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::gateway::{Gateway, Then, When};
use bearish_tests::journals;
use bearish_tests::live::run::Run;
use bearish_tests::live::step::{By, End, STEPS};
use bearish_tests::live::{DOWN, KEY, LiveSystem, SYMBOL, UP, is_guarded};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::told::{self, Told};
use binance_sdk::derivatives_trading_usds_futures::rest_api::NewOrderSideEnum;
use engine::book::{BookRecord, ExitReason, Phase};
use protocol::event::EventBody;
use rust_decimal::dec;
use serde_json::json;

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
    let (code, said) = system.command("eyes", "status").await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("ACCOUNT live.") && said.contains("long 0.25 at"),
        "{said}"
    );
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
    tokio::time::sleep(Duration::from_secs(12)).await;
    let _again = system.trader("one").start();
    let stop = closed_by(ExitReason::Stop);
    system.record("the stop is adopted", stop).await;
    system.trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn a_person_closes_everything_and_the_exchange_has_nothing_left() {
    let system = LiveSystem::start(&[], SPEED).await;
    let mut trader = system.trader("one").start();
    system.guarded().await;
    let (code, said) = system
        .command("word", "flatten --confirm --why tried")
        .await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(trader.exit_within(SOON).await, 21);
    let closed = closed_by(ExitReason::AccountLatched);
    system.record("what was open is closed", closed).await;
    system.audit().await;
}

/// A person has everything closed, and the trader is killed before the exchange hears of it.
async fn killed_while_closing() -> Run {
    let mut run = Run::begin(&[], SPEED).await;
    let exit = STEPS.iter().find(|step| step.by == By::Person).unwrap();
    let held = run.up_to(exit, When::Asked).await;
    run.end(End::Killed).await;
    held.then(Then::Lost);
    run
}

#[tokio::test]
async fn who_dies_while_a_person_closes_everything_finishes_that_when_it_is_back() {
    let mut run = killed_while_closing().await;
    run.over(By::Person).await;
    let closed = closed_by(ExitReason::AccountLatched);
    run.system.record("what was open is closed", closed).await;
}

#[tokio::test]
async fn who_starts_beside_the_books_of_one_that_just_died_waits_for_them_and_closes_them() {
    let run = killed_while_closing().await;
    // Latched, and its only book is leased to the dead one.
    let mut another = run.another("two");
    assert_eq!(another.exit_within(SOON).await, 21);
    let book = run.system.book().await;
    assert_eq!(book.phase, Phase::Flat, "it left before it had closed it");
    run.system.audit().await;
}

#[tokio::test]
async fn who_is_told_to_end_while_its_stop_is_lost_on_its_way_sends_another_before_it_ends() {
    // The exchange takes an order for four seconds.
    let mut run = Run::begin(&[], "15").await;
    let stop = STEPS.iter().find(|step| step.name == "stop").unwrap();
    let held = run.up_to(stop, When::Asked).await;
    let lost = json!({"do": "before", "status": 503, "code": -1007, "method": stop.method,
        "path": stop.path, "times": 1});
    run.system.fault(&lost).await;
    held.then(Then::GoesOn);
    let unclear = |r: &BookRecord| matches!(r, BookRecord::OrderUnclear { .. });
    run.system.record("nobody knows of it", unclear).await;
    run.end(End::Stopped).await;
    let book = run.system.book().await;
    assert!(is_guarded(&book), "{:?} {:?}", book.phase, book.orders);
    assert!(run.system.is_guarded_there().await);
}

#[tokio::test]
async fn who_is_told_to_end_while_its_entry_is_unclear_leaves_no_position_without_a_stop() {
    let mut run = Run::begin(&[], SPEED).await;
    let held = run.up_to(&STEPS[0], When::Answered).await;
    held.then(Then::Lost);
    run.end(End::Stopped).await;
    let book = run.system.book().await;
    assert!(is_guarded(&book), "{:?} {:?}", book.phase, book.orders);
    assert!(run.system.is_guarded_there().await);
}

#[tokio::test]
async fn with_the_bus_dead_a_person_closes_everything_on_the_exchange_and_the_book_adopts_it() {
    let mut system = LiveSystem::start(&[], SPEED).await;
    let _trader = system.trader("one").start();
    system.guarded().await;
    system.nats.kill();
    let words = "flatten --confirm --exchange --why tried";
    let (code, said) = system.command("hand", words).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("BTCUSDT: flat"), "{said}");
    assert!(said.contains("not latched"), "{said}");
    system.nats.restart().await;
    let adopted = closed_by(ExitReason::Elsewhere);
    system.record("the closing is adopted", adopted).await;
    system.audit().await;
}

#[tokio::test]
async fn one_that_froze_while_it_sent_an_order_executes_nothing_after_another_took_its_book() {
    let system = LiveSystem::bare(&[], SPEED).await;
    let gateway = Gateway::to(system.exchange.address()).await;
    let trader = |name: &str| system.trader(name).env("BINANCE_REST_URL", &gateway.url());
    let (code, said) = system.command_of(&trader("init"), "init --account").await;
    assert_eq!(code, 0, "{said}");
    let mut held = gateway.hold("POST", "/fapi/v1/order", 0, When::Asked);
    let first = trader("first").start();
    held.caught(SOON).await;
    first.signal("STOP");
    let second = trader("second").start();
    let dropped = |r: &BookRecord| matches!(r, BookRecord::EntryDropped { .. });
    system
        .record("the second one gives the entry up", dropped)
        .await;
    held.then(Then::GoesOn);
    first.signal("CONT");
    first.says("book lost").await;
    second.works().await;
    let book = system.book().await;
    assert_eq!((book.trades, &book.phase), (0, &Phase::Flat));
    system.audit().await;
}

#[tokio::test]
async fn a_silent_user_stream_is_made_up_for_by_looking() {
    let system = LiveSystem::start(&[(4, DOWN)], SPEED).await;
    let _trader = system.trader("one").start();
    system
        .fault(&json!({"do": "silent", "on": true, "to": "user"}))
        .await;
    let stop = closed_by(ExitReason::Stop);
    system.record("the stop is found", stop).await;
    system.audit().await;
}

#[tokio::test]
async fn what_nothing_explains_halts_a_book_until_a_person_says_what_became_of_its_position() {
    let system = LiveSystem::start(&[], SPEED).await;
    let trader = system.trader("one").start();
    system.guarded().await;
    // More than the position of 0.25, so not its end.
    system.by_hand(NewOrderSideEnum::Sell, dec!(0.3)).await;
    system.by_hand(NewOrderSideEnum::Buy, dec!(0.05)).await;
    trader.says("book halted").await;
    let halted = system.book().await;
    assert!(
        matches!(&halted.phase, Phase::Halted { reason, position: Some(_), .. }
        if reason.contains("no trade explains it"))
    );

    // Said without a word on the position, it is halted for the same again.
    let (code, said) = system
        .command("word", "release --symbol BTCUSDT --why tried")
        .await;
    assert_eq!(code, 0, "{said}");
    trader.says("the book is released").await;
    let halts = async || {
        let journal = system.journal().await;
        let halted = |r: &&BookRecord| matches!(r, BookRecord::BookHalted { .. });
        let halts = journals::records([&journal]).filter(halted).count();
        (halts == 2).then_some(())
    };
    eventually("halted again", SOON, halts).await;

    let words = "release --symbol BTCUSDT --closed-at 40100 --why sold-it-all";
    let (code, said) = system.command("word", words).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("booked as closed at 40100, profit"), "{said}");
    let owned_again = async || {
        let book = system.book().await;
        let journal = system.journal().await;
        let taken = matches!(
            journals::records([&journal]).last(),
            Some(BookRecord::OwnerTookOver { .. })
        );
        (taken && book.phase == Phase::Flat).then_some(book)
    };
    let book = eventually("the book trades on, flat", SOON, owned_again).await;
    assert_eq!(book.trades, 1);
    system.nothing_rests().await;
}

#[tokio::test]
async fn candles_that_never_come_are_a_gap_and_the_position_is_managed_on() {
    let system = LiveSystem::start(&[(6, DOWN)], SPEED).await;
    let trader = system.trader("one").start();
    system.guarded().await;
    let hole = json!({"do": "missing-candle", "symbol": SYMBOL, "interval": "1m", "count": 2});
    system.fault(&hole).await;
    trader.says("the exchange has no candles here").await;
    let stop = closed_by(ExitReason::Stop);
    system.record("the stop is taken in", stop).await;
    system.trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn a_revoked_key_is_told_once_asked_about_slowly_and_used_again_when_it_is_back() {
    let system = LiveSystem::start(&[(4, DOWN)], SPEED).await;
    let trader = system.trader("one").start();
    system.guarded().await;
    let key = |on| json!({"do": "revoke", "key": KEY, "on": on});
    system.fault(&key(true)).await;
    let refused = "book does not get on";
    // The stop fills on the exchange, and the trader cannot ask what became of it.
    trader.says(refused).await;
    // Some candles come, which do not make it well.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let tries = trader.said(refused);
    assert!(tries <= 3, "{tries} tries in 12 s");
    let told = told::events(system.operator()).await;
    let failed =
        |t: &&Told| matches!(&t.event.body, EventBody::PartFailed { part, .. } if part == SYMBOL);
    let failures: Vec<&Told> = told.iter().filter(failed).collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    system.fault(&key(false)).await;
    let stop = closed_by(ExitReason::Stop);
    system.record("the stop is found", stop).await;
    system.trades(1).await;
    system.audit().await;
    eventually("word that it is well again", SOON, async || {
        let told = told::events(system.operator()).await;
        let well = |t: &Told| matches!(t.event.body, EventBody::PartRecovered { .. });
        told.iter().any(well).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_liquidation_is_adopted_told_and_paid_to_the_last_digit() {
    let system = LiveSystem::start(&[], SPEED).await;
    let _trader = system.trader("one").start();
    system.guarded().await;
    let end = json!({"do": "liquidate", "account": KEY, "symbol": SYMBOL});
    system.fault(&end).await;
    let closed = closed_by(ExitReason::Elsewhere);
    system.record("the liquidation is adopted", closed).await;
    system.audit().await;
    eventually("word of it", SOON, async || {
        let told = told::events(system.operator()).await;
        let closed = |t: &Told| matches!(t.event.body, EventBody::PositionClosed { .. });
        told.iter().any(closed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_account_is_begun_once_and_by_a_person() {
    let system = LiveSystem::bare(&[], SPEED).await;
    let mut early = system.trader("early").start();
    assert_eq!(early.exit_within(SOON).await, 78);
    let complaint = early.err().join("\n");
    assert!(complaint.contains("trader init --account"), "{complaint}");
    system.begin().await;
    let (code, said) = system.command("again", "init --account").await;
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("has a journal already"), "{said}");
    let (code, said) = system.command("dry", "--dry-run").await;
    assert!(said.contains("SIMULATOR"), "{said}");
    assert!(said.contains("may not withdraw"), "{said}");
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn funding_that_was_paid_while_the_trader_was_dead_is_in_the_profit() {
    // Half an hour before funding is due, and stopped out a few minutes after it.
    let system = LiveSystem::late(&[(34, DOWN)], "40", 450).await;
    system.begin().await;
    let mut trader = system.trader("one").start();
    system.guarded().await;
    trader.kill();
    tokio::time::sleep(std::time::Duration::from_secs(48)).await;
    let _again = system.trader("one").start();
    let funded = |r: &BookRecord| matches!(r, BookRecord::FundingPaid { .. });
    system.record("the funding is found", funded).await;
    let stop = closed_by(ExitReason::Stop);
    system.record("the stop is adopted", stop).await;
    system.trades(1).await;
    system.audit().await;
}
