//! The fault API: arming, listing, clearing, and its errors.

use serde_json::json;

use crate::support::faults::{arm, get_raw, start_with_fault_api};
use crate::support::signed::send;

#[tokio::test]
async fn armed_faults_are_listed_with_their_fields_and_cleared_one_by_one_or_all() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    let lag = json!({"fault": "query-lag", "ms": 50, "path": "/fapi/v1/userTrades", "symbol": "BTCUSDT",
        "times": "unlimited"});
    let first = arm(&exchange, lag).await.unwrap();
    let second = arm(
        &exchange,
        json!({"fault": "skip", "times": 3, "to": "user"}),
    )
    .await
    .unwrap();
    arm(&exchange, json!({"fault": "clock-skew", "ms": 5})).await;
    let (_, _, listed) = send(at, "GET", "/sim/fault", None, "").await;
    assert_eq!(
        listed,
        json!([
            {"id": first, "fault": "query-lag", "ms": 50, "path": "/fapi/v1/userTrades", "symbol": "BTCUSDT",
             "times": "unlimited"},
            {"id": second, "fault": "skip", "to": "user", "times": 3},
            {"id": second + 1, "fault": "clock-skew", "ms": 5, "times": "unlimited"},
        ])
    );
    let (status, ..) = send(at, "DELETE", &format!("/sim/fault?id={first}"), None, "").await;
    assert_eq!(status, 200);
    let (status, _, body) = send(at, "DELETE", &format!("/sim/fault?id={first}"), None, "").await;
    assert_eq!(status, 400);
    let message =
        format!("id={first}: expected the id of an armed fault; GET /sim/fault lists them");
    assert_eq!(body["msg"], message);
    let (_, _, listed) = send(at, "GET", "/sim/fault", None, "").await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    send(at, "DELETE", "/sim/fault", None, "").await;
    let (_, _, listed) = send(at, "GET", "/sim/fault", None, "").await;
    assert_eq!(listed, json!([]));
    exchange.stop().await;
}

#[tokio::test]
async fn rejected_request_gets_one_line_with_field_value_and_what_is_expected() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    for (body, message) in [
        (
            "[1]",
            "body: expected a JSON object: invalid type: sequence, expected a map at line 1 column 0",
        ),
        (
            r#"{"fault": "fly"}"#,
            r#"fault="fly": expected one of delay, "#,
        ),
        (
            r#"{"fault": "delay", "ms": "soon"}"#,
            r#"ms="soon": expected a whole number from 0 to 3600000"#,
        ),
        (
            r#"{"fault": "skip", "method": "GET"}"#,
            r#"method="GET": expected one of to, event, symbol"#,
        ),
        (
            r#"{"fault": "ban"}"#,
            "ms is not set: expected wall time in milliseconds; 0 ends it",
        ),
    ] {
        let (status, _, answer) = send(at, "POST", "/sim/fault", None, body).await;
        assert_eq!(status, 400, "{body}");
        let text = answer["msg"].as_str().unwrap();
        assert!(text.starts_with(message), "{text}");
        assert!(!text.contains('\n'));
    }
    let (_, _, listed) = send(at, "GET", "/sim/fault", None, "").await;
    assert_eq!(listed, json!([]));
    exchange.stop().await;
}

#[tokio::test]
async fn fault_api_uses_no_weight_and_has_no_faults() {
    let exchange = start_with_fault_api().await;
    arm(&exchange, json!({"fault": "ban", "ms": 60_000})).await;
    arm(
        &exchange,
        json!({"fault": "html-page", "status": 502, "times": "unlimited"}),
    )
    .await;
    let listed = get_raw(&exchange, "/sim/fault", "").await;
    assert_eq!(
        (listed.status(), listed.header("x-mbx-used-weight-1m")),
        (200, None)
    );
    assert_eq!(listed.json().as_array().unwrap().len(), 2);
    exchange.stop().await;
}
