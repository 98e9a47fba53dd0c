//! A live position is never without its stop: not while costs are unknown, not after the operator has changed something, not
//! in a halted book, and not after an entry that appears late. Judged by the exchange's own lists and times.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::bus_reader;
use bearish_tests::live::{API_KEY, BALANCE, LiveSystem, SYMBOL, UP};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::event::EventBody;
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};
use trader_core::book::{BookPhase, BookRecord, ExitReason};

/// Speed of the exchange: a candle lasts three seconds.
const SPEED: &str = "20";
/// How long a position whose fill the book has seen may be without a stop.
const SEEN: Duration = Duration::from_secs(5);
/// The same for a position of which the book did not know.
const UNSEEN: Duration = Duration::from_secs(10);

async fn wait_until_position_is_open(system: &LiveSystem) {
    let opened = |r: &BookRecord| matches!(r, BookRecord::PositionOpened(_));
    system.wait_for_record("a position", opened).await;
    eventually("a stop on the exchange", DEFAULT_TIMEOUT, async || {
        let open = conditional_orders(system).await;
        open.iter().any(is_stop).then_some(())
    })
    .await;
}

async fn conditional_orders(system: &LiveSystem) -> Vec<Value> {
    let client = system.exchange_client();
    let open = client
        .get("/fapi/v1/openAlgoOrders", &format!("symbol={SYMBOL}"))
        .await;
    open.as_array().unwrap().clone()
}

fn is_stop(order: &Value) -> bool {
    order["orderType"] == "STOP_MARKET"
}

async fn cancel_stop(system: &LiveSystem) {
    let open = conditional_orders(system).await;
    let stop = open.iter().find(|order| is_stop(order)).unwrap();
    let id = stop["clientAlgoId"].as_str().unwrap();
    let client = system.exchange_client();
    let query = format!("clientAlgoId={id}");
    client
        .call("DELETE", "/fapi/v1/algoOrder", &query)
        .await
        .unwrap();
}

#[tokio::test]
async fn stop_rests_at_once_while_the_exchange_lists_no_trades() {
    let system = LiveSystem::start(&[(20, UP)], SPEED).await;
    system
        .arm_fault(
            &json!({"fault": "empty-answer", "path": "/fapi/v1/userTrades", "for_ms": 40_000}),
        )
        .await;
    let _trader = system.trader_setup("one").start();
    wait_until_position_is_open(&system).await;
    let book = system.book_state().await;
    assert!(book.orders[0].fill().unwrap().costs.is_none());
    let unprotected = system.longest_unprotected().await;
    assert!(unprotected < SEEN, "{unprotected:?}");
    // The costs follow when the trades are listed, to the last digit.
    system.wait_for_trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn fees_in_bnb_are_booked_and_hold_nothing_back() {
    let system = LiveSystem::start(&[(4, UP)], SPEED).await;
    let in_bnb = json!({"fault": "fee-asset", "account": API_KEY, "asset": "BNB", "balance": "5"});
    system.arm_fault(&in_bnb).await;
    let (code, output) = system.run_command("dry", "--dry-run").await;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("paid in BNB"), "{output}");
    let _trader = system.trader_setup("one").start();
    wait_until_position_is_open(&system).await;
    system.wait_for_trades(1).await;
    let unprotected = system.longest_unprotected().await;
    assert!(unprotected < SEEN, "{unprotected:?}");
    let book = system.book_state().await;
    let profit = book.equity - book.capital;
    // The wallet in USDT did not pay them; the book's profit has them.
    assert_eq!(wallet_change(&system).await, book.balance_change);
    assert!(book.fees > Decimal::ONE && profit < book.balance_change);
}

async fn wallet_change(system: &LiveSystem) -> Decimal {
    let client = system.exchange_client();
    let balances = client.get("/fapi/v3/balance", "").await;
    let mut assets = balances.as_array().unwrap().iter();
    let usdt = assets.find(|asset| asset["asset"] == "USDT").unwrap();
    let balance: Decimal = usdt["balance"].as_str().unwrap().parse().unwrap();
    balance - BALANCE
}

#[tokio::test]
async fn position_closed_manually_in_three_parts_is_booked_and_nothing_halts() {
    let system = LiveSystem::start(&[], SPEED).await;
    let _trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    for part in [dec!(0.1), dec!(0.1), dec!(0.05)] {
        system.place_manual_order("SELL", part).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    let closed = |r: &BookRecord| matches!(r, BookRecord::PositionClosed(trade) if trade.reason == ExitReason::External);
    system.wait_for_record("the trade", closed).await;
    system.wait_for_trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn position_increased_manually_is_closed_as_a_whole_and_booked_to_the_last_digit() {
    let system = LiveSystem::start(&[(20, UP)], SPEED).await;
    let _trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    system.place_manual_order("SELL", dec!(0.15)).await;
    system.place_manual_order("BUY", dec!(0.1)).await;
    let increased = |r: &BookRecord| {
        matches!(r, BookRecord::OrderIntended(order)
            if order.reason == Some(ExitReason::External) && order.leg == trader_core::orders::Leg::Entry)
    };
    system.wait_for_record("the addition", increased).await;
    system.wait_for_trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn position_of_a_halted_book_gets_a_stop_when_it_loses_its_own() {
    let system = LiveSystem::start(&[], SPEED).await;
    let _trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let client = system.exchange_client();
    let foreign = format!(
        "symbol={SYMBOL}&side=SELL&type=LIMIT&quantity=0.01&price=42000&timeInForce=GTC&reduceOnly=true\
         &newClientOrderId=ba-zzzzzz-57kto0gwqguoe0000"
    );
    client
        .call("POST", "/fapi/v1/order", &foreign)
        .await
        .unwrap();
    let halted = |r: &BookRecord| matches!(r, BookRecord::BookHalted { .. });
    system.wait_for_record("a halt", halted).await;
    cancel_stop(&system).await;
    eventually("another stop", UNSEEN, async || {
        let open = conditional_orders(&system).await;
        open.iter().any(is_stop).then_some(())
    })
    .await;
    let unprotected = system.longest_unprotected().await;
    assert!(unprotected < UNSEEN, "{unprotected:?}");
    eventually("both messages", DEFAULT_TIMEOUT, async || {
        let events = bus_reader::stored_events(system.operator_bus()).await;
        let lost = |body: &EventBody| matches!(body, EventBody::PositionUnprotected { .. });
        let found = |body: &EventBody| matches!(body, EventBody::PositionProtected { .. });
        let has = |kind: &dyn Fn(&EventBody) -> bool| events.iter().any(|e| kind(&e.event.body));
        (has(&lost) && has(&found)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn entry_that_appears_late_is_protected_and_managed() {
    let system = LiveSystem::start(&[(14, UP)], SPEED).await;
    // Executed, answered with an error, and not shown for 12 s; the order can arrive for one second at this speed.
    let lost = json!({"fault": "fail-after", "status": 503, "code": -1007, "method": "POST", "path": "/fapi/v1/order"});
    system.arm_fault(&lost).await;
    for path in [
        "/fapi/v1/order",
        "/fapi/v1/allOrders",
        "/fapi/v1/userTrades",
    ] {
        let hidden =
            json!({"fault": "query-lag", "ms": 12_000, "path": path, "times": "unlimited"});
        system.arm_fault(&hidden).await;
    }
    let _trader = system
        .trader_setup("one")
        .env("RECV_WINDOW_MS", "20000")
        .start();
    let dropped = |r: &BookRecord| matches!(r, BookRecord::EntryDropped { .. });
    system
        .wait_for_record("the entry is dropped", dropped)
        .await;
    eventually("a stop", UNSEEN, async || {
        let open = conditional_orders(&system).await;
        open.iter().any(is_stop).then_some(())
    })
    .await;
    let adopted = |r: &BookRecord| matches!(r, BookRecord::EntryAdopted(_));
    system
        .wait_for_record("the entry is adopted", adopted)
        .await;
    assert!(matches!(
        system.book_state().await.phase,
        BookPhase::Open(_)
    ));
    system.wait_for_trades(1).await;
}
