//! Measures an account through the trader's execution client: reconciliation of one contract while 1,000 orders are
//! open on the account, and the rate of orders within Binance's limits without a rejection.

use std::time::{Duration, Instant};

use bearish_tests::exchange::Exchange;
use bearish_tests::exchange_client::{ExchangeClient, decimal};
use binance::{
    BinanceDataClient, BinanceExecutionClient, DataClientSettings, ExecutionClientSettings,
    FeedSettings, QueryAges, UserStreamTiming,
};
use exchange::{ApiCredentials, ExecutionClient};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::{Decimal, RoundingStrategy};
use tokio::time::sleep;
use trader_core::book::{BookState, compare_with_exchange};
use trader_core::candle::Interval;
use trader_core::fixed_point::Price;
use trader_core::orders::{
    ClientOrderId, InstallationId, Leg, Order, OrderCallOutcome, OrderSide, OrderType,
};
use trader_core::strategy::Strategy;

use super::Options;
use crate::stats::{format_millis, per_second, rank};

const KEY: &str = "benchkey";
const SECRET: &str = "benchsecret";
const WINDOW_MS: u32 = 60_000;
/// Symbol of a contract, and the decimals of its quantities and prices.
type Contract = (&'static str, u32, u32);
const CONTRACTS: [Contract; 5] = [
    ("BTCUSDT", 3, 1),
    ("ETHUSDT", 3, 2),
    ("SOLUSDT", 2, 2),
    ("BNBUSDT", 2, 2),
    ("XRPUSDT", 1, 4),
];
/// Value of each order in USDT: above the minimum notional of every contract.
const ORDER_VALUE: Decimal = Decimal::from_parts(120, 0, 0, false, 0);
/// Number of queries of all open orders: each has a weight of 80 of 2,400 per minute.
const ACCOUNT_READS: usize = 10;
const RETRY_DELAY: Duration = Duration::from_millis(250);
const MINUTE_MS: i64 = 60_000;

pub(super) async fn measure(options: &Options) {
    let exchange = Exchange::start(&[
        (
            "SIM_SYMBOLS",
            &CONTRACTS.map(|(symbol, ..)| symbol).join(","),
        ),
        ("SIM_SPEED", "1"),
        ("SIM_CLOCK_PAUSE", "never"),
        ("SIM_BALANCE_USDT", "1000000"),
        ("SIM_API_KEYS", &format!("{KEY}:{SECRET}:trade")),
    ])
    .await;
    let venue = connect(&exchange);
    measure_order_rate(&venue, Duration::from_secs(options.seconds)).await;
    let client = ExchangeClient::new(&exchange, KEY, SECRET);
    let each = options.orders / 5;
    for contract in CONTRACTS {
        let price = mark_price(&client, contract.0).await;
        place_foreign_orders(&client, contract, price, each).await;
        place_protective_orders(&venue, contract, price).await;
    }
    // A new minute, so that the whole request weight is available.
    sleep(Duration::from_mins(1)).await;
    measure_reconciliation(&venue, options.reconciliations).await;
}

fn connect(exchange: &Exchange) -> BinanceExecutionClient {
    let address = exchange.address();
    let (rest_url, ws_url) = (format!("http://{address}"), format!("ws://{address}"));
    let market = BinanceDataClient::new(&DataClientSettings {
        rest_url,
        ws_url: ws_url.clone(),
        feed: FeedSettings::new(Interval::M1),
    });
    let settings = ExecutionClientSettings {
        ws_url,
        credentials: ApiCredentials {
            key: KEY.into(),
            secret: SECRET.into(),
        },
        recv_window_ms: WINDOW_MS,
        stream_timing: UserStreamTiming::default(),
        query_ages: QueryAges::default(),
    };
    BinanceExecutionClient::new(&settings, &market.unwrap())
}

/// Places external orders, far enough below the market to stay open.
async fn place_foreign_orders(
    client: &ExchangeClient,
    contract: Contract,
    price: Decimal,
    orders: u32,
) {
    /// Too many orders, or too much request weight.
    const LIMIT_CODES: [Option<i64>; 2] = [Some(-1015), Some(-1003)];
    let (symbol, lot, tick) = contract;
    let price = (price * Decimal::new(97, 2)).round_dp(tick);
    let quantity =
        (ORDER_VALUE / price).round_dp_with_strategy(lot, RoundingStrategy::AwayFromZero);
    for number in 0..orders {
        let query = format!(
            "symbol={symbol}&side=BUY&type=LIMIT&timeInForce=GTC&price={price}&quantity={quantity}\
             &newClientOrderId=external-{symbol}-{number}"
        );
        while let Err(rejected) = client.call("POST", "/fapi/v1/order", &query).await {
            assert!(
                LIMIT_CODES.contains(&rejected.code),
                "{query}: {rejected:?}"
            );
            sleep(RETRY_DELAY).await;
        }
    }
}

async fn mark_price(client: &ExchangeClient, symbol: &str) -> Decimal {
    let query = format!("symbol={symbol}");
    decimal(&client.get("/fapi/v2/ticker/price", &query).await, "price")
}

/// Places a stop and a target of this installation.
async fn place_protective_orders(
    venue: &BinanceExecutionClient,
    (symbol, _, tick): Contract,
    price: Decimal,
) {
    let symbol: SubjectToken = symbol.parse().unwrap();
    for (leg, share) in [(Leg::Stop, 90), (Leg::Target, 110)] {
        let price = (price * Decimal::new(share, 2)).round_dp(tick);
        let entry = closing_order(venue, &symbol, 0).await;
        let protective = Order {
            client_order_id: entry.client_order_id.sibling(leg, 0),
            leg,
            order_type: OrderType::Trigger {
                price: Price::from_decimal(price).unwrap(),
            },
            ..entry
        };
        let answer = venue.submit_order(&symbol, &protective).await;
        assert!(matches!(answer, OrderCallOutcome::Reported(_)), "{answer}");
    }
}

async fn measure_reconciliation(venue: &BinanceExecutionClient, count: usize) {
    let symbol: SubjectToken = CONTRACTS[0].0.parse().unwrap();
    let (state, installation) = (BookState::default(), installation_id());
    let (mut spans, mut external) = (Vec::new(), 0);
    for _ in 0..count {
        let start = Instant::now();
        let view = venue.exchange_view(&symbol).await.unwrap();
        let found = compare_with_exchange(&state, &installation, &view, UtcMs(0));
        spans.push(start.elapsed());
        external = found.external_orders;
    }
    print_percentiles(
        &format!("reconciliation of one contract with {external} external orders"),
        spans,
    );
    let (mut spans, mut all) = (Vec::new(), 0);
    for _ in 0..ACCOUNT_READS {
        let start = Instant::now();
        all = venue.open_orders().await.unwrap().len();
        spans.push(start.elapsed());
    }
    print_percentiles(
        &format!("query of all {all} open orders of the account"),
        spans,
    );
}

fn print_percentiles(what: &str, mut spans: Vec<Duration>) {
    spans.sort_unstable();
    let [p50, p99] = [50, 99].map(|percent| format_millis(rank(&spans, percent)));
    println!("{what}: p50 {p50}, p99 {p99} of {}", spans.len());
}

fn installation_id() -> InstallationId {
    "q7x2ab".parse().unwrap()
}

/// Numbers of orders by outcome.
#[derive(Default)]
struct OrderCounts {
    placed: usize,
    cancelled: usize,
    /// Number of times that the execution client delayed an order.
    held_back: usize,
    /// Errors of the exchange.
    rejections: Vec<String>,
    /// Orders and time until the execution client first delayed an order. `None` if it never did.
    first_pause: Option<(usize, Duration)>,
}

/// Places orders as entries are placed, and cancels them, as fast as the execution client permits.
async fn measure_order_rate(venue: &BinanceExecutionClient, within: Duration) {
    let symbol: SubjectToken = CONTRACTS[0].0.parse().unwrap();
    let (mut counts, start) = (OrderCounts::default(), Instant::now());
    for number in 0.. {
        if start.elapsed() >= within {
            break;
        }
        let order = closing_order(venue, &symbol, number).await;
        match venue.submit_order(&symbol, &order).await {
            OrderCallOutcome::Reported(_) => counts.placed += 1,
            OrderCallOutcome::Rejected { reason, .. } if reason.starts_with("not sent") => {
                let so_far = (counts.placed, start.elapsed());
                counts.first_pause.get_or_insert(so_far);
                counts.held_back += 1;
                sleep(RETRY_DELAY).await;
                continue;
            }
            other => {
                counts.rejections.push(other.to_string());
                continue;
            }
        }
        let id = order.client_order_id.as_str();
        match venue.cancel_order(&symbol, id, true).await {
            Ok(()) => counts.cancelled += 1,
            Err(error) => counts.rejections.push(error.to_string()),
        }
    }
    print(&counts, start.elapsed());
}

fn print(counts: &OrderCounts, took: Duration) {
    println!(
        "orders within the exchange's limits (300 in 10 s, 1,200 and weight 2,400 per minute): {} placed, {} cancelled \
         in {took:.1?}: {:.1} placed per second; rejected by the exchange: {}{}",
        counts.placed,
        counts.cancelled,
        per_second(counts.placed, took),
        counts.rejections.len(),
        counts
            .rejections
            .first()
            .map_or(String::new(), |error| format!(", first error: {error}")),
    );
    if let Some((placed, after)) = counts.first_pause {
        println!(
            "until the execution client first delayed an order: {placed} in {after:.1?}, {:.1} per second",
            per_second(placed, after)
        );
    }
}

/// An order that counts for the order limits as an entry does. It can only close a position, and there is none.
async fn closing_order(
    venue: &BinanceExecutionClient,
    symbol: &SubjectToken,
    number: i64,
) -> Order {
    let at = venue.now().await.unwrap();
    let price: Price = "1000".parse().unwrap();
    Order {
        client_order_id: ClientOrderId::for_entry(
            &installation_id(),
            symbol,
            Strategy::OversoldBounce,
            UtcMs(at.0 + number * MINUTE_MS),
        ),
        leg: Leg::Entry,
        attempt: 0,
        side: OrderSide::Sell,
        order_type: OrderType::Trigger { price },
        at,
        recv_window_ms: WINDOW_MS,
        reason: None,
    }
}
