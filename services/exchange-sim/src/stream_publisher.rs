//! Publishes the public streams: wakes at each close of a candle and four times a second, and publishes what is due.

use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::exchange::{Exchange, MarketMoment};
use crate::interval::Interval;
use crate::symbols::Contract;
use crate::trading::prices::{Prices, Quote};
use crate::trading_service::TradingService;
use crate::ws::event;
use crate::ws::hub::{Frame, StreamKey, StreamKind};
use protocol::time::UtcMs;

/// Wall time between two updates of an open candle.
const UPDATE_INTERVAL: Duration = Duration::from_millis(250);
/// Shortest wall time between two wake-ups: at high speeds, candles are published in batches.
const MIN_WAKE_INTERVAL: Duration = Duration::from_millis(20);

/// Publishes candles and tickers to the subscribers until `shutdown`.
pub(crate) async fn run(
    exchange: Arc<Exchange>,
    trading_service: Arc<TradingService>,
    shutdown: CancellationToken,
) {
    let mut clock_changes = exchange.clock_changes();
    let mut next_update = Instant::now() + UPDATE_INTERVAL;
    let mut end_logged = false;
    loop {
        if !wait_for_next(&exchange, next_update, &mut clock_changes, &shutdown).await {
            return;
        }
        let update = Instant::now() >= next_update;
        if update {
            next_update = Instant::now() + UPDATE_INTERVAL;
        }
        publish_due(&exchange, &trading_service, update);
        // Matches orders up to now, so that user streams report fills without a call.
        if !trading_service.api_keys().is_empty()
            && trading_service.execute(|_, _| Ok(())).await.is_err()
        {
            debug!("trading stopped");
        }
        if !end_logged && exchange.has_market_ended() {
            end_logged = true;
            let now = UtcMs(exchange.now_ms());
            info!(exchange_time = %now, "end of the recording; exchange time stopped");
        }
    }
}

/// Waits for the next close or update; returns false at shutdown.
async fn wait_for_next(
    exchange: &Exchange,
    next_update: Instant,
    clock_changes: &mut watch::Receiver<u64>,
    shutdown: &CancellationToken,
) -> bool {
    let now = Instant::now();
    let close = exchange
        .until_next_close()
        .map_or(next_update, |wait| now + wait.max(MIN_WAKE_INTERVAL));
    tokio::select! {
        () = shutdown.cancelled() => false,
        // A clock that has just started has another next close.
        Ok(()) = clock_changes.changed() => true,
        () = sleep_until(close.min(next_update)) => true,
    }
}

/// Publishes what is due.
fn publish_due(exchange: &Exchange, trading_service: &TradingService, update: bool) {
    let streams = exchange.hub().published();
    // Locked before the market: the same order as in calls.
    let ticks = trading_service.ticks(&exchange.listed());
    let (now_ms, due) = exchange.with_market_moment(|moment| {
        let inputs = PublisherInputs {
            trading_service,
            ticks: &ticks,
            moment: &moment,
            is_update_due: update && moment.is_advancing,
        };
        let due = streams
            .into_iter()
            .filter_map(|(key, published_ms)| Some((key, inputs.frames(key, published_ms)?)));
        (moment.now_ms, due.collect::<Vec<_>>())
    });
    let mut hub = exchange.hub();
    for (key, frames) in due {
        hub.publish(key, &frames, now_ms);
    }
}

/// Inputs of the events.
struct PublisherInputs<'a> {
    trading_service: &'a TradingService,
    /// Price steps of the listed contracts.
    ticks: &'a [Decimal],
    moment: &'a MarketMoment<'a>,
    /// Whether updates of open candles and prices are due, not only closed candles.
    is_update_due: bool,
}

impl PublisherInputs<'_> {
    /// Events of one stream since `published_ms`; `None` if none is due.
    fn frames(&self, key: StreamKey, published_ms: i64) -> Option<Vec<Frame>> {
        let now_ms = self.moment.now_ms;
        let contract = *self.moment.market.listed().get(key.contract_index)?;
        // The exchange sends nothing about a contract that it does not list.
        let tick = *self.ticks.get(key.contract_index)?;
        if tick.is_zero() {
            return None;
        }
        let price = || self.moment.market.price_at(contract.symbol, now_ms);
        let mark = || self.moment.market.mark_at(contract.symbol, now_ms);
        let written = match key.kind {
            StreamKind::Kline(interval) => {
                return Some(self.klines(contract, key.contract_index, interval, published_ms));
            }
            StreamKind::BookTicker if self.is_update_due => {
                let quote = Quote::around(price()?, tick);
                event::book_ticker(contract, quote, now_ms)
            }
            kind @ StreamKind::MarkPrice { every_ms }
                if self.is_update_due
                    && now_ms.div_euclid(every_ms) != published_ms.div_euclid(every_ms) =>
            {
                event::mark_price(contract, kind, [mark()?, price()?], now_ms)
            }
            StreamKind::BookTicker | StreamKind::MarkPrice { .. } => return None,
        };
        Some(frame_or_log(written).into_iter().collect())
    }

    /// The candles closed since `published_ms`, then the open one.
    fn klines(
        &self,
        contract: &Contract,
        position: usize,
        interval: Interval,
        published_ms: i64,
    ) -> Vec<Frame> {
        let (market, now_ms) = (self.moment.market, self.moment.now_ms);
        let closed = market.closed_after(position, interval, published_ms);
        let running = self
            .is_update_due
            .then(|| market.running_candle(position, interval, now_ms));
        let closed = closed.into_iter().map(|candle| (candle, true));
        let running = running.flatten().map(|candle| (candle, false));
        closed
            .chain(running)
            .filter(|(candle, _)| {
                !self.trading_service.faults.is_candle_hidden(
                    contract.symbol,
                    interval,
                    candle.open_time,
                )
            })
            .filter_map(|(candle, is_closed)| {
                frame_or_log(event::kline(contract, interval, &candle, is_closed, now_ms))
            })
            .collect()
    }
}

fn frame_or_log(written: serde_json::Result<Frame>) -> Option<Frame> {
    written
        .inspect_err(|e| error!(error = %e, "event serialization failed"))
        .ok()
}
