//! `GET /fapi/v1/klines`: reads the parameters as Binance does and answers with rows of twelve fields.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Serialize;

use super::error::ApiError;
use crate::book::Span;
use crate::candle::Candle;
use crate::desk::Desk;
use crate::exchange::Moment;
use crate::interval::Interval;
use crate::symbols::Contract;

/// Candles in an answer when the client does not say.
pub(super) const DEFAULT_LIMIT: usize = 500;
const MOST: usize = 1_500;

/// Open time, open, high, low, close, volume, close time, quote volume, trades, taker buy volume,
/// taker buy quote volume, and one field to ignore.
#[derive(Serialize)]
pub(super) struct Row(
    i64,
    String,
    String,
    String,
    String,
    String,
    i64,
    String,
    i64,
    String,
    String,
    &'static str,
);

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    symbol: String,
    interval: Interval,
    start: Option<i64>,
    end: Option<i64>,
    limit: usize,
}

pub(super) async fn answer(
    State(desk): State<Arc<Desk>>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Vec<Row>>, ApiError> {
    let wanted = wanted(&query)?;
    let (contract, candles) = desk
        .exchange()
        .at_once(|moment| candles(&wanted, &moment))?;
    let told = |c: &&Candle| {
        let hidden = desk
            .faults
            .hides(contract.symbol, wanted.interval, c.open_time);
        !hidden
    };
    let told = candles.iter().filter(told);
    let rows = told.map(|c| row(contract, wanted.interval, c));
    Ok(Json(rows.collect()))
}

fn candles(
    wanted: &Wanted,
    moment: &Moment<'_>,
) -> Result<(&'static Contract, Vec<Candle>), ApiError> {
    let market = moment.market;
    let position = market
        .position(&wanted.symbol)
        .ok_or_else(ApiError::invalid_symbol)?;
    let contract = market
        .listed()
        .get(position)
        .ok_or_else(ApiError::invalid_symbol)?;
    if !market.offers(wanted.interval) {
        return Err(ApiError::invalid_interval());
    }
    let span = Span {
        start: wanted.start,
        end: wanted.end,
        limit: wanted.limit,
    };
    let candles = market.candles(position, wanted.interval, &span, moment.now_ms);
    Ok((contract, candles))
}

fn wanted(query: &HashMap<String, String>) -> Result<Wanted, ApiError> {
    let text = |name: &str| query.get(name).filter(|v| !v.is_empty());
    let mandatory = |name: &str| text(name).ok_or_else(|| ApiError::malformed(name));
    let number = |name: &str| match text(name) {
        None => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(ApiError::malformed(name)),
        },
    };
    let symbol = mandatory("symbol")?.clone();
    let interval =
        Interval::from_name(mandatory("interval")?).ok_or_else(ApiError::invalid_interval)?;
    let time = |name: &str| match number(name)? {
        Some(ms) if ms < 0 => Err(ApiError::out_of_range(name)),
        other => Ok(other),
    };
    let (start, end) = (time("startTime")?, time("endTime")?);
    let limit = match number("limit")? {
        None => DEFAULT_LIMIT,
        Some(limit) => usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=MOST).contains(limit))
            .ok_or_else(|| ApiError::out_of_range("limit"))?,
    };
    if start.zip(end).is_some_and(|(start, end)| start > end) {
        return Err(ApiError::start_after_end());
    }
    Ok(Wanted {
        symbol,
        interval,
        start,
        end,
        limit,
    })
}

fn row(contract: &Contract, interval: Interval, candle: &Candle) -> Row {
    Row(
        candle.open_time,
        contract.price_digits(candle.open),
        contract.price_digits(candle.high),
        contract.price_digits(candle.low),
        contract.price_digits(candle.close),
        contract.quantity_digits(candle.volume),
        candle.open_time + interval.ms() - 1,
        contract.quote_digits(candle.quote_volume),
        candle.trades,
        contract.quantity_digits(candle.taker_volume),
        contract.quote_digits(candle.taker_quote_volume),
        "0",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Wanted, ApiError> {
        let query = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        wanted(&query)
    }

    #[test]
    fn without_a_limit_five_hundred_are_meant() {
        let wanted = asked(&[("symbol", "BTCUSDT"), ("interval", "30m")]).unwrap();
        assert_eq!((wanted.limit, wanted.interval), (500, Interval::M30));
    }

    #[test]
    fn each_bad_parameter_has_its_own_error() {
        let good = [("symbol", "BTCUSDT"), ("interval", "1m")];
        let with = |pair| asked(&[good[0], good[1], pair]).unwrap_err();
        assert_eq!(
            asked(&good[1..]).unwrap_err(),
            ApiError::malformed("symbol")
        );
        assert_eq!(
            asked(&[good[0], ("interval", "")]).unwrap_err(),
            ApiError::malformed("interval")
        );
        assert_eq!(
            asked(&[good[0], ("interval", "7m")]).unwrap_err(),
            ApiError::invalid_interval()
        );
        for limit in ["0", "1501", "-1"] {
            assert_eq!(with(("limit", limit)), ApiError::out_of_range("limit"));
        }
        assert_eq!(with(("limit", "ten")), ApiError::malformed("limit"));
        assert_eq!(
            with(("startTime", "-5")),
            ApiError::out_of_range("startTime")
        );
        let reversed = [good[0], good[1], ("startTime", "2"), ("endTime", "1")];
        assert_eq!(asked(&reversed).unwrap_err(), ApiError::start_after_end());
    }
}
