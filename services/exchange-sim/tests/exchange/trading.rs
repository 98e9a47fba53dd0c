//! Orders, fills, positions and balances over signed REST; expected numbers are computed manually.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::signed::{
    FLAT_MINUTES, advance_to_minute, call, call_ok, minute_file, rejected_code, start_trading,
};
use crate::support::{MIDNIGHT_MS, get};

#[tokio::test]
async fn market_order_trades_at_the_quote_and_every_number_follows() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/leverage", "symbol=BTCUSDT&leverage=10").await;
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.100&newClientOrderId=one\
                 &newOrderRespType=RESULT";
    let bought = call_ok(at, "POST", "v1/order", order).await;
    assert_eq!(bought["status"], "FILLED");
    assert_eq!(bought["executedQty"], "0.1");
    assert_eq!(
        (bought.get("avgPrice"), bought.get("cumQuote")),
        (None, None),
        "the answer to an order has no price of its fill"
    );
    let one = "symbol=BTCUSDT&origClientOrderId=one";
    let bought = call_ok(at, "GET", "v1/order", one).await;
    assert_eq!(bought["avgPrice"], "40000.1", "one tick above the price");
    assert_eq!(
        (&bought["executedQty"], &bought["cumQuote"]),
        (&json!("0.1"), &json!("4000.01"))
    );

    let risk = &call_ok(at, "GET", "v3/positionRisk", "").await[0];
    assert_eq!(risk["positionAmt"], "0.1");
    assert_eq!(risk["entryPrice"], "40000.1");
    assert_eq!(risk["unRealizedProfit"], "-0.01000000");
    let trades = call_ok(at, "GET", "v1/userTrades", "symbol=BTCUSDT").await;
    assert_eq!(
        trades[0]["commission"], "2.000005",
        "five hundredths of a percent"
    );
    assert_eq!(
        (&trades[0]["maker"], &trades[0]["buyer"]),
        (&json!(false), &json!(true))
    );
    let account = call_ok(at, "GET", "v3/account", "").await;
    assert_eq!(account["totalWalletBalance"], "9997.99999500");
    assert_eq!(account["totalInitialMargin"], "400.00000000");

    let sell = "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.1&reduceOnly=true";
    let sold = call_ok(at, "POST", "v1/order", sell).await;
    assert_eq!(
        (&sold["status"], &sold["executedQty"]),
        (&json!("NEW"), &json!("0")),
        "an ACK"
    );
    let incomes = call_ok(at, "GET", "v1/income", "").await;
    let sums: Vec<_> = incomes
        .as_array()
        .unwrap()
        .iter()
        .map(|i| (&i["incomeType"], &i["income"]))
        .collect();
    let expected = [
        ("COMMISSION", "-2.00000500"),
        ("REALIZED_PNL", "-0.02000000"),
        ("COMMISSION", "-1.99999500"),
    ];
    assert_eq!(json!(sums), json!(expected));
    assert_eq!(call_ok(at, "GET", "v3/positionRisk", "").await, json!([]));
    let balance = &call_ok(at, "GET", "v3/balance", "").await[0]["balance"];
    assert_eq!(balance, "9995.98000000");
    let found = call_ok(
        at,
        "GET",
        "v1/order",
        "symbol=BTCUSDT&origClientOrderId=one",
    )
    .await;
    assert_eq!(found["orderId"], bought["orderId"]);
    exchange.stop().await;
}

const LIMIT_ORDER: &str =
    "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=39000";
const ALGO_ORDER: &str = "algoType=CONDITIONAL&symbol=BTCUSDT&side=SELL";

/// Method, path, query, and the expected error code with an open order and a waiting stop.
const REJECTIONS: &str = "
POST v1/order side=BUY&type=MARKET&quantity=1 -1102
POST v1/order symbol=NOPE&side=BUY&type=MARKET&quantity=1 -1121
POST v1/order symbol=BTCUSDT&side=UP&type=MARKET&quantity=1 -1117
POST v1/order symbol=BTCUSDT&side=BUY&type=FLY&quantity=1 -1116
POST v1/order symbol=BTCUSDT&side=BUY&type=STOP_MARKET&stopPrice=1 -4120
POST v1/order MARKET&quantity=abc -1102
POST v1/order MARKET&quantity=0.01&price=1 -1106
POST v1/order MARKET&quantity=0 -4003
POST v1/order MARKET&quantity=0.0101 -1111
POST v1/order MARKET&quantity=500 -4005
POST v1/order MARKET&quantity=0.002 -4164
POST v1/order MARKET&quantity=1 -2019
POST v1/order MARKET&quantity=0.01&reduceOnly=true -2022
POST v1/order MARKET&quantity=0.01&positionSide=LONG -4061
POST v1/order MARKET&quantity=0.01&newClientOrderId=a%20b -4015
POST v1/order LIMIT&timeInForce=GTC&quantity=0.01&price=39000.05 -4014
POST v1/order LIMIT&timeInForce=GTC&quantity=0.01&price=39000.001 -1111
POST v1/order LIMIT&timeInForce=GTC&quantity=0.01&price=50000 -4016
POST v1/order LIMIT&timeInForce=GTC&quantity=0.01&price=39000&newClientOrderId=open -4116
POST v1/order LIMIT&timeInForce=SOON&quantity=0.01&price=39000 -1115
POST v1/order LIMIT&timeInForce=FOK&quantity=0.01&price=39000 -5021
POST v1/order LIMIT&timeInForce=GTX&quantity=0.01&price=41000 -5022
GET v1/order symbol=BTCUSDT -1102
GET v1/order symbol=BTCUSDT&orderId=77 -2013
GET v1/order symbol=BTCUSDT&origClientOrderId=stop -2013
DELETE v1/order symbol=BTCUSDT&origClientOrderId=nope -2011
POST v1/algoOrder ALGO&type=STOP_MARKET&triggerPrice=41000&quantity=0.01 -2021
POST v1/algoOrder ALGO&type=STOP_MARKET&triggerPrice=39000&closePosition=true -4130
POST v1/algoOrder ALGO&type=TAKE_PROFIT_MARKET&triggerPrice=41000&closePosition=true&clientAlgoId=stop -4116
POST v1/algoOrder ALGO&type=STOP_MARKET&triggerPrice=39000 -1102
GET v1/algoOrder clientAlgoId=nope -2013
DELETE v1/algoOrder clientAlgoId=nope -2011
POST v1/leverage symbol=BTCUSDT&leverage=126 -4028
POST v1/marginType symbol=BTCUSDT&marginType=CROSSED -4046
POST v1/marginType symbol=BTCUSDT&marginType=ISOLATED -4047
POST v1/positionSide/dual dualSidePosition=false -4059
POST v1/positionSide/dual dualSidePosition=true -4067
";

#[tokio::test]
async fn every_rejection_has_binances_code_and_changes_nothing() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &["--balance-usdt", "1000"]).await;
    let at = exchange.address;
    call_ok(
        at,
        "POST",
        "v1/order",
        &format!("{LIMIT_ORDER}&newClientOrderId=open"),
    )
    .await;
    let stop = "type=STOP_MARKET&triggerPrice=39000&closePosition=true&clientAlgoId=stop";
    call_ok(at, "POST", "v1/algoOrder", &format!("{ALGO_ORDER}&{stop}")).await;
    let before = call_ok(at, "GET", "v3/account", "").await["totalOpenOrderInitialMargin"].clone();
    for line in REJECTIONS.trim().lines() {
        let [method, path, query, code] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let mut query = query.replace("ALGO&", &format!("{ALGO_ORDER}&"));
        if query.starts_with("MARKET") || query.starts_with("LIMIT") {
            query = format!("symbol=BTCUSDT&side=BUY&type={query}");
        }
        let (status, _, body) = call(at, method, path, &query).await;
        assert_eq!(body["code"].to_string(), code, "{line}: {body}");
        assert_eq!(status, 400, "{line}: {body}");
    }
    let open = call_ok(at, "GET", "v1/openOrders", "").await;
    assert_eq!(open.as_array().unwrap().len(), 1);
    let after = &call_ok(at, "GET", "v3/account", "").await["totalOpenOrderInitialMargin"];
    assert_eq!(*after, before);
    exchange.stop().await;
}

#[tokio::test]
async fn orders_are_cancelled_one_by_one_and_all_at_once() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let at = exchange.address;
    let (named, by_name) = (
        format!("{LIMIT_ORDER}&newClientOrderId=open"),
        "symbol=BTCUSDT&origClientOrderId=open",
    );
    call_ok(at, "POST", "v1/order", &named).await;
    let cancelled = call_ok(at, "DELETE", "v1/order", by_name).await;
    assert_eq!(cancelled["status"], "CANCELED");
    assert_eq!(
        rejected_code(at, "DELETE", "v1/order", by_name).await,
        -2011
    );
    call_ok(at, "POST", "v1/order", &named).await;
    let stop = "type=STOP_MARKET&triggerPrice=39000&closePosition=true&clientAlgoId=stop";
    call_ok(at, "POST", "v1/algoOrder", &format!("{ALGO_ORDER}&{stop}")).await;
    call_ok(at, "DELETE", "v1/allOpenOrders", "symbol=BTCUSDT").await;
    assert_eq!(call_ok(at, "GET", "v1/openOrders", "").await, json!([]));
    let waiting = call_ok(at, "GET", "v1/openAlgoOrders", "").await;
    assert_eq!(
        waiting[0]["clientAlgoId"], "stop",
        "the algo service is another one"
    );
    call_ok(at, "DELETE", "v1/algoOpenOrders", "symbol=BTCUSDT").await;
    let gone = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=stop").await;
    assert_eq!(gone["algoStatus"], "CANCELED");
    exchange.stop().await;
}

/// A long position of 0.1 with a target for a part, and a stop and a target for the rest.
async fn long_with_exits(at: SocketAddr) {
    call_ok(
        at,
        "POST",
        "v1/marginType",
        "symbol=BTCUSDT&marginType=ISOLATED",
    )
    .await;
    call_ok(
        at,
        "POST",
        "v1/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.1",
    )
    .await;
    let limit = "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTX&quantity=0.04&price=40100\
                 &reduceOnly=true&newClientOrderId=part";
    call_ok(at, "POST", "v1/order", limit).await;
    for (name, kind, trigger) in [
        ("stop", "STOP_MARKET", 39_700),
        ("target", "TAKE_PROFIT_MARKET", 40_500),
    ] {
        let what = format!("type={kind}&triggerPrice={trigger}&clientAlgoId={name}");
        let algo = format!("{ALGO_ORDER}&closePosition=true&{what}");
        call_ok(at, "POST", "v1/algoOrder", &algo).await;
    }
}

/// A falling minute touches its high first, at a third of its time, and its low at two thirds.
#[tokio::test]
async fn orders_fill_and_trigger_in_the_order_the_price_crosses_them() {
    let path = [[40_000; 4], [40_000; 4], [40_000, 40_300, 39_400, 39_700]];
    let exchange = start_trading(&minute_file(&path), &[]).await;
    let at = exchange.address;
    long_with_exits(at).await;
    advance_to_minute(&exchange, 3).await;

    let part = call_ok(
        at,
        "GET",
        "v1/order",
        "symbol=BTCUSDT&origClientOrderId=part",
    )
    .await;
    assert_eq!(
        (&part["status"], &part["avgPrice"]),
        (&json!("FILLED"), &json!("40100"))
    );
    let stopped = call_ok(at, "GET", "v1/algoOrder", "clientAlgoId=stop").await;
    assert_eq!(stopped["algoStatus"], "FINISHED");
    assert_eq!(
        stopped["actualQty"], "0.06",
        "what was left of the position"
    );
    assert_eq!(
        stopped["actualPrice"], "39699.9",
        "one tick below the trigger"
    );
    let order = call_ok(
        at,
        "GET",
        "v1/order",
        "symbol=BTCUSDT&origClientOrderId=stop",
    )
    .await;
    assert_eq!(order["origType"], "STOP_MARKET");
    assert_eq!(
        order["orderId"].to_string(),
        stopped["actualOrderId"].as_str().unwrap()
    );
    // From 40300 at 20 s to 39400 at 40 s: 39700 is two thirds of that way.
    let into = order["time"].as_i64().unwrap() % 60_000;
    assert!((33_330..=33_335).contains(&into), "{into}");
    let waiting = call_ok(at, "GET", "v1/openAlgoOrders", "").await;
    assert_eq!(
        waiting[0]["clientAlgoId"], "target",
        "a sibling waits on, as at Binance"
    );
    let trades = call_ok(at, "GET", "v1/userTrades", "symbol=BTCUSDT").await;
    let makers: Vec<&Value> = trades
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["maker"])
        .collect();
    assert_eq!(json!(makers), json!([false, true, false]));
    exchange.stop().await;
}

#[tokio::test]
async fn liquidated_isolated_position_costs_only_its_margin() {
    let path = [[40_000; 4], [40_000; 4], [40_000, 40_000, 35_000, 35_000]];
    let exchange = start_trading(&minute_file(&path), &[]).await;
    let at = exchange.address;
    call_ok(
        at,
        "POST",
        "v1/marginType",
        "symbol=BTCUSDT&marginType=ISOLATED",
    )
    .await;
    call_ok(at, "POST", "v1/leverage", "symbol=BTCUSDT&leverage=20").await;
    call_ok(
        at,
        "POST",
        "v1/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.1",
    )
    .await;
    let risk = &call_ok(at, "GET", "v3/positionRisk", "").await[0];
    assert_eq!(risk["isolatedWallet"], "200.00050000");
    // (4000.01 - 200.0005) / (0.1 * 0.996)
    assert_eq!(risk["liquidationPrice"], "38152.70582329");
    advance_to_minute(&exchange, 3).await;
    assert_eq!(call_ok(at, "GET", "v3/positionRisk", "").await, json!([]));
    let balance = &call_ok(at, "GET", "v3/balance", "").await[0]["balance"];
    assert_eq!(
        balance, "9797.99949500",
        "10000 less fee 2.000005 less margin 200.0005"
    );
    let orders = call_ok(at, "GET", "v1/allOrders", "symbol=BTCUSDT").await;
    assert!(
        orders[1]["clientOrderId"]
            .as_str()
            .unwrap()
            .starts_with("autoclose-")
    );
    exchange.stop().await;
}

#[tokio::test]
async fn reversing_order_may_use_the_margin_of_the_closed_position() {
    for margin in ["CROSSED", "ISOLATED"] {
        let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
        let at = exchange.address;
        let marginal = format!("symbol=BTCUSDT&marginType={margin}");
        call(at, "POST", "v1/marginType", &marginal).await;
        call_ok(at, "POST", "v1/leverage", "symbol=BTCUSDT&leverage=1").await;
        let order = |side: &str, quantity: &str| {
            format!("symbol=BTCUSDT&side={side}&type=MARKET&quantity={quantity}")
        };
        call_ok(at, "POST", "v1/order", &order("BUY", "0.2")).await;
        let code = rejected_code(at, "POST", "v1/order", &order("BUY", "0.2")).await;
        assert_eq!(code, -2019, "{margin}: the account is not that rich");
        call_ok(at, "POST", "v1/order", &order("SELL", "0.4")).await;
        let position = &call_ok(at, "GET", "v3/positionRisk", "").await[0];
        assert_eq!(position["positionAmt"], "-0.2", "{margin}");
        let code = rejected_code(at, "POST", "v1/order", &order("BUY", "0.6")).await;
        assert_eq!(code, -2019, "{margin}: nor that");
        exchange.stop().await;
    }
}

#[tokio::test]
async fn funding_is_paid_every_eight_hours() {
    let exchange = start_trading(&minute_file(&[[40_000; 4]; 490]), &["--speed", "60000"]).await;
    let at = exchange.address;
    call_ok(
        at,
        "POST",
        "v1/order",
        "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.1",
    )
    .await;
    let premium = get(at, "/fapi/v1/premiumIndex?symbol=BTCUSDT").await.2;
    let next = premium["nextFundingTime"].as_i64().unwrap();
    assert_eq!(next, MIDNIGHT_MS + 8 * 3_600_000);
    advance_to_minute(&exchange, 485).await;
    let paid = call_ok(at, "GET", "v1/income", "incomeType=FUNDING_FEE").await;
    assert_eq!(paid.as_array().unwrap().len(), 1);
    assert_eq!(
        (&paid[0]["income"], &paid[0]["time"]),
        (&json!("-0.40000000"), &json!(next))
    );
    exchange.stop().await;
}

#[tokio::test]
async fn hedge_mode_holds_both_positions() {
    let exchange = start_trading(&minute_file(&FLAT_MINUTES), &[]).await;
    let at = exchange.address;
    call_ok(at, "POST", "v1/positionSide/dual", "dualSidePosition=true").await;
    let order = |side, position| {
        format!("symbol=BTCUSDT&side={side}&positionSide={position}&type=MARKET&quantity=0.01")
    };
    call_ok(at, "POST", "v1/order", &order("BUY", "LONG")).await;
    call_ok(at, "POST", "v1/order", &order("SELL", "SHORT")).await;
    assert_eq!(
        rejected_code(at, "POST", "v1/order", &order("BUY", "BOTH")).await,
        -4061
    );
    let twice = order("SELL", "LONG").replace("0.01", "0.02");
    assert_eq!(rejected_code(at, "POST", "v1/order", &twice).await, -2022);
    let risk = call_ok(at, "GET", "v3/positionRisk", "").await;
    let held: Vec<_> = risk
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (&p["positionSide"], &p["positionAmt"]))
        .collect();
    assert_eq!(json!(held), json!([["LONG", "0.01"], ["SHORT", "-0.01"]]));
    exchange.stop().await;
}
