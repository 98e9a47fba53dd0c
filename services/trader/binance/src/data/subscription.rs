//! One subscription of the feed: its candles in order, its queue, when to query missing candles, when it is stale.
//! Entry point: [`Subscription`]. It decides and never waits: the caller passes the time.

use std::time::{Duration, Instant};

use exchange::{ExchangeError, FeedEvent, FeedStats};
use protocol::duration::format_duration;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::backoff::Backoff;
use tokio::sync::mpsc::error::TrySendError;
use tracing::{info, warn};
use trader_core::candle::{Candle, Interval};
use trader_core::fixed_point::Price;

use super::feed::Subscribe;
use super::sequencer::{InsertOutcome, Sequencer};

/// A candle of the stream beyond this multiple of the last close, or under its inverse, is implausible: the candle that
/// REST has counts instead.
const MAX_JUMP: i64 = 2;

/// Candles are stale after so many intervals of exchange time without one.
const STALE_INTERVALS: i64 = 3;

/// Candles that REST returned for a subscription.
#[derive(Debug)]
pub(crate) struct Backfill {
    /// In order of open time; the first one is the next candle of the subscription, if the exchange has it.
    pub(crate) candles: Vec<Candle>,
    /// All candles before this time have closed, by the exchange's time.
    pub(crate) closed_until: UtcMs,
}

/// Whether a backfill shows that the stream is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamVerdict {
    /// The backfill was not made because the stream was silent.
    NotAsked,
    /// The exchange has no candles either.
    NothingToSend,
    /// The exchange has candles that the stream did not bring, or REST failed.
    StreamIsDead,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    symbol: SubjectToken,
    interval: Interval,
    sequencer: Sequencer,
    last_close: Option<Price>,
    queue: tokio::sync::mpsc::Sender<FeedEvent>,
    /// When a closed candle last arrived, or when its absence was last noticed.
    last_candle_at: Instant,
    stale: Option<StaleStream>,
    backfill: BackfillRequest,
}

#[derive(Debug)]
struct StaleStream {
    since: Instant,
    /// [`FeedEvent::Stale`] was sent.
    notified: bool,
    /// The stream has sent a candle since.
    streaming: bool,
}

#[derive(Debug)]
struct BackfillRequest {
    wanted: bool,
    running: bool,
    /// The running or next backfill decides whether the stream is dead.
    judges_stream: bool,
    not_before: Instant,
    /// Backfills in a row without the expected candle; the wait before the next one grows with it.
    empty_in_a_row: u32,
    /// Errors in a row.
    failures: u32,
}

impl Subscription {
    pub(crate) fn new(interval: Interval, subscribe: Subscribe, now: Instant) -> Self {
        Self {
            symbol: subscribe.symbol,
            interval,
            sequencer: Sequencer::new(interval, subscribe.from),
            last_close: None,
            queue: subscribe.queue,
            last_candle_at: now,
            stale: None,
            backfill: BackfillRequest {
                wanted: true,
                running: false,
                judges_stream: false,
                not_before: now,
                empty_in_a_row: 0,
                failures: 0,
            },
        }
    }

    /// Whether the subscriber has dropped its handle.
    pub(crate) fn has_ended(&self) -> bool {
        self.queue.is_closed()
    }

    /// Whether candles arrive and backfills succeed.
    pub(crate) fn is_healthy(&self) -> bool {
        self.stale.is_none() && self.backfill.failures == 0
    }

    /// Inserts a closed candle of the stream. A candle with an implausible jump is dropped, and the candle that REST has
    /// for that time counts.
    ///
    /// # Errors
    /// The jump in one line, if the candle was dropped.
    pub(crate) fn candle_closed(&mut self, candle: Candle, now: Instant) -> Result<(), String> {
        if let Some(last) = self
            .last_close
            .filter(|last| is_implausible(*last, &candle))
        {
            // REST may be a moment behind the stream: the candle is missing until REST has it.
            let end = self.interval.close_of(candle.open_time);
            self.sequencer.record_closed_until(end);
            return Err(format!(
                "{} candle {} jumps from {last} to {}: querying it",
                self.symbol, candle.open_time, candle.close
            ));
        }
        self.last_candle_at = now;
        if let Some(stale) = &mut self.stale {
            stale.streaming = true;
        }
        self.insert(candle);
        Ok(())
    }

    fn insert(&mut self, candle: Candle) {
        self.last_close = Some(candle.close);
        if let InsertOutcome::Contradicts(earlier) = self.sequencer.insert(candle) {
            warn!(symbol = %self.symbol, ?earlier, later = ?candle,
                "candle changed after its close; the first version is kept");
        }
    }

    /// Sends the candles that the queue has room for. The others are sent later.
    pub(crate) fn send_candles(&mut self, stats: &FeedStats, now: Instant) {
        let mut sent = false;
        while self.sequencer.has_next() {
            let Ok(place) = self.queue.try_reserve() else {
                break;
            };
            if let Some(candle) = self.sequencer.pop() {
                place.send(FeedEvent::Candle(candle));
                sent = true;
            }
        }
        if sent {
            stats.record_candle(&self.symbol, self.sequencer.expected());
        }
        self.send_recovered(now);
    }

    fn send_recovered(&mut self, now: Instant) {
        let whole = !self.sequencer.has_next() && !self.sequencer.misses_next();
        let Some(stale) = self.stale.take_if(|s| s.streaming && whole) else {
            return;
        };
        let after = now.duration_since(stale.since);
        info!(symbol = %self.symbol, after = %format_duration(after), "candle stream recovered");
        let event = FeedEvent::Recovered { after };
        if stale.notified && matches!(self.queue.try_send(event), Err(TrySendError::Full(_))) {
            self.stale = Some(stale);
        }
    }

    /// If no candle has arrived for too long, sends [`FeedEvent::Stale`] once and requests a backfill.
    pub(crate) fn check_staleness(
        &mut self,
        market_now: UtcMs,
        now: Instant,
        stale_after: Duration,
    ) {
        let since = self.sequencer.received_until();
        let limit = self.interval.millis() * STALE_INTERVALS;
        if market_now.0.saturating_sub(since.0) < limit
            || now.duration_since(self.last_candle_at) < stale_after
        {
            return;
        }
        self.last_candle_at = now;
        self.backfill.wanted = true;
        self.backfill.judges_stream = true;
        let stale = self.stale.get_or_insert_with(|| {
            warn!(symbol = %self.symbol, %since, %market_now, "candle stream is stale");
            StaleStream {
                since: now,
                notified: false,
                streaming: false,
            }
        });
        stale.streaming = false;
        if !stale.notified {
            stale.notified = self.queue.try_send(FeedEvent::Stale { since }).is_ok();
        }
    }

    /// Requests a backfill of the candles that the stream may have missed.
    pub(crate) fn request_backfill(&mut self) {
        self.backfill.wanted = true;
    }

    /// Starts a backfill if one is due. Returns the open time of its first candle; `None` if no backfill is due.
    pub(crate) fn start_backfill(&mut self, now: Instant) -> Option<UtcMs> {
        let due = (self.backfill.wanted || self.sequencer.misses_next())
            && !self.backfill.running
            && now >= self.backfill.not_before
            && !self.sequencer.has_next();
        if !due {
            return None;
        }
        self.backfill.running = true;
        self.backfill.wanted = false;
        Some(self.sequencer.expected())
    }

    /// Handles the result of a backfill.
    pub(crate) fn backfill_ended(
        &mut self,
        result: Result<Backfill, ExchangeError>,
        backoff: Backoff,
        now: Instant,
    ) -> StreamVerdict {
        self.backfill.running = false;
        let asked = std::mem::take(&mut self.backfill.judges_stream);
        let brought = match result {
            Ok(backfill) => self.insert_backfill(backfill, now),
            Err(error) => {
                // A refusal concerns the symbol, not the stream of all.
                let is_refusal = matches!(error, ExchangeError::Rejected { .. });
                self.backfill_failed(error, backoff, now);
                return if asked && !is_refusal {
                    StreamVerdict::StreamIsDead
                } else {
                    StreamVerdict::NotAsked
                };
            }
        };
        self.backfill.failures = 0;
        self.backfill.empty_in_a_row = if brought {
            0
        } else {
            self.backfill.empty_in_a_row + 1
        };
        if self.sequencer.misses_next() {
            self.backfill.not_before = now + backoff.wait(self.backfill.empty_in_a_row.max(1));
        }
        match (asked, brought) {
            (false, _) => StreamVerdict::NotAsked,
            (true, true) => StreamVerdict::StreamIsDead,
            (true, false) => StreamVerdict::NothingToSend,
        }
    }

    /// Inserts the candles of a backfill. Returns whether the expected candle is among them.
    fn insert_backfill(&mut self, backfill: Backfill, now: Instant) -> bool {
        let any = !backfill.candles.is_empty();
        for candle in backfill.candles {
            self.insert(candle);
        }
        self.sequencer.record_closed_until(backfill.closed_until);
        if any {
            self.last_candle_at = now;
            if let Some((from, to)) = self.sequencer.record_answer() {
                warn!(symbol = %self.symbol, %from, %to, "exchange has no candles for this period; continuing after it");
            }
        }
        self.sequencer.has_next()
    }

    fn backfill_failed(&mut self, error: ExchangeError, backoff: Backoff, now: Instant) {
        self.backfill.failures += 1;
        let mut wait = backoff.wait(self.backfill.failures);
        match error {
            ExchangeError::Retry { after, .. } => wait = wait.max(after.unwrap_or_default()),
            // If the queue is full, the book is busy and the next refusal arrives.
            refused @ ExchangeError::Rejected { .. } => {
                let reason = refused.to_string();
                let _ = self.queue.try_send(FeedEvent::Refused { reason });
            }
        }
        self.backfill.wanted = true;
        self.backfill.not_before = now + wait;
    }

    /// REST calls that failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.backfill.failures
    }
}

fn is_implausible(last: Price, candle: &Candle) -> bool {
    let most = last.units().saturating_mul(MAX_JUMP);
    candle.high.units() > most || candle.low.units().saturating_mul(MAX_JUMP) < last.units()
}
