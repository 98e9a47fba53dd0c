//! Stops and targets: in the algo service until the trigger price is reached, then an order of their own.

use std::time::Duration;

use exchange::{DataClient, ExecutionClient};
use serde_json::json;
use tokio::time::{sleep, timeout};
use trader_core::candle::Interval;
use trader_core::orders::{Leg, OrderCallOutcome};

use crate::test_exchange::{
    SOON, TestExchange, bitcoin, filled, is_empty, is_outcome_unknown, is_working, rejection_code,
};

/// Bought at 40,000 in the second minute; the third falls by 1,000.
async fn falling() -> TestExchange {
    let fall = [40_000, 40_000, 39_000, 39_000];
    let mut rig = TestExchange::start(&[[40_000; 4], [40_000; 4], fall], 10).await;
    rig.buy().await;
    rig
}

#[tokio::test]
async fn triggered_stop_is_queried_down_to_the_costs_of_its_order() {
    let mut rig = falling().await;
    let stop = rig.trigger(Leg::Stop, "39500");
    let target = rig.trigger(Leg::Target, "41000");
    for order in [&stop, &target] {
        assert!(is_working(&rig.place(order).await), "{order:?}");
        assert!(is_working(&rig.query_order(order).await), "{order:?}");
    }
    let view = rig.client.exchange_view(&bitcoin()).await.unwrap();
    assert_eq!(view.position.to_string(), "0.01");
    let ids: Vec<&str> = view
        .open_orders
        .iter()
        .map(|o| o.client_order_id.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            stop.client_order_id.as_str(),
            target.client_order_id.as_str()
        ]
    );
    let stops: Vec<bool> = view.open_orders.iter().map(|o| o.stop.is_some()).collect();
    assert_eq!(stops, [true, false]);
    assert!(view.is_protected());
    assert_eq!(view.entry_price, Some("40000.1".parse().unwrap()));
    let before = rig.balance().await;
    rig.advance_to_minute(4).await;
    let hit = rig.query_order(&stop).await;
    let sum = rig.costs(&hit).await.unwrap();
    assert_eq!(filled(&hit).quantity, "0.01".parse().unwrap());
    assert!(filled(&hit).price <= "39500".parse().unwrap());
    assert_eq!(rig.balance().await - before, sum.realized_pnl - sum.fee);
    rig.cancel(&target).await.unwrap();
    assert!(is_empty(&rig.query_order(&target).await));
    let view = rig.client.exchange_view(&bitcoin()).await.unwrap();
    assert!(
        view.position.is_zero() && view.open_orders.is_empty(),
        "{view:?}"
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn stop_that_is_rejected_when_triggered_ends_unfilled() {
    let mut rig = falling().await;
    rig.arm_fault(json!({"fault": "reject-triggers", "account": "trader", "code": -2022}))
        .await;
    let stop = rig.trigger(Leg::Stop, "39500");
    assert!(is_working(&rig.place(&stop).await));
    rig.advance_to_minute(4).await;
    assert!(is_empty(&rig.query_order(&stop).await));
    assert_eq!(
        rig.client
            .exchange_view(&bitcoin())
            .await
            .unwrap()
            .position
            .to_string(),
        "0.01"
    );
    rig.shut_down().await;
}

#[tokio::test]
async fn stop_beyond_the_price_is_rejected_and_so_is_a_second_one() {
    let mut rig = falling().await;
    let beyond = rig.trigger(Leg::Stop, "40500");
    assert_eq!(rejection_code(&rig.place(&beyond).await), -2021);
    assert_eq!(rig.query_order(&beyond).await, OrderCallOutcome::NotFound);
    let first = rig.trigger(Leg::Stop, "39500");
    assert!(is_working(&rig.place(&first).await));
    let second = rig.trigger(Leg::Stop, "39400");
    assert_eq!(rejection_code(&rig.place(&second).await), -4130);
    rig.shut_down().await;
}

#[tokio::test]
async fn duplicate_order_id_is_outcome_unknown_and_then_found() {
    let mut rig = falling().await;
    let stop = rig.trigger(Leg::Stop, "39500");
    assert!(is_working(&rig.place(&stop).await));
    let again = rig.place(&stop).await;
    assert!(is_outcome_unknown(&again), "{again:?}");
    assert!(is_working(&rig.query_order(&stop).await));
    rig.shut_down().await;
}

#[tokio::test]
async fn stop_with_a_lost_response_is_found_before_and_after_triggering() {
    let mut rig = falling().await;
    rig.arm_fault(
        json!({"fault": "cut-connection", "method": "POST", "path": "/fapi/v1/algoOrder"}),
    )
    .await;
    let stop = rig.trigger(Leg::Stop, "39500");
    assert!(is_outcome_unknown(&rig.place(&stop).await));
    assert!(is_working(&rig.query_order(&stop).await));
    rig.advance_to_minute(4).await;
    assert!(rig.costs(&rig.query_order(&stop).await).await.is_some());
    rig.shut_down().await;
}

#[tokio::test]
async fn stop_is_placed_beyond_the_mark_also_when_the_time_is_requested() {
    let mut rig = TestExchange::at_constant_price().await;
    rig.buy().await;
    let (symbol, minute, now) = (bitcoin(), Interval::M1, rig.now());
    let spent = async {
        let bars = || {
            rig.data_client
                .closed_candles(&symbol, minute, None, 1_500, now)
        };
        while bars().await.is_ok() {}
    };
    timeout(SOON, spent).await.unwrap();
    // By then the newest exchange time is too old to date an order by.
    sleep(Duration::from_secs(1)).await;
    rig.client.now().await.unwrap();
    let stop = rig.trigger(Leg::Stop, "39500");
    assert!(is_working(&rig.place(&stop).await));
    assert!(is_working(&rig.query_order(&stop).await));
    rig.shut_down().await;
}
