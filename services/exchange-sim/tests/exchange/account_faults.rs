//! What the exchange does to an account: fees in other assets, fills in parts, forced closes, margin and funding.
//! Expected numbers are computed manually.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::signed::{
    FLAT_MINUTES, KEY, advance_to_minute, arm, call, call_ok, minute_file, rejected_code, send,
    start_trading,
};
use crate::support::{Client, MIDNIGHT_MS, RunningExchange, get};

const BUY: &str = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01&newOrderRespType=RESULT";
const STOP: &str =
    "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL&type=STOP_MARKET&closePosition=true";

async fn start(minutes: &[[i64; 4]]) -> RunningExchange {
    start_trading(&minute_file(minutes), &["--fault-api", "1"]).await
}

async fn rows(at: SocketAddr, path: &str, query: &str, fields: &[&str]) -> Value {
    let all = call_ok(at, "GET", path, query).await;
    let row = |one: &Value| fields.iter().map(|f| one[*f].clone()).collect::<Vec<_>>();
    json!(all.as_array().unwrap().iter().map(row).collect::<Vec<_>>())
}

async fn user_stream(exchange: &RunningExchange) -> Client {
    let at = exchange.address;
    let (_, _, body) = send(at, "POST", "/fapi/v1/listenKey", Some(KEY), "").await;
    let url = format!("/private/ws/{}", body["listenKey"].as_str().unwrap());
    let mut client = Client::connect(at, &url).await;
    client
        .send(r#"{"method":"LIST_SUBSCRIPTIONS","id":1}"#)
        .await;
    client.receive_response().await;
    client
}

/// The next event with these values in the fields of its object.
async fn event(user: &mut Client, object: &str, fields: &[(&str, &str)]) -> Value {
    loop {
        let event = user.receive().await[object].clone();
        if fields.iter().all(|(name, value)| event[*name] == *value) {
            return event;
        }
    }
}

/// A fee is 0.05 % of 400.001 USDT: 0.2000005 USDT, or nine tenths at 600 USDT: 0.000300 BNB.
#[tokio::test]
async fn fees_are_paid_in_bnb_until_the_balance_is_used_up() {
    let exchange = start(&FLAT_MINUTES).await;
    let at = exchange.address;
    let mut user = user_stream(&exchange).await;
    let burn = json!({"fault": "fee-asset", "account": KEY, "asset": "BNB", "balance": "0.0005"});
    arm(at, burn).await;
    let deposit = event(&mut user, "a", &[("m", "DEPOSIT")]).await;
    assert_eq!(
        deposit["B"][0],
        json!({"a": "BNB", "wb": "0.0005", "cw": "0.0005", "bc": "0.0005"})
    );
    assert_eq!(
        call_ok(at, "GET", "v1/feeBurn", "").await,
        json!({"feeBurn": true})
    );
    for _ in 0..2 {
        call_ok(at, "POST", "v1/order", BUY).await;
    }
    let fees = ["commission", "commissionAsset"];
    let charged = json!([["0.0003", "BNB"], ["0.2000005", "USDT"]]);
    assert_eq!(
        rows(at, "v1/userTrades", "symbol=BTCUSDT", &fees).await,
        charged
    );
    let update = event(&mut user, "a", &[("m", "ORDER")]).await;
    let assets: Vec<&Value> = update["B"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| &b["a"])
        .collect();
    assert_eq!(json!(assets), json!(["USDT", "BNB"]));
    let filled = event(&mut user, "o", &[("x", "TRADE")]).await;
    assert_eq!(
        (&filled["N"], &filled["n"]),
        (&json!("BNB"), &json!("0.0003"))
    );
    let query = "incomeType=COMMISSION";
    assert_eq!(
        rows(at, "v1/income", query, &["income", "asset"]).await,
        json!([["-0.00030000", "BNB"], ["-0.20000050", "USDT"]])
    );
    assert_eq!(
        rows(at, "v3/balance", "", &["asset", "balance"]).await,
        json!([["BNB", "0.00020000"], ["USDT", "9999.79999950"]])
    );
    call_ok(at, "POST", "v1/feeBurn", "feeBurn=false").await;
    assert_eq!(
        call_ok(at, "GET", "v1/feeBurn", "").await,
        json!({"feeBurn": false})
    );
    let euro = json!({"fault": "fee-asset", "account": KEY, "asset": "BNFCR", "balance": "5"});
    arm(at, euro).await;
    call_ok(at, "POST", "v1/order", BUY).await;
    let last = &call_ok(at, "GET", "v1/userTrades", "symbol=BTCUSDT").await[2];
    assert_eq!(
        (&last["commission"], &last["commissionAsset"]),
        (&json!("0.2000005"), &json!("BNFCR"))
    );
    exchange.stop().await;
}

#[tokio::test]
async fn multi_assets_mode_counts_other_assets_as_margin_and_excludes_isolated_margin() {
    let exchange = start(&FLAT_MINUTES).await;
    let at = exchange.address;
    let bnb = json!({"fault": "fee-asset", "account": KEY, "asset": "BNB", "balance": "10"});
    arm(at, bnb).await;
    let mode = |on: bool| format!("multiAssetsMargin={on}");
    let post = async |query: &str| call(at, "POST", "v1/multiAssetsMargin", query).await.2;
    assert_eq!(post(&mode(false)).await["code"], -4171);
    let isolated = "symbol=BTCUSDT&marginType=ISOLATED";
    call_ok(at, "POST", "v1/marginType", isolated).await;
    assert_eq!(post(&mode(true)).await["code"], -4167);
    call_ok(
        at,
        "POST",
        "v1/marginType",
        "symbol=BTCUSDT&marginType=CROSSED",
    )
    .await;
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=39000";
    call_ok(at, "POST", "v1/order", limit).await;
    assert_eq!(post(&mode(true)).await["code"], -4170);
    call_ok(at, "DELETE", "v1/allOpenOrders", "symbol=BTCUSDT").await;
    assert_eq!(post(&mode(true)).await["code"], 200);
    assert_eq!(
        call_ok(at, "GET", "v1/multiAssetsMargin", "").await,
        json!({"multiAssetsMargin": true})
    );
    assert_eq!(
        rejected_code(at, "POST", "v1/marginType", isolated).await,
        -4168
    );
    // 10 BNB at 600 USDT, of which 95 % count.
    let account = call_ok(at, "GET", "v3/account", "").await;
    assert_eq!(account["availableBalance"], "15700.00000000");
    assert_eq!(account["assets"][0]["asset"], "BNB");
    exchange.stop().await;
}

#[tokio::test]
async fn market_order_fills_in_parts_by_a_schedule_and_expires() {
    let arguments = ["--fault-api", "1", "--speed", "240"];
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &arguments).await;
    let at = exchange.address;
    let schedule = json!({"fault": "fill-schedule", "symbol": "BTCUSDT",
        "parts": [{"after_ms": 0, "percent": 40}, {"after_ms": 60_000, "percent": 30}],
        "end": {"after_ms": 480_000, "status": "EXPIRED_IN_MATCH"}});
    arm(at, schedule).await;
    let placed = call_ok(at, "POST", "v1/order", BUY).await;
    assert_eq!(
        (&placed["status"], &placed["executedQty"]),
        (&json!("PARTIALLY_FILLED"), &json!("0.004"))
    );
    let id = format!("symbol=BTCUSDT&orderId={}", placed["orderId"]);
    let mut seen = Vec::new();
    for minute in [3, 10] {
        advance_to_minute(&exchange, minute).await;
        let order = call_ok(at, "GET", "v1/order", &id).await;
        seen.push(json!([order["status"], order["executedQty"]]));
    }
    assert_eq!(
        seen,
        [
            json!(["PARTIALLY_FILLED", "0.007"]),
            json!(["EXPIRED_IN_MATCH", "0.007"])
        ]
    );
    let trades = rows(
        at,
        "v1/userTrades",
        "symbol=BTCUSDT",
        &["qty", "maker", "time"],
    )
    .await;
    let open = MIDNIGHT_MS + 60_000;
    assert_eq!(
        trades,
        json!([["0.004", false, open], ["0.003", false, open + 60_000]])
    );
    let next = call_ok(at, "POST", "v1/order", BUY).await;
    assert_eq!(next["status"], "FILLED", "one order was armed");
    exchange.stop().await;
}

#[tokio::test]
async fn triggered_stop_fills_in_parts_and_is_finished_when_its_order_ends() {
    let fall = [40_000, 40_000, 39_000, 39_000];
    let exchange = start(&[[40_000; 4], [40_000; 4], fall, [39_000; 4], [39_000; 4]]).await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    let stop = format!("{STOP}&triggerPrice=39500&clientAlgoId=out");
    call_ok(at, "POST", "v1/algoOrder", &stop).await;
    arm(
        at,
        json!({"fault": "fill-schedule", "conditional": true,
            "parts": [{"after_ms": 0, "percent": 50}, {"after_ms": 120_000, "percent": 50}]}),
    )
    .await;
    advance_to_minute(&exchange, 3).await;
    let algo = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=out").await;
    assert_eq!(algo["algoStatus"], "TRIGGERED");
    let risk = call_ok(at, "GET", "v3/positionRisk", "").await;
    assert_eq!(risk[0]["positionAmt"], "0.005");
    advance_to_minute(&exchange, 5).await;
    let algo = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=out").await;
    // Half at 39499.9, half at 38999.9.
    assert_eq!(
        (
            &algo["algoStatus"],
            &algo["actualQty"],
            &algo["actualPrice"]
        ),
        (&json!("FINISHED"), &json!("0.01"), &json!("39249.9"))
    );
    exchange.stop().await;
}

#[tokio::test]
async fn auto_deleveraging_closes_a_part_and_is_listed_as_a_forced_order() {
    let exchange = start(&FLAT_MINUTES).await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", BUY).await;
    let mut user = user_stream(&exchange).await;
    let adl = json!({"fault": "adl", "account": KEY, "symbol": "BTCUSDT", "quantity": "0.004"});
    arm(at, adl).await;
    let closed = event(&mut user, "o", &[("x", "CALCULATED")]).await;
    assert_eq!(
        (&closed["c"], &closed["S"], &closed["l"], &closed["o"]),
        (
            &json!("adl_autoclose"),
            &json!("SELL"),
            &json!("0.004"),
            &json!("LIQUIDATION")
        )
    );
    let fields = ["clientOrderId", "type", "executedQty"];
    let forced = json!([["adl_autoclose", "LIMIT", "0.004"]]);
    assert_eq!(
        rows(at, "v1/forceOrders", "autoCloseType=ADL", &fields).await,
        forced
    );
    assert_eq!(rows(at, "v1/forceOrders", "", &fields).await, forced);
    assert_eq!(
        rows(at, "v1/forceOrders", "autoCloseType=LIQUIDATION", &fields).await,
        json!([])
    );
    let risk = call_ok(at, "GET", "v3/positionRisk", "").await;
    assert_eq!(risk[0]["positionAmt"], "0.006");
    let none = json!({"fault": "adl", "account": KEY, "symbol": "ETHUSDT"}).to_string();
    let (status, _, body) = send(at, "POST", "/sim/fault", None, &none).await;
    assert_eq!(status, 400, "{body}");
    exchange.stop().await;
}

/// At leverage 1, 0.1 BTC cost 4000.01 USDT at the ask and 0.01 USDT of open loss. At an assumed price of 40020.1 they
/// cost 4002.01 and 2.01 USDT.
#[tokio::test]
async fn margin_of_market_orders_is_checked_at_an_assumed_price() {
    let arguments = ["--fault-api", "1", "--balance-usdt", "4002"];
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &arguments).await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/leverage", "symbol=BTCUSDT&leverage=1").await;
    let order = BUY.replace("0.01", "0.1");
    arm(at, json!({"fault": "assumed-price", "percent": "0.05"})).await;
    assert_eq!(rejected_code(at, "POST", "v1/order", &order).await, -2019);
    let sell = order.replace("BUY", "SELL");
    call_ok(at, "POST", "v1/order", &sell).await;
    call_ok(at, "POST", "v1/order", &order).await;
    send(at, "DELETE", "/sim/fault", None, "").await;
    exchange.stop().await;
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &arguments).await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/leverage", "symbol=BTCUSDT&leverage=1").await;
    call_ok(at, "POST", "v1/order", &order).await;
    exchange.stop().await;
}

#[tokio::test]
async fn scaled_brackets_limit_positions_leverage_and_answers() {
    let exchange = start(&FLAT_MINUTES).await;
    let at = exchange.address;
    arm(
        at,
        json!({"fault": "brackets", "symbol": "BTCUSDT", "scale": "0.00001"}),
    )
    .await;
    // The bracket of leverage 20 ends at 700 USDT.
    assert_eq!(
        rejected_code(at, "POST", "v1/order", &BUY.replace("0.01", "0.02")).await,
        -2027
    );
    let brackets = call_ok(at, "GET", "v1/leverageBracket", "symbol=BTCUSDT").await;
    assert_eq!(brackets[0]["brackets"][4]["notionalCap"], 700);
    call_ok(at, "POST", "v1/order", BUY).await;
    let leverage = "symbol=BTCUSDT&leverage=75";
    assert_eq!(
        rejected_code(at, "POST", "v1/leverage", leverage).await,
        -2027
    );
    send(at, "DELETE", "/sim/fault", None, "").await;
    call_ok(at, "POST", "v1/order", BUY).await;
    exchange.stop().await;
}

#[tokio::test]
async fn funding_is_booked_early_doubled_in_lists_or_shown_late() {
    let exchange = start_trading(
        &minute_file(&[[40_000; 4]; 490]),
        &["--speed", "60000", "--fault-api", "1"],
    )
    .await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/order", &BUY.replace("0.01", "0.1")).await;
    let fault = json!({"fault": "funding", "shift_ms": -15_000, "doubled": true,
        "hidden_ms": 604_800_000});
    arm(at, fault.clone()).await;
    advance_to_minute(&exchange, 481).await;
    let query = "incomeType=FUNDING_FEE";
    let balance = rows(at, "v3/balance", "", &["balance"]).await;
    assert_eq!(
        balance,
        json!([["9997.59999500"]]),
        "fee 2.000005 and funding 0.4 are paid"
    );
    assert_eq!(call_ok(at, "GET", "v1/income", query).await, json!([]));
    arm(at, json!({"fault": "funding", "doubled": true})).await;
    let booked = MIDNIGHT_MS + 8 * 3_600_000 - 15_000;
    assert_eq!(
        rows(at, "v1/income", query, &["income", "time"]).await,
        json!([["-0.40000000", booked], ["-0.40000000", booked]])
    );
    arm(at, json!({"fault": "funding"})).await;
    advance_to_minute(&exchange, 483).await;
    assert_eq!(
        rows(at, "v1/income", query, &["income"]).await,
        json!([["-0.40000000"]]),
        "once, also after the full hour without the shift"
    );
    let (_, _, armed) = get(at, "/sim/fault").await;
    assert_eq!(armed, json!([]));
    exchange.stop().await;
}
