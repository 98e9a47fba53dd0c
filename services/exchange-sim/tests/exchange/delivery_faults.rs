//! Faults of delivery: what arrives over the wire, and that the call was executed where the fault says so.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::support::RunningExchange;
use crate::support::faults::{
    BUY, RawAnswer, arm, begin_of_window, call_raw, for_new_orders, get_raw, position_amount,
    read_raw, signed_request, start_with_fault_api,
};

const INFO: &str = "/fapi/v1/exchangeInfo";
const KLINES: &str = "/fapi/v1/klines?symbol=BTCUSDT&interval=1m";
const GZIP: &str = "Accept-Encoding: gzip\r\n";

async fn order(exchange: &RunningExchange) -> RawAnswer {
    call_raw(exchange, "POST", "v1/order", BUY).await
}

fn unpacked(body: &[u8]) -> std::io::Result<Value> {
    let mut text = String::new();
    GzDecoder::new(body).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

#[tokio::test]
async fn html_page_replaces_the_answer_and_the_call_only_if_armed_so() {
    let exchange = start_with_fault_api().await;
    for (status, executed) in [(404, false), (403, false), (502, true), (200, true)] {
        let before = position_amount(&exchange).await;
        let page = json!({"fault": "html-page", "status": status, "executed": executed});
        arm(&exchange, for_new_orders(page)).await;
        let answer = order(&exchange).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.header("content-type"), Some("text/html"));
        assert!(answer.text().contains(&format!("<H1>{status} ERROR</H1>")));
        assert_eq!(answer.header("x-mbx-used-weight-1m"), None);
        let after = position_amount(&exchange).await;
        assert_eq!(before != after, executed, "{status}");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn body_can_be_empty_or_another_one_after_the_execution() {
    let exchange = start_with_fault_api().await;
    let error = json!({"code": -1000, "msg": "An unknown error occurred."});
    for (fault, body) in [
        (json!({"fault": "empty-body"}), String::new()),
        (json!({"fault": "other-body", "body": {}}), "{}".to_owned()),
        (
            json!({"fault": "other-body", "body": error}),
            error.to_string(),
        ),
    ] {
        let before = position_amount(&exchange).await;
        arm(&exchange, for_new_orders(fault)).await;
        let answer = order(&exchange).await;
        assert_eq!((answer.status(), answer.text()), (200, body.as_str()));
        assert!(answer.header("x-mbx-used-weight-1m").is_some());
        assert_ne!(position_amount(&exchange).await, before, "executed");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn truncated_body_ends_before_its_announced_length_or_its_last_chunk() {
    let exchange = start_with_fault_api().await;
    let whole = get_raw(&exchange, INFO, "").await.body.len();
    for (fault, sent) in [
        (json!({"fault": "truncated-body", "bytes": 40}), 40),
        (json!({"fault": "truncated-body"}), whole / 2),
    ] {
        arm(&exchange, fault).await;
        let answer = get_raw(&exchange, INFO, "").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("content-length").unwrap(), whole.to_string());
        assert_eq!(answer.body.len(), sent);
    }
    let chunked = json!({"fault": "truncated-body", "bytes": 40, "framing": "chunked"});
    arm(&exchange, for_new_orders(chunked)).await;
    let answer = order(&exchange).await;
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.header("content-length"), None);
    assert!(answer.text().starts_with("28\r\n{"), "{}", answer.text());
    assert!(!answer.text().ends_with("0\r\n\r\n"), "no last chunk");
    assert_eq!(position_amount(&exchange).await, "0.01", "executed");
    exchange.stop().await;
}

#[tokio::test]
async fn endless_body_continues_until_the_client_gives_up() {
    let exchange = start_with_fault_api().await;
    arm(
        &exchange,
        json!({"fault": "endless-body", "path": "/fapi/v1/klines"}),
    )
    .await;
    let request = format!("GET {KLINES} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n");
    let answer = read_raw(exchange.address, &request, Duration::from_millis(500)).await;
    assert_eq!(answer.error, Some(ErrorKind::TimedOut));
    assert!(answer.body.len() > 1_000_000, "{}", answer.body.len());
    exchange.stop().await;
}

#[tokio::test]
async fn slow_body_comes_in_parts_and_completely() {
    let exchange = start_with_fault_api().await;
    arm(
        &exchange,
        json!({"fault": "slow-body", "bytes": 5, "every_ms": 100}),
    )
    .await;
    let asked = Instant::now();
    let answer = get_raw(&exchange, "/fapi/v1/time", "").await;
    let length: u32 = answer.header("content-length").unwrap().parse().unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(100) * length.div_ceil(5));
    assert!(answer.json()["serverTime"].is_i64());
    // By default a byte a second.
    arm(&exchange, json!({"fault": "slow-body"})).await;
    let request = "GET /fapi/v1/time HTTP/1.1\r\nHost: sim\r\n\r\n";
    let answer = read_raw(exchange.address, request, Duration::from_millis(1_500)).await;
    assert_eq!(answer.text(), "{");
    exchange.stop().await;
}

#[tokio::test]
async fn long_json_is_compressed_only_if_the_client_offers_it() {
    let exchange = start_with_fault_api().await;
    let plain = get_raw(&exchange, INFO, "").await;
    assert_eq!(plain.header("content-encoding"), None);
    let packed = get_raw(&exchange, INFO, GZIP).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < plain.body.len());
    assert_eq!(
        unpacked(&packed.body).unwrap()["symbols"],
        plain.json()["symbols"]
    );
    let short = get_raw(&exchange, "/fapi/v1/time", GZIP).await;
    assert_eq!(short.header("content-encoding"), None);
    exchange.stop().await;
}

#[tokio::test]
async fn compression_can_be_unrequested_corrupt_truncated_or_only_announced() {
    let exchange = start_with_fault_api().await;
    for (form, headers) in [
        ("unrequested", ""),
        ("corrupt", GZIP),
        ("truncated", GZIP),
        ("plain", GZIP),
    ] {
        arm(
            &exchange,
            json!({"fault": "gzip", "form": form, "path": INFO}),
        )
        .await;
        let answer = get_raw(&exchange, INFO, headers).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{form}");
        assert_eq!(
            answer.header("content-length").unwrap(),
            answer.body.len().to_string()
        );
        assert_eq!(
            unpacked(&answer.body).is_ok(),
            form == "unrequested",
            "{form}"
        );
        let is_plain = serde_json::from_slice::<Value>(&answer.body).is_ok();
        assert_eq!(is_plain, form == "plain", "{form}");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn connection_is_reset_or_closed_after_the_execution() {
    let exchange = start_with_fault_api().await;
    for (fault, end) in [
        ("reset-connection", Some(ErrorKind::ConnectionReset)),
        ("cut-connection", None),
    ] {
        let before = position_amount(&exchange).await;
        arm(&exchange, for_new_orders(json!({"fault": fault}))).await;
        let answer = order(&exchange).await;
        assert_eq!(answer.error, end, "{fault}");
        assert!(answer.body.is_empty(), "{fault}");
        assert_ne!(
            position_amount(&exchange).await,
            before,
            "{fault}: executed"
        );
    }
    exchange.stop().await;
}

#[tokio::test]
async fn latency_is_of_one_endpoint_and_comes_before_or_after_the_execution() {
    let exchange = start_with_fault_api().await;
    let wait = Duration::from_millis(300);
    let late = |when: &str, times: Value| json!({"fault": "delay", "ms": 300, "when": when, "times": times});
    let mut of_orders = late("before", json!(1));
    of_orders["path"] = json!("/fapi/v1/order");
    arm(&exchange, of_orders).await;
    let request = signed_request(exchange.address, "POST", "v1/order", BUY, "").await;
    let call = read_raw(exchange.address, &request, wait * 10);
    let look = async {
        tokio::time::sleep(wait / 3).await;
        position_amount(&exchange).await
    };
    let (answer, amount) = tokio::join!(call, look);
    assert_eq!(
        (answer.status(), amount.as_str()),
        (200, "0"),
        "not executed yet"
    );
    arm(&exchange, for_new_orders(late("after", json!(1)))).await;
    let request = signed_request(exchange.address, "POST", "v1/order", BUY, "").await;
    let look = async {
        tokio::time::sleep(wait / 3).await;
        position_amount(&exchange).await
    };
    let (answer, amount) = tokio::join!(read_raw(exchange.address, &request, wait * 10), look);
    assert_eq!(
        (answer.status(), amount.as_str()),
        (200, "0.02"),
        "executed at once"
    );
    let mut lasting = late("after", json!("unlimited"));
    lasting["path"] = json!("/fapi/v1/ping");
    arm(&exchange, lasting).await;
    for (path, is_late) in [
        ("/fapi/v1/ping", true),
        ("/fapi/v1/time", false),
        ("/fapi/v1/ping", true),
    ] {
        let asked = Instant::now();
        get_raw(&exchange, path, "").await;
        assert_eq!(asked.elapsed() >= wait, is_late, "{path}");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn headers_can_be_missing() {
    let exchange = start_with_fault_api().await;
    begin_of_window().await;
    arm(
        &exchange,
        for_new_orders(json!({"fault": "missing-headers"})),
    )
    .await;
    let answer = order(&exchange).await;
    for name in [
        "x-mbx-used-weight-1m",
        "x-mbx-order-count-10s",
        "x-mbx-order-count-1m",
    ] {
        assert_eq!(answer.header(name), None);
    }
    let named = json!({"fault": "missing-headers", "names": ["x-mbx-order-count-10s"]});
    arm(&exchange, for_new_orders(named)).await;
    let answer = order(&exchange).await;
    assert_eq!(answer.header("x-mbx-order-count-10s"), None);
    assert_eq!(answer.header("x-mbx-order-count-1m"), Some("2"));
    exchange.stop().await;
}

#[tokio::test]
async fn opening_of_a_stream_can_fail_with_a_page() {
    let exchange = start_with_fault_api().await;
    let page = json!({"fault": "html-page", "status": 503, "path": "/ws/btcusdt@kline_1m"});
    arm(&exchange, page).await;
    let url = format!("ws://{}/ws/btcusdt@kline_1m", exchange.address);
    let refused = tokio_tungstenite::connect_async(&url).await.unwrap_err();
    assert!(refused.to_string().contains("503"), "{refused}");
    // Its answer has no body that could be cut.
    arm(&exchange, json!({"fault": "truncated-body"})).await;
    assert!(tokio_tungstenite::connect_async(&url).await.is_ok());
    exchange.stop().await;
}
