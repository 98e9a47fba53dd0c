//! `GET /fapi/v1/ticker/24hr`: what a contract's last 24 hours were, from its candles. Public.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::Answer;
use super::prices::Asked;
use super::view::digits;
use crate::book::Span;
use crate::candle::{AMOUNT_DECIMALS, Candle, PRICE_DECIMALS};
use crate::desk::Desk;
use crate::exchange::Moment;
use crate::symbols::Contract;
use crate::trading::refusal::Refusal;

const DAY_MS: i64 = 24 * 3_600_000;

pub(super) async fn answer(State(desk): State<Arc<Desk>>, asked: Asked) -> Answer {
    let wanted = asked.get("symbol").filter(|s| !s.is_empty());
    let shown: Vec<Value> = desk.exchange().at_once(|moment| {
        let listed = moment.market.listed().iter().enumerate();
        let wanted = listed.filter(|(_, c)| wanted.is_none_or(|w| w == c.symbol));
        let days = wanted.filter_map(|(at, c)| Some(view(c, &day(&moment, at)?, moment.now_ms)));
        days.collect()
    });
    match (wanted, shown.first()) {
        (Some(_), None) => Err(Refusal::of(-1121).into()),
        (Some(_), Some(one)) => Ok(Json(one.clone())),
        (None, _) => Ok(Json(shown.into())),
    }
}

/// All candles of the last 24 hours as one.
fn day(moment: &Moment<'_>, position: usize) -> Option<Candle> {
    let span = Span {
        start: Some(moment.now_ms - DAY_MS + 1),
        end: None,
        limit: usize::MAX,
    };
    let base = moment.market.base();
    let candles = moment.market.candles(position, base, &span, moment.now_ms);
    let absorb = |mut day: Candle, later| {
        day.absorb(&later);
        day
    };
    candles.into_iter().reduce(absorb)
}

fn view(contract: &Contract, day: &Candle, now_ms: i64) -> Value {
    let price = |units| Decimal::new(units, PRICE_DECIMALS);
    let change = price(day.close) - price(day.open);
    let share = |of: Decimal, whole: Decimal| of.checked_div(whole).unwrap_or_default();
    let volume = Decimal::new(day.volume, AMOUNT_DECIMALS);
    let worth = Decimal::new(day.quote_volume, AMOUNT_DECIMALS);
    json!({
        "symbol": contract.symbol,
        "priceChange": digits(change),
        "priceChangePercent": digits((share(change, price(day.open)) * Decimal::ONE_HUNDRED).round_dp(3)),
        "weightedAvgPrice": digits(share(worth, volume).round_dp(PRICE_DECIMALS)),
        "lastPrice": contract.price_digits(day.close),
        "lastQty": contract.lot[2],
        "openPrice": contract.price_digits(day.open),
        "highPrice": contract.price_digits(day.high),
        "lowPrice": contract.price_digits(day.low),
        "volume": contract.quantity_digits(day.volume),
        "quoteVolume": contract.quote_digits(day.quote_volume),
        "openTime": day.open_time,
        "closeTime": now_ms,
        "firstId": 0,
        "lastId": day.trades,
        "count": day.trades,
    })
}
