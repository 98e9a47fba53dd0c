//! Edge cases of the REST protocol: errors, weights, paging at the open candle.

use std::time::Duration;

use exchange_sim::exchange::Limits;
use tokio::time::sleep;

use crate::support::{CandleFile, MIDNIGHT_MS, MINUTE_MS, get, klines};

#[tokio::test]
async fn errors_have_binances_status_code_and_message() {
    let file = CandleFile::minutes(300);
    let exchange = file.replay(&[], Limits::default()).await.unwrap();
    for (path, status, code, message) in [
        (
            "/fapi/v1/klines?interval=1m",
            400,
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
        (
            "/fapi/v1/klines?symbol=BTCUSDT",
            400,
            -1102,
            "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
        ),
        (
            "/fapi/v1/klines?symbol=NOPEUSDT&interval=1m",
            400,
            -1121,
            "Invalid symbol.",
        ),
        (
            "/fapi/v1/klines?symbol=BTCUSDT&interval=7m",
            400,
            -1120,
            "Invalid interval.",
        ),
        (
            "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1501",
            400,
            -1130,
            "Data sent for parameter 'limit' is not valid.",
        ),
        (
            "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&startTime=2&endTime=1",
            400,
            -1023,
            "Start time is greater than end time.",
        ),
        (
            "/fapi/v1/fly",
            404,
            -5000,
            "Path /fapi/v1/fly, Method GET is invalid",
        ),
    ] {
        let (got, _, body) = get(exchange.address, path).await;
        assert_eq!(got, status, "{path}: {body}");
        assert_eq!(body["code"], code, "{path}");
        assert_eq!(body["msg"], message, "{path}");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn request_weight_is_counted_and_rejected_above_the_limit() {
    let file = CandleFile::minutes(300);
    let limits = Limits {
        weight_per_minute: 14,
        ..Limits::default()
    };
    let exchange = file.replay(&[], limits).await.unwrap();
    // Sums restart with each minute of wall time: these calls must fall into one minute.
    let into_minute = u64::try_from(runtime::clock::now().0.rem_euclid(MINUTE_MS)).unwrap();
    if into_minute > 55_000 {
        sleep(Duration::from_millis(60_050 - into_minute)).await;
    }
    for (path, status, used) in [
        (
            "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=1500",
            200,
            10,
        ),
        ("/fapi/v1/exchangeInfo", 200, 11),
        ("/fapi/v1/time", 200, 12),
        ("/fapi/v1/klines?symbol=BTCUSDT&interval=1m", 429, 17),
    ] {
        let (got, head, body) = get(exchange.address, path).await;
        assert_eq!(got, status, "{path}: {head}");
        let header = format!("x-mbx-used-weight-1m: {used}\r\n");
        assert!(head.contains(&header), "{path}: {head}");
        if got == 429 {
            assert_eq!(body["code"], -1003);
            assert!(head.contains("retry-after: "), "{head}");
        }
    }
    exchange.stop().await;
}

#[tokio::test]
async fn running_candle_is_last_and_not_from_the_future() {
    let file = CandleFile::minutes(300);
    let exchange = file
        .replay(&["--warmup-candles", "125"], Limits::default())
        .await
        .unwrap();
    let rows = klines(exchange.address, "symbol=BTCUSDT&interval=30m").await;
    let opens: Vec<i64> = rows
        .iter()
        .map(|r| (r[0].as_i64().unwrap() - MIDNIGHT_MS) / MINUTE_MS)
        .collect();
    assert_eq!(opens, [0, 30, 60, 90, 120]);
    let running = &rows[4];
    assert_eq!(running[5], "7.500", "five of its minutes have traded");
    assert_eq!(running[6], MIDNIGHT_MS + 150 * MINUTE_MS - 1);
    assert_eq!(running.as_array().unwrap().len(), 12);
    let minutes = klines(exchange.address, "symbol=BTCUSDT&interval=1m&limit=2").await;
    assert_eq!(
        minutes[1][5], "0.000",
        "the clock is held at the open of the last minute"
    );
    let paged = klines(
        exchange.address,
        &format!("symbol=BTCUSDT&interval=1m&limit=3&startTime={MIDNIGHT_MS}"),
    )
    .await;
    assert_eq!(paged[2][0], MIDNIGHT_MS + 2 * MINUTE_MS);
    exchange.stop().await;
}
