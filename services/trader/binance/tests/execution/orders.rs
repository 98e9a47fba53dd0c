//! Market orders: their answers, and their effect on the wallet.

use exchange::ExecutionClient;
use protocol::time::UtcMs;
use serde_json::{Value, json};
use trader_core::orders::{Leg, Order};

use crate::test_exchange::{
    TestExchange, bitcoin, filled, is_empty, is_outcome_unknown, is_working, rejection_code,
};

fn on_order(mut fault: Value) -> Value {
    fault["method"] = json!("POST");
    fault["path"] = json!("/fapi/v1/order");
    fault
}

#[tokio::test]
async fn an_entry_and_its_exit_cost_what_the_wallet_lost() {
    let mut rig = TestExchange::at_constant_price().await;
    let before = rig.balance().await;
    let entry = rig.market(Leg::Entry, "0.01");
    let bought = rig.place(&entry).await;
    let fill = filled(&bought);
    assert_eq!(fill.quantity, "0.01".parse().unwrap());
    assert_eq!(fill.price, "40000.1".parse().unwrap());
    assert_eq!(fill.at, rig.now());
    let opened = rig.balance().await;
    assert_eq!(before - opened, rig.costs(&bought).await.unwrap().fee);
    let exit = rig.market(Leg::Exit, "0.01");
    let sold = rig.place(&exit).await;
    let sum = rig.costs(&sold).await.unwrap();
    assert!(sum.realized_pnl.is_sign_negative());
    assert_eq!(rig.balance().await - opened, sum.realized_pnl - sum.fee);
    for (order, answer) in [(&entry, &bought), (&exit, &sold)] {
        assert_eq!(rig.query_order(order).await, *answer);
    }
    rig.shut_down().await;
}

#[tokio::test]
async fn an_exit_never_opens_a_position() {
    let mut rig = TestExchange::at_constant_price().await;
    let exit = rig.market(Leg::Exit, "0.01");
    assert_eq!(rejection_code(&rig.place(&exit).await), -2022);
    rig.buy().await;
    let too_much = rig.market(Leg::Exit, "0.05");
    assert_eq!(
        filled(&rig.place(&too_much).await).quantity,
        "0.01".parse().unwrap()
    );
    assert!(
        rig.client
            .exchange_view(&bitcoin())
            .await
            .unwrap()
            .position
            .is_zero()
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn order_that_the_exchange_rejects_is_rejected_with_its_code() {
    let mut rig = TestExchange::at_constant_price().await;
    for (quantity, code) in [("0.0001", -1111), ("0.001", -4164), ("100", -2019)] {
        let order = rig.market(Leg::Entry, quantity);
        assert_eq!(rejection_code(&rig.place(&order).await), code, "{quantity}");
    }
    let order = rig.market(Leg::Entry, "0.01");
    for (key, secret, code) in [
        ("unknown", "secret", -2015),
        ("trader", "wrong", -1022),
        ("reader", "secret", -2015),
    ] {
        let answer = rig
            .with_key(key, secret)
            .submit_order(&bitcoin(), &order)
            .await;
        assert_eq!(rejection_code(&answer), code, "{key}");
    }
    assert!(matches!(
        rig.query_order(&order).await,
        trader_core::orders::OrderCallOutcome::NotFound
    ));
    rig.shut_down().await;
}

#[tokio::test]
async fn order_is_signed_with_its_own_time_and_rejected_when_late() {
    let mut rig = TestExchange::at_constant_price().await;
    let mut order = rig.market(Leg::Entry, "0.01");
    order.at = UtcMs(order.at.0 - i64::from(order.recv_window_ms) - 1);
    assert_eq!(rejection_code(&rig.place(&order).await), -1021);
    order.at = UtcMs(order.at.0 + 1);
    filled(&rig.place(&order).await);
    rig.shut_down().await;
}

#[tokio::test]
async fn order_with_a_lost_response_is_queried_with_its_costs() {
    let mut rig = TestExchange::at_constant_price().await;
    for fault in [
        json!({"fault": "cut-connection"}),
        json!({"fault": "drop-response"}),
        json!({"fault": "fail-after", "status": 503, "code": -1008}),
        json!({"fault": "fail-after", "status": 408, "code": -1007}),
        json!({"fault": "fail-after", "status": 400, "code": -1001}),
    ] {
        let before = rig.balance().await;
        rig.arm_fault(on_order(fault.clone())).await;
        let entry = rig.market(Leg::Entry, "0.01");
        let answer = rig.place(&entry).await;
        assert!(is_outcome_unknown(&answer), "{fault}: {answer:?}");
        let found = rig.query_order(&entry).await;
        let costs = rig.costs(&found).await.unwrap();
        assert_eq!(before - rig.balance().await, costs.fee, "{fault}");
    }
    rig.shut_down().await;
}

#[tokio::test]
async fn order_that_never_arrived_is_outcome_unknown_and_then_not_found() {
    let mut rig = TestExchange::at_constant_price().await;
    for (status, code) in [
        (503, -1008),
        (503, -1016),
        (400, -1000),
        (400, -1006),
        (500, -1),
    ] {
        rig.arm_fault(on_order(
            json!({"fault": "fail-before", "status": status, "code": code}),
        ))
        .await;
        let entry = rig.market(Leg::Entry, "0.01");
        let answer = rig.place(&entry).await;
        assert!(is_outcome_unknown(&answer), "{code}: {answer:?}");
        assert_eq!(
            rig.query_order(&entry).await,
            trader_core::orders::OrderCallOutcome::NotFound,
            "{code}"
        );
    }
    rig.shut_down().await;
}

#[tokio::test]
async fn unreachable_exchange_makes_the_order_outcome_unknown() {
    let mut rig = TestExchange::at_constant_price().await;
    let (order, venue) = (rig.market(Leg::Entry, "0.01"), rig.client.clone());
    rig.shut_down().await;
    assert!(is_outcome_unknown(
        &venue.submit_order(&bitcoin(), &order).await
    ));
    assert!(venue.query_order(&bitcoin(), &order).await.is_err());
}

#[tokio::test]
async fn unfilled_rest_of_a_market_order_is_not_waited_for() {
    let mut rig = TestExchange::at_constant_price().await;
    rig.arm_fault(json!({"fault": "partial-fill"})).await;
    let entry = rig.market(Leg::Entry, "0.01");
    let answer = rig.place(&entry).await;
    assert_eq!(filled(&answer).quantity, "0.005".parse().unwrap());
    assert_eq!(rig.query_order(&entry).await, answer);
    rig.shut_down().await;
}

#[tokio::test]
async fn fill_is_reported_while_its_trades_are_not_listed_and_costs_follow_later() {
    let mut rig = TestExchange::at_constant_price().await;
    rig.arm_fault(json!({"fault": "empty-answer", "path": "/fapi/v1/userTrades", "times": 2}))
        .await;
    let entry = rig.market(Leg::Entry, "0.01");
    let placed = rig.place(&entry).await;
    assert_eq!(filled(&placed).price, "40000.1".parse().unwrap());
    for _ in 0..2 {
        assert_eq!(rig.costs(&placed).await, None);
        assert_eq!(rig.query_order(&entry).await, placed);
    }
    rig.arm_fault(json!({"fault": "duplicate-rows", "path": "/fapi/v1/userTrades"}))
        .await;
    assert_eq!(
        rig.costs(&placed).await.unwrap().fee.to_string(),
        "0.2000005"
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn fees_in_other_assets_are_converted_when_the_trade_was_made() {
    let mut rig = TestExchange::at_constant_price().await;
    let symbol = &bitcoin();
    for (asset, factor) in [("BNB", Some("0.9")), ("BNFCR", None)] {
        rig.arm_fault(
            json!({"fault": "fee-asset", "account": "trader", "asset": asset, "balance": "1"}),
        )
        .await;
        let before = rig.balance().await;
        let entry = rig.market(Leg::Entry, "0.01");
        let bought = rig.place(&entry).await;
        assert_eq!(filled(&bought).quantity, "0.01".parse().unwrap());
        assert_eq!(rig.balance().await, before, "paid in {asset}");
        // The replayed market does not list BNB: its fee is estimated once the exchange has refused its price thrice.
        let fill = filled(&bought);
        let id = fill.exchange_order_id.unwrap();
        let query = || rig.client.order_costs(symbol, id, fill.quantity);
        let mut costs = query().await;
        for _ in 0..2 {
            if costs.is_err() {
                costs = query().await;
            }
        }
        let costs = costs.unwrap().unwrap();
        assert_eq!(costs.fee_in_other_assets, costs.fee, "{asset}");
        assert!(costs.balance_change().is_zero());
        let usual: rust_decimal::Decimal = "0.2000005".parse().unwrap();
        let expected = factor.map_or(usual, |f| {
            usual * f.parse::<rust_decimal::Decimal>().unwrap()
        });
        let difference = (costs.fee - expected).abs();
        assert!(
            difference < usual / rust_decimal::Decimal::from(50),
            "{asset}: {costs:?}"
        );
    }
    assert!(rig.client.pays_fees_in_other_asset().await.is_ok());
    rig.shut_down().await;
}

#[tokio::test]
async fn no_order_is_sent_after_429_until_its_time_has_passed_and_queries_are_answered() {
    let mut rig = TestExchange::at_constant_price().await;
    let limited = json!({"fault": "fail-before", "status": 429, "code": -1003, "times": 1});
    rig.arm_fault(on_order(limited)).await;
    let first = rig.market(Leg::Exit, "0.01");
    assert_eq!(rejection_code(&rig.place(&first).await), -1003);
    let second = rig.market(Leg::Entry, "0.01");
    let trader_core::orders::OrderCallOutcome::Rejected {
        code: -1003,
        reason,
    } = rig.place(&second).await
    else {
        panic!("it was sent");
    };
    assert!(reason.starts_with("not sent"), "{reason}");
    rig.client.wallet_balance().await.unwrap();
    assert_eq!(
        rig.query_order(&second).await,
        trader_core::orders::OrderCallOutcome::NotFound
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn canceled_order_ends_unfilled_and_canceling_twice_is_no_error() {
    let mut rig = TestExchange::at_constant_price().await;
    rig.buy().await;
    let stop = rig.trigger(Leg::Stop, "39000");
    assert!(is_working(&rig.place(&stop).await));
    rig.arm_fault(
        json!({"fault": "fail-before", "status": 503, "code": -1008, "method": "DELETE"}),
    )
    .await;
    assert!(rig.cancel(&stop).await.is_err());
    assert!(is_working(&rig.query_order(&stop).await));
    for _ in 0..2 {
        rig.cancel(&stop).await.unwrap();
        assert!(is_empty(&rig.query_order(&stop).await));
    }
    // Gone, or being triggered: the caller queries the order.
    for code in [-2013, -4117] {
        rig.arm_fault(
            json!({"fault": "fail-before", "status": 400, "code": code, "method": "DELETE"}),
        )
        .await;
        rig.cancel(&stop).await.unwrap();
    }
    let filled_already = rig.market(Leg::Entry, "0.01");
    rig.place(&filled_already).await;
    rig.cancel(&filled_already).await.unwrap();
    filled(&rig.query_order(&filled_already).await);
    rig.shut_down().await;
}

#[tokio::test]
async fn order_after_a_late_one_gets_a_new_timestamp() {
    let mut rig = TestExchange::at_constant_price().await;
    let before = rig.client.now().await.unwrap();
    rig.arm_fault(json!({"fault": "clock-skew", "ms": 90_000}))
        .await;
    let late = rig.market(Leg::Entry, "0.01");
    assert_eq!(rejection_code(&rig.place(&late).await), -1021);
    let now = rig.client.now().await.unwrap();
    assert!(now.0 - before.0 >= 90_000, "{before} and then {now}");
    let next = Order {
        at: now,
        ..rig.market(Leg::Entry, "0.01")
    };
    filled(&rig.place(&next).await);
    rig.shut_down().await;
}
