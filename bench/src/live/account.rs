//! An account through the trader's own adapter: one look at a contract while 1,000 orders rest on the account, and
//! how many orders a second go through under Binance's limits without a refusal.

use std::time::{Duration, Instant};

use bearish_tests::exchange::Exchange;
use bearish_tests::live::client;
use bearish_trader::market::{Market, MarketSettings};
use bearish_trader::venue::{Keys, Venue, VenueSettings};
use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    NewOrderParams, NewOrderSideEnum, NewOrderTimeInForceEnum, NewOrderTypeEnum, RestApi,
};
use engine::book::{BookState, compare};
use engine::fixed::Price;
use engine::orders::{Answer, ClientId, Deployment, Kind, Leg, OpenOrder, Order, Way};
use engine::strategy::Strategy;
use protocol::ids::Token;
use protocol::time::UtcMs;
use rust_decimal::{Decimal, RoundingStrategy};
use tokio::time::sleep;

use super::Options;
use crate::figures::{millis, per_second, rank};

const KEY: &str = "benchkey";
const SECRET: &str = "benchsecret";
const WINDOW_MS: u32 = 60_000;
/// A contract's name, and the decimals of its lots and prices.
type Contract = (&'static str, u32, u32);
const CONTRACTS: [Contract; 5] = [
    ("BTCUSDT", 3, 1),
    ("ETHUSDT", 3, 2),
    ("SOLUSDT", 2, 2),
    ("BNBUSDT", 2, 2),
    ("XRPUSDT", 1, 4),
];
/// What each order is worth, in USDT: more than the least of every contract.
const WORTH: Decimal = Decimal::from_parts(120, 0, 0, false, 0);
/// Looks at the whole account: each weighs 80 of 2,400 a minute.
const WHOLE_LOOKS: usize = 10;
const WAIT: Duration = Duration::from_millis(250);
const MINUTE_MS: i64 = 60_000;

pub(super) async fn measure(options: &Options) {
    let exchange = Exchange::start(&[
        (
            "SIM_SYMBOLS",
            &CONTRACTS.map(|(symbol, ..)| symbol).join(","),
        ),
        ("SIM_SPEED", "1"),
        ("SIM_HOLD", "never"),
        ("SIM_BALANCE_USDT", "1000000"),
        ("SIM_API_KEYS", &format!("{KEY}:{SECRET}:trade")),
    ])
    .await;
    let venue = venue(&exchange);
    pace(&venue, Duration::from_secs(options.seconds)).await;
    let client = client(&exchange, 1, KEY, SECRET).await;
    let each = options.orders / 5;
    for contract in CONTRACTS {
        let price = mark(&client, contract.0).await;
        fill(&client, contract, price, each).await;
        guards(&venue, contract, price).await;
    }
    // The minute's weight begins anew.
    sleep(Duration::from_mins(1)).await;
    look(&venue, options.looks).await;
}

fn venue(exchange: &Exchange) -> Venue {
    let address = exchange.address();
    let (rest_url, ws_url) = (format!("http://{address}"), format!("ws://{address}"));
    let market = Market::new(&MarketSettings {
        rest_url: rest_url.clone(),
        ws_url: ws_url.clone(),
    });
    let settings = VenueSettings {
        rest_url,
        ws_url,
        keys: Keys::new(KEY, SECRET).unwrap(),
        window_ms: WINDOW_MS,
    };
    Venue::new(&settings, &market.unwrap()).unwrap()
}

/// Others' orders, far enough below the market to rest.
async fn fill(client: &RestApi, contract: Contract, price: Decimal, orders: u32) {
    let (symbol, lot, tick) = contract;
    let price = (price * Decimal::new(97, 2)).round_dp(tick);
    let quantity = (WORTH / price).round_dp_with_strategy(lot, RoundingStrategy::AwayFromZero);
    for number in 0..orders {
        let id = format!("others-{symbol}-{number}");
        let order = || NewOrderParams {
            price: Some(price),
            quantity: Some(quantity),
            time_in_force: Some(NewOrderTimeInForceEnum::Gtc),
            new_client_order_id: Some(id.clone()),
            recv_window: Some(i64::from(WINDOW_MS)),
            ..limit(symbol)
        };
        while let Err(refused) = client.new_order(order()).await {
            let words = refused.to_string();
            assert!(
                words.contains("Too many"),
                "{symbol} {price} {quantity}: {words}"
            );
            sleep(WAIT).await;
        }
    }
}

fn limit(symbol: &str) -> NewOrderParams {
    let built = NewOrderParams::builder(
        symbol.to_owned(),
        NewOrderSideEnum::Buy,
        NewOrderTypeEnum::Limit,
    );
    built.build().unwrap()
}

async fn mark(client: &RestApi, symbol: &str) -> Decimal {
    use binance_sdk::derivatives_trading_usds_futures::rest_api::{
        SymbolPriceTickerV2Params, SymbolPriceTickerV2Response as Told,
    };
    let params = SymbolPriceTickerV2Params {
        symbol: Some(symbol.to_owned()),
    };
    let told = client.symbol_price_ticker_v2(params).await.unwrap();
    match told.data().await.unwrap() {
        Told::SymbolPriceTickerV2Response1(one) => one.price.unwrap().parse().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// A stop and a target of ours.
async fn guards(venue: &Venue, (symbol, _, tick): Contract, price: Decimal) {
    let symbol: Token = symbol.parse().unwrap();
    for (leg, share) in [(Leg::Stop, 90), (Leg::Target, 110)] {
        let price = (price * Decimal::new(share, 2)).round_dp(tick);
        let entry = order(venue, &symbol, 0).await;
        let guard = Order {
            id: entry.id.sibling(leg, 0),
            leg,
            kind: Kind::Trigger {
                price: Price::from_decimal(price).unwrap(),
            },
            ..entry
        };
        let answer = venue.place(&symbol, &guard).await;
        assert!(matches!(answer, Answer::Has(_)), "{answer}");
    }
}

async fn look(venue: &Venue, looks: usize) {
    let symbol: Token = CONTRACTS[0].0.parse().unwrap();
    let (state, ours) = (BookState::default(), deployment());
    let (mut spans, mut strangers) = (Vec::new(), 0);
    for _ in 0..looks {
        let began = Instant::now();
        let view = venue.view(&symbol).await.unwrap();
        let found = compare(&state, &ours, &view);
        spans.push(began.elapsed());
        strangers = found.strangers;
    }
    told(
        &format!("one book held against its contract, {strangers} orders there"),
        spans,
    );
    let (mut spans, mut all) = (Vec::new(), 0);
    for _ in 0..WHOLE_LOOKS {
        let began = Instant::now();
        all = venue.all_open().await.unwrap().len();
        spans.push(began.elapsed());
    }
    told(&format!("all {all} open orders of the account read"), spans);
}

fn told(what: &str, mut spans: Vec<Duration>) {
    spans.sort_unstable();
    let [p50, p99] = [50, 99].map(|percent| millis(rank(&spans, percent)));
    println!("{what}: p50 {p50}, p99 {p99} of {}", spans.len());
}

fn deployment() -> Deployment {
    "q7x2ab".parse().unwrap()
}

/// What became of the orders.
#[derive(Default)]
struct Tally {
    placed: usize,
    cancelled: usize,
    /// Times that the adapter itself held an order back.
    held_back: usize,
    /// The exchange's own refusals.
    refused: Vec<String>,
    /// When the adapter first held one back.
    first_pause: Option<(usize, Duration)>,
}

/// Places an order as an entry is placed, and cancels it, as fast as the adapter lets it.
async fn pace(venue: &Venue, within: Duration) {
    let symbol: Token = CONTRACTS[0].0.parse().unwrap();
    let (mut tally, began) = (Tally::default(), Instant::now());
    for number in 0.. {
        if began.elapsed() >= within {
            break;
        }
        let order = order(venue, &symbol, number).await;
        match venue.place(&symbol, &order).await {
            Answer::Has(_) => tally.placed += 1,
            Answer::Refused { why, .. } if why.starts_with("not sent") => {
                let so_far = (tally.placed, began.elapsed());
                tally.first_pause.get_or_insert(so_far);
                tally.held_back += 1;
                sleep(WAIT).await;
                continue;
            }
            other => {
                tally.refused.push(other.to_string());
                continue;
            }
        }
        let open = OpenOrder {
            client_id: order.id.to_string(),
            id: 0,
            conditional: true,
        };
        match venue.cancel_open(&symbol, &open).await {
            Ok(()) => tally.cancelled += 1,
            Err(error) => tally.refused.push(error.to_string()),
        }
    }
    print(&tally, began.elapsed());
}

fn print(tally: &Tally, took: Duration) {
    println!(
        "orders under the exchange's limits (300 in 10 s, 1,200 and weight 2,400 a minute): {} placed, {} cancelled in \
         {took:.1?}: {:.1} placed a second; refused by the exchange: {}{}",
        tally.placed,
        tally.cancelled,
        per_second(tally.placed, took),
        tally.refused.len(),
        tally
            .refused
            .first()
            .map_or(String::new(), |why| format!(", the first: {why}")),
    );
    if let Some((placed, after)) = tally.first_pause {
        println!(
            "until the adapter first held one back itself: {placed} in {after:.1?}, {:.1} a second",
            per_second(placed, after)
        );
    }
}

/// Placed as an entry is: it waits for the count of orders. It can only close, and there is nothing to close.
async fn order(venue: &Venue, symbol: &Token, number: i64) -> Order {
    let at = venue.now().await.unwrap();
    let price: Price = "1000".parse().unwrap();
    Order {
        id: ClientId::of_entry(
            &deployment(),
            symbol,
            Strategy::OversoldBounce,
            UtcMs(at.0 + number * MINUTE_MS),
        ),
        leg: Leg::Entry,
        attempt: 0,
        way: Way::Sell,
        kind: Kind::Trigger { price },
        at,
        window_ms: WINDOW_MS,
        why: None,
    }
}
