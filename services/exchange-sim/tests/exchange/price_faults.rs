//! Prices that the exchange moves: a mark price apart from the last price, and gaps through stops.

use serde_json::json;

use crate::support::signed::{
    FLAT_MINUTES, advance_to_minute, arm, call_ok, minute_file, rejected_code, send, start_trading,
};
use crate::support::{Client, MIDNIGHT_MS, RunningExchange, get, klines};

const BUY: &str = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.1";
const STOP: &str = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39500&quantity=0.05";

async fn start() -> RunningExchange {
    start_trading(&minute_file(&FLAT_MINUTES), &["--fault-api", "1"]).await
}

#[tokio::test]
async fn stops_trigger_by_their_working_type() {
    let exchange = start().await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    for working_type in ["MARK_PRICE", "CONTRACT_PRICE"] {
        let stop = format!("{STOP}&workingType={working_type}&clientAlgoId={working_type}");
        call_ok(at, "POST", "v1/algoOrder", &stop).await;
    }
    let path =
        json!([{"after_ms": 30_000, "percent": "-2"}, {"after_ms": 90_000, "percent": "0.5"}]);
    arm(
        at,
        json!({"fault": "mark-price", "symbol": "BTCUSDT", "path": path}),
    )
    .await;
    advance_to_minute(&exchange, 3).await;
    let on_mark = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=MARK_PRICE").await;
    assert_eq!(on_mark["algoStatus"], "FINISHED");
    assert_eq!(on_mark["triggerTime"], MIDNIGHT_MS + 90_000);
    assert_eq!(
        on_mark["actualPrice"], "39999.9",
        "filled at the last price"
    );
    let on_last = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=CONTRACT_PRICE").await;
    assert_eq!(on_last["algoStatus"], "NEW");
    let (_, _, premium) = get(at, "/fapi/v1/premiumIndex?symbol=BTCUSDT").await;
    assert_eq!(
        (&premium["markPrice"], &premium["indexPrice"]),
        (&json!("40200"), &json!("40000"))
    );
    let triggered = format!("{STOP}&workingType=MARK_PRICE").replace("39500", "40100");
    call_ok(at, "POST", "v1/algoOrder", &triggered).await;
    let by_last = triggered.replace("MARK_PRICE", "CONTRACT_PRICE");
    assert_eq!(
        rejected_code(at, "POST", "v1/algoOrder", &by_last).await,
        -2021
    );
    exchange.stop().await;
}

/// Isolated at leverage 20, a long position of 40000.1 is liquidated at 38152.7.
#[tokio::test]
async fn liquidation_and_profits_follow_the_mark_price() {
    let exchange = start().await;
    let at = exchange.address;
    let isolated = "symbol=BTCUSDT&marginType=ISOLATED";
    call_ok(at, "POST", "v1/marginType", isolated).await;
    call_ok(at, "POST", "v1/order", BUY).await;
    arm(
        at,
        json!({"fault": "mark-price", "symbol": "BTCUSDT", "percent": "-4"}),
    )
    .await;
    let risk = &call_ok(at, "GET", "v3/positionRisk", "").await[0];
    assert_eq!(
        (&risk["markPrice"], &risk["unRealizedProfit"]),
        (&json!("38400.00000000"), &json!("-160.01000000"))
    );
    let mut stream = Client::connect(at, "/ws/btcusdt@markPrice@1s").await;
    let update = stream.receive().await;
    assert_eq!(
        (&update["p"], &update["i"]),
        (&json!("38400"), &json!("40000"))
    );
    drop(stream);
    arm(
        at,
        json!({"fault": "mark-price", "symbol": "BTCUSDT", "percent": "-5"}),
    )
    .await;
    advance_to_minute(&exchange, 4).await;
    assert_eq!(call_ok(at, "GET", "v3/positionRisk", "").await, json!([]));
    let forced = call_ok(at, "GET", "v1/forceOrders", "autoCloseType=LIQUIDATION").await;
    assert_eq!(
        (
            &forced[0]["type"],
            &forced[0]["timeInForce"],
            &forced[0]["avgPrice"]
        ),
        (&json!("LIMIT"), &json!("IOC"), &json!("40000"))
    );
    exchange.stop().await;
}

#[tokio::test]
async fn price_gap_goes_through_a_stop() {
    let exchange = start().await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    let stop = format!("{STOP}&clientAlgoId=out");
    call_ok(at, "POST", "v1/algoOrder", &stop).await;
    arm(
        at,
        json!({"fault": "price-gap", "symbol": "BTCUSDT", "percent": "-3"}),
    )
    .await;
    let last = async || {
        let (_, _, price) = get(at, "/fapi/v1/ticker/price?symbol=BTCUSDT").await;
        price["price"].clone()
    };
    assert_eq!(last().await, "40000", "until the candle closes");
    advance_to_minute(&exchange, 3).await;
    assert_eq!(last().await, "38800");
    let algo = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=out").await;
    assert_eq!(
        (&algo["actualPrice"], &algo["triggerTime"]),
        (&json!("38799.9"), &json!(MIDNIGHT_MS + 120_000))
    );
    let candles = klines(at, "symbol=BTCUSDT&interval=1m&limit=3").await;
    let open_close = |index: usize| json!([candles[index][1], candles[index][4]]);
    let gap = candles
        .iter()
        .position(|c| c[0] == MIDNIGHT_MS + 120_000)
        .unwrap();
    assert_eq!(open_close(gap), json!(["38800.00", "38800.00"]));
    assert_eq!(open_close(gap - 1), json!(["40000.00", "40000.00"]));
    send(at, "DELETE", "/sim/fault", None, "").await;
    assert_eq!(last().await, "38800", "what has happened stays");
    exchange.stop().await;
}
