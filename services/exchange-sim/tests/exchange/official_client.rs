//! The protocol, tested with an independent client: Binance's SDK for Rust.

use std::time::Duration;

use binance_sdk::config::{ConfigurationRestApi, ConfigurationWebsocketStreams};
use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    KlineCandlestickDataIntervalEnum as RestInterval, KlineCandlestickDataParams, RestApi,
};
use binance_sdk::derivatives_trading_usds_futures::websocket_streams::{
    KlineCandlestickStreamsIntervalEnum as StreamInterval, KlineCandlestickStreamsParams,
    WebsocketStreamsHandle,
};
use binance_sdk::derivatives_trading_usds_futures::{
    DerivativesTradingUsdsFuturesRestApi, DerivativesTradingUsdsFuturesWsStreams,
};
use binance_sdk::errors::ConnectorError;
use exchange_sim::market::synthetic::OPENS_MS;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::support::{MINUTE_MS, RunningExchange, TIMEOUT, start};

fn client(exchange: &RunningExchange) -> RestApi {
    let configuration = ConfigurationRestApi::builder()
        .base_path(format!("http://{}", exchange.address))
        .timeout(5_000)
        .build()
        .unwrap();
    DerivativesTradingUsdsFuturesRestApi::from_config(configuration)
}

pub(crate) fn streams(exchange: &RunningExchange) -> WebsocketStreamsHandle {
    let configuration = ConfigurationWebsocketStreams::builder()
        .ws_url(format!("ws://{}", exchange.address))
        .build()
        .unwrap();
    DerivativesTradingUsdsFuturesWsStreams::from_config(configuration)
}

#[tokio::test]
async fn official_client_reads_time_contracts_and_candles() {
    let exchange = start(&[]).await;
    let client = client(&exchange);
    let time = client.check_server_time().await.unwrap().data().await;
    assert_eq!(time.unwrap().server_time, Some(OPENS_MS));

    let info = client.exchange_information().await.unwrap();
    let info = info.data().await.unwrap();
    let symbols = info.symbols.unwrap();
    let names: Vec<_> = symbols.iter().filter_map(|s| s.symbol.clone()).collect();
    assert_eq!(names, ["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
    let bitcoin = &symbols[0];
    assert_eq!(bitcoin.status.as_deref(), Some("TRADING"));
    assert_eq!(bitcoin.contract_type.as_deref(), Some("PERPETUAL"));
    assert_eq!(bitcoin.quantity_precision, Some(3));
    let filters = bitcoin.filters.as_ref().unwrap();
    let filter = |kind: &str| {
        let found = filters
            .iter()
            .find(|f| f.filter_type.as_deref() == Some(kind));
        found.unwrap().clone()
    };
    assert_eq!(filter("PRICE_FILTER").tick_size.as_deref(), Some("0.10"));
    assert_eq!(filter("LOT_SIZE").step_size.as_deref(), Some("0.001"));
    assert_eq!(filter("MARKET_LOT_SIZE").max_qty.as_deref(), Some("120"));
    assert_eq!(filter("MIN_NOTIONAL").notional.as_deref(), Some("100"));

    for (interval, length) in [
        (RestInterval::Interval1m, MINUTE_MS),
        (RestInterval::Interval30m, 30 * MINUTE_MS),
        (RestInterval::Interval4h, 240 * MINUTE_MS),
    ] {
        let params = KlineCandlestickDataParams::builder("SOLUSDT".to_owned(), interval)
            .limit(1_500)
            .build()
            .unwrap();
        let answer = client.kline_candlestick_data(params).await.unwrap();
        let rows = serde_json::to_value(answer.data().await.unwrap()).unwrap();
        let rows = rows.as_array().unwrap().clone();
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
async fn official_client_understands_our_errors() {
    let exchange = start(&["--symbols", "ETHUSDT"]).await;
    let params = KlineCandlestickDataParams::builder("NOPE".to_owned(), RestInterval::Interval1m);
    let refused = client(&exchange)
        .kline_candlestick_data(params.build().unwrap())
        .await
        .err()
        .unwrap();
    match refused.downcast_ref::<ConnectorError>() {
        Some(ConnectorError::BadRequestError { msg, code }) => {
            assert_eq!((msg.as_str(), *code), ("Invalid symbol.", Some(-1121)));
        }
        other => panic!("{other:?}"),
    }
    exchange.stop().await;
}

#[tokio::test]
async fn official_client_receives_running_and_closed_candles() {
    let exchange = start(&["--symbols", "BTCUSDT,ETHUSDT", "--speed", "600"]).await;
    let connection = streams(&exchange).connect().await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(
        exchange.exchange.now_ms(),
        OPENS_MS,
        "connecting is not subscribing: time still stands"
    );
    let (sender, mut receiver) = mpsc::channel(1_024);
    for symbol in ["btcusdt", "ethusdt"] {
        let interval = StreamInterval::Interval1m;
        let params = KlineCandlestickStreamsParams::builder(symbol.to_owned(), interval);
        let stream = connection
            .kline_candlestick_streams(params.build().unwrap())
            .await
            .unwrap();
        let sender = sender.clone();
        stream.on_message(move |event| sender.try_send(event).unwrap());
    }
    let (mut closed, mut running) = (Vec::new(), 0);
    while closed.len() < 10 {
        let event = timeout(TIMEOUT, receiver.recv()).await.unwrap().unwrap();
        assert_eq!(event.e.as_deref(), Some("kline"));
        let kline = event.k.unwrap();
        assert_eq!((&event.s, kline.i.as_deref()), (&kline.s, Some("1m")));
        assert!(event.e_uppercase >= kline.t);
        if kline.x == Some(true) {
            closed.push((event.s.unwrap(), kline.t.unwrap()));
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
    connection.disconnect().await.unwrap();
    exchange.stop().await;
}
