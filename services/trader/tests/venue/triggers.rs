//! Stops and targets: in the algo service until the price comes, then an order of their own.

use std::time::Duration;

use engine::candle::Interval;
use engine::orders::{Answer, Leg};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::rig::{Rig, SOON, bitcoin, costs, filled, is_empty, is_unclear, is_working, refusal};

/// Bought at 40,000 in the second minute; the third falls by 1,000.
async fn falling() -> Rig {
    let fall = [40_000, 40_000, 39_000, 39_000];
    let mut rig = Rig::start(&[[40_000; 4], [40_000; 4], fall], 10).await;
    rig.bought().await;
    rig
}

#[tokio::test]
async fn a_stop_that_was_triggered_is_looked_up_to_the_costs_of_the_order_it_became() {
    let mut rig = falling().await;
    let stop = rig.trigger(Leg::Stop, "39500");
    let target = rig.trigger(Leg::Target, "41000");
    for order in [&stop, &target] {
        assert!(is_working(&rig.place(order).await), "{order:?}");
        assert!(is_working(&rig.look_up(order).await), "{order:?}");
    }
    let view = rig.venue.view(&bitcoin()).await.unwrap();
    assert_eq!(view.position.to_string(), "0.01");
    let ids: Vec<&str> = view.open.iter().map(|o| o.client_id.as_str()).collect();
    assert_eq!(ids, [stop.id.as_str(), target.id.as_str()]);
    let before = rig.balance().await;
    rig.pass(4).await;
    let hit = rig.look_up(&stop).await;
    let sum = costs(&hit);
    assert_eq!(filled(&hit).quantity, "0.01".parse().unwrap());
    assert!(filled(&hit).price <= "39500".parse().unwrap());
    assert_eq!(rig.balance().await - before, sum.realised - sum.fee);
    rig.venue.cancel(&bitcoin(), &target).await.unwrap();
    assert!(is_empty(&rig.look_up(&target).await));
    let view = rig.venue.view(&bitcoin()).await.unwrap();
    assert!(view.position.is_zero() && view.open.is_empty(), "{view:?}");
    rig.end().await;
}

#[tokio::test]
async fn a_stop_that_the_exchange_refuses_when_it_is_triggered_has_ended_with_nothing() {
    let mut rig = falling().await;
    rig.fault(json!({"do": "refuse-triggers", "account": "trader", "code": -2022}))
        .await;
    let stop = rig.trigger(Leg::Stop, "39500");
    assert!(is_working(&rig.place(&stop).await));
    rig.pass(4).await;
    assert!(is_empty(&rig.look_up(&stop).await));
    assert_eq!(
        rig.venue
            .view(&bitcoin())
            .await
            .unwrap()
            .position
            .to_string(),
        "0.01"
    );
    rig.end().await;
}

#[tokio::test]
async fn a_stop_beyond_the_price_is_refused_and_so_is_a_second_one() {
    let mut rig = falling().await;
    let beyond = rig.trigger(Leg::Stop, "40500");
    assert_eq!(refusal(&rig.place(&beyond).await), -2021);
    assert_eq!(rig.look_up(&beyond).await, Answer::NotFound);
    let first = rig.trigger(Leg::Stop, "39500");
    assert!(is_working(&rig.place(&first).await));
    let second = rig.trigger(Leg::Stop, "39400");
    assert_eq!(refusal(&rig.place(&second).await), -4130);
    rig.end().await;
}

#[tokio::test]
async fn an_id_that_is_there_already_is_unclear_and_found() {
    let mut rig = falling().await;
    let stop = rig.trigger(Leg::Stop, "39500");
    assert!(is_working(&rig.place(&stop).await));
    let again = rig.place(&stop).await;
    assert!(is_unclear(&again), "{again:?}");
    assert!(is_working(&rig.look_up(&stop).await));
    rig.end().await;
}

#[tokio::test]
async fn a_lost_answer_to_a_stop_is_looked_up_before_and_after_it_was_triggered() {
    let mut rig = falling().await;
    rig.fault(json!({"do": "cut", "method": "POST", "path": "/fapi/v1/algoOrder"}))
        .await;
    let stop = rig.trigger(Leg::Stop, "39500");
    assert!(is_unclear(&rig.place(&stop).await));
    assert!(is_working(&rig.look_up(&stop).await));
    rig.pass(4).await;
    costs(&rig.look_up(&stop).await);
    rig.end().await;
}

#[tokio::test]
async fn a_stop_is_placed_beyond_our_own_mark_also_when_the_time_must_be_asked_for() {
    let mut rig = Rig::quiet().await;
    rig.bought().await;
    let (symbol, minute, now) = (bitcoin(), Interval::M1, rig.now());
    let spent = async {
        let bars = || rig.market.closed_klines(&symbol, minute, None, 1_500, now);
        while bars().await.is_ok() {}
    };
    timeout(SOON, spent).await.unwrap();
    // By then no sighting of the exchange's time is good enough to date an order by.
    sleep(Duration::from_secs(1)).await;
    rig.venue.now().await.unwrap();
    let stop = rig.trigger(Leg::Stop, "39500");
    assert!(is_working(&rig.place(&stop).await));
    assert!(is_working(&rig.look_up(&stop).await));
    rig.end().await;
}
