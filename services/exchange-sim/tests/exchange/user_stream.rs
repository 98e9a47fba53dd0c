//! The user stream: listen key, order of events, end.

use serde_json::{Value, json};

use crate::support::signed::{KEY, advance_to_minute, call_ok, minute_file, send, start_trading};
use crate::support::{Client, RunningExchange};

const LISTEN_KEY_PATH: &str = "/fapi/v1/listenKey";

#[tokio::test]
async fn user_events_arrive_in_order_with_their_numbers() {
    let path = [[40_000; 4], [40_000; 4], [40_000, 40_000, 39_000, 39_000]];
    let exchange = start_trading(&minute_file(&path), &[]).await;
    let at = exchange.address;
    let key = listen_key(&exchange).await;
    let mut user = Client::connect(at, &format!("/private/ws/{key}")).await;
    let mut combined = Client::connect(at, &format!("/stream?streams={key}")).await;
    // A response shows that both connections are served and subscribed.
    for client in [&mut user, &mut combined] {
        client
            .send(r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#)
            .await;
        assert_eq!(client.receive_response().await["result"], json!([key]));
    }
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=in";
    call_ok(at, "POST", "v1/order", order).await;
    let stop = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39500\
                &closePosition=true&clientAlgoId=out";
    call_ok(at, "POST", "v1/algoOrder", stop).await;
    advance_to_minute(&exchange, 3).await;
    let mut received = Vec::new();
    while received.len() < 9 {
        received.push(user.receive().await);
    }
    let short: Vec<Value> = received.iter().map(shape).collect();
    let expected = [
        json!(["ORDER_TRADE_UPDATE", "in", "NEW", "NEW"]),
        json!(["ACCOUNT_UPDATE", "ORDER", "0.01"]),
        json!(["ORDER_TRADE_UPDATE", "in", "TRADE", "FILLED"]),
        json!(["ALGO_UPDATE", "out", "NEW"]),
        json!(["ALGO_UPDATE", "out", "TRIGGERED"]),
        json!(["ORDER_TRADE_UPDATE", "out", "NEW", "NEW"]),
        json!(["ACCOUNT_UPDATE", "ORDER", "0"]),
        json!(["ORDER_TRADE_UPDATE", "out", "TRADE", "FILLED"]),
        json!(["ALGO_UPDATE", "out", "FINISHED"]),
    ];
    assert_eq!(short, expected);
    let (fill, account) = (&received[2]["o"], &received[1]["a"]["B"][0]);
    assert_eq!(
        (&fill["L"], &fill["n"]),
        (&json!("40000.1"), &json!("0.2000005"))
    );
    assert_eq!(account["wb"], "9999.7999995");
    let first = combined.receive().await;
    assert_eq!(
        (&first["stream"], &first["data"]),
        (&json!(key), &received[0])
    );
    exchange.stop().await;
}

#[tokio::test]
async fn listen_key_is_stable_until_it_expires_and_expiry_is_published() {
    let exchange = start_trading(&minute_file(&[[40_000; 4]; 70]), &["--speed", "30000"]).await;
    let at = exchange.address;
    let key = listen_key(&exchange).await;
    assert_eq!(listen_key(&exchange).await, key);
    let mut user = Client::connect(at, &format!("/private/ws?listenKey={key}")).await;
    user.send(r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#).await;
    user.receive_response().await;
    advance_to_minute(&exchange, 65).await;
    let ended = user.receive().await;
    assert_eq!(
        (&ended["e"], &ended["listenKey"]),
        (&json!("listenKeyExpired"), &json!(key))
    );
    let (status, _, body) = send(at, "PUT", LISTEN_KEY_PATH, Some(KEY), "").await;
    assert_eq!((status, body["code"].as_i64()), (400, Some(-1125)));
    assert_ne!(listen_key(&exchange).await, key);
    send(at, "DELETE", LISTEN_KEY_PATH, Some(KEY), "").await;
    let (status, ..) = send(at, "PUT", LISTEN_KEY_PATH, Some(KEY), "").await;
    assert_eq!(status, 400);
    exchange.stop().await;
}

fn shape(event: &Value) -> Value {
    let order = &event["o"];
    match event["e"].as_str().unwrap() {
        "ACCOUNT_UPDATE" => {
            let account = &event["a"];
            json!(["ACCOUNT_UPDATE", account["m"], account["P"][0]["pa"]])
        }
        "ALGO_UPDATE" => json!(["ALGO_UPDATE", order["caid"], order["X"]]),
        kind => json!([kind, order["c"], order["x"], order["X"]]),
    }
}

async fn listen_key(exchange: &RunningExchange) -> String {
    let (status, _, body) = send(exchange.address, "POST", LISTEN_KEY_PATH, Some(KEY), "").await;
    assert_eq!(status, 200, "{body}");
    body["listenKey"].as_str().unwrap().to_owned()
}
