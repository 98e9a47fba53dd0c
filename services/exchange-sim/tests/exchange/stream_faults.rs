//! Faults of streams: frames that are left out, doubled, swapped or changed, by event and symbol.

use serde_json::{Value, json};

use crate::support::faults::{BUY, arm, connect_user_stream, start_with_fault_api};
use crate::support::signed::call_ok;
use crate::support::{Client, RunningExchange};

/// Events of one filled market order: accepted, account, filled.
const EVENTS_OF_A_FILL: usize = 3;

async fn events_of_a_fill(
    exchange: &RunningExchange,
    user: &mut Client,
    count: usize,
) -> Vec<Value> {
    call_ok(exchange.address, "POST", "v1/order", BUY).await;
    let mut events = Vec::new();
    for _ in 0..count {
        events.push(user.receive().await);
    }
    events
}

fn kinds(events: &[Value]) -> Vec<String> {
    let kind = |event: &Value| {
        let execution = event["o"]["x"].as_str().unwrap_or_default();
        format!("{}{execution}", event["e"].as_str().unwrap())
    };
    events.iter().map(kind).collect()
}

#[tokio::test]
async fn frames_of_one_event_are_left_out_doubled_and_swapped() {
    let exchange = start_with_fault_api().await;
    let mut user = connect_user_stream(&exchange).await;
    let (new, account, filled) = (
        "ORDER_TRADE_UPDATENEW",
        "ACCOUNT_UPDATE",
        "ORDER_TRADE_UPDATETRADE",
    );
    let regular = events_of_a_fill(&exchange, &mut user, EVENTS_OF_A_FILL).await;
    assert_eq!(kinds(&regular), [new, account, filled]);
    for (fault, expected) in [
        (
            json!({"fault": "skip", "event": "ACCOUNT_UPDATE", "to": "user"}),
            vec![new, filled],
        ),
        (
            json!({"fault": "skip", "times": 2, "event": "ORDER_TRADE_UPDATE"}),
            vec![account],
        ),
        (
            json!({"fault": "duplicate", "event": "ACCOUNT_UPDATE", "symbol": "BTCUSDT"}),
            vec![new, account, account, filled],
        ),
        (
            json!({"fault": "duplicate", "symbol": "ETHUSDT"}),
            vec![new, account, filled],
        ),
        (
            json!({"fault": "reorder", "event": "ACCOUNT_UPDATE"}),
            vec![new, filled, account],
        ),
    ] {
        arm(&exchange, fault.clone()).await;
        let received = events_of_a_fill(&exchange, &mut user, expected.len()).await;
        assert_eq!(kinds(&received), expected, "{fault}");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn events_of_the_user_stream_have_unknown_values_types_and_fields() {
    let exchange = start_with_fault_api().await;
    let mut user = connect_user_stream(&exchange).await;
    for (fault, field, expected) in [
        (
            json!({"fault": "other-value", "field": "X", "to": "user"}),
            "X",
            json!("UNDOCUMENTED"),
        ),
        (
            json!({"fault": "missing-field", "field": "c", "to": "user"}),
            "c",
            Value::Null,
        ),
        (
            json!({"fault": "swapped-types", "field": "q", "to": "user"}),
            "q",
            json!(0.01),
        ),
        (
            json!({"fault": "new-field", "field": "zz", "to": "all"}),
            "zz",
            json!("UNDOCUMENTED"),
        ),
    ] {
        arm(&exchange, fault.clone()).await;
        let changed = events_of_a_fill(&exchange, &mut user, EVENTS_OF_A_FILL).await;
        assert_eq!(changed[0]["o"][field], expected, "{fault}");
        assert_ne!(changed[2]["o"][field], expected, "{fault}: once");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn market_events_change_in_both_formats_and_calls_do_not() {
    let exchange = start_with_fault_api().await;
    let fault = json!({"fault": "other-value", "field": "i", "value": 7, "to": "market", "times": "unlimited"});
    arm(&exchange, fault).await;
    let mut raw = Client::connect(exchange.address, "/ws/btcusdt@kline_1m").await;
    assert_eq!(raw.receive().await["k"]["i"], 7);
    let mut combined = Client::connect(exchange.address, "/stream?streams=btcusdt@kline_1m").await;
    let event = combined.receive().await;
    assert_eq!(
        (&event["stream"], &event["data"]["k"]["i"]),
        (&json!("btcusdt@kline_1m"), &json!(7))
    );
    let mut user = connect_user_stream(&exchange).await;
    let events = events_of_a_fill(&exchange, &mut user, 1).await;
    assert!(events[0]["o"]["i"].as_i64().unwrap() > 0 && events[0]["o"]["i"] != json!(7));
    exchange.stop().await;
}
