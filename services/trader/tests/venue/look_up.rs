//! Looking an order up while the exchange's parts do not agree with each other.

use bearish_trader::market::MarketError;
use engine::orders::{Answer, Leg};
use serde_json::{Value, json};

use crate::rig::{Rig, bitcoin, costs, is_working};

/// Queries by id do not know the order, as at Binance for a while after it was taken.
fn not_known(path: &str, code: i64) -> Value {
    json!({"do": "before", "status": 400, "code": code, "method": "GET", "path": path})
}

#[tokio::test]
async fn an_order_that_the_query_does_not_know_is_found_in_the_lists() {
    let mut rig = Rig::quiet().await;
    let entry = rig.market(Leg::Entry, "0.01");
    let placed = rig.place(&entry).await;
    rig.fault(not_known("/fapi/v1/order", -2013)).await;
    assert_eq!(rig.look_up(&entry).await, placed);
    let stop = rig.trigger(Leg::Stop, "39000");
    rig.place(&stop).await;
    rig.fault(not_known("/fapi/v1/algoOrder", -2013)).await;
    assert!(is_working(&rig.look_up(&stop).await));
    rig.end().await;
}

#[tokio::test]
async fn a_list_that_cannot_be_read_keeps_the_answer_open() {
    let mut rig = Rig::quiet().await;
    rig.bought().await;
    let never_sent = rig.market(Leg::Exit, "0.01");
    assert_eq!(rig.look_up(&never_sent).await, Answer::NotFound);
    rig.fault(not_known("/fapi/v1/order", -2013)).await;
    rig.fault(json!({"do": "cut", "path": "/fapi/v1/allOrders"}))
        .await;
    let error = rig
        .venue
        .look_up(&bitcoin(), &never_sent)
        .await
        .unwrap_err();
    assert!(matches!(error, MarketError::Retry { .. }), "{error}");
    assert_eq!(rig.look_up(&never_sent).await, Answer::NotFound);
    rig.end().await;
}

#[tokio::test]
async fn a_question_that_fails_is_no_answer() {
    let mut rig = Rig::quiet().await;
    let entry = rig.market(Leg::Entry, "0.01");
    rig.place(&entry).await;
    for path in ["/fapi/v1/order", "/fapi/v1/userTrades"] {
        for fault in [not_known(path, -1001), json!({"do": "cut", "path": path})] {
            rig.fault(fault.clone()).await;
            let error = rig.venue.look_up(&bitcoin(), &entry).await.unwrap_err();
            assert!(
                matches!(error, MarketError::Retry { .. }),
                "{fault}: {error}"
            );
        }
    }
    costs(&rig.look_up(&entry).await);
    rig.end().await;
}

#[tokio::test]
async fn a_question_dated_by_a_clock_that_is_off_is_asked_again_with_the_right_one() {
    let mut rig = Rig::quiet().await;
    let entry = rig.market(Leg::Entry, "0.01");
    rig.place(&entry).await;
    rig.fault(json!({"do": "skew", "ms": 60_000})).await;
    costs(&rig.look_up(&entry).await);
    rig.end().await;
}
