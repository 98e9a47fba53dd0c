//! Queries of an order while the exchange's answers contradict each other.

use exchange::{ExchangeError, ExecutionClient};
use serde_json::{Value, json};
use trader_core::orders::{Leg, OrderCallOutcome};

use crate::test_exchange::{TestExchange, bitcoin, filled, is_working};

/// Queries by id do not find the order, as at Binance shortly after it was accepted.
fn not_known(path: &str, code: i64) -> Value {
    json!({"fault": "fail-before", "status": 400, "code": code, "method": "GET", "path": path})
}

#[tokio::test]
async fn an_order_that_the_query_does_not_know_is_found_in_the_lists() {
    let mut rig = TestExchange::at_constant_price().await;
    let entry = rig.market(Leg::Entry, "0.01");
    let placed = rig.place(&entry).await;
    rig.arm_fault(not_known("/fapi/v1/order", -2013)).await;
    assert_eq!(rig.query_order(&entry).await, placed);
    let stop = rig.trigger(Leg::Stop, "39000");
    rig.place(&stop).await;
    rig.arm_fault(not_known("/fapi/v1/algoOrder", -2013)).await;
    assert!(is_working(&rig.query_order(&stop).await));
    rig.shut_down().await;
}

#[tokio::test]
async fn unreadable_list_leaves_the_outcome_unknown() {
    let mut rig = TestExchange::at_constant_price().await;
    rig.buy().await;
    let never_sent = rig.market(Leg::Exit, "0.01");
    assert_eq!(
        rig.query_order(&never_sent).await,
        OrderCallOutcome::NotFound
    );
    rig.arm_fault(not_known("/fapi/v1/order", -2013)).await;
    rig.arm_fault(json!({"fault": "cut-connection", "path": "/fapi/v1/allOrders"}))
        .await;
    let error = rig
        .client
        .query_order(&bitcoin(), &never_sent)
        .await
        .unwrap_err();
    assert!(matches!(error, ExchangeError::Retry { .. }), "{error}");
    assert_eq!(
        rig.query_order(&never_sent).await,
        OrderCallOutcome::NotFound
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn failed_query_is_no_result() {
    let mut rig = TestExchange::at_constant_price().await;
    let entry = rig.market(Leg::Entry, "0.01");
    rig.place(&entry).await;
    let path = "/fapi/v1/order";
    for fault in [
        not_known(path, -1001),
        json!({"fault": "cut-connection", "path": path}),
    ] {
        rig.arm_fault(fault.clone()).await;
        let error = rig
            .client
            .query_order(&bitcoin(), &entry)
            .await
            .unwrap_err();
        assert!(
            matches!(error, ExchangeError::Retry { .. }),
            "{fault}: {error}"
        );
    }
    filled(&rig.query_order(&entry).await);
    rig.shut_down().await;
}

#[tokio::test]
async fn query_dated_by_a_wrong_clock_is_repeated_with_the_right_time() {
    let mut rig = TestExchange::at_constant_price().await;
    let entry = rig.market(Leg::Entry, "0.01");
    rig.place(&entry).await;
    rig.arm_fault(json!({"fault": "clock-skew", "ms": 60_000}))
        .await;
    filled(&rig.query_order(&entry).await);
    rig.shut_down().await;
}
