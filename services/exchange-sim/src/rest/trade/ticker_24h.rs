//! `GET /fapi/v1/ticker/24hr`: statistics of the last 24 hours of a contract, from its candles. Public.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::prices::PriceQuery;
use super::response::JsonResult;
use super::response_json::format_decimal;
use crate::candle::{AMOUNT_DECIMALS, Candle, PRICE_DECIMALS};
use crate::candle_store::CandleRange;
use crate::exchange::MarketMoment;
use crate::symbols::Contract;
use crate::trading::error::ExchangeError;
use crate::trading_service::TradingService;

const DAY_MS: i64 = 24 * 3_600_000;

pub(super) async fn get_ticker(
    State(trading_service): State<Arc<TradingService>>,
    query: PriceQuery,
) -> JsonResult {
    let wanted = query.get("symbol").filter(|s| !s.is_empty());
    let listed: BTreeSet<String> = trading_service.listed();
    let shown: Vec<Value> = trading_service.exchange().with_market_moment(|moment| {
        let all = moment.market.listed().iter().enumerate();
        let all = all.filter(|(_, c)| listed.contains(c.symbol));
        let wanted = all.filter(|(_, c)| wanted.is_none_or(|w| w == c.symbol));
        let days = wanted.filter_map(|(at, c)| {
            Some(ticker_json(c, &last_24_hours(&moment, at)?, moment.now_ms))
        });
        days.collect()
    });
    match (wanted, shown.first()) {
        (Some(_), None) => Err(ExchangeError::from_code(-1121).into()),
        (Some(_), Some(one)) => Ok(Json(one.clone())),
        (None, _) => Ok(Json(shown.into())),
    }
}

/// The candles of the last 24 hours merged into one.
fn last_24_hours(moment: &MarketMoment<'_>, position: usize) -> Option<Candle> {
    let span = CandleRange {
        start: Some(moment.now_ms - DAY_MS + 1),
        end: None,
        limit: usize::MAX,
    };
    let base = moment.market.base();
    let candles = moment.market.candles(position, base, &span, moment.now_ms);
    let absorb = |mut day: Candle, later| {
        day.merge(&later);
        day
    };
    candles.into_iter().reduce(absorb)
}

fn ticker_json(contract: &Contract, day: &Candle, now_ms: i64) -> Value {
    let price = |units| Decimal::new(units, PRICE_DECIMALS);
    let change = price(day.close) - price(day.open);
    let share = |of: Decimal, whole: Decimal| of.checked_div(whole).unwrap_or_default();
    let volume = Decimal::new(day.volume, AMOUNT_DECIMALS);
    let worth = Decimal::new(day.quote_volume, AMOUNT_DECIMALS);
    json!({
        "symbol": contract.symbol,
        "priceChange": format_decimal(change),
        "priceChangePercent": format_decimal((share(change, price(day.open)) * Decimal::ONE_HUNDRED).round_dp(3)),
        "weightedAvgPrice": format_decimal(share(worth, volume).round_dp(PRICE_DECIMALS)),
        "lastPrice": contract.format_price(day.close),
        "lastQty": contract.lot[2],
        "openPrice": contract.format_price(day.open),
        "highPrice": contract.format_price(day.high),
        "lowPrice": contract.format_price(day.low),
        "volume": contract.format_quantity(day.volume),
        "quoteVolume": contract.format_quote(day.quote_volume),
        "openTime": day.open_time,
        "closeTime": now_ms,
        "firstId": 0,
        "lastId": day.trades,
        "count": day.trades,
    })
}
