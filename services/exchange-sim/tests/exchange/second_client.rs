//! A second API key of the same account: what a user does with it while the first client holds a position.

use serde_json::json;

use crate::support::signed::{
    FLAT_MINUTES, KEY, SECRET, call_as, call_ok, minute_file, send, start_trading,
};
use crate::support::{Client, RunningExchange};

const APP: [&str; 2] = ["appkey", "appsecret"];

async fn start() -> RunningExchange {
    start_trading(&minute_file(&FLAT_MINUTES), &[]).await
}

#[tokio::test]
async fn second_client_trades_and_cancels_on_the_same_account() {
    let exchange = start().await;
    let at = exchange.address;
    let (_, _, body) = send(at, "POST", "/fapi/v1/listenKey", Some(KEY), "").await;
    let url = format!("/private/ws/{}", body["listenKey"].as_str().unwrap());
    let mut user = Client::connect(at, &url).await;
    let app =
        async |method: &str, path: &str, query: &str| call_as(at, APP, method, path, query).await.2;
    let order = "symbol=BTCUSDT&type=MARKET";
    call_ok(
        at,
        "POST",
        "v1/order",
        &format!("{order}&side=BUY&quantity=0.05"),
    )
    .await;
    let stop = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39500\
                &closePosition=true&clientAlgoId=out";
    call_ok(at, "POST", "v1/algoOrder", stop).await;
    let reduce = format!("{order}&side=SELL&quantity=0.02&reduceOnly=true&newClientOrderId=web_1");
    app("POST", "v1/order", &reduce).await;
    let risk = call_ok(at, "GET", "v3/positionRisk", "").await;
    assert_eq!(risk[0]["positionAmt"], "0.03");
    let seen = loop {
        let event = user.receive().await;
        if event["o"]["c"] == "web_1" && event["o"]["x"] == "TRADE" {
            break event;
        }
    };
    assert_eq!(seen["o"]["l"], "0.02", "the first client is notified");
    let cancelled = app("DELETE", "v1/algoOrder", "clientAlgoId=out").await;
    assert_eq!(cancelled["msg"], "success");
    assert_eq!(call_ok(at, "GET", "v1/openAlgoOrders", "").await, json!([]));
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=39000";
    app("POST", "v1/order", limit).await;
    assert_eq!(
        call_ok(at, "GET", "v1/openOrders", "").await[0]["price"],
        "39000"
    );
    exchange.stop().await;
}

/// What Binance answers to changes of settings while a position is open.
#[tokio::test]
async fn settings_changed_while_a_position_is_open_get_the_exchanges_answers() {
    let exchange = start().await;
    let at = exchange.address;
    let app = async |path: &str, query: &str| call_as(at, APP, "POST", path, query).await.2;
    let buy = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01";
    call_ok(at, "POST", "v1/order", buy).await;
    let isolated = "symbol=BTCUSDT&marginType=ISOLATED";
    assert_eq!(app("v1/marginType", isolated).await["code"], -4048);
    assert_eq!(
        app("v1/positionSide/dual", "dualSidePosition=true").await["code"],
        -4068
    );
    // Under cross margin, leverage changes in both directions, and margin with it.
    for (leverage, margin) in [(50, "8.00000000"), (5, "80.00000000")] {
        app(
            "v1/leverage",
            &format!("symbol=BTCUSDT&leverage={leverage}"),
        )
        .await;
        let risk = &call_ok(at, "GET", "v3/positionRisk", "").await[0];
        assert_eq!(
            (&risk["leverage"], &risk["initialMargin"]),
            (&json!(leverage.to_string()), &json!(margin))
        );
    }
    let close = buy.replace("BUY", "SELL");
    call_ok(at, "POST", "v1/order", &close).await;
    assert_eq!(app("v1/marginType", isolated).await["code"], 200);
    assert_eq!(
        app("v1/positionSide/dual", "dualSidePosition=true").await["code"],
        200
    );
    let (_, _, body) = call_as(at, [KEY, SECRET], "POST", "v1/order", buy).await;
    assert_eq!(
        body["code"], -4061,
        "the mode that the first client did not choose"
    );
    app("v1/positionSide/dual", "dualSidePosition=false").await;
    call_ok(at, "POST", "v1/order", buy).await;
    let lower = app("v1/leverage", "symbol=BTCUSDT&leverage=3").await;
    assert_eq!(lower["code"], -4161, "isolated margin cannot follow");
    exchange.stop().await;
}
