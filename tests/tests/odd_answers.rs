//! One odd answer of the exchange is no verdict: what the exchange refuses or answers wrongly for a while delays a
//! trader, and stops neither it nor a book.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::live::{DOWN, LiveSystem, SYMBOL};
use bearish_tests::trader::Trader;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use serde_json::{Value, json};
use trader_core::book::{BookPhase, BookRecord, ExitReason};

/// Speed of the exchange: a candle lasts three seconds.
const SPEED: &str = "20";
/// Speed of an exchange whose entry is 24 seconds after its start.
const SLOW: &str = "5";

fn closed_by(reason: ExitReason) -> impl Fn(&BookRecord) -> bool {
    move |record| matches!(record, BookRecord::PositionClosed(trade) if trade.reason == reason)
}

const fn is_halt(record: &BookRecord) -> bool {
    matches!(record, BookRecord::BookHalted { .. })
}

/// Each kind of odd answer, once for each path that a start asks.
fn odd_answers() -> Vec<Value> {
    let page = |status: u16, path: &str| json!({"fault": "html-page", "status": status, "path": path, "times": 1});
    let refusal = |status: u16, code: i64, path: &str| json!({"fault": "fail-before", "status": status, "code": code, "path": path, "times": 1});
    let value = |field: &str, value: Value, path: &str| json!({"fault": "other-value", "field": field, "value": value, "path": path, "times": 1});
    vec![
        refusal(401, -2015, "/fapi/v3/balance"),
        page(404, "/fapi/v3/balance"),
        json!({"fault": "empty-answer", "path": "/fapi/v3/balance", "times": 1}),
        value("canTrade", json!(false), "/fapi/v2/account"),
        value(
            "dualSidePosition",
            json!(true),
            "/fapi/v1/positionSide/dual",
        ),
        page(403, "/fapi/v1/positionSide/dual"),
        page(404, "/fapi/v1/exchangeInfo"),
        value("status", json!("PENDING_TRADING"), "/fapi/v1/exchangeInfo"),
        page(400, "/fapi/v1/symbolConfig"),
        refusal(401, -2015, "/fapi/v1/openOrders"),
        refusal(400, -1121, "/fapi/v1/klines"),
        page(404, "/fapi/v1/klines"),
    ]
}

#[tokio::test]
async fn start_waits_for_every_odd_answer_and_the_book_then_runs() {
    let system = LiveSystem::start(&[], "3").await;
    for fault in odd_answers() {
        system.arm_fault(&fault).await;
    }
    let trader = system.trader_setup("one").start();
    // A page with 403 is a firewall's: queries pause for a minute.
    let within = Duration::from_mins(3);
    trader.wait_for_log_within("running books=", within).await;
    let left = system.exchange.remaining_faults().await;
    assert_eq!(left, 0, "every fault was met");
    let journal = system.read_journal().await;
    let halted = bearish_tests::journals::records([&journal]).any(is_halt);
    assert!(!halted, "{:#?}", trader.out());
    system.audit().await;
}

#[tokio::test]
async fn health_of_a_start_says_what_it_waits_for() {
    let system = LiveSystem::start(&[], SPEED).await;
    let refused = json!({"fault": "fail-before", "status": 401, "code": -2015, "path": "/fapi/v3/balance",
        "for_ms": 15_000});
    system.arm_fault(&refused).await;
    let setup = system.trader_setup("one");
    let trader = setup.start();
    eventually("health names the refusal", DEFAULT_TIMEOUT, async || {
        let (code, output) = system.run_command("one", "health").await;
        (code != 0 && output.contains("waiting for balance") && output.contains("-2015"))
            .then_some(())
    })
    .await;
    trader.wait_until_running().await;
}

/// As after a stream that fell silent: the candles come from queries, and those are refused.
#[tokio::test]
async fn refused_candles_halt_no_book_and_its_stop_is_still_found() {
    let system = LiveSystem::start(&[(5, DOWN)], SPEED).await;
    let trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    for fault in [
        json!({"fault": "fail-before", "status": 400, "code": -1121, "path": "/fapi/v1/klines", "for_ms": 30_000}),
        json!({"fault": "mute", "on": true, "to": "market"}),
    ] {
        system.arm_fault(&fault).await;
    }
    trader.wait_for_log("Invalid symbol").await;
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is found", stop).await;
    let unmute = json!({"fault": "mute", "on": false, "to": "market"});
    system.arm_fault(&unmute).await;
    system.wait_for_trades(1).await;
    system.audit().await;
    let journal = system.read_journal().await;
    assert!(!bearish_tests::journals::records([&journal]).any(is_halt));
}

#[tokio::test]
async fn position_list_that_is_empty_for_some_seconds_halts_no_book() {
    let system = LiveSystem::start(&[], SPEED).await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    trader.kill();
    let empty = json!({"fault": "empty-answer", "path": "/fapi/v3/positionRisk", "for_ms": 12_000});
    system.arm_fault(&empty).await;
    let again = system.trader_setup("one").start();
    again.wait_for_log("position mismatch").await;
    again.wait_until_running().await;
    let book = system.book_state().await;
    assert!(matches!(book.phase, BookPhase::Open(_)), "{:?}", book.phase);
    system.audit().await;
}

/// A 429 without a stated wait on the call that rests the stop.
#[tokio::test]
async fn refused_stop_is_sent_again_within_seconds() {
    let system = LiveSystem::start(&[], SPEED).await;
    for fault in [
        json!({"fault": "fail-before", "status": 429, "code": -1003, "method": "POST",
            "path": "/fapi/v1/algoOrder", "times": 1}),
        json!({"fault": "missing-headers", "names": ["retry-after"], "path": "/fapi/v1/algoOrder", "for_ms": 60_000}),
        json!({"fault": "fail-before", "status": 429, "code": -1003, "path": "/fapi/v1/userTrades", "times": 1}),
    ] {
        system.arm_fault(&fault).await;
    }
    let _trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let unprotected = system.longest_unprotected().await;
    assert!(unprotected < Duration::from_secs(10), "{unprotected:?}");
}

#[tokio::test]
async fn filters_that_change_round_the_refused_orders_again() {
    let system = LiveSystem::start(&[], SLOW).await;
    let trader = system.trader_setup("one").start();
    trader.wait_until_running().await;
    let filters = json!({"fault": "filter", "symbol": SYMBOL, "tick": "7", "step": "0.1"});
    system.arm_fault(&filters).await;
    system.wait_until_protected().await;
    let book = system.book_state().await;
    let position = book.position().unwrap();
    assert_eq!(position.quantity, "0.2".parse().unwrap(), "of 0.25");
    let journal = system.read_journal().await;
    let refused = bearish_tests::journals::records([&journal])
        .filter(|r| matches!(r, BookRecord::OrderClosedUnfilled { code: Some(_), .. }));
    assert!(refused.count() >= 1, "the entry was refused first");
    system.audit().await;
    let (code, output) = system
        .run_command("operator", "flatten --confirm --reason tried")
        .await;
    assert_eq!(code, 0, "{output}");
    let closed = closed_by(ExitReason::AccountLatched);
    system
        .wait_for_record("the position is closed", closed)
        .await;
}

#[tokio::test]
async fn stop_of_a_position_is_rounded_by_the_filters_that_changed_while_it_was_open() {
    let system = LiveSystem::start(&[], SLOW).await;
    let trader = system.trader_setup("one").start();
    trader.wait_until_running().await;
    let tick = json!({"fault": "filter", "symbol": SYMBOL, "tick": "7"});
    system.arm_fault(&tick).await;
    system.wait_until_protected().await;
    let book = system.book_state().await;
    let stops = book.orders.iter().filter_map(|o| match o.order.order_type {
        trader_core::orders::OrderType::Trigger { price } => Some((o.status.clone(), price)),
        trader_core::orders::OrderType::Market { .. } => None,
    });
    let tick = "7".parse().unwrap();
    for (status, price) in stops {
        if status == trader_core::orders::OrderStatus::Accepted {
            assert_eq!(price.floor_to(tick), price, "on the new tick");
        }
    }
    system.audit().await;
}

/// The operator changes a setting of the symbol before the entry: the signal is rejected, and the trader sets it again.
async fn change_setting_before_the_entry(path: &str, parameters: &str) -> (LiveSystem, Trader) {
    let system = LiveSystem::start(&[], SLOW).await;
    let trader = system.trader_setup("one").start();
    trader.wait_until_running().await;
    let client = system.exchange_client();
    client.call("POST", path, parameters).await.unwrap();
    let rejected = |r: &BookRecord| matches!(r, BookRecord::SignalRejected { reason, .. } if reason.as_str() == "other_settings");
    system
        .wait_for_record("the signal is rejected", rejected)
        .await;
    trader
        .wait_for_log("margin type and leverage set again")
        .await;
    (system, trader)
}

#[tokio::test]
async fn leverage_that_the_operator_changed_prevents_the_entry_and_is_set_again() {
    let leverage = "symbol=BTCUSDT&leverage=20";
    let (system, trader) = change_setting_before_the_entry("/fapi/v1/leverage", leverage).await;
    trader
        .wait_for_log("leverage 20: expected ISOLATED and 1")
        .await;
    let client = system.exchange_client();
    let config = client.get("/fapi/v1/symbolConfig", "symbol=BTCUSDT").await;
    assert_eq!(config[0]["leverage"], 1, "{config}");
    let book = system.book_state().await;
    assert_eq!(book.phase, BookPhase::Flat);
}

#[tokio::test]
async fn margin_type_that_the_operator_changed_prevents_the_entry_and_is_set_again() {
    let crossed = "symbol=BTCUSDT&marginType=CROSSED";
    let (system, _trader) = change_setting_before_the_entry("/fapi/v1/marginType", crossed).await;
    let client = system.exchange_client();
    let config = client.get("/fapi/v1/symbolConfig", "symbol=BTCUSDT").await;
    assert_eq!(config[0]["marginType"], "ISOLATED", "{config}");
}

#[tokio::test]
async fn entry_that_the_exchange_refuses_counts_in_the_status_with_code_and_text() {
    let system = LiveSystem::start(&[], SPEED).await;
    let refused = json!({"fault": "fail-before", "status": 400, "code": -2019, "method": "POST",
        "path": "/fapi/v1/order", "times": 1});
    system.arm_fault(&refused).await;
    let _trader = system.trader_setup("one").start();
    let dropped = |r: &BookRecord| matches!(r, BookRecord::EntryDropped { .. });
    let record = system.wait_for_record("the entry is dropped", dropped);
    let BookRecord::EntryDropped { rejection, .. } = record.await else {
        panic!("no dropped entry");
    };
    let rejection = rejection.unwrap();
    let expected = (-2019, "Margin is insufficient.");
    assert_eq!((rejection.code, rejection.text.as_str()), expected);
    let (code, output) = system.run_command("operator", "status").await;
    assert_eq!(code, 0, "{output}");
    let counted =
        "BTCUSDT: entries rejected by the exchange: 1 because Margin is insufficient. (-2019)";
    assert!(output.contains(counted), "{output}");
    let (_, json) = system.run_command("operator", "status --json").await;
    let status: Value = serde_json::from_str(&json).unwrap();
    let rejected = &status["accounts"][0]["books"][0]["rejected_entries"]["-2019"];
    assert_eq!(rejected["count"], 1, "{json}");
    assert_eq!(rejected["text"], "Margin is insufficient.", "{json}");
}

#[tokio::test]
async fn command_of_the_operator_asks_again_after_an_odd_answer() {
    let system = LiveSystem::start(&[], SPEED).await;
    for fault in [
        json!({"fault": "fail-before", "status": 401, "code": -2015, "path": "/fapi/v3/balance", "times": 1}),
        json!({"fault": "html-page", "status": 404, "path": "/fapi/v3/balance", "times": 1}),
    ] {
        system.arm_fault(&fault).await;
    }
    let (code, output) = system.run_command("operator", "pause --reason tried").await;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("waiting for the exchange: "), "{output}");
    assert!(output.contains("pause: "), "{output}");
    assert_eq!(system.exchange.remaining_faults().await, 0);
}

#[tokio::test]
async fn resting_order_of_the_operator_that_keeps_the_margin_type_is_waited_for() {
    let system = LiveSystem::start(&[], SLOW).await;
    let client = system.exchange_client();
    let order = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=20000\
                 &newClientOrderId=manual";
    client.call("POST", "/fapi/v1/order", order).await.unwrap();
    let trader = system.trader_setup("one").start();
    trader.wait_for_log("(-4047)").await;
    let journal = system.read_journal().await;
    assert!(!bearish_tests::journals::records([&journal]).any(is_halt));
    let cancel = "symbol=BTCUSDT&origClientOrderId=manual";
    client
        .call("DELETE", "/fapi/v1/order", cancel)
        .await
        .unwrap();
    // Without a command and without a restart.
    system.wait_until_protected().await;
}
