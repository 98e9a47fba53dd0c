//! Faults of execution and limits: the documented errors with their codes, texts and headers, and what was executed.

use exchange_sim::exchange::Limits;
use serde_json::{Value, json};

use crate::support::faults::{
    BUY, arm, begin_of_window, call_raw, for_new_orders, get_raw, position_amount,
    start_with_fault_api,
};
use crate::support::signed::{FLAT_MINUTES, call, call_ok, minute_file, send, start_with_limits};

const STOP: &str = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39500\
                    &closePosition=true";

#[tokio::test]
async fn unavailable_exchange_answers_with_the_documented_texts() {
    let exchange = start_with_fault_api().await;
    for (text, executed, code, message) in [
        (
            "unknown-error",
            true,
            Value::Null,
            "Unknown error, please check your request or try again later.",
        ),
        (
            "unknown-error",
            false,
            Value::Null,
            "Unknown error, please check your request or try again later.",
        ),
        (
            "service-unavailable",
            false,
            Value::Null,
            "Service Unavailable.",
        ),
        (
            "internal-error",
            false,
            json!(-1001),
            "Internal error; unable to process your request. Please try again.",
        ),
    ] {
        let before = position_amount(&exchange).await;
        let fault = json!({"fault": "unavailable", "text": text, "executed": executed});
        arm(&exchange, for_new_orders(fault)).await;
        let (status, _, body) = call(exchange.address, "POST", "v1/order", BUY).await;
        assert_eq!(
            (status, &body["code"], &body["msg"]),
            (503, &code, &json!(message))
        );
        assert_eq!(
            position_amount(&exchange).await != before,
            executed,
            "{text}"
        );
    }
    exchange.stop().await;
}

#[tokio::test]
async fn error_has_the_text_of_its_code_or_its_own() {
    let exchange = start_with_fault_api().await;
    for (fault, message) in [
        (
            json!({"fault": "fail-before", "status": 400, "code": -1021}),
            "Timestamp for this request is outside of the recvWindow.",
        ),
        (
            json!({"fault": "fail-after", "status": 408, "code": -1007}),
            "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        ),
        (
            json!({"fault": "fail-before", "status": 400, "code": -1000, "message": "Own text."}),
            "Own text.",
        ),
    ] {
        arm(&exchange, for_new_orders(fault.clone())).await;
        let (status, _, body) = call(exchange.address, "POST", "v1/order", BUY).await;
        assert_eq!(
            (json!(status), &body["code"]),
            (fault["status"].clone(), &fault["code"])
        );
        assert_eq!(body["msg"], message);
    }
    assert_eq!(position_amount(&exchange).await, "0.01", "executed once");
    exchange.stop().await;
}

#[tokio::test]
async fn overload_rejects_orders_except_those_that_reduce_a_position() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    arm(
        &exchange,
        json!({"fault": "overload", "times": "unlimited"}),
    )
    .await;
    let (status, _, body) = call(at, "POST", "v1/order", BUY).await;
    assert_eq!((status, &body["code"]), (503, &json!(-1008)));
    let message = body["msg"].as_str().unwrap();
    assert!(
        message.starts_with("Request throttled by system-level protection."),
        "{message}"
    );
    call_ok(at, "POST", "v1/algoOrder", STOP).await;
    let close = format!("{}&reduceOnly=true", BUY.replace("BUY", "SELL"));
    call_ok(at, "POST", "v1/order", &close).await;
    assert_eq!(position_amount(&exchange).await, "0");
    exchange.stop().await;
}

#[tokio::test]
async fn order_limit_is_exhausted_alone_and_free_again_after_the_fault() {
    let exchange = start_with_fault_api().await;
    for (limit, header, most, name) in [
        ("orders-10s", "x-mbx-order-count-10s", "300", "10 SECOND"),
        ("orders-1m", "x-mbx-order-count-1m", "1200", "1 MINUTE"),
    ] {
        begin_of_window().await;
        arm(&exchange, json!({"fault": "exhaust-limit", "limit": limit})).await;
        for (method, path, query) in [("POST", "v1/order", BUY), ("POST", "v1/algoOrder", STOP)] {
            let refused = call_raw(&exchange, method, path, query).await;
            assert_eq!(refused.status(), 429, "{limit} {path}");
            let body = refused.json();
            assert_eq!(body["code"], -1015);
            let text = format!("Too many new orders; current limit is {most} orders per {name}.");
            assert_eq!(body["msg"], text);
            assert_eq!(refused.header(header), Some(most));
            let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{wait}");
        }
        let (status, ..) = call(exchange.address, "GET", "v1/openOrders", "").await;
        assert_eq!(status, 200, "weight is not used up");
        let (status, ..) = send(exchange.address, "DELETE", "/sim/fault", None, "").await;
        assert_eq!(status, 200);
        call_ok(exchange.address, "POST", "v1/order", BUY).await;
    }
    exchange.stop().await;
}

#[tokio::test]
async fn what_is_left_of_a_limit_can_be_used() {
    let exchange = start_with_fault_api().await;
    begin_of_window().await;
    arm(
        &exchange,
        json!({"fault": "exhaust-limit", "limit": "orders-1m", "left": 1}),
    )
    .await;
    let accepted = call_raw(&exchange, "POST", "v1/order", BUY).await;
    assert_eq!(accepted.status(), 200);
    assert_eq!(accepted.header("x-mbx-order-count-1m"), Some("1200"));
    let refused = call_raw(&exchange, "POST", "v1/order", BUY).await;
    assert_eq!(refused.status(), 429);
    exchange.stop().await;
}

#[tokio::test]
async fn end_of_other_faults_does_not_reset_counted_orders() {
    let exchange = start_with_fault_api().await;
    begin_of_window().await;
    for count in ["1", "2"] {
        arm(&exchange, json!({"fault": "clock-skew", "ms": 1})).await;
        send(exchange.address, "DELETE", "/sim/fault", None, "").await;
        let accepted = call_raw(&exchange, "POST", "v1/order", BUY).await;
        assert_eq!(accepted.header("x-mbx-order-count-1m"), Some(count));
    }
    exchange.stop().await;
}

#[tokio::test]
async fn weight_is_exhausted_alone_and_orders_are_still_counted_apart() {
    let limits = Limits {
        rejections_before_ban: 1_000,
        ..Limits::default()
    };
    let file = minute_file(&FLAT_MINUTES);
    let exchange = start_with_limits(&file, &["--fault-api", "1"], limits).await;
    begin_of_window().await;
    arm(
        &exchange,
        json!({"fault": "exhaust-limit", "limit": "weight"}),
    )
    .await;
    let refused = get_raw(&exchange, "/fapi/v1/time", "").await;
    assert_eq!(refused.status(), 429);
    let body = refused.json();
    assert_eq!(body["code"], -1003);
    let text = "Too many requests; current limit of IP(127.0.0.1) is 2400 requests per minute.";
    assert!(body["msg"].as_str().unwrap().starts_with(text), "{body}");
    assert!(refused.header("retry-after").is_some());
    let used: u32 = refused
        .header("x-mbx-used-weight-1m")
        .unwrap()
        .parse()
        .unwrap();
    assert!(used > 2_400, "{used}");
    assert_eq!(refused.header("x-mbx-order-count-1m"), None);
    let (status, _, listed) = send(exchange.address, "GET", "/sim/fault", None, "").await;
    assert_eq!(
        (status, &listed[0]["fault"]),
        (200, &json!("exhaust-limit"))
    );
    send(exchange.address, "DELETE", "/sim/fault", None, "").await;
    assert_eq!(get_raw(&exchange, "/fapi/v1/time", "").await.status(), 200);
    exchange.stop().await;
}

#[tokio::test]
async fn ban_answers_418_with_its_end_until_it_is_over() {
    let exchange = start_with_fault_api().await;
    arm(&exchange, json!({"fault": "ban", "ms": 90_000})).await;
    let refused = get_raw(&exchange, "/fapi/v1/time", "").await;
    assert_eq!(refused.status(), 418);
    let body = refused.json();
    assert_eq!(body["code"], -1003);
    let message = body["msg"].as_str().unwrap();
    let text = "Way too many requests; IP(127.0.0.1) banned until ";
    let end = message
        .strip_prefix(text)
        .and_then(|rest| rest.split_once('.'))
        .unwrap()
        .0;
    assert!(
        end.parse::<i64>().is_ok_and(|end| end > 1_700_000_000_000),
        "{message}"
    );
    let wait: i64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((85..=91).contains(&wait), "{wait}");
    arm(&exchange, json!({"fault": "ban", "ms": 0})).await;
    assert_eq!(get_raw(&exchange, "/fapi/v1/time", "").await.status(), 200);
    arm(
        &exchange,
        json!({"fault": "missing-headers", "names": ["retry-after"]}),
    )
    .await;
    arm(&exchange, json!({"fault": "ban", "ms": 90_000})).await;
    let refused = get_raw(&exchange, "/fapi/v1/time", "").await;
    assert_eq!(
        (refused.status(), refused.header("retry-after")),
        (418, None)
    );
    exchange.stop().await;
}
