//! Answers and stream events of trading, field by field: orders, a position with a stop, the fills of a user stream.

use crate::support::Client;
use crate::support::signed::{FLAT_MINUTES, KEY, call, call_ok, minute_file, send, start_trading};

const MARKET: &str = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newOrderRespType=RESULT";

#[tokio::test]
async fn order_is_placed_read_and_canceled() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let at = exchange.address;
    let order = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=39000\
                 &newClientOrderId=resting";
    let (status, head, placed) = call(at, "POST", "v1/order", order).await;
    assert_eq!(status, 200, "{placed}");
    let head = head.to_ascii_lowercase();
    for count in ["used-weight-1m", "order-count-10s", "order-count-1m"] {
        assert!(head.contains(&format!("\r\nx-mbx-{count}: ")), "{head}");
    }
    assert_eq!(
        head.matches("\r\nx-mbx-").count(),
        3,
        "a weight and two order counts: {head}"
    );
    assert_eq!(placed["status"], "NEW");

    let ours = "symbol=BTCUSDT&origClientOrderId=resting";
    let found = call_ok(at, "GET", "v1/order", ours).await;
    assert_eq!(
        (&found["orderId"], &found["price"]),
        (&placed["orderId"], &"39000".into())
    );
    let canceled = call_ok(at, "DELETE", "v1/order", ours).await;
    assert_eq!(canceled["status"], "CANCELED");
    let (status, _, rejected) = call(at, "DELETE", "v1/order", ours).await;
    assert_eq!((status, &rejected["code"]), (400, &(-2011).into()));
    exchange.stop().await;
}

#[tokio::test]
async fn position_is_held_with_a_stop() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let at = exchange.address;
    let bought = call_ok(at, "POST", "v1/order", MARKET).await;
    assert_eq!(bought["executedQty"], "0.01");
    let positions = call_ok(at, "GET", "v3/positionRisk", "").await;
    assert_eq!(positions[0]["entryPrice"], "40000.1");

    let stop = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39000\
                &closePosition=true&clientAlgoId=stop";
    let stop = call_ok(at, "POST", "v1/algoOrder", stop).await;
    assert_eq!(stop["closePosition"], true);
    let found = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=stop").await;
    assert_eq!(found["algoStatus"], "NEW");
    let canceled = call_ok(at, "DELETE", "v1/algoOrder", "clientAlgoId=stop").await;
    assert_eq!(canceled["algoId"], stop["algoId"]);

    let account = call_ok(at, "GET", "v3/account", "").await;
    assert_eq!(account["totalWalletBalance"], "9999.79999950");
    assert_eq!(account["positions"].as_array().unwrap().len(), 1);
    exchange.stop().await;
}

#[tokio::test]
async fn lists_of_orders_and_trades_refuse_more_than_a_week() {
    const WEEK_MS: i64 = 7 * 24 * 3_600_000;
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", MARKET).await;
    let trades = call_ok(at, "GET", "v1/userTrades", "symbol=BTCUSDT").await;
    let traded_ms = trades[0]["time"].as_i64().unwrap();
    for path in ["v1/allOrders", "v1/allAlgoOrders", "v1/userTrades"] {
        let query = |start: i64, end: Option<i64>| {
            let end = end.map_or_else(String::new, |end| format!("&endTime={end}"));
            format!("symbol=BTCUSDT&startTime={start}{end}")
        };
        let week = query(traded_ms - WEEK_MS + 1, Some(traded_ms + 1));
        let rows = call_ok(at, "GET", path, &week).await;
        let expected = usize::from(path != "v1/allAlgoOrders");
        assert_eq!(rows.as_array().unwrap().len(), expected, "{path}");
        for longer in [
            query(traded_ms - WEEK_MS, Some(traded_ms + 1)),
            query(traded_ms - 2 * WEEK_MS, None),
        ] {
            let (status, _, rejected) = call(at, "GET", path, &longer).await;
            assert_eq!(
                (status, &rejected["code"]),
                (400, &(-4165).into()),
                "{path}"
            );
        }
    }
    exchange.stop().await;
}

#[tokio::test]
async fn user_stream_sends_order_account_and_fill() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let at = exchange.address;
    let (status, _, key) = send(at, "POST", "/fapi/v1/listenKey", Some(KEY), "").await;
    assert_eq!(status, 200, "{key}");
    let mut client = Client::connect(at, "/private/stream").await;
    let key = key["listenKey"].as_str().unwrap();
    client
        .send(&format!(
            r#"{{"method":"SUBSCRIBE","params":["{key}"],"id":1}}"#
        ))
        .await;
    assert_eq!(client.receive_response().await["id"], 1);
    call_ok(at, "POST", "v1/order", MARKET).await;
    let new = client.receive().await;
    assert_eq!(new["data"]["e"], "ORDER_TRADE_UPDATE");
    assert_eq!(new["data"]["o"]["X"], "NEW");
    let account = client.receive().await;
    assert_eq!(account["data"]["e"], "ACCOUNT_UPDATE");
    assert_eq!(account["data"]["a"]["m"], "ORDER");
    let fill = client.receive().await;
    assert_eq!(fill["data"]["e"], "ORDER_TRADE_UPDATE");
    let fill = &fill["data"]["o"];
    assert_eq!(
        (&fill["x"], &fill["L"]),
        (&"TRADE".into(), &"40000.1".into())
    );
    exchange.stop().await;
}
