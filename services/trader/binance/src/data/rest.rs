//! REST calls without a key: the exchange's time, its symbol filters and its past candles. Entry point:
//! [`RestClient`]. Each call has a deadline. Only the caller retries.

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
use exchange::{ExchangeClock, ExchangeError};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use trader_core::candle::{Candle, Interval};
use trader_core::symbol_filters::SymbolFilters;

use super::{exchange_info, kline};
use crate::error::{from_connector, from_sdk, rejected, retry};
use crate::weight_limiter::WeightLimiter;

/// Deadline of a whole REST call, connection and body included, in milliseconds.
const DEADLINE_MS: u64 = 5_000;

/// Most candles in one answer of Binance.
const PAGE: usize = 1_500;

/// Client for calls without a key. Cheap to clone; clones share one connection pool, one clock and one weight limiter.
#[derive(Clone)]
pub(crate) struct RestClient {
    inner: Arc<Inner>,
}

struct Inner {
    rest: RestApi,
    streams: WebsocketStreamsHandle,
    weight: WeightLimiter,
    clock: ExchangeClock,
}

impl RestClient {
    /// Prepares the calls; connects to nothing yet.
    ///
    /// # Errors
    /// [`ExchangeError::Rejected`] if the SDK rejects the settings.
    pub(crate) fn new(rest_url: &str, ws_url: &str) -> Result<Self, ExchangeError> {
        let refused = |error: &dyn Error| rejected("exchange addresses", error.to_string());
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        // Only the caller retries: it knows what waits for the answer. The SDK offers three
        // compressions and reads one.
        let rest = ConfigurationRestApi::builder()
            .base_path(base(rest_url))
            .timeout(DEADLINE_MS)
            .retries(0)
            .compression(false)
            .build()
            .map_err(|error| refused(&error))?;
        let streams = ConfigurationWebsocketStreams::builder()
            .ws_url(base(ws_url))
            .build()
            .map_err(|error| refused(&error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                rest: DerivativesTradingUsdsFuturesRestApi::from_config(rest),
                streams: DerivativesTradingUsdsFuturesWsStreams::from_config(streams),
                weight: WeightLimiter::default(),
                clock: ExchangeClock::default(),
            }),
        })
    }

    /// The newest time that the exchange has sent, in any message or answer.
    pub(crate) fn clock(&self) -> &ExchangeClock {
        &self.inner.clock
    }

    /// The limiter that calls with and without a key share: the exchange counts by address.
    pub(crate) fn weight(&self) -> &WeightLimiter {
        &self.inner.weight
    }

    pub(crate) fn streams(&self) -> &WebsocketStreamsHandle {
        &self.inner.streams
    }

    /// Queries the exchange's time; [`Self::clock`] receives it too.
    pub(crate) async fn server_time(&self) -> Result<UtcMs, ExchangeError> {
        const WHAT: &str = "exchange time";
        // Calls that protect a position need the time: the high-water mark does not apply.
        let closed = self.inner.weight.rejected_for(Instant::now());
        let request = self.inner.rest.check_server_time();
        let answer = self.call_unless(closed, WHAT, request).await?;
        let now = answer
            .server_time
            .map(UtcMs)
            .ok_or_else(|| retry(WHAT, "the answer has no serverTime"))?;
        self.inner.clock.advance_to(now);
        Ok(now)
    }

    /// Queries the filters of `symbols`, all of which must be USDT perpetuals that trade now.
    pub(crate) async fn symbol_filters(
        &self,
        symbols: &[SubjectToken],
    ) -> Result<BTreeMap<SubjectToken, SymbolFilters>, ExchangeError> {
        let answer = self
            .call(exchange_info::WHAT, self.inner.rest.exchange_information())
            .await?;
        exchange_info::filters_of(&answer.symbols.unwrap_or_default(), symbols)
    }

    /// Queries closed candles page by page, as [`exchange::DataClient::closed_candles`] states.
    pub(crate) async fn closed_candles(
        &self,
        symbol: &SubjectToken,
        interval: Interval,
        from: Option<UtcMs>,
        limit: usize,
        now: UtcMs,
    ) -> Result<Vec<Candle>, ExchangeError> {
        let closed_until = interval.open_of(now);
        let mut next = from.unwrap_or_else(|| before(closed_until, interval, limit));
        let mut candles = Vec::new();
        while candles.len() < limit && next < closed_until {
            let wanted = PAGE.min(limit - candles.len());
            let page = self
                .candle_page(symbol, interval, next, closed_until, wanted)
                .await?;
            let Some(last) = page.last() else { break };
            next = interval.close_of(last.open_time);
            let full = page.len() >= wanted;
            candles.extend(page);
            if !full {
                break;
            }
        }
        Ok(candles)
    }

    /// One answer's candles that open in `from..until`.
    async fn candle_page(
        &self,
        symbol: &SubjectToken,
        interval: Interval,
        from: UtcMs,
        until: UtcMs,
        limit: usize,
    ) -> Result<Vec<Candle>, ExchangeError> {
        const WHAT: &str = "candles";
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
                .map_err(|reason| retry(WHAT, format!("{symbol}: {reason}")))?;
            let at = candle.open_time;
            if page.last().is_some_and(|last| at <= last.open_time) {
                let reason = format!("{symbol}: candle {at} does not follow the one before it");
                return Err(retry(WHAT, reason));
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
    ) -> Result<T, ExchangeError>
    where
        T: Send + 'static,
        E: AsRef<dyn Error + Send + Sync>,
    {
        let closed = self.inner.weight.closed_for(Instant::now());
        self.call_unless(closed, what, request).await
    }

    async fn call_unless<T, E>(
        &self,
        closed: Option<Duration>,
        what: &'static str,
        request: impl Future<Output = Result<RestApiResponse<T>, E>>,
    ) -> Result<T, ExchangeError>
    where
        T: Send + 'static,
        E: AsRef<dyn Error + Send + Sync>,
    {
        if let Some(left) = closed {
            return Err(ExchangeError::Retry {
                what,
                reason: "paused for the exchange's request limit".to_owned(),
                after: Some(left),
            });
        }
        let outcome = match request.await {
            Ok(response) => {
                let weight = used_weight(response.rate_limits.iter().flatten());
                self.inner.weight.used(weight, Instant::now());
                let data = response.data().await;
                data.map_err(|error| from_connector(what, &error))
            }
            Err(error) => Err(from_sdk(what, error.as_ref())),
        };
        if let Err(ExchangeError::Retry {
            after: Some(pause), ..
        }) = &outcome
        {
            self.inner.weight.close(*pause, Instant::now());
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
