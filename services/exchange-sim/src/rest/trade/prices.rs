//! Public endpoints of mark price, best bid and ask, last price and order book, all derived from the market's last
//! price and mark price.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use rust_decimal::{Decimal, dec};
use serde_json::{Value, json};

use super::response::JsonResult;
use super::response_json::format_decimal;
use crate::rest::error::ApiError;
use crate::trading::error::ExchangeError;
use crate::trading::exchange_state::FUNDING_RATE;
use crate::trading::funding::next_funding_ms;
use crate::trading::prices::{Prices, Quote};
use crate::trading_service::TradingService;
use crate::ws::event::TOP_QUANTITY;

pub(super) type PriceQuery = Query<HashMap<String, String>>;

/// Price of a contract at one time.
struct PricedContract {
    symbol: &'static str,
    price: Decimal,
    mark: Decimal,
    tick: Decimal,
    at_ms: i64,
}

/// The requested contract, or all contracts.
fn priced_contracts(
    trading_service: &TradingService,
    query: &PriceQuery,
) -> Result<Vec<PricedContract>, ApiError> {
    let wanted = query.get("symbol").filter(|s| !s.is_empty());
    let listed = trading_service.exchange().listed().into_iter();
    let listed = listed.filter(|c| wanted.is_none_or(|w| w == c.symbol));
    let rules: Vec<_> = listed
        .filter_map(|c| Some((c.symbol, trading_service.filters(c.symbol)?)))
        .collect();
    if rules.is_empty() {
        return Err(ExchangeError::from_code(-1121).into());
    }
    Ok(trading_service.exchange().with_market_moment(|moment| {
        let at = |symbol| moment.market.price_at(symbol, moment.now_ms);
        let priced = rules.into_iter().filter_map(|(symbol, rules)| {
            Some(PricedContract {
                symbol,
                price: at(symbol)?,
                mark: moment.market.mark_at(symbol, moment.now_ms)?,
                tick: rules.tick,
                at_ms: moment.now_ms,
            })
        });
        priced.collect()
    }))
}

/// One object for one contract, a list for all.
fn respond(
    trading_service: &TradingService,
    query: &PriceQuery,
    show: impl Fn(&PricedContract) -> Value,
) -> JsonResult {
    let shown: Vec<Value> = priced_contracts(trading_service, query)?
        .iter()
        .map(show)
        .collect();
    let one = query.contains_key("symbol");
    let first = shown.first().filter(|_| one).cloned();
    Ok(Json(first.unwrap_or_else(|| shown.into())))
}

pub(super) async fn premium_index(
    State(trading_service): State<Arc<TradingService>>,
    query: PriceQuery,
) -> JsonResult {
    respond(&trading_service, &query, |p| {
        json!({
            "symbol": p.symbol,
            "markPrice": format_decimal(p.mark),
            "indexPrice": format_decimal(p.price),
            "estimatedSettlePrice": format_decimal(p.price),
            "lastFundingRate": format_decimal(FUNDING_RATE),
            "interestRate": "0.0001",
            "nextFundingTime": next_funding_ms(p.at_ms),
            "time": p.at_ms,
        })
    })
}

pub(super) async fn book_ticker(
    State(trading_service): State<Arc<TradingService>>,
    query: PriceQuery,
) -> JsonResult {
    respond(&trading_service, &query, |p| {
        let quote = Quote::around(p.price, p.tick);
        json!({
            "symbol": p.symbol,
            "bidPrice": format_decimal(quote.bid),
            "bidQty": TOP_QUANTITY,
            "askPrice": format_decimal(quote.ask),
            "askQty": TOP_QUANTITY,
            "time": p.at_ms,
            "lastUpdateId": p.at_ms,
        })
    })
}

pub(super) async fn last_price(
    State(trading_service): State<Arc<TradingService>>,
    query: PriceQuery,
) -> JsonResult {
    respond(
        &trading_service,
        &query,
        |p| json!({"symbol": p.symbol, "price": format_decimal(p.price), "time": p.at_ms}),
    )
}

pub(super) async fn depth(
    State(trading_service): State<Arc<TradingService>>,
    query: PriceQuery,
) -> JsonResult {
    if query.get("symbol").is_none_or(String::is_empty) {
        return Err(ExchangeError::missing_parameter("symbol").into());
    }
    let limit = query.get("limit").and_then(|l| l.parse().ok());
    let levels = limit.unwrap_or(500_u32).clamp(1, 20);
    respond(&trading_service, &query, |p| {
        let level = |way: Decimal| {
            move |index: u32| {
                let away = Decimal::from(index + 1) * p.tick * way;
                json!([
                    format_decimal(p.price + away),
                    format_decimal(dec!(10) * Decimal::from(index + 1))
                ])
            }
        };
        json!({
            "lastUpdateId": p.at_ms,
            "E": p.at_ms,
            "T": p.at_ms,
            "bids": (0..levels).map(level(dec!(-1))).collect::<Vec<_>>(),
            "asks": (0..levels).map(level(dec!(1))).collect::<Vec<_>>(),
        })
    })
}
