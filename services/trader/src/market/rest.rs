//! REST calls to the exchange for its time, its symbol filters and its past candles. Entry point:
//! [`BinanceDataClient`]. Each call has a deadline. Only the caller retries.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use binance_sdk::config::{ConfigurationRestApi, ConfigurationWebsocketStreams};
use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    KlineCandlestickDataIntervalEnum, KlineCandlestickDataParams, RestApi,
};
use binance_sdk::derivatives_trading_usds_futures::websocket_streams::WebsocketStreamsHandle;
use binance_sdk::derivatives_trading_usds_futures::{
    DerivativesTradingUsdsFuturesRestApi, DerivativesTradingUsdsFuturesWsStreams,
};
use binance_sdk::models::{
    Interval as LimitInterval, RateLimitType, RestApiRateLimit, RestApiResponse,
};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use trader_core::candle::{Candle, Interval};
use trader_core::symbol_filters::SymbolFilters;

use super::DataClientSettings;
use super::budget::Budget;
use super::clock::ExchangeClock;
use super::error::MarketError;
use super::{kline, rules};

/// Deadline of a whole REST call, connection and body included, in milliseconds.
const DEADLINE_MS: u64 = 5_000;

/// Most candles in one answer of Binance.
const PAGE: usize = 1_500;

/// Client for the exchange's market data. Cheap to clone; clones share one connection pool, one clock and one
/// request budget.
#[derive(Clone)]
pub struct BinanceDataClient {
    inner: Arc<Inner>,
}

struct Inner {
    rest: RestApi,
    streams: WebsocketStreamsHandle,
    budget: Budget,
    clock: ExchangeClock,
}

impl BinanceDataClient {
    /// Prepares the calls; connects to nothing yet.
    ///
    /// # Errors
    /// [`MarketError::Refused`] when the SDK refuses the settings.
    pub fn new(settings: &DataClientSettings) -> Result<Self, MarketError> {
        let refused =
            |error: &dyn Error| MarketError::refused("market settings", error.to_string());
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        // Only the caller retries: it knows what waits for the answer. The SDK offers three
        // compressions and reads one.
        let rest = ConfigurationRestApi::builder()
            .base_path(base(&settings.rest_url))
            .timeout(DEADLINE_MS)
            .retries(0)
            .compression(false)
            .build()
            .map_err(|error| refused(&error))?;
        let streams = ConfigurationWebsocketStreams::builder()
            .ws_url(base(&settings.ws_url))
            .build()
            .map_err(|error| refused(&error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                rest: DerivativesTradingUsdsFuturesRestApi::from_config(rest),
                streams: DerivativesTradingUsdsFuturesWsStreams::from_config(streams),
                budget: Budget::default(),
                clock: ExchangeClock::default(),
            }),
        })
    }

    /// The newest time that the exchange has sent, in any message or answer.
    pub fn clock(&self) -> &ExchangeClock {
        &self.inner.clock
    }

    /// The request budget that calls with and without a key share: the exchange counts by address.
    pub(crate) fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    pub(crate) fn streams(&self) -> &WebsocketStreamsHandle {
        &self.inner.streams
    }

    /// Requests the exchange's time; [`Self::clock`] receives it too.
    ///
    /// # Errors
    /// [`MarketError::Retry`] or [`MarketError::Refused`].
    pub async fn server_time(&self) -> Result<UtcMs, MarketError> {
        const WHAT: &str = "exchange time";
        // Calls that protect a position need the time: the high-water mark does not apply.
        let closed = self.inner.budget.refused_for(Instant::now());
        let request = self.inner.rest.check_server_time();
        let answer = self.call_unless(closed, WHAT, request).await?;
        let now = answer
            .server_time
            .map(UtcMs)
            .ok_or_else(|| MarketError::retry(WHAT, "the answer has no serverTime"))?;
        self.inner.clock.saw(now);
        Ok(now)
    }

    /// The trading rules of `symbols`, all of which must be USDT perpetuals that trade now.
    ///
    /// # Errors
    /// [`MarketError::UnknownSymbol`] for the first that is not; else as [`Self::server_time`].
    pub async fn symbol_filters(
        &self,
        symbols: &[SubjectToken],
    ) -> Result<BTreeMap<SubjectToken, SymbolFilters>, MarketError> {
        let answer = self
            .call(rules::WHAT, self.inner.rest.exchange_information())
            .await?;
        rules::rules_of(&answer.symbols.unwrap_or_default(), symbols)
    }

    /// Closed candles in order, the first of them opening at `from` or later, at most `limit_total`;
    /// without `from` the newest `limit_total`. Closed are those that ended by `now`, the exchange's
    /// time. Candles that the exchange does not have are left out.
    ///
    /// # Errors
    /// As [`Self::server_time`]; an answer that is only partly valid is an error as a whole.
    pub async fn closed_klines(
        &self,
        symbol: &SubjectToken,
        interval: Interval,
        from: Option<UtcMs>,
        limit_total: usize,
        now: UtcMs,
    ) -> Result<Vec<Candle>, MarketError> {
        let closed_until = interval.open_of(now);
        let mut next = from.unwrap_or_else(|| before(closed_until, interval, limit_total));
        let mut candles = Vec::new();
        while candles.len() < limit_total && next < closed_until {
            let limit = PAGE.min(limit_total - candles.len());
            let page = self
                .kline_page(symbol, interval, next, closed_until, limit)
                .await?;
            let Some(last) = page.last() else { break };
            next = interval.close_of(last.open_time);
            let full = page.len() >= limit;
            candles.extend(page);
            if !full {
                break;
            }
        }
        Ok(candles)
    }

    /// One answer's candles that open in `from..until`.
    async fn kline_page(
        &self,
        symbol: &SubjectToken,
        interval: Interval,
        from: UtcMs,
        until: UtcMs,
        limit: usize,
    ) -> Result<Vec<Candle>, MarketError> {
        const WHAT: &str = "klines";
        let params = KlineCandlestickDataParams {
            symbol: symbol.to_string(),
            interval: sdk_interval(interval),
            start_time: Some(from.0),
            end_time: Some(until.0 - 1),
            limit: i64::try_from(limit).ok(),
        };
        let rows = self
            .call(WHAT, self.inner.rest.kline_candlestick_data(params))
            .await?;
        let mut page: Vec<Candle> = Vec::with_capacity(rows.len());
        for row in rows {
            let candle = kline::candle_of_row(interval, &row)
                .map_err(|reason| MarketError::retry(WHAT, format!("{symbol}: {reason}")))?;
            let at = candle.open_time;
            if page.last().is_some_and(|last| at <= last.open_time) {
                let reason = format!("{symbol}: candle {at} does not follow the one before it");
                return Err(MarketError::retry(WHAT, reason));
            }
            if (from..until).contains(&at) {
                page.push(candle);
            }
        }
        Ok(page)
    }

    /// Makes one call within the budget and takes in the used weight of its answer.
    async fn call<T, E>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<RestApiResponse<T>, E>>,
    ) -> Result<T, MarketError>
    where
        T: Send + 'static,
        E: AsRef<dyn Error + Send + Sync>,
    {
        let closed = self.inner.budget.closed_for(Instant::now());
        self.call_unless(closed, what, request).await
    }

    async fn call_unless<T, E>(
        &self,
        closed: Option<Duration>,
        what: &'static str,
        request: impl Future<Output = Result<RestApiResponse<T>, E>>,
    ) -> Result<T, MarketError>
    where
        T: Send + 'static,
        E: AsRef<dyn Error + Send + Sync>,
    {
        if let Some(left) = closed {
            return Err(MarketError::Retry {
                what,
                reason: "paused for the exchange's request limit".to_owned(),
                after: Some(left),
            });
        }
        let outcome = match request.await {
            Ok(response) => {
                let weight = used_weight(response.rate_limits.iter().flatten());
                self.inner.budget.used(weight, Instant::now());
                let data = response.data().await;
                data.map_err(|error| MarketError::from_connector(what, &error))
            }
            Err(error) => Err(MarketError::from_sdk(what, error.as_ref())),
        };
        if let Err(MarketError::Retry {
            after: Some(pause), ..
        }) = &outcome
        {
            self.inner.budget.close(*pause, Instant::now());
        }
        outcome
    }
}

/// The weight of the last minute, as the answer reports it.
pub(crate) fn used_weight<'a>(limits: impl Iterator<Item = &'a RestApiRateLimit>) -> u32 {
    limits
        .filter(|limit| {
            limit.rate_limit_type == RateLimitType::RequestWeight
                && limit.interval == LimitInterval::Minute
        })
        .map(|limit| limit.count)
        .max()
        .unwrap_or(0)
}

/// Open time of the candle `count` candles before `end`.
fn before(end: UtcMs, interval: Interval, count: usize) -> UtcMs {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let start = end
        .0
        .saturating_sub(count.saturating_mul(interval.millis()));
    UtcMs(start.max(0))
}

const fn sdk_interval(interval: Interval) -> KlineCandlestickDataIntervalEnum {
    match interval {
        Interval::M1 => KlineCandlestickDataIntervalEnum::Interval1m,
        Interval::M3 => KlineCandlestickDataIntervalEnum::Interval3m,
        Interval::M5 => KlineCandlestickDataIntervalEnum::Interval5m,
        Interval::M15 => KlineCandlestickDataIntervalEnum::Interval15m,
        Interval::M30 => KlineCandlestickDataIntervalEnum::Interval30m,
        Interval::H1 => KlineCandlestickDataIntervalEnum::Interval1h,
        Interval::H4 => KlineCandlestickDataIntervalEnum::Interval4h,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interval_is_the_sdks_of_the_same_name() {
        for interval in Interval::ALL {
            assert_eq!(sdk_interval(interval).as_str(), interval.as_str());
        }
    }

    #[test]
    fn the_newest_candles_begin_that_many_before_the_end_and_not_before_time() {
        let end = UtcMs(600_000);
        assert_eq!(before(end, Interval::M1, 3), UtcMs(420_000));
        assert_eq!(before(end, Interval::M1, usize::MAX), UtcMs(0));
    }
}
