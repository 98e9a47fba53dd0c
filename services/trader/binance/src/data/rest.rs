//! REST calls without a key: the exchange's time, its symbol filters and its past candles. Entry point:
//! [`RestClient`]. Only the caller retries.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use exchange::{ExchangeClock, ExchangeError, SymbolListing};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::candle::{Candle, Interval};

use super::{candles, exchange_info};
use crate::client::{Call, Deadline, HttpClient, Priority};
use crate::error::{rejected, retry};
use crate::wire::market::{ExchangeInfo, KlineRow, ServerTime};

/// Deadline of a call with a short answer.
const DEADLINE: Deadline = Deadline {
    total: Duration::from_secs(5),
    between: Duration::from_secs(5),
};

/// Deadline of a call whose answer may be long: it must make progress.
const LONG_DEADLINE: Deadline = Deadline {
    total: Duration::from_secs(30),
    between: Duration::from_secs(5),
};

/// Largest list of symbols, in bytes. Binance's has about 3 MB.
const INFO_BYTES: usize = 32 * 1024 * 1024;

/// Largest page of candles, in bytes. A row has up to 200.
const PAGE_BYTES: usize = 1024 * 1024;

/// Most candles in one answer of Binance.
const PAGE: usize = 1_500;

/// Client for calls without a key. Cheap to clone; clones share connections, limits and one clock.
#[derive(Clone)]
pub(crate) struct RestClient {
    http: HttpClient,
    clock: ExchangeClock,
}

impl RestClient {
    /// Prepares the calls; connects to nothing yet.
    ///
    /// # Errors
    /// [`ExchangeError::Rejected`] if the address is invalid.
    pub(crate) fn new(rest_url: &str) -> Result<Self, ExchangeError> {
        let http = HttpClient::new(rest_url);
        Ok(Self {
            http: http.map_err(|reason| rejected("exchange address", reason))?,
            clock: ExchangeClock::default(),
        })
    }

    /// The connections and limits, which calls with a key share: the exchange counts by address.
    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// The newest time that the exchange has sent, in any message or answer.
    pub(crate) fn clock(&self) -> &ExchangeClock {
        &self.clock
    }

    /// Queries the exchange's time; [`Self::clock`] receives it too.
    pub(crate) async fn server_time(&self) -> Result<UtcMs, ExchangeError> {
        // Calls that protect a position need the time: the high-water mark does not apply.
        let call = Call::get("exchange time", "/fapi/v1/time")
            .priority(Priority::Vital)
            .within(DEADLINE);
        let answer: ServerTime = self.http.call(call).await?;
        self.clock.advance_to(answer.server_time);
        Ok(answer.server_time)
    }

    /// Queries what the exchange lists about `symbols`.
    pub(crate) async fn symbol_listings(
        &self,
        symbols: &[SubjectToken],
    ) -> Result<BTreeMap<SubjectToken, SymbolListing>, ExchangeError> {
        let call = Call::get(exchange_info::WHAT, "/fapi/v1/exchangeInfo")
            .within(LONG_DEADLINE)
            .at_most(INFO_BYTES);
        let info: ExchangeInfo = self.http.call(call).await?;
        exchange_info::listings_of(&info.symbols, symbols)
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
            let page = self.candle_page(symbol, interval, next..closed_until, wanted);
            let page = page.await?;
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

    /// Queries the price with which a minute opened. The minute may still run.
    ///
    /// # Errors
    /// [`ExchangeError`]; a retry while the exchange does not list the minute.
    pub(crate) async fn open_price(
        &self,
        symbol: &SubjectToken,
        minute: UtcMs,
    ) -> Result<Decimal, ExchangeError> {
        let span = minute..Interval::M1.close_of(minute);
        let page = self.candle_page(symbol, Interval::M1, span, 1).await?;
        let first = page.first();
        let missing = || {
            retry(
                "candles",
                format!("{symbol}: minute {minute} is not listed yet"),
            )
        };
        first
            .map(|candle| candle.open.to_decimal())
            .ok_or_else(missing)
    }

    /// One answer's candles that open in `span`.
    async fn candle_page(
        &self,
        symbol: &SubjectToken,
        interval: Interval,
        span: Range<UtcMs>,
        limit: usize,
    ) -> Result<Vec<Candle>, ExchangeError> {
        const WHAT: &str = "candles";
        let call = Call::get(WHAT, "/fapi/v1/klines")
            .param("symbol", symbol)
            .param("interval", interval)
            .param("startTime", span.start.0)
            .param("endTime", span.end.0 - 1)
            .param("limit", limit)
            .weight(weight_of_page(limit))
            .within(LONG_DEADLINE)
            .at_most(PAGE_BYTES);
        let rows: Vec<KlineRow> = self.http.call(call).await?;
        let mut page: Vec<Candle> = Vec::with_capacity(rows.len());
        for row in rows {
            let candle = candles::candle(interval, row.open_time, row.prices)
                .map_err(|reason| retry(WHAT, format!("{symbol}: {reason}")))?;
            let at = candle.open_time;
            if page.last().is_some_and(|last| at <= last.open_time) {
                let reason = format!("{symbol}: candle {at} does not follow the one before it");
                return Err(retry(WHAT, reason));
            }
            if span.contains(&at) {
                page.push(candle);
            }
        }
        Ok(page)
    }
}

/// Request weight of a page of candles.
const fn weight_of_page(limit: usize) -> u32 {
    match limit {
        0..100 => 1,
        100..500 => 2,
        500..=1_000 => 5,
        _ => 10,
    }
}

/// Open time of the candle `count` candles before `end`.
fn before(end: UtcMs, interval: Interval, count: usize) -> UtcMs {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let start = end
        .0
        .saturating_sub(count.saturating_mul(interval.millis()));
    UtcMs(start.max(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_candles_begin_that_many_before_the_end_and_not_before_time() {
        let end = UtcMs(600_000);
        assert_eq!(before(end, Interval::M1, 3), UtcMs(420_000));
        assert_eq!(before(end, Interval::M1, usize::MAX), UtcMs(0));
    }
}
