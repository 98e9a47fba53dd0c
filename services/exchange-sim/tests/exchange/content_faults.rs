//! Faults of queries and content: late and empty answers, rows, fields and types.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::RunningExchange;
use crate::support::faults::{BUY, arm, start_with_fault_api};
use crate::support::get;
use crate::support::signed::{KEY, call, call_ok, send};

const LIMIT: &str = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&price=39000&quantity=0.01";

async fn clear(exchange: &RunningExchange) {
    let (status, ..) = send(exchange.address, "DELETE", "/sim/fault", None, "").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn late_query_shows_the_account_as_it_was_for_each_endpoint_of_its_own() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    let before = call_ok(at, "GET", "v3/balance", "").await;
    for path in [
        "v1/order",
        "v1/openOrder",
        "v1/openOrders",
        "v1/allOrders",
        "v1/userTrades",
        "v1/algoOrder",
        "v1/openAlgoOrders",
        "v1/allAlgoOrders",
        "v3/positionRisk",
        "v3/balance",
        "v3/account",
        "v1/income",
    ] {
        let path = format!("/fapi/{path}");
        arm(
            &exchange,
            json!({"fault": "query-lag", "ms": 60_000, "path": path, "times": "unlimited"}),
        )
        .await;
    }
    let order = call_ok(
        at,
        "POST",
        "v1/order",
        &format!("{BUY}&newClientOrderId=new"),
    )
    .await;
    assert_eq!(order["clientOrderId"], "new");
    call_ok(at, "POST", "v1/order", LIMIT).await;
    let stop = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39500\
                &closePosition=true&clientAlgoId=out";
    call_ok(at, "POST", "v1/algoOrder", stop).await;
    for (path, query) in [
        ("v1/order", "symbol=BTCUSDT&origClientOrderId=new"),
        ("v1/algoOrder", "clientAlgoId=out"),
    ] {
        let (status, _, body) = call(at, "GET", path, query).await;
        assert_eq!((status, &body["code"]), (400, &json!(-2013)), "{path}");
    }
    for path in [
        "v1/openOrders",
        "v1/allOrders",
        "v1/userTrades",
        "v1/openAlgoOrders",
        "v1/allAlgoOrders",
        "v3/positionRisk",
        "v1/income",
    ] {
        assert_eq!(
            call_ok(at, "GET", path, "symbol=BTCUSDT").await,
            json!([]),
            "{path}"
        );
    }
    assert_eq!(
        call_ok(at, "GET", "v3/balance", "").await[0]["balance"],
        before[0]["balance"]
    );
    assert_eq!(
        call_ok(at, "GET", "v3/account", "").await["positions"],
        json!([])
    );
    // Another endpoint is not late, and a cancellation acts on the account as it is.
    let shown = call_ok(at, "GET", "v2/positionRisk", "symbol=BTCUSDT").await;
    assert_eq!(shown[0]["positionAmt"], "0.01");
    call_ok(at, "DELETE", "v1/allOpenOrders", "symbol=BTCUSDT").await;
    clear(&exchange).await;
    assert_eq!(call_ok(at, "GET", "v1/openOrders", "").await, json!([]));
    assert_eq!(
        call_ok(at, "GET", "v1/allOrders", "symbol=BTCUSDT")
            .await
            .as_array()
            .unwrap()
            .len(),
        2
    );
    exchange.stop().await;
}

#[tokio::test]
async fn late_query_shows_a_change_once_its_lag_is_over() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    let lag = Duration::from_millis(700);
    let late = json!({"fault": "query-lag", "ms": 700, "path": "/fapi/v1/userTrades", "times": "unlimited"});
    arm(&exchange, late).await;
    let count = async || {
        let trades = call_ok(at, "GET", "v1/userTrades", "symbol=BTCUSDT").await;
        trades.as_array().unwrap().len()
    };
    let begin = Instant::now();
    call_ok(at, "POST", "v1/order", BUY).await;
    let first = (count().await, begin.elapsed());
    assert!(first.0 == 0 || first.1 >= lag, "{first:?}");
    sleep(lag / 2).await;
    call_ok(at, "POST", "v1/order", BUY).await;
    let second_from = Instant::now();
    sleep(lag / 2 + Duration::from_millis(100)).await;
    let seen = (count().await, second_from.elapsed());
    assert!(
        seen.0 == 1 || seen.1 >= lag,
        "only the first trade: {seen:?}"
    );
    sleep(lag).await;
    assert_eq!(count().await, 2);
    exchange.stop().await;
}

#[tokio::test]
async fn empty_answer_finds_nothing_for_a_while() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    call_ok(
        at,
        "POST",
        "v1/order",
        &format!("{BUY}&newClientOrderId=new"),
    )
    .await;
    arm(
        &exchange,
        json!({"fault": "empty-answer", "for_ms": 60_000}),
    )
    .await;
    for path in ["v1/userTrades", "v1/allOrders", "v3/positionRisk"] {
        assert_eq!(
            call_ok(at, "GET", path, "symbol=BTCUSDT").await,
            json!([]),
            "{path}"
        );
    }
    let account = call_ok(at, "GET", "v3/account", "").await;
    assert_eq!(account["positions"], json!([]));
    assert!(account["totalWalletBalance"].is_string());
    let known = "symbol=BTCUSDT&origClientOrderId=new";
    let (status, _, body) = call(at, "GET", "v1/order", known).await;
    assert_eq!((status, &body["code"]), (400, &json!(-2013)));
    clear(&exchange).await;
    arm(&exchange, json!({"fault": "empty-answer", "for_ms": 1})).await;
    sleep(Duration::from_millis(5)).await;
    assert_eq!(
        call_ok(at, "GET", "v1/order", known).await["status"],
        "FILLED"
    );
    exchange.stop().await;
}

#[tokio::test]
async fn rows_are_doubled_and_reversed_for_one_symbol_and_path() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    for _ in 0..2 {
        call_ok(at, "POST", "v1/order", BUY).await;
        call_ok(at, "POST", "v1/order", LIMIT).await;
    }
    for (path, id) in [
        ("v1/userTrades", "id"),
        ("v1/allOrders", "orderId"),
        ("v1/openOrders", "orderId"),
        ("v1/income", "tranId"),
    ] {
        let ids = async || {
            let rows = call_ok(at, "GET", path, "symbol=BTCUSDT").await;
            let ids = rows
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row[id].as_i64().unwrap());
            ids.collect::<Vec<_>>()
        };
        let regular = ids().await;
        assert!(regular.len() >= 2, "{path}");
        let filter = json!({"path": format!("/fapi/{path}"), "symbol": "BTCUSDT"});
        for fault in ["duplicate-rows", "reverse-rows"] {
            let mut fault = json!({"fault": fault});
            fault
                .as_object_mut()
                .unwrap()
                .extend(filter.as_object().unwrap().clone());
            arm(&exchange, fault).await;
        }
        let mut expected: Vec<i64> = regular.iter().flat_map(|id| [*id, *id]).collect();
        expected.reverse();
        assert_eq!(ids().await, expected, "{path}");
        assert_eq!(ids().await, regular, "{path}");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn fields_have_other_values_and_types_or_are_missing_or_new() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    let info = "/fapi/v1/exchangeInfo";
    arm(
        &exchange,
        json!({"fault": "other-value", "field": "status", "path": info}),
    )
    .await;
    let (_, _, body) = get(at, info).await;
    assert_eq!(body["symbols"][0]["status"], "UNDOCUMENTED");
    let other = json!({"fault": "other-value", "field": "contractType", "value": "CURRENT_QUARTER DELIVERING",
        "path": info});
    arm(&exchange, other).await;
    arm(
        &exchange,
        json!({"fault": "new-field", "value": {"a": [1, null]}, "path": info}),
    )
    .await;
    let (_, _, body) = get(at, info).await;
    assert_eq!(
        body["symbols"][0]["contractType"],
        "CURRENT_QUARTER DELIVERING"
    );
    assert_eq!(
        body["symbols"][0]["filters"][0]["undocumentedField"],
        json!({"a": [1, null]})
    );
    let order = format!("{BUY}&newOrderRespType=RESULT");
    for field in ["status", "type"] {
        arm(
            &exchange,
            json!({"fault": "other-value", "field": field, "path": "/fapi/v1/order"}),
        )
        .await;
        assert_eq!(
            call_ok(at, "POST", "v1/order", &order).await[field],
            "UNDOCUMENTED"
        );
    }
    arm(
        &exchange,
        json!({"fault": "missing-field", "field": "avgPrice", "path": "/fapi/v1/order"}),
    )
    .await;
    assert_eq!(
        call_ok(at, "POST", "v1/order", &order)
            .await
            .get("avgPrice"),
        None
    );
    arm(
        &exchange,
        json!({"fault": "swapped-types", "path": "/fapi/v1/order"}),
    )
    .await;
    let swapped = call_ok(at, "POST", "v1/order", &order).await;
    assert!(
        swapped["orderId"].is_string() && swapped["executedQty"].is_number(),
        "{swapped}"
    );
    arm(
        &exchange,
        json!({"fault": "swapped-types", "field": "orderId", "path": "/fapi/v1/allOrders"}),
    )
    .await;
    let orders = call_ok(at, "GET", "v1/allOrders", "symbol=BTCUSDT").await;
    assert!(orders[0]["orderId"].is_string() && orders[0]["executedQty"].is_string());
    exchange.stop().await;
}

#[tokio::test]
async fn unsigned_and_keyed_calls_have_faults_of_content_too() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    arm(
        &exchange,
        json!({"fault": "missing-field", "field": "listenKey"}),
    )
    .await;
    let (status, _, body) = send(at, "POST", "/fapi/v1/listenKey", Some(KEY), "").await;
    assert_eq!((status, body), (200, json!({})));
    arm(
        &exchange,
        json!({"fault": "swapped-types", "path": "/fapi/v1/time"}),
    )
    .await;
    let (_, _, body) = get(at, "/fapi/v1/time").await;
    assert!(
        body["serverTime"]
            .as_str()
            .is_some_and(|time| time.parse::<i64>().is_ok()),
        "{body}"
    );
    let (_, _, rows) = get(at, "/fapi/v1/klines?symbol=BTCUSDT&interval=1m").await;
    let rows: Vec<Value> = rows.as_array().unwrap().clone();
    arm(
        &exchange,
        json!({"fault": "duplicate-rows", "path": "/fapi/v1/klines"}),
    )
    .await;
    let (_, _, doubled) = get(at, "/fapi/v1/klines?symbol=BTCUSDT&interval=1m").await;
    assert_eq!(doubled.as_array().unwrap().len(), 2 * rows.len());
    exchange.stop().await;
}
