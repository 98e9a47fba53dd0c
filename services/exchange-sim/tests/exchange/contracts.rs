//! The list of contracts: hundreds of generated ones, and contracts whose status, symbol or filters change.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use serde_json::{Value, json};

use crate::support::program::serve;
use crate::support::signed::{
    API_KEY_ARGS, FLAT_MINUTES, KEY, arm, call, call_ok, minute_file, rejected_code, send,
    start_trading,
};
use crate::support::{RunningExchange, get, klines, start};

const BUY: &str = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01";
const STOP: &str =
    "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&triggerPrice=39500";

async fn start_with_fault_api() -> RunningExchange {
    start_trading(&minute_file(&FLAT_MINUTES), &["--fault-api", "1"]).await
}

async fn contract(exchange: &RunningExchange, symbol: &str) -> Option<Value> {
    let (_, _, info) = get(exchange.address, "/fapi/v1/exchangeInfo").await;
    let all = info["symbols"].as_array().unwrap();
    all.iter().find(|c| c["symbol"] == symbol).cloned()
}

#[tokio::test]
async fn generated_contracts_are_listed_priced_and_traded_by_their_own_filters() {
    let arguments = ["--contracts", "120", "--clock-pause", "without-subscribers"];
    let exchange = start(&[&arguments[..], &API_KEY_ARGS].concat()).await;
    let at = exchange.address;
    let (_, _, info) = get(at, "/fapi/v1/exchangeInfo").await;
    let contracts = info["symbols"].as_array().unwrap();
    assert_eq!(contracts.len(), 120);
    let distinct = |field: &str| {
        let values = contracts.iter().map(|c| c[field].as_str().unwrap());
        values.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(
        (
            distinct("symbol"),
            distinct("quoteAsset"),
            distinct("status")
        ),
        (120, 2, 4)
    );
    let (_, _, prices) = get(at, "/fapi/v1/ticker/price").await;
    assert_eq!(prices.as_array().unwrap().len(), 120);
    // A symbol that is not ASCII, with a price step of 0.00001.
    let rows = klines(
        at,
        "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&interval=30m&limit=400",
    )
    .await;
    assert!(rows.len() > 350, "{}", rows.len());
    let shiba = contracts
        .iter()
        .find(|c| c["symbol"] == "1000SHIBUSDT")
        .unwrap();
    let tick = shiba["filters"][0]["tickSize"].as_str().unwrap();
    let decimals = tick.trim_start_matches("0.").len();
    let (_, _, last) = get(at, "/fapi/v1/ticker/price?symbol=1000SHIBUSDT").await;
    let written = last["price"].as_str().unwrap();
    assert!(
        written.split('.').nth(1).unwrap().len() <= decimals,
        "{written} {tick}"
    );
    let order = "symbol=1000SHIBUSDT&side=BUY&type=MARKET";
    call_ok(at, "POST", "v1/order", &format!("{order}&quantity=5000")).await;
    let code = rejected_code(at, "POST", "v1/order", &format!("{order}&quantity=0.5")).await;
    assert_eq!(code, -1111);
    let settling = contracts
        .iter()
        .find(|c| c["status"] == "SETTLING")
        .unwrap();
    let order = order.replace("1000SHIBUSDT", settling["symbol"].as_str().unwrap());
    let code = rejected_code(at, "POST", "v1/order", &format!("{order}&quantity=5000")).await;
    assert_eq!(code, -4140);
    exchange.stop().await;
}

#[tokio::test]
async fn each_status_rejects_orders_with_its_code() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    let close = format!(
        "{}&reduceOnly=true",
        BUY.replace("BUY", "SELL").replace("0.01", "0.005")
    );
    for (status, opening, closing) in [
        ("SETTLING", -4140, None),
        ("PENDING_TRADING", -4108, Some(-4108)),
        ("CLOSE", -4141, Some(-4141)),
    ] {
        let fault = json!({"fault": "contract-status", "symbol": "BTCUSDT", "status": status});
        arm(at, fault.clone()).await;
        assert_eq!(
            contract(&exchange, "BTCUSDT").await.unwrap()["status"],
            status
        );
        assert_eq!(
            rejected_code(at, "POST", "v1/order", BUY).await,
            opening,
            "{status}"
        );
        let (_, _, body) = call(at, "POST", "v1/order", &close).await;
        assert_eq!(body["code"].as_i64(), closing, "{status}: {body}");
        let (_, _, armed) = get(at, "/sim/fault").await;
        assert_eq!(armed, json!([fault]), "each replaces the one before");
    }
    let trading = json!({"fault": "contract-status", "symbol": "BTCUSDT", "status": "TRADING"});
    arm(at, trading).await;
    call_ok(at, "POST", "v1/order", BUY).await;
    exchange.stop().await;
}

#[tokio::test]
async fn unlisted_contract_vanishes_with_its_position_kept() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    let unlist = |on: bool| json!({"fault": "unlist", "symbol": "BTCUSDT", "on": on});
    arm(at, unlist(true)).await;
    assert_eq!(contract(&exchange, "BTCUSDT").await, None);
    let query = "symbol=BTCUSDT&interval=1m";
    let (status, _, body) = get(at, &format!("/fapi/v1/klines?{query}")).await;
    assert_eq!((status, &body["code"]), (400, &json!(-1121)));
    assert_eq!(get(at, "/fapi/v1/ticker/price").await.0, 400);
    assert_eq!(rejected_code(at, "POST", "v1/order", BUY).await, -1121);
    let cancel = "symbol=BTCUSDT&orderId=1";
    assert_eq!(rejected_code(at, "DELETE", "v1/order", cancel).await, -1121);
    let held = call_ok(at, "GET", "v3/positionRisk", "").await;
    assert_eq!(held[0]["positionAmt"], "0.01");
    arm(at, unlist(false)).await;
    call_ok(at, "POST", "v1/order", BUY).await;
    exchange.stop().await;
}

#[tokio::test]
async fn settled_contract_closes_positions_orders_and_itself() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    let stop = format!("{STOP}&closePosition=true&clientAlgoId=out");
    call_ok(at, "POST", "v1/algoOrder", &stop).await;
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=39000";
    call_ok(at, "POST", "v1/order", limit).await;
    arm(
        at,
        json!({"fault": "settle", "symbol": "BTCUSDT", "price": "39900"}),
    )
    .await;
    assert_eq!(call_ok(at, "GET", "v3/positionRisk", "").await, json!([]));
    assert_eq!(call_ok(at, "GET", "v1/openOrders", "").await, json!([]));
    let algo = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=out").await;
    assert_eq!(algo["algoStatus"], "EXPIRED");
    let orders = call_ok(at, "GET", "v1/allOrders", "symbol=BTCUSDT").await;
    let last = orders.as_array().unwrap().last().unwrap();
    let name = last["clientOrderId"].as_str().unwrap();
    assert!(name.starts_with("settlement_autoclose-"), "{name}");
    assert_eq!(last["avgPrice"], "39900");
    let trades = call_ok(at, "GET", "v1/userTrades", "symbol=BTCUSDT").await;
    // (39900 - 40000.1) * 0.01
    assert_eq!(trades[1]["realizedPnl"], "-1.001");
    assert_eq!(
        contract(&exchange, "BTCUSDT").await.unwrap()["status"],
        "CLOSE"
    );
    assert_eq!(rejected_code(at, "POST", "v1/order", BUY).await, -4141);
    exchange.stop().await;
}

#[tokio::test]
async fn renamed_contract_keeps_position_stop_and_prices() {
    let fall = [40_000, 40_000, 39_000, 39_000];
    let file = minute_file(&[[40_000; 4], [40_000; 4], fall]);
    let exchange = start_trading(&file, &["--fault-api", "1"]).await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    let stop = format!("{STOP}&closePosition=true&clientAlgoId=out");
    call_ok(at, "POST", "v1/algoOrder", &stop).await;
    arm(
        at,
        json!({"fault": "rename", "symbol": "BTCUSDT", "to": "BTCXUSDT"}),
    )
    .await;
    assert_eq!(contract(&exchange, "BTCUSDT").await, None);
    assert!(contract(&exchange, "BTCXUSDT").await.is_some());
    assert_eq!(rejected_code(at, "POST", "v1/order", BUY).await, -1121);
    let held = call_ok(at, "GET", "v3/positionRisk", "").await;
    assert_eq!(
        (&held[0]["symbol"], &held[0]["positionAmt"]),
        (&json!("BTCXUSDT"), &json!("0.01"))
    );
    let waiting = call_ok(at, "GET", "v1/openAlgoOrders", "").await;
    assert_eq!(waiting[0]["symbol"], "BTCXUSDT");
    assert!(!klines(at, "symbol=BTCXUSDT&interval=1m").await.is_empty());
    let again = json!({"fault": "rename", "symbol": "BTCXUSDT", "to": "BTCXUSDT"}).to_string();
    assert_eq!(send(at, "POST", "/sim/fault", None, &again).await.0, 400);
    advance_renamed(&exchange).await;
    let algo = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=out").await;
    assert_eq!(algo["algoStatus"], "FINISHED");
    exchange.stop().await;
}

/// Runs the clock by a stream of the new symbol.
async fn advance_renamed(exchange: &RunningExchange) {
    let mut client =
        crate::support::Client::connect(exchange.address, "/ws/btcxusdt@kline_1m").await;
    while exchange.exchange.now_ms() < crate::support::MIDNIGHT_MS + 180_000 {
        assert_eq!(client.receive().await["s"], "BTCXUSDT");
    }
}

#[tokio::test]
async fn filters_change_while_orders_rest_and_are_restored() {
    let exchange = start_with_fault_api().await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    let stop = |trigger: &str| STOP.replace("39500", trigger) + "&quantity=0.01";
    call_ok(at, "POST", "v1/algoOrder", &stop("39500.5")).await;
    let fault = json!({"fault": "filter", "symbol": "BTCUSDT", "tick": "1", "max_algos": 1,
        "percent_price": "1", "notional": "300"});
    arm(at, fault).await;
    let filters = contract(&exchange, "BTCUSDT").await.unwrap()["filters"].clone();
    assert_eq!(filters[0]["tickSize"], "1");
    assert_eq!(filters[4]["limit"], 1);
    assert_eq!(filters[6]["multiplierUp"], "1.0100");
    assert_eq!(
        rejected_code(at, "POST", "v1/algoOrder", &stop("39400.5")).await,
        -4014
    );
    assert_eq!(
        rejected_code(at, "POST", "v1/algoOrder", &stop("39400")).await,
        -4045
    );
    let limit = |price: u32| {
        format!("symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=0.01&price={price}")
    };
    assert_eq!(
        rejected_code(at, "POST", "v1/order", &limit(39_000)).await,
        -4024
    );
    call_ok(at, "POST", "v1/order", &limit(40_300)).await;
    let small = BUY.replace("0.01", "0.006");
    assert_eq!(rejected_code(at, "POST", "v1/order", &small).await, -4164);
    let mark = json!({"fault": "mark-price", "symbol": "BTCUSDT", "percent": "-2"});
    arm(at, mark).await;
    assert_eq!(
        rejected_code(at, "POST", "v1/order", BUY).await,
        -4131,
        "too far from the mark"
    );
    let resting = call_ok(at, "GET", "v1/openAlgoOrders", "").await;
    assert_eq!(resting[0]["triggerPrice"], "39500.5", "what rests stays");
    assert_eq!(send(at, "DELETE", "/sim/fault", None, "").await.0, 200);
    call_ok(at, "POST", "v1/algoOrder", &stop("39400.5")).await;
    call_ok(at, "POST", "v1/order", &small).await;
    exchange.stop().await;
}

#[tokio::test]
async fn faults_of_the_state_survive_kill_9() {
    let file = minute_file(&[[40_000; 4]; 3]);
    let state = tempfile::tempdir().unwrap();
    let candles = file.path();
    let arguments = [
        "--market",
        "replay",
        "--warmup-candles",
        "1",
        "--fault-api",
        "1",
        "--clock-pause",
        "without-subscribers",
        "--candles-file",
        candles.to_str().unwrap(),
        "--state-dir",
        state.path().to_str().unwrap(),
    ];
    let arguments = [&arguments[..], &API_KEY_ARGS].concat();
    let arguments: Vec<&OsStr> = arguments.into_iter().map(OsStr::new).collect();
    let (mut child, at) = serve(&arguments);
    call_ok(at, "POST", "v1/order", BUY).await;
    for fault in [
        json!({"fault": "filter", "symbol": "BTCUSDT", "tick": "0.5"}),
        json!({"fault": "mark-price", "symbol": "BTCUSDT", "percent": "-1"}),
        json!({"fault": "rename", "symbol": "BTCUSDT", "to": "BTCXUSDT"}),
        json!({"fault": "fee-asset", "account": KEY, "asset": "BNB", "balance": "1"}),
        json!({"fault": "fill-schedule", "times": 3, "parts": [{"after_ms": 1, "percent": 50}]}),
    ] {
        arm(at, fault).await;
    }
    let order = BUY.replace("BTCUSDT", "BTCXUSDT");
    call_ok(at, "POST", "v1/order", &order).await;
    let read = async |at| {
        let mut all = vec![
            get(at, "/sim/fault").await.2,
            get(at, "/fapi/v1/premiumIndex").await.2,
        ];
        for path in ["v3/positionRisk", "v1/openOrders", "v3/balance"] {
            all.push(call_ok(at, "GET", path, "").await);
        }
        let (_, _, info) = get(at, "/fapi/v1/exchangeInfo").await;
        all.push(info["symbols"].clone());
        all
    };
    let before = read(at).await;
    assert_eq!(before[0][3]["times"], 2, "{}", before[0]);
    assert_eq!(before[1][0]["markPrice"], "39600");
    for _ in 0..2 {
        child.kill().unwrap();
        child.wait().unwrap();
        let (again, at) = serve(&arguments);
        child = again;
        assert_eq!(read(at).await, before);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
