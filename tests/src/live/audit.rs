//! Compares the journal of a live book with the exchange's own lists. Entry points: [`difference`] and
//! [`assert_executed_once`].

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::{Decimal, dec};
use trader_core::book::{BookPhase, BookRecord, BookState, Position};
use trader_core::orders::{Leg, OrderSide, OrderStatus, OrderType, TrackedOrder};

use super::step::TRADES;
use crate::exchange_client::{ALGO_PAGES, ExchangeClient, ORDER_PAGES, TRADE_PAGES, decimal, text};
use crate::journals::{self, Batches};

/// Symbol that is traded.
pub const SYMBOL: &str = "BTCUSDT";
/// The simulator's price of BNB while it does not list BNBUSDT.
const BNB_PRICE: Decimal = dec!(600);
/// How far the price may be off at which a book converts fees in other assets.
const FEE_TOLERANCE: Decimal = dec!(0.02);

/// What the change of the wallet must equal once the book is flat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditedProfit {
    /// The book's profit, to the last digit.
    Book,
    /// Nothing: it holds profits and losses that are not the book's.
    None,
}

/// The first difference between the book and the exchange, in position, open conditional orders and, if flat, profit.
/// `None` if they agree. `balance` is the account's initial balance in USDT.
pub async fn difference(
    client: &ExchangeClient,
    book: &BookState,
    balance: Decimal,
    profit: AuditedProfit,
) -> Option<String> {
    let is_unclear =
        |o: &&TrackedOrder| o.is_outcome_unknown() || o.status == OrderStatus::Intended;
    if let Some(order) = book.orders.iter().find(is_unclear) {
        let id = &order.order.client_order_id;
        return Some(format!("the outcome of {id} is unknown"));
    }
    let expected = book
        .position()
        .map_or(Decimal::ZERO, Position::signed_quantity);
    let position = exchange_position(client).await;
    if position != expected {
        return Some(format!("position {expected}, on the exchange {position}"));
    }
    let accepted = (book.orders.iter()).filter(|o| o.status == OrderStatus::Accepted);
    let accepted: BTreeMap<String, RestingOrder> = accepted.filter_map(expected_order).collect();
    let resting = resting_orders(client).await;
    if resting != accepted {
        return Some(format!("orders {accepted:?}, on the exchange {resting:?}"));
    }
    if book.position().is_some() {
        return (!is_protected(book)).then(|| "the position has no stop or no target".to_owned());
    }
    match profit {
        AuditedProfit::Book => profit_difference(client, book, balance).await,
        AuditedProfit::None => None,
    }
}

/// The difference of the profit of a flat book. Fees in other assets are converted at a price that the book chooses.
async fn profit_difference(
    client: &ExchangeClient,
    book: &BookState,
    balance: Decimal,
) -> Option<String> {
    let booked = book.equity - book.capital;
    let fees = other_fees(client).await;
    let expected = wallet(client).await - balance - fees;
    let is_equal = (booked - expected).abs() <= fees * FEE_TOLERANCE;
    (!is_equal).then(|| format!("profit {booked}, on the exchange {expected}"))
}

/// Signed position quantity on the exchange.
pub async fn exchange_position(client: &ExchangeClient) -> Decimal {
    let query = format!("symbol={SYMBOL}");
    let positions = client.get("/fapi/v3/positionRisk", &query).await;
    let positions = positions.as_array().unwrap().iter();
    positions
        .map(|position| decimal(position, "positionAmt"))
        .sum()
}

/// A conditional order that waits for its trigger, by what decides whether it protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestingOrder {
    is_sell: bool,
    order_type: String,
    trigger_price: Decimal,
    /// Whether it closes the whole position, whatever its quantity.
    closes_position: bool,
}

/// The conditional orders that wait for their trigger, by client order id.
pub async fn resting_orders(client: &ExchangeClient) -> BTreeMap<String, RestingOrder> {
    let query = format!("symbol={SYMBOL}");
    let open = client.get("/fapi/v1/openAlgoOrders", &query).await;
    let orders = open.as_array().unwrap().iter().map(|row| {
        let order = RestingOrder {
            is_sell: text(row, "side") == "SELL",
            order_type: text(row, "orderType").to_owned(),
            trigger_price: decimal(row, "triggerPrice"),
            closes_position: row["closePosition"] == true,
        };
        (text(row, "clientAlgoId").to_owned(), order)
    });
    orders.collect()
}

/// Client order id and form of an order of the journal; `None` for one that does not wait for a trigger.
fn expected_order(tracked: &TrackedOrder) -> Option<(String, RestingOrder)> {
    let order = &tracked.order;
    let OrderType::Trigger { price } = order.order_type else {
        return None;
    };
    let order_type = match order.leg {
        Leg::Target => "TAKE_PROFIT_MARKET",
        Leg::Entry | Leg::Stop | Leg::Exit => "STOP_MARKET",
    };
    let resting = RestingOrder {
        is_sell: order.side == OrderSide::Sell,
        order_type: order_type.to_owned(),
        trigger_price: price.to_decimal(),
        closes_position: true,
    };
    Some((order.client_order_id.to_string(), resting))
}

/// The account's wallet balance in USDT.
async fn wallet(client: &ExchangeClient) -> Decimal {
    let balances = client.get("/fapi/v3/balance", "").await;
    let mut assets = balances.as_array().unwrap().iter();
    let usdt = assets.find(|asset| asset["asset"] == "USDT").unwrap();
    decimal(usdt, "balance")
}

/// Fees in assets other than USDT, in USDT at the simulator's price of the asset.
async fn other_fees(client: &ExchangeClient) -> Decimal {
    let fills = client.list(TRADES, SYMBOL, TRADE_PAGES).await;
    let fees = fills.iter().map(|fill| {
        let fee = decimal(fill, "commission");
        match text(fill, "commissionAsset") {
            "USDT" => Decimal::ZERO,
            "BNB" => fee * BNB_PRICE,
            _ => fee,
        }
    });
    fees.sum()
}

/// Checks that no client order id appears twice, in the journal or on the exchange.
pub async fn assert_executed_once(client: &ExchangeClient, journal: &Batches) {
    let mut intended = BTreeSet::new();
    for record in journals::records([journal]) {
        if let BookRecord::OrderIntended(order) = record {
            assert!(
                intended.insert(order.client_order_id.clone()),
                "{} is intended twice",
                order.client_order_id
            );
        }
    }
    for (path, pages, field) in [
        ("/fapi/v1/allOrders", ORDER_PAGES, "clientOrderId"),
        ("/fapi/v1/allAlgoOrders", ALGO_PAGES, "clientAlgoId"),
    ] {
        let rows = client.list(path, SYMBOL, pages).await;
        let ids = rows.iter().map(|row| text(row, field));
        let ids: Vec<&str> = ids.filter(|id| id.starts_with("ba-")).collect();
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(
            unique.len(),
            ids.len(),
            "an id is on the exchange twice: {ids:?}"
        );
    }
}

/// Whether the book has a position whose stop and target the exchange has accepted.
pub fn is_protected(book: &BookState) -> bool {
    let rests = |leg| {
        let of_leg = |o: &&TrackedOrder| o.order.leg == leg;
        let newest = book.orders.iter().rev().find(of_leg);
        newest.is_some_and(|o| o.status == OrderStatus::Accepted)
    };
    matches!(book.phase, BookPhase::Open(_)) && rests(Leg::Stop) && rests(Leg::Target)
}
