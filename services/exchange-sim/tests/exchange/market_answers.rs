//! Answers and stream events of the market, field by field.

use std::time::Duration;

use exchange_sim::market::synthetic::OPENS_MS;
use serde_json::Value;
use tokio::time::sleep;

use crate::support::{Client, MINUTE_MS, get, klines, start, time};

#[tokio::test]
async fn time_contracts_and_candles_are_served() {
    let exchange = start(&[]).await;
    assert_eq!(time(exchange.address).await, OPENS_MS);

    let (status, _, info) = get(exchange.address, "/fapi/v1/exchangeInfo").await;
    assert_eq!(status, 200);
    let symbols = info["symbols"].as_array().unwrap();
    let names: Vec<_> = symbols
        .iter()
        .map(|s| s["symbol"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
    let bitcoin = &symbols[0];
    assert_eq!(bitcoin["status"], "TRADING");
    assert_eq!(bitcoin["contractType"], "PERPETUAL");
    assert_eq!(bitcoin["quantityPrecision"], 3);
    let filter = |kind: &str| {
        let filters = bitcoin["filters"].as_array().unwrap();
        filters.iter().find(|f| f["filterType"] == kind).unwrap()
    };
    assert_eq!(filter("PRICE_FILTER")["tickSize"], "0.10");
    assert_eq!(filter("LOT_SIZE")["stepSize"], "0.001");
    assert_eq!(filter("MARKET_LOT_SIZE")["maxQty"], "120");
    assert_eq!(filter("MIN_NOTIONAL")["notional"], "100");

    for (interval, length) in [
        ("1m", MINUTE_MS),
        ("30m", 30 * MINUTE_MS),
        ("4h", 240 * MINUTE_MS),
    ] {
        let query = format!("symbol=SOLUSDT&interval={interval}&limit=1500");
        let rows = klines(exchange.address, &query).await;
        assert_eq!(
            rows.len(),
            1_500,
            "history for a warm-up of {length} ms candles"
        );
        let last = rows[1_499][0].as_i64().unwrap();
        assert_eq!(last, OPENS_MS - OPENS_MS % length, "the running candle");
        assert_eq!(rows[0][0], last - 1_499 * length, "without a gap");
    }
    exchange.stop().await;
}

#[tokio::test]
async fn unknown_symbol_has_binances_error() {
    let exchange = start(&["--symbols", "ETHUSDT"]).await;
    let path = "/fapi/v1/klines?symbol=NOPE&interval=1m";
    let (status, _, error) = get(exchange.address, path).await;
    assert_eq!(status, 400);
    assert_eq!(
        (&error["msg"], &error["code"]),
        (&Value::from("Invalid symbol."), &Value::from(-1121))
    );
    exchange.stop().await;
}

#[tokio::test]
async fn streams_send_running_and_closed_candles() {
    let exchange = start(&["--symbols", "BTCUSDT,ETHUSDT", "--speed", "600"]).await;
    let mut client = Client::connect(exchange.address, "/market/stream").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        exchange.exchange.now_ms(),
        OPENS_MS,
        "connecting is not subscribing: time is paused"
    );
    for symbol in ["btcusdt", "ethusdt"] {
        let request =
            format!(r#"{{"method":"SUBSCRIBE","params":["{symbol}@kline_1m"],"id":"{symbol}"}}"#);
        client.send(&request).await;
        assert_eq!(client.receive_response().await["id"], symbol);
    }
    let (mut closed, mut running) = (Vec::new(), 0);
    while closed.len() < 10 {
        let event = client.receive().await;
        let event = &event["data"];
        assert_eq!(event["e"], "kline");
        let kline = &event["k"];
        assert_eq!((&event["s"], &kline["i"]), (&kline["s"], &"1m".into()));
        assert!(event["E"].as_i64() >= kline["t"].as_i64());
        if kline["x"] == true {
            let symbol = event["s"].as_str().unwrap().to_owned();
            closed.push((symbol, kline["t"].as_i64().unwrap()));
        } else {
            running += 1;
        }
    }
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        let opens = closed.iter().filter(|(s, _)| s == symbol).map(|(_, t)| *t);
        let opens: Vec<i64> = opens.collect();
        assert!(opens.len() >= 3, "{closed:?}");
        assert!(opens.is_sorted_by(|a, b| a + MINUTE_MS == *b), "{opens:?}");
    }
    assert!(running > 0);
    exchange.stop().await;
}
