//! Orders at the market: what their answers say, and what the wallet says of it.

use engine::orders::{Leg, Order};
use protocol::time::UtcMs;
use serde_json::{Value, json};

use crate::rig::{Rig, bitcoin, costs, filled, is_empty, is_unclear, is_working, refusal};

fn on_order(mut fault: Value) -> Value {
    fault["method"] = json!("POST");
    fault["path"] = json!("/fapi/v1/order");
    fault
}

#[tokio::test]
async fn an_entry_and_its_exit_cost_what_the_wallet_lost() {
    let mut rig = Rig::quiet().await;
    let before = rig.balance().await;
    let entry = rig.market(Leg::Entry, "0.01");
    let bought = rig.place(&entry).await;
    let fill = filled(&bought);
    assert_eq!(fill.quantity, "0.01".parse().unwrap());
    assert_eq!(fill.price, "40000.1".parse().unwrap());
    assert_eq!(fill.at, rig.now());
    let opened = rig.balance().await;
    assert_eq!(before - opened, costs(&bought).fee);
    let exit = rig.market(Leg::Exit, "0.01");
    let sold = rig.place(&exit).await;
    let Some(sum) = filled(&sold).costs else {
        panic!("no costs");
    };
    assert!(sum.realised.is_sign_negative());
    assert_eq!(rig.balance().await - opened, sum.realised - sum.fee);
    for (order, answer) in [(&entry, &bought), (&exit, &sold)] {
        assert_eq!(rig.look_up(order).await, *answer);
    }
    rig.end().await;
}

#[tokio::test]
async fn an_exit_never_opens_a_position() {
    let mut rig = Rig::quiet().await;
    let exit = rig.market(Leg::Exit, "0.01");
    assert_eq!(refusal(&rig.place(&exit).await), -2022);
    rig.bought().await;
    let too_much = rig.market(Leg::Exit, "0.05");
    assert_eq!(
        filled(&rig.place(&too_much).await).quantity,
        "0.01".parse().unwrap()
    );
    assert!(rig.venue.view(&bitcoin()).await.unwrap().position.is_zero());
    rig.end().await;
}

#[tokio::test]
async fn what_the_exchange_refuses_is_refused_with_its_number() {
    let mut rig = Rig::quiet().await;
    for (quantity, code) in [("0.0001", -1111), ("0.001", -4164), ("100", -2019)] {
        let order = rig.market(Leg::Entry, quantity);
        assert_eq!(refusal(&rig.place(&order).await), code, "{quantity}");
    }
    let order = rig.market(Leg::Entry, "0.01");
    for (key, secret, code) in [
        ("stranger", "secret", -2015),
        ("trader", "wrong", -1022),
        ("reader", "secret", -2015),
    ] {
        let answer = rig.with_key(key, secret).place(&bitcoin(), &order).await;
        assert_eq!(refusal(&answer), code, "{key}");
    }
    assert!(matches!(
        rig.look_up(&order).await,
        engine::orders::Answer::NotFound
    ));
    rig.end().await;
}

#[tokio::test]
async fn an_order_is_signed_with_its_own_time_and_so_refused_when_it_comes_late() {
    let mut rig = Rig::quiet().await;
    let mut order = rig.market(Leg::Entry, "0.01");
    order.at = UtcMs(order.at.0 - i64::from(order.window_ms) - 1);
    assert_eq!(refusal(&rig.place(&order).await), -1021);
    order.at = UtcMs(order.at.0 + 1);
    filled(&rig.place(&order).await);
    rig.end().await;
}

#[tokio::test]
async fn an_answer_that_was_lost_is_unclear_and_the_fill_is_looked_up_with_its_costs() {
    let mut rig = Rig::quiet().await;
    for fault in [
        json!({"do": "cut"}),
        json!({"do": "lost"}),
        json!({"do": "after", "status": 503, "code": -1008}),
        json!({"do": "after", "status": 408, "code": -1007}),
        json!({"do": "after", "status": 400, "code": -1001}),
    ] {
        let before = rig.balance().await;
        rig.fault(on_order(fault.clone())).await;
        let entry = rig.market(Leg::Entry, "0.01");
        let answer = rig.place(&entry).await;
        assert!(is_unclear(&answer), "{fault}: {answer:?}");
        let found = rig.look_up(&entry).await;
        assert_eq!(before - rig.balance().await, costs(&found).fee, "{fault}");
    }
    rig.end().await;
}

#[tokio::test]
async fn an_order_that_never_came_is_unclear_and_then_not_found() {
    let mut rig = Rig::quiet().await;
    for (status, code) in [
        (503, -1008),
        (503, -1016),
        (400, -1000),
        (400, -1006),
        (500, -1),
    ] {
        rig.fault(on_order(
            json!({"do": "before", "status": status, "code": code}),
        ))
        .await;
        let entry = rig.market(Leg::Entry, "0.01");
        let answer = rig.place(&entry).await;
        assert!(is_unclear(&answer), "{code}: {answer:?}");
        assert_eq!(
            rig.look_up(&entry).await,
            engine::orders::Answer::NotFound,
            "{code}"
        );
    }
    rig.end().await;
}

#[tokio::test]
async fn an_exchange_that_is_not_there_makes_an_order_unclear() {
    let mut rig = Rig::quiet().await;
    let (order, venue) = (rig.market(Leg::Entry, "0.01"), rig.venue.clone());
    rig.end().await;
    assert!(is_unclear(&venue.place(&bitcoin(), &order).await));
    assert!(venue.look_up(&bitcoin(), &order).await.is_err());
}

#[tokio::test]
async fn what_a_market_order_could_not_fill_is_not_waited_for() {
    let mut rig = Rig::quiet().await;
    rig.fault(json!({"do": "partial"})).await;
    let entry = rig.market(Leg::Entry, "0.01");
    let answer = rig.place(&entry).await;
    assert_eq!(filled(&answer).quantity, "0.005".parse().unwrap());
    assert_eq!(rig.look_up(&entry).await, answer);
    rig.end().await;
}

#[tokio::test]
async fn a_fill_whose_trades_are_not_shown_yet_is_told_as_working() {
    let mut rig = Rig::quiet().await;
    rig.fault(json!({"do": "before", "status": 503, "code": -1008, "path": "/fapi/v1/userTrades"}))
        .await;
    let entry = rig.market(Leg::Entry, "0.01");
    assert!(is_working(&rig.place(&entry).await));
    costs(&rig.look_up(&entry).await);
    rig.end().await;
}

#[tokio::test]
async fn after_429_nothing_more_is_sent_until_its_time_has_passed() {
    let mut rig = Rig::quiet().await;
    let limited = json!({"do": "before", "status": 429, "code": -1003, "times": 1});
    rig.fault(on_order(limited)).await;
    let first = rig.market(Leg::Exit, "0.01");
    assert_eq!(refusal(&rig.place(&first).await), -1003);
    let second = rig.market(Leg::Entry, "0.01");
    let engine::orders::Answer::Refused { code: -1003, why } = rig.place(&second).await else {
        panic!("it was sent");
    };
    assert!(why.starts_with("not sent"), "{why}");
    assert!(rig.venue.wallet().await.is_err(), "questions wait too");
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    assert_eq!(rig.look_up(&second).await, engine::orders::Answer::NotFound);
    rig.end().await;
}

#[tokio::test]
async fn an_order_that_is_taken_back_has_ended_with_nothing_and_twice_is_no_error() {
    let mut rig = Rig::quiet().await;
    rig.bought().await;
    let stop = rig.trigger(Leg::Stop, "39000");
    assert!(is_working(&rig.place(&stop).await));
    rig.fault(json!({"do": "before", "status": 503, "code": -1008, "method": "DELETE"}))
        .await;
    assert!(rig.venue.cancel(&bitcoin(), &stop).await.is_err());
    assert!(is_working(&rig.look_up(&stop).await));
    for _ in 0..2 {
        rig.venue.cancel(&bitcoin(), &stop).await.unwrap();
        assert!(is_empty(&rig.look_up(&stop).await));
    }
    let filled_already = rig.market(Leg::Entry, "0.01");
    rig.place(&filled_already).await;
    rig.venue.cancel(&bitcoin(), &filled_already).await.unwrap();
    filled(&rig.look_up(&filled_already).await);
    rig.end().await;
}

#[tokio::test]
async fn after_an_order_that_came_too_late_the_next_is_dated_anew() {
    let mut rig = Rig::quiet().await;
    let before = rig.venue.now().await.unwrap();
    rig.fault(json!({"do": "skew", "ms": 90_000})).await;
    let late = rig.market(Leg::Entry, "0.01");
    assert_eq!(refusal(&rig.place(&late).await), -1021);
    let now = rig.venue.now().await.unwrap();
    assert!(now.0 - before.0 >= 90_000, "{before} and then {now}");
    let next = Order {
        at: now,
        ..rig.market(Leg::Entry, "0.01")
    };
    filled(&rig.place(&next).await);
    rig.end().await;
}
