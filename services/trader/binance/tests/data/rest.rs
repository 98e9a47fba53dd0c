//! The REST calls: pages, limits, deadlines, rejections.

use std::time::{Duration, Instant};

use bearish_binance::{BinanceDataClient, FeedSettings};
use exchange::{DataClient, ExchangeError};
use tokio::net::TcpListener;
use trader_core::candle::{Candle, Interval};

use crate::test_exchange::{Addresses, Exchange, Fault, at, minute};
use crate::test_feed::token;

/// An answer with this status, and the error that Binance sends with it.
pub(crate) fn status(status: u16) -> Fault {
    let body = match status {
        418 | 429 => r#"{"code":-1003,"msg":"Too many requests."}"#,
        _ => r#"{"code":-1000,"msg":"An unknown error occurred while processing the request."}"#,
    };
    Fault {
        status,
        header: None,
        body: body.to_owned(),
    }
}

async fn exchange_with(candles: i64) -> (Exchange, BinanceDataClient) {
    let exchange = Exchange::open().await;
    (0..candles).for_each(|m| exchange.add_candle("BTCUSDT", m));
    let market = exchange.addresses().client(FeedSettings::new(Interval::M1));
    (exchange, market)
}

fn minutes(candles: &[Candle]) -> Vec<i64> {
    candles.iter().map(|c| minute(c.open_time)).collect()
}

#[tokio::test]
async fn long_history_is_requested_page_by_page() {
    let (exchange, market) = exchange_with(3_500).await;
    let now = market.server_time().await.unwrap();
    let candles = market
        .closed_candles(&token("BTCUSDT"), Interval::M1, Some(at(50)), 3_400, now)
        .await
        .unwrap();
    assert_eq!(minutes(&candles), (50..3_450).collect::<Vec<_>>());
    for page in [
        "from 50 limit 1500",
        "from 1550 limit 1500",
        "from 3050 limit 400",
    ] {
        assert_eq!(
            exchange.activity_count(&format!("klines BTCUSDT {page}")),
            1,
            "{page}"
        );
    }
}

#[tokio::test]
async fn request_without_a_start_gets_the_newest_closed_candles_only() {
    let (_exchange, market) = exchange_with(20).await;
    let now = at(15);
    for (now, last) in [(now, 14), (protocol::time::UtcMs(now.0 - 1), 13)] {
        let candles = market
            .closed_candles(&token("BTCUSDT"), Interval::M1, None, 3, now)
            .await
            .unwrap();
        assert_eq!(minutes(&candles), [last - 2, last - 1, last]);
    }
}

#[tokio::test]
async fn fewer_candles_than_wanted_are_all_there_are() {
    let (_exchange, market) = exchange_with(5).await;
    let candles = market
        .closed_candles(&token("BTCUSDT"), Interval::M1, None, 1_500, at(5))
        .await
        .unwrap();
    assert_eq!(minutes(&candles), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn rate_limited_client_pauses_for_as_long_as_the_exchange_demands() {
    let (exchange, market) = exchange_with(0).await;
    let mut limited = status(429);
    limited.header = Some(("retry-after", "30"));
    exchange.set_fault("time", Some(limited));
    let rejected = market.server_time().await.unwrap_err();
    let half_a_minute = Some(Duration::from_secs(30));
    assert!(
        matches!(rejected, ExchangeError::Retry { after, .. } if after == half_a_minute),
        "{rejected}"
    );
    exchange.set_fault("time", None);
    let paused = market.server_time().await.unwrap_err();
    assert!(
        matches!(paused, ExchangeError::Retry { after: Some(_), .. }),
        "{paused}"
    );
    assert_eq!(exchange.activity_count("time"), 1);
}

#[tokio::test]
async fn a_nearly_used_up_weight_pauses_calls_before_the_exchange_has_to() {
    let (exchange, market) = exchange_with(0).await;
    let mut heavy = status(200);
    heavy.header = Some(("x-mbx-used-weight-1m", "2300"));
    heavy.body = r#"{"serverTime":5}"#.to_owned();
    exchange.set_fault("time", Some(heavy));
    assert!(market.server_time().await.is_ok());
    let symbol = token("BTCUSDT");
    let klines = market.closed_candles(&symbol, Interval::M1, None, 3, at(3));
    let paused = klines.await.unwrap_err();
    assert!(
        paused.to_string().contains("the exchange's limits"),
        "{paused}"
    );
    assert_eq!(exchange.activity_count("klines"), 0);
    // Without the time no order that protects a position could be sent.
    assert!(market.server_time().await.is_ok());
}

#[tokio::test]
async fn an_exchange_that_never_answers_costs_a_deadline_not_a_trader() {
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = Addresses {
        rest_url: format!("http://{}", hole.local_addr().unwrap()),
        ws_url: "ws://127.0.0.1:9".to_owned(),
    };
    let market = nowhere.client(FeedSettings::new(Interval::M1));
    let begun = Instant::now();
    let error = market.server_time().await.unwrap_err();
    assert!(
        matches!(error, ExchangeError::Retry { after: None, .. }),
        "{error}"
    );
    let waited = begun.elapsed();
    assert!((4..8).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test]
async fn an_answer_that_is_no_kline_is_an_error_of_one_line() {
    let (exchange, market) = exchange_with(3).await;
    for (body, named) in [
        ("<html>\n<body>gateway</body>", "candles"),
        ("[[1,2,3]]", "a kline"),
        (r#"[[1640995200000,"1","2","3","1"]]"#, "low"),
        (r#"[[1640995200000,"1","NaN","1","1"]]"#, "NaN"),
    ] {
        let mut answer = status(200);
        answer.body = body.to_owned();
        exchange.set_fault("klines", Some(answer));
        let error = market
            .closed_candles(&token("BTCUSDT"), Interval::M1, None, 3, at(3))
            .await
            .unwrap_err();
        assert!(matches!(error, ExchangeError::Retry { .. }), "{error}");
        let line = error.to_string();
        assert!(line.contains(named) && !line.contains('\n'), "{line}");
    }
}
