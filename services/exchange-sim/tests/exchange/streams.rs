//! The kline streams: format, order, completeness, and the end of a client that does not read.

use std::time::{Duration, Instant};

use exchange_sim::exchange::Limits;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{CandleFile, Client, MIDNIGHT_MS, MINUTE_MS, TIMEOUT, get, klines};

#[tokio::test]
async fn closed_candles_arrive_once_in_order_and_equal_to_rest() {
    let file = CandleFile::minutes(200);
    let arguments = ["--speed", "3000", "--warmup-candles", "20"];
    let exchange = file.replay(&arguments, Limits::default()).await.unwrap();
    let streams = "/stream?streams=btcusdt@kline_1m/btcusdt@kline_5m";
    let mut client = Client::connect(exchange.address, streams).await;
    let mut closed = (Vec::new(), Vec::new());
    while closed.0.len() < 180 {
        let message = client.receive().await;
        let kline = message["data"]["k"].clone();
        if kline["x"] == true {
            match message["stream"].as_str().unwrap() {
                "btcusdt@kline_1m" => closed.0.push(kline),
                "btcusdt@kline_5m" => closed.1.push(kline),
                other => panic!("unexpected stream {other}"),
            }
        }
    }
    for (minutes, received) in [(1, &closed.0), (5, &closed.1)] {
        let opens: Vec<i64> = received.iter().map(|k| k["t"].as_i64().unwrap()).collect();
        let expected: Vec<i64> = (20 / minutes..)
            .map(|i| MIDNIGHT_MS + i * minutes * MINUTE_MS)
            .take(opens.len())
            .collect();
        assert_eq!(opens, expected, "{minutes}m");
        let query = format!("symbol=BTCUSDT&interval={minutes}m&limit=1500");
        let rows = klines(exchange.address, &query).await;
        for kline in received {
            let row = rows.iter().find(|r| r[0] == kline["t"]).unwrap();
            let said = ["t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q", "B"];
            let said: Vec<&Value> = said.iter().map(|field| &kline[*field]).collect();
            assert_eq!(json!(said), *row);
        }
    }
    exchange.stop().await;
}

#[tokio::test]
async fn running_candle_is_updated_at_most_four_times_a_second() {
    let file = CandleFile::minutes(400);
    let exchange = file.replay(&[], Limits::default()).await.unwrap();
    let mut client = Client::connect(exchange.address, "/ws/btcusdt@kline_1m").await;
    let begun = Instant::now();
    let (mut updates, mut total, mut closes) = (0, 0, 0);
    while closes < 4 {
        let event = client.receive().await;
        assert_eq!(
            (&event["e"], &event["s"]),
            (&json!("kline"), &json!("BTCUSDT"))
        );
        let kline = &event["k"];
        let (said, open) = (event["E"].as_i64().unwrap(), kline["t"].as_i64().unwrap());
        if kline["x"] == true {
            assert!(said >= open + MINUTE_MS, "closed before its end");
            assert!(said < open + 2 * MINUTE_MS, "said a minute late");
            assert!(closes == 0 || updates >= 1, "no update before {event}");
            (updates, closes) = (0, closes + 1);
        } else {
            assert!(said >= open && said < open + MINUTE_MS, "{event}");
            (updates, total) = (updates + 1, total + 1);
        }
    }
    let most = begun.elapsed().as_secs_f64().mul_add(4.0, 1.0);
    assert!(f64::from(total) <= most, "{total} updates, at most {most}");
    exchange.stop().await;
}

#[tokio::test]
async fn streams_are_subscribed_listed_and_unsubscribed_while_connected() {
    let file = CandleFile::minutes(400);
    let exchange = file.replay(&[], Limits::default()).await.unwrap();
    let mut client = Client::connect(exchange.address, "/market/ws").await;
    client
        .send(r#"{"method":"SUBSCRIBE","params":["btcusdt@kline_1m","ethbtc@depth"],"id":1}"#)
        .await;
    assert_eq!(
        client.receive_response().await,
        json!({"result": null, "id": 1})
    );
    assert_eq!(client.receive().await["e"], "kline");
    client
        .send(r#"{"method":"LIST_SUBSCRIPTIONS","id":2}"#)
        .await;
    let listed = json!({"result": ["btcusdt@kline_1m", "ethbtc@depth"], "id": 2});
    assert_eq!(client.receive_response().await, listed);
    client
        .send(r#"{"method":"UNSUBSCRIBE","params":["btcusdt@kline_1m"],"id":3}"#)
        .await;
    assert_eq!(
        client.receive_response().await,
        json!({"result": null, "id": 3})
    );
    client.send(r#"{"method":"FLY","params":[],"id":4}"#).await;
    assert_eq!(
        client.receive().await["error"]["code"],
        2,
        "and no event before it"
    );
    let silence = timeout(Duration::from_millis(1_500), client.receive()).await;
    assert!(
        silence.is_err(),
        "left the stream, but received {silence:?}"
    );
    exchange.stop().await;
}

#[tokio::test]
async fn best_prices_and_mark_price_streams_agree_with_rest() {
    let file = CandleFile::minutes(400);
    let exchange = file
        .replay(&["--speed", "4"], Limits::default())
        .await
        .unwrap();
    let names = [
        "btcusdt@bookTicker",
        "btcusdt@markPrice@1s",
        "btcusdt@markPrice",
    ];
    let streams = format!("/stream?streams={}", names.join("/"));
    let mut client = Client::connect(exchange.address, &streams).await;
    let mut received: [Vec<Value>; 3] = Default::default();
    while received.iter().any(|marks| marks.len() < 3) {
        let message = client.receive().await;
        let place = names.iter().position(|name| message["stream"] == *name);
        received[place.unwrap()].push(message["data"].clone());
    }
    let [tickers, every_second, every_third] = &received;
    for ticker in tickers {
        assert_eq!(
            (&ticker["e"], &ticker["s"]),
            (&json!("bookTicker"), &json!("BTCUSDT"))
        );
        let [bid, ask] =
            ["b", "a"].map(|side| ticker[side].as_str().unwrap().parse::<f64>().unwrap());
        assert!(
            (ask - bid - 0.2).abs() < 1e-6,
            "a tick on each side: {ticker}"
        );
    }
    for (marks, span) in [(every_second, 1_000), (every_third, 3_000)] {
        let said = marks.iter().map(|mark| mark["E"].as_i64().unwrap() / span);
        let said: Vec<i64> = said.collect();
        assert!(
            said.is_sorted_by(|a, b| a < b),
            "once in {span} ms: {marks:?}"
        );
    }
    let (_, _, premium) = get(exchange.address, "/fapi/v1/premiumIndex?symbol=BTCUSDT").await;
    let mark = &every_second[0];
    assert_eq!(mark["e"], "markPriceUpdate");
    assert_eq!(
        (&mark["T"], &mark["r"]),
        (&premium["nextFundingTime"], &premium["lastFundingRate"])
    );
    assert!(mark["p"].as_str().unwrap().parse::<f64>().unwrap() > 0.0);
    exchange.stop().await;
}

#[tokio::test]
async fn slow_subscriber_is_disconnected_and_others_are_not() {
    let file = CandleFile::minutes(40_000);
    let limits = Limits {
        max_queued_frames: 16,
        ..Limits::default()
    };
    let arguments = ["--speed", "60000", "--warmup-candles", "1500"];
    let exchange = file.replay(&arguments, limits).await.unwrap();
    // A small window on the client's side, so that the exchange notices at once that the client does not read.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stuck = socket.connect(exchange.address).await.unwrap();
    let url = format!("ws://{}/ws/btcusdt@kline_1m", exchange.address);
    let (mut stuck, _) = client_async(url, stuck).await.unwrap();
    let mut reading = Client::connect(exchange.address, "/ws/btcusdt@kline_1h").await;
    // 1,000 candles a second are more than a socket's buffers and 16 frames hold for long.
    for _ in 0..150 {
        reading.receive().await;
    }
    let drained = timeout(TIMEOUT, async {
        while let Some(Ok(_)) = stuck.next().await {}
    });
    drained
        .await
        .expect("the stuck client must find its connection closed");
    let received = reading.receive().await;
    assert_eq!(received["k"]["i"], "1h");
    exchange.stop().await;
}

#[tokio::test]
async fn server_pings_and_disconnects_a_client_without_pongs() {
    let file = CandleFile::minutes(400);
    let limits = Limits {
        ping_interval: Duration::from_millis(100),
        pong_timeout: Duration::from_millis(500),
        ..Limits::default()
    };
    let exchange = file.replay(&[], limits).await.unwrap();
    let mut answering = Client::connect(exchange.address, "/ws").await;
    let mut pings = 0;
    let polled_for = Instant::now();
    while polled_for.elapsed() < Duration::from_millis(1_500) {
        let received = timeout(TIMEOUT, answering.0.next()).await.unwrap();
        pings += i32::from(matches!(received.unwrap().unwrap(), Message::Ping(_)));
    }
    assert!(pings >= 10, "{pings} pings in 1.5 s");
    // A client that does not poll its socket does not answer pings.
    let mut silent = Client::connect(exchange.address, "/ws").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let ended = timeout(TIMEOUT, async {
        while let Some(Ok(message)) = silent.0.next().await {
            assert!(message.is_ping(), "{message}");
        }
    });
    ended
        .await
        .expect("the silent client must find its connection closed");
    exchange.stop().await;
}
