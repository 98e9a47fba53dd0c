//! One book's side of the feed: its series, its queue, when to refill it, when it is stale. Entry point:
//! [`Book`]. It decides and never waits: the caller passes the time.

use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{info, warn};
use trader_core::candle::{Candle, Interval};
use trader_core::fixed_point::Price;

use super::error::MarketError;
use super::feed::{Item, Subscribe};
use super::progress::FeedStats;
use super::series::{Series, Taken};
use runtime::backoff::Backoff;

/// A candle of the stream beyond this multiple of the last close, or under its inverse, is compared with
/// REST before it counts.
const ABSURD: i64 = 2;

/// Candles are stale after so many intervals of exchange time without one.
const STALE_INTERVALS: i64 = 3;

/// Candles that REST returned for a book.
#[derive(Debug)]
pub(crate) struct Refilled {
    /// In order of open time; the first one is the candle that the series expects, if the exchange has it.
    pub(crate) candles: Vec<Candle>,
    /// All candles before this time have closed, by the exchange's time.
    pub(crate) closed_until: UtcMs,
}

/// What a refill shows about the stream, if it was made because the stream was silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The refill was not made for that reason.
    NotAsked,
    /// The exchange has no candles either.
    NothingToSend,
    /// The exchange has candles that the stream did not bring, or REST failed.
    StreamIsDead,
}

#[derive(Debug)]
pub(crate) struct Book {
    symbol: SubjectToken,
    interval: Interval,
    series: Series,
    last_close: Option<Price>,
    queue: tokio::sync::mpsc::Sender<Item>,
    /// When a closed candle last arrived, or when its absence was last noticed.
    last_candle_at: Instant,
    stale: Option<Stale>,
    refill: Refill,
    refused: Option<String>,
    ended: bool,
}

#[derive(Debug)]
struct Stale {
    since: Instant,
    /// [`Item::Stale`] was sent.
    notified: bool,
    /// The stream has sent a candle since.
    streaming: bool,
}

#[derive(Debug)]
struct Refill {
    wanted: bool,
    running: bool,
    /// The running or next refill decides whether the stream is dead.
    judges_stream: bool,
    not_before: Instant,
    /// Refills in a row without the expected candle; the wait before the next refill grows with it.
    empty_in_a_row: u32,
    /// Errors in a row.
    failures: u32,
}

impl Book {
    pub(crate) fn new(interval: Interval, subscribe: Subscribe, now: Instant) -> Self {
        Self {
            symbol: subscribe.symbol,
            interval,
            series: Series::new(interval, subscribe.from),
            last_close: None,
            queue: subscribe.queue,
            last_candle_at: now,
            stale: None,
            refill: Refill {
                wanted: true,
                running: false,
                judges_stream: false,
                not_before: now,
                empty_in_a_row: 0,
                failures: 0,
            },
            refused: None,
            ended: false,
        }
    }

    pub(crate) fn symbol(&self) -> &SubjectToken {
        &self.symbol
    }

    /// Whether the book has dropped its handle, or its last event was sent.
    pub(crate) fn is_over(&self) -> bool {
        self.ended || self.queue.is_closed()
    }

    /// Whether its candles arrive and its refills succeed.
    pub(crate) fn is_healthy(&self) -> bool {
        self.stale.is_none() && self.refill.failures == 0
    }

    /// Takes in a closed candle of the stream. A candle with an absurd jump is dropped, and the candle that
    /// REST has for that time counts.
    ///
    /// # Errors
    /// A line on the jump, when the candle was dropped.
    pub(crate) fn candle_closed(&mut self, candle: Candle, now: Instant) -> Result<(), String> {
        if let Some(last) = self.last_close.filter(|last| is_absurd(*last, &candle)) {
            // REST may be a moment behind the stream: the candle is missing until REST has it.
            let end = self.interval.close_of(candle.open_time);
            self.series.knows_closed_until(end);
            return Err(format!(
                "{} candle {} jumps from {last} to {}: asking REST",
                self.symbol, candle.open_time, candle.close
            ));
        }
        self.last_candle_at = now;
        if let Some(stale) = &mut self.stale {
            stale.streaming = true;
        }
        self.take(candle);
        Ok(())
    }

    fn take(&mut self, candle: Candle) {
        self.last_close = Some(candle.close);
        if let Taken::Contradicts(earlier) = self.series.take(candle) {
            warn!(symbol = %self.symbol, ?earlier, later = ?candle,
                "candle changed after its close; the first version is kept");
        }
    }

    /// Sends the candles that the queue has room for. The others are sent later.
    pub(crate) fn hand_on(&mut self, progress: &FeedStats, now: Instant) {
        let mut handed = false;
        while self.series.has_next() {
            let Ok(place) = self.queue.try_reserve() else {
                break;
            };
            if let Some(candle) = self.series.pop() {
                place.send(Item::Candle(candle));
                handed = true;
            }
        }
        if handed {
            progress.handed_on(&self.symbol, self.series.expected());
        }
        self.send_recovered(now);
        self.send_refused();
    }

    fn send_recovered(&mut self, now: Instant) {
        let whole = !self.series.has_next() && !self.series.misses_next();
        let Some(stale) = self.stale.take_if(|s| s.streaming && whole) else {
            return;
        };
        let after = now.duration_since(stale.since);
        info!(symbol = %self.symbol, ?after, "candles arrive again");
        let item = Item::Recovered { after };
        if stale.notified && matches!(self.queue.try_send(item), Err(TrySendError::Full(_))) {
            self.stale = Some(stale);
        }
    }

    fn send_refused(&mut self) {
        if let Some(reason) = self.refused.take() {
            match self.queue.try_send(Item::Refused { reason }) {
                Err(TrySendError::Full(Item::Refused { reason })) => self.refused = Some(reason),
                _ => self.ended = true,
            }
        }
    }

    /// If no candle has arrived for too long: sends [`Item::Stale`] once and requests a refill.
    pub(crate) fn check_staleness(
        &mut self,
        market_now: UtcMs,
        now: Instant,
        stale_after: Duration,
    ) {
        let since = self.series.received_until();
        let limit = self.interval.millis() * STALE_INTERVALS;
        if market_now.0.saturating_sub(since.0) < limit
            || now.duration_since(self.last_candle_at) < stale_after
        {
            return;
        }
        self.last_candle_at = now;
        self.refill.wanted = true;
        self.refill.judges_stream = true;
        let stale = self.stale.get_or_insert_with(|| {
            warn!(symbol = %self.symbol, %since, %market_now, "no closed candle for too long");
            Stale {
                since: now,
                notified: false,
                streaming: false,
            }
        });
        stale.streaming = false;
        if !stale.notified {
            stale.notified = self.queue.try_send(Item::Stale { since }).is_ok();
        }
    }

    /// Requests a refill of the candles that the stream may have missed.
    pub(crate) fn want_refill(&mut self) {
        self.refill.wanted = true;
    }

    /// Starts a refill if one is due: the open time of its first candle. `None` when no refill is due.
    pub(crate) fn start_refill(&mut self, now: Instant) -> Option<UtcMs> {
        let due = (self.refill.wanted || self.series.misses_next())
            && !self.refill.running
            && now >= self.refill.not_before
            && !self.series.has_next()
            && self.refused.is_none();
        if !due {
            return None;
        }
        self.refill.running = true;
        self.refill.wanted = false;
        Some(self.series.expected())
    }

    /// Takes in the result of a refill.
    pub(crate) fn refilled(
        &mut self,
        result: Result<Refilled, MarketError>,
        backoff: Backoff,
        now: Instant,
    ) -> Verdict {
        self.refill.running = false;
        let asked = std::mem::take(&mut self.refill.judges_stream);
        let brought = match result {
            Ok(refilled) => self.take_refill(refilled, now),
            Err(error) => {
                self.refill_failed(error, backoff, now);
                return if asked {
                    Verdict::StreamIsDead
                } else {
                    Verdict::NotAsked
                };
            }
        };
        self.refill.failures = 0;
        self.refill.empty_in_a_row = if brought {
            0
        } else {
            self.refill.empty_in_a_row + 1
        };
        if self.series.misses_next() {
            self.refill.not_before = now + backoff.wait(self.refill.empty_in_a_row.max(1));
        }
        match (asked, brought) {
            (false, _) => Verdict::NotAsked,
            (true, true) => Verdict::StreamIsDead,
            (true, false) => Verdict::NothingToSend,
        }
    }

    /// Takes in the candles of a refill; returns whether the expected candle is among them.
    fn take_refill(&mut self, refilled: Refilled, now: Instant) -> bool {
        let any = !refilled.candles.is_empty();
        for candle in refilled.candles {
            self.take(candle);
        }
        self.series.knows_closed_until(refilled.closed_until);
        if any {
            self.last_candle_at = now;
            if let Some((from, to)) = self.series.answered() {
                warn!(symbol = %self.symbol, %from, %to, "exchange has no candles for this period; continuing after it");
            }
        }
        self.series.has_next()
    }

    fn refill_failed(&mut self, error: MarketError, backoff: Backoff, now: Instant) {
        self.refill.failures += 1;
        let mut wait = backoff.wait(self.refill.failures);
        match error {
            MarketError::Retry { after, .. } => wait = wait.max(after.unwrap_or_default()),
            refused => self.refused = Some(refused.to_string()),
        }
        self.refill.wanted = true;
        self.refill.not_before = now + wait;
    }

    /// REST calls that failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.refill.failures
    }
}

fn is_absurd(last: Price, candle: &Candle) -> bool {
    let most = last.units().saturating_mul(ABSURD);
    candle.high.units() > most || candle.low.units().saturating_mul(ABSURD) < last.units()
}
