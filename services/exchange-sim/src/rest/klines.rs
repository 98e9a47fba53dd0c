//! `GET /fapi/v1/klines`: candles as rows of twelve fields, with Binance's rules for parameters.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Serialize;

use super::error::ApiError;
use crate::candle::Candle;
use crate::candle_store::CandleRange;
use crate::exchange::MarketMoment;
use crate::interval::Interval;
use crate::symbols::Contract;
use crate::trading_service::TradingService;

/// Default number of candles in a response.
pub(super) const DEFAULT_LIMIT: usize = 500;
const MAX_LIMIT: usize = 1_500;

/// Open time, open, high, low, close, volume, close time, quote volume, trades, taker buy volume,
/// taker buy quote volume, and an unused field.
#[derive(Serialize)]
pub(super) struct KlineRow(
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

/// Parameters of the request.
#[derive(Debug, PartialEq, Eq)]
struct KlineQuery {
    symbol: String,
    interval: Interval,
    start: Option<i64>,
    end: Option<i64>,
    limit: usize,
}

pub(super) async fn get_klines(
    State(trading_service): State<Arc<TradingService>>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Vec<KlineRow>>, ApiError> {
    let wanted = parse_query(&query)?;
    trading_service
        .filters(&wanted.symbol)
        .ok_or_else(ApiError::invalid_symbol)?;
    let (contract, candles) = trading_service
        .exchange()
        .with_market_moment(|moment| candles(&wanted, &moment))?;
    let is_served = |c: &&Candle| {
        let hidden =
            trading_service
                .faults
                .is_candle_hidden(contract.symbol, wanted.interval, c.open_time);
        !hidden
    };
    let served = candles.iter().filter(is_served);
    let rows = served.map(|c| kline_row(contract, wanted.interval, c));
    Ok(Json(rows.collect()))
}

fn candles(
    query: &KlineQuery,
    moment: &MarketMoment<'_>,
) -> Result<(&'static Contract, Vec<Candle>), ApiError> {
    let market = moment.market;
    let position = market
        .contract_index(&query.symbol)
        .ok_or_else(ApiError::invalid_symbol)?;
    let contract = market
        .listed()
        .get(position)
        .ok_or_else(ApiError::invalid_symbol)?;
    if !market.has_interval(query.interval) {
        return Err(ApiError::invalid_interval());
    }
    let span = CandleRange {
        start: query.start,
        end: query.end,
        limit: query.limit,
    };
    let candles = market.candles(position, query.interval, &span, moment.now_ms);
    Ok((contract, candles))
}

fn parse_query(query: &HashMap<String, String>) -> Result<KlineQuery, ApiError> {
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
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| ApiError::out_of_range("limit"))?,
    };
    if start.zip(end).is_some_and(|(start, end)| start > end) {
        return Err(ApiError::start_after_end());
    }
    Ok(KlineQuery {
        symbol,
        interval,
        start,
        end,
        limit,
    })
}

fn kline_row(contract: &Contract, interval: Interval, candle: &Candle) -> KlineRow {
    KlineRow(
        candle.open_time,
        contract.format_price(candle.open),
        contract.format_price(candle.high),
        contract.format_price(candle.low),
        contract.format_price(candle.close),
        contract.format_quantity(candle.volume),
        candle.open_time + interval.ms() - 1,
        contract.format_quote(candle.quote_volume),
        candle.trades,
        contract.format_quantity(candle.taker_volume),
        contract.format_quote(candle.taker_quote_volume),
        "0",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<KlineQuery, ApiError> {
        let query = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        parse_query(&query)
    }

    #[test]
    fn default_limit_is_five_hundred() {
        let wanted = parse(&[("symbol", "BTCUSDT"), ("interval", "30m")]).unwrap();
        assert_eq!((wanted.limit, wanted.interval), (500, Interval::M30));
    }

    #[test]
    fn each_invalid_parameter_has_its_own_error() {
        let good = [("symbol", "BTCUSDT"), ("interval", "1m")];
        let with = |pair| parse(&[good[0], good[1], pair]).unwrap_err();
        assert_eq!(
            parse(&good[1..]).unwrap_err(),
            ApiError::malformed("symbol")
        );
        assert_eq!(
            parse(&[good[0], ("interval", "")]).unwrap_err(),
            ApiError::malformed("interval")
        );
        assert_eq!(
            parse(&[good[0], ("interval", "7m")]).unwrap_err(),
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
        assert_eq!(parse(&reversed).unwrap_err(), ApiError::start_after_end());
    }
}
