//! Armed faults: what the client receives, and what the exchange has executed.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::support::faults::{
    BUY, arm, connect_subscribed, for_new_orders, position_amount, start_with_fault_api,
};
use crate::support::signed::{
    FLAT_MINUTES, KEY, SECRET, advance_to_minute, call, call_ok, minute_file, send, signature,
    start_trading,
};
use crate::support::{Client, MIDNIGHT_MS, MINUTE_MS, RunningExchange, TIMEOUT, get, klines, time};

#[tokio::test]
async fn fault_api_is_not_served_by_default() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let (status, ..) = get(exchange.address, "/sim/fault").await;
    assert_eq!(status, 404);
    exchange.stop().await;
}

#[tokio::test]
async fn call_fails_as_armed_before_or_after_its_execution() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    for (fault, status, code, amount) in [
        (
            json!({"fault": "fail-before", "status": 503, "code": -1008}),
            503,
            -1008,
            "0",
        ),
        (
            json!({"fault": "fail-before", "status": 429, "code": -1003}),
            429,
            -1003,
            "0",
        ),
        (
            json!({"fault": "fail-before", "status": 418, "code": -1003}),
            418,
            -1003,
            "0",
        ),
        (
            json!({"fault": "fail-after", "status": 503, "code": -1007}),
            503,
            -1007,
            "0.01",
        ),
    ] {
        arm(&exchange, for_new_orders(fault)).await;
        let (got, _, body) = call(at, "POST", "v1/order", BUY).await;
        assert_eq!((got, body["code"].as_i64()), (status, Some(code)), "{body}");
        assert_eq!(position_amount(&exchange).await, amount);
    }
    arm(
        &exchange,
        for_new_orders(json!({"fault": "delay", "ms": 300})),
    )
    .await;
    let asked = Instant::now();
    call_ok(at, "POST", "v1/order", BUY).await;
    assert!(asked.elapsed() >= Duration::from_millis(300));
    for fault in ["cut-connection", "drop-response"] {
        let before = position_amount(&exchange).await;
        arm(&exchange, for_new_orders(json!({"fault": fault}))).await;
        let call =
            tokio::time::timeout(Duration::from_secs(1), send_unanswered_order(&exchange)).await;
        assert_eq!(call.is_err(), fault == "drop-response", "{fault}");
        assert_ne!(
            position_amount(&exchange).await,
            before,
            "{fault}: carried out"
        );
    }
    exchange.stop().await;
}

/// Sends an order and reads until the connection ends.
async fn send_unanswered_order(exchange: &RunningExchange) {
    let now = time(exchange.address).await;
    let query = format!("{BUY}&timestamp={now}");
    let signature = signature(SECRET, &query);
    let request = format!(
        "POST /fapi/v1/order?{query}&signature={signature} HTTP/1.1\r\nHost: sim\r\nX-MBX-APIKEY: {KEY}\r\n\
         Content-Length: 0\r\n\r\n"
    );
    let mut stream = TcpStream::connect(exchange.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!String::from_utf8_lossy(&answer).contains("orderId"));
}

#[tokio::test]
async fn clock_skew_maintenance_filter_and_partial_fill_faults_work() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    arm(&exchange, json!({"fault": "partial-fill"})).await;
    let half = call_ok(
        at,
        "POST",
        "v1/order",
        &format!("{BUY}&newOrderRespType=RESULT"),
    )
    .await;
    assert_eq!(
        (&half["status"], &half["executedQty"]),
        (&json!("EXPIRED"), &json!("0.005"))
    );
    let before = time(at).await;
    arm(&exchange, json!({"fault": "clock-skew", "ms": 7000})).await;
    assert_eq!(time(at).await, before + 7_000);
    arm(
        &exchange,
        json!({"fault": "filter", "symbol": "BTCUSDT", "step": "0.005", "trading": false}),
    )
    .await;
    let (_, _, info) = get(at, "/fapi/v1/exchangeInfo").await;
    assert_eq!(info["symbols"][0]["filters"][1]["stepSize"], "0.005");
    let (_, _, body) = call(at, "POST", "v1/order", &BUY.replace("0.01", "0.011")).await;
    assert_eq!(body["code"], -4023);
    let (_, _, body) = call(at, "POST", "v1/order", BUY).await;
    assert_eq!(body["code"], -4140, "not traded any more");
    let close = BUY.replace("BUY", "SELL").replace("0.01", "0.005");
    call_ok(at, "POST", "v1/order", &format!("{close}&reduceOnly=true")).await;
    arm(&exchange, json!({"fault": "maintenance", "on": true})).await;
    assert_eq!(get(at, "/fapi/v1/ping").await.0, 503);
    let (status, ..) = send(at, "DELETE", "/sim/fault", None, "").await;
    assert_eq!(status, 200);
    assert_eq!(get(at, "/fapi/v1/ping").await.0, 200);
    exchange.stop().await;
}

#[tokio::test]
async fn partial_fill_hits_only_orders_that_its_filters_select() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    let buy = format!("{BUY}&newOrderRespType=RESULT");
    for filter in [
        json!({"symbol": "ETHUSDT"}),
        json!({"method": "GET"}),
        json!({"path": "/fapi/v1/algoOrder"}),
    ] {
        let mut fault = json!({"fault": "partial-fill"});
        for (name, value) in filter.as_object().unwrap() {
            fault[name] = value.clone();
        }
        arm(&exchange, fault).await;
        let whole = call_ok(at, "POST", "v1/order", &buy).await;
        assert_eq!(whole["status"], "FILLED", "{filter}");
        let (status, ..) = send(at, "DELETE", "/sim/fault", None, "").await;
        assert_eq!(status, 200);
    }
    arm(
        &exchange,
        json!({"fault": "partial-fill", "symbol": "BTCUSDT", "method": "POST", "path": "/fapi/v1/order"}),
    )
    .await;
    let half = call_ok(at, "POST", "v1/order", &buy).await;
    assert_eq!(half["executedQty"], "0.005");
    exchange.stop().await;
}

#[tokio::test]
async fn stop_order_can_be_rejected_when_triggered() {
    let path = [[40_000; 4], [40_000; 4], [40_000, 40_000, 39_000, 39_000]];
    let exchange = start_trading(&minute_file(&path), &["--fault-api", "1"]).await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    let stop = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39500\
                &closePosition=true&clientAlgoId=out";
    call_ok(at, "POST", "v1/algoOrder", stop).await;
    arm(
        &exchange,
        json!({"fault": "reject-triggers", "account": KEY, "code": -2019}),
    )
    .await;
    advance_to_minute(&exchange, 3).await;
    let algo = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=out").await;
    assert_eq!(algo["algoStatus"], "REJECTED");
    assert_eq!(position_amount(&exchange).await, "0.01");
    exchange.stop().await;
}

#[tokio::test]
async fn user_stream_can_be_muted_duplicated_reordered_and_closed() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    let (_, _, body) = send(at, "POST", "/fapi/v1/listenKey", Some(KEY), "").await;
    let url = format!("/private/ws/{}", body["listenKey"].as_str().unwrap());
    let mut user = connect_subscribed(&exchange, &url).await;
    arm(
        &exchange,
        json!({"fault": "mute", "on": true, "to": "user"}),
    )
    .await;
    call_ok(at, "POST", "v1/order", BUY).await;
    let silence = timeout(Duration::from_millis(200), user.receive()).await;
    assert!(silence.is_err(), "{silence:?}");
    arm(&exchange, json!({"fault": "mute", "on": false})).await;
    arm(&exchange, json!({"fault": "duplicate", "times": 1})).await;
    call_ok(at, "POST", "v1/order", BUY).await;
    let received = [user.receive().await, user.receive().await];
    assert_eq!(received[0], received[1]);
    for _ in 0..2 {
        user.receive().await;
    }
    arm(&exchange, json!({"fault": "reorder", "times": 1})).await;
    call_ok(at, "POST", "v1/order", BUY).await;
    let received = [
        user.receive().await,
        user.receive().await,
        user.receive().await,
    ];
    let kinds: Vec<&Value> = received.iter().map(|event| &event["e"]).collect();
    assert_eq!(
        json!(kinds),
        json!(["ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE"])
    );
    assert_eq!(received[1]["o"]["x"], "NEW");
    for code in [Some(1_000), Some(1_001), None] {
        let mut user = connect_subscribed(&exchange, &url).await;
        arm(
            &exchange,
            json!({"fault": "close", "code": code, "to": "user"}),
        )
        .await;
        let end = timeout(TIMEOUT, user.0.next()).await.unwrap();
        match (code, end) {
            (Some(code), Some(Ok(Message::Close(Some(frame))))) => {
                assert_eq!(u16::from(frame.code), code);
            }
            (None, None | Some(Err(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    exchange.stop().await;
}

#[tokio::test]
async fn missing_candle_is_hidden_on_rest_and_stream_until_restored() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    let hole =
        json!({"fault": "missing-candle", "symbol": "BTCUSDT", "interval": "1m", "count": 2});
    let opens = |minute: i64| MIDNIGHT_MS + minute * MINUTE_MS;
    // The clock is paused in the second minute.
    arm(&exchange, hole.clone()).await;
    let mut client = Client::connect(at, "/stream?streams=btcusdt@kline_1m/btcusdt@kline_3m").await;
    let mut received = Vec::new();
    while !received.contains(&("1m".to_owned(), opens(4))) {
        let kline = client.receive().await["data"]["k"].clone();
        received.push((
            kline["i"].as_str().unwrap().to_owned(),
            kline["t"].as_i64().unwrap(),
        ));
    }
    drop(client);
    let of_minute = |minute| received.contains(&("1m".to_owned(), opens(minute)));
    assert!(
        !of_minute(1) && !of_minute(2) && of_minute(3),
        "{received:?}"
    );
    assert!(
        received.contains(&("3m".to_owned(), opens(0))),
        "{received:?}"
    );
    let rows = async || {
        let rows = klines(at, "symbol=BTCUSDT&interval=1m&limit=4").await;
        let opens = rows.iter().map(|row| row[0].as_i64().unwrap());
        opens
            .take_while(|t| *t < MIDNIGHT_MS + 4 * MINUTE_MS)
            .collect::<Vec<_>>()
    };
    assert!(!rows().await.contains(&opens(2)));
    assert!(rows().await.contains(&opens(3)));
    let all = json!({"fault": "missing-candle", "symbol": "BTCUSDT", "interval": "1m", "count": 0});
    arm(&exchange, all).await;
    assert!(rows().await.contains(&opens(2)));
    exchange.stop().await;
}

#[tokio::test]
async fn revoked_key_is_rejected_until_restored() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    arm(
        &exchange,
        json!({"fault": "revoke-key", "key": KEY, "on": true}),
    )
    .await;
    for (method, path, query) in [
        ("GET", "v3/positionRisk", ""),
        ("POST", "v1/order", BUY),
        ("DELETE", "v1/algoOrder", "clientAlgoId=out"),
    ] {
        let (status, _, body) = call(at, method, path, query).await;
        assert_eq!((status, &body["code"]), (401, &json!(-2015)), "{path}");
    }
    let (status, ..) = send(at, "POST", "/fapi/v1/listenKey", Some(KEY), "").await;
    assert_eq!(status, 401);
    assert_eq!(
        get(at, "/fapi/v1/ping").await.0,
        200,
        "what is public is served"
    );
    arm(
        &exchange,
        json!({"fault": "revoke-key", "key": KEY, "on": false}),
    )
    .await;
    assert_eq!(
        position_amount(&exchange).await,
        "0",
        "nothing was carried out"
    );
    exchange.stop().await;
}

#[tokio::test]
async fn liquidate_fault_closes_the_position_and_charges_the_fee() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    let isolated = "symbol=BTCUSDT&marginType=ISOLATED";
    call_ok(at, "POST", "v1/marginType", isolated).await;
    call_ok(at, "POST", "v1/order", BUY).await;
    let stop = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39500\
                &closePosition=true&clientAlgoId=out";
    call_ok(at, "POST", "v1/algoOrder", stop).await;
    let (_, _, body) = send(at, "POST", "/fapi/v1/listenKey", Some(KEY), "").await;
    let url = format!("/private/ws/{}", body["listenKey"].as_str().unwrap());
    let mut user = connect_subscribed(&exchange, &url).await;
    let end = json!({"fault": "liquidate", "account": KEY, "symbol": "BTCUSDT"});
    arm(&exchange, end.clone()).await;
    assert_eq!(position_amount(&exchange).await, "0");
    let algo = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=out").await;
    assert_eq!(algo["algoStatus"], "EXPIRED");
    let mut received = Vec::new();
    while received
        .last()
        .is_none_or(|e: &Value| e["a"]["m"] != "INSURANCE_CLEAR")
    {
        received.push(user.receive().await);
    }
    let closing = received
        .iter()
        .find(|e| e["o"]["x"] == "CALCULATED")
        .unwrap();
    let order = &closing["o"];
    assert_eq!(
        (&order["o"], &order["S"]),
        (&json!("LIQUIDATION"), &json!("SELL"))
    );
    assert!(
        order["c"].as_str().unwrap().starts_with("autoclose-"),
        "{order}"
    );
    let forced = call_ok(at, "GET", "v1/forceOrders", "symbol=BTCUSDT").await;
    assert_eq!(forced[0]["orderId"], order["i"]);
    assert_eq!(forced[0]["status"], "FILLED");
    let incomes = call_ok(at, "GET", "v1/income", "incomeType=INSURANCE_CLEAR").await;
    assert_eq!(incomes[0]["income"], "-5.00000000", "1.25 % of 400");
    let asked = call_ok(at, "GET", "v1/income", "").await;
    let sum = |list: &Value| {
        let all = list.as_array().unwrap().iter();
        all.map(|i| i["income"].as_str().unwrap().parse::<f64>().unwrap())
            .sum::<f64>()
    };
    let balance = call_ok(at, "GET", "v3/balance", "").await;
    let wallet: f64 = balance[0]["balance"].as_str().unwrap().parse().unwrap();
    assert!(
        (wallet - 10_000.0 - sum(&asked)).abs() < 1e-6,
        "{wallet} {asked}"
    );
    exchange.stop().await;
}
