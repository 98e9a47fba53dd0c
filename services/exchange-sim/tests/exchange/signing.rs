//! Authentication and limits: keys, signatures, time windows, weights, bans and order limits, as at Binance.

use exchange_sim::exchange::Limits;

use crate::support::signed::{
    FLAT_MINUTES, KEY, SECRET, call, minute_file, send, signature, start_trading, start_with_limits,
};
use crate::support::time;

const PATH: &str = "/fapi/v1/positionSide/dual";

#[tokio::test]
async fn each_signing_error_has_its_own_code() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let now = time(exchange.address).await;
    let signed = |payload: String| format!("{payload}&signature={}", signature(SECRET, &payload));
    let at = |ms: i64| signed(format!("timestamp={}", now + ms));
    for (query, key, status, code) in [
        (at(0), Some(KEY), 200, None),
        (at(-5_000), Some(KEY), 200, None),
        (at(-5_001), Some(KEY), 400, Some(-1021)),
        (at(999), Some(KEY), 200, None),
        (at(1_000), Some(KEY), 400, Some(-1021)),
        (at(0), None, 401, Some(-2014)),
        (at(0), Some("unknown"), 401, Some(-2015)),
        (at(0), Some("reader"), 400, Some(-1022)),
        (format!("timestamp={now}"), Some(KEY), 400, Some(-1102)),
        (signed("a=1".to_owned()), Some(KEY), 400, Some(-1102)),
        (
            format!("timestamp={now}&signature=00"),
            Some(KEY),
            400,
            Some(-1022),
        ),
        (
            format!("{}&symbol=BTCUSDT", at(0)),
            Some(KEY),
            400,
            Some(-1022),
        ),
        (
            signed(format!("recvWindow=60001&timestamp={now}")),
            Some(KEY),
            400,
            Some(-1131),
        ),
        (
            signed(format!("recvWindow=1&timestamp={}", now - 2)),
            Some(KEY),
            400,
            Some(-1021),
        ),
    ] {
        let target = format!("{PATH}?{query}");
        let (got, _, body) = send(exchange.address, "GET", &target, key, "").await;
        assert_eq!(got, status, "{query}: {body}");
        assert_eq!(body["code"].as_i64(), code, "{query}: {body}");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn request_body_is_signed_after_the_query() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let now = time(exchange.address).await;
    let (query, body) = ("dualSidePosition=true", format!("timestamp={now}"));
    for (payload, status) in [
        (format!("{query}{body}"), 200),
        (format!("{body}{query}"), 400),
    ] {
        let body = format!("{body}&signature={}", signature(SECRET, &payload));
        let target = format!("{PATH}?{query}");
        let (got, _, said) = send(exchange.address, "POST", &target, Some(KEY), &body).await;
        assert_eq!(got, status, "{said}");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn orders_are_rejected_without_keys_and_with_a_read_only_key() {
    let file = minute_file(&FLAT_MINUTES);
    let exchange = file.replay(&[], Limits::default()).await.unwrap();
    let (status, _, body) = call(exchange.address, "GET", "v3/account", "").await;
    assert_eq!((status, body["code"].as_i64()), (401, Some(-2015)));
    exchange.stop().await;

    let exchange = start_trading(&file, &[]).await;
    let now = time(exchange.address).await;
    let query = format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&timestamp={now}");
    let signature = signature("readsecret", &query);
    let target = format!("/fapi/v1/order?{query}&signature={signature}");
    let (status, _, body) = send(exchange.address, "POST", &target, Some("reader"), "").await;
    assert_eq!((status, body["code"].as_i64()), (401, Some(-2015)));
    exchange.stop().await;
}

#[tokio::test]
async fn orders_are_counted_and_rejected_above_the_limit() {
    let limits = Limits {
        orders_per_10s: 1,
        orders_per_minute: 1,
        ..Limits::default()
    };
    let exchange = start_with_limits(&minute_file(&FLAT_MINUTES), &[], limits).await;
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01";
    let (status, head, body) = call(exchange.address, "POST", "v1/order", order).await;
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("x-mbx-order-count-10s: 1\r\n"), "{head}");
    assert!(head.contains("x-mbx-order-count-1m: 1\r\n"), "{head}");
    // A new minute between the two would admit the second one.
    let (mut status, _, mut body) = call(exchange.address, "POST", "v1/order", order).await;
    if status == 200 {
        (status, _, body) = call(exchange.address, "POST", "v1/order", order).await;
    }
    assert_eq!(
        (status, body["code"].as_i64()),
        (429, Some(-1015)),
        "{body}"
    );
    exchange.stop().await;
}

#[tokio::test]
async fn address_over_its_weight_limit_is_banned() {
    let limits = Limits {
        weight_per_minute: 1,
        rejections_before_ban: 2,
        ..Limits::default()
    };
    let exchange = start_with_limits(&minute_file(&FLAT_MINUTES), &[], limits).await;
    let mut last = 0;
    for _ in 0..8 {
        let (status, head, body) = send(exchange.address, "GET", "/fapi/v1/ping", None, "").await;
        if status == 418 {
            assert_eq!(body["code"], -1003);
            assert!(head.contains("retry-after: "), "{head}");
        }
        last = status;
    }
    assert_eq!(last, 418);
    exchange.stop().await;
}
