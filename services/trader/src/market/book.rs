//! One book's side of the feed: its series, its queue, when to refill it, when it is stale. All
//! decisions, no waiting: time comes in.

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

/// A candle of the stream beyond this multiple of the last close, or under its inverse, is held against
/// REST before it counts.
const ABSURD: i64 = 2;

/// Candles are stale after so many intervals of exchange time without one.
const STALE_INTERVALS: i64 = 3;

/// What REST had for a book.
#[derive(Debug)]
pub(crate) struct Refilled {
    /// In order, from the expected one on.
    pub(crate) candles: Vec<Candle>,
    /// By the exchange's time all candles before this have closed.
    pub(crate) closed_until: UtcMs,
}

/// What a refill says of the stream, when it was made because the stream had been silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody had asked.
    NotAsked,
    /// The exchange has no candles either.
    NothingToSend,
    /// The exchange has candles that the stream did not bring, or cannot be asked.
    StreamIsDead,
}

#[derive(Debug)]
pub(crate) struct Book {
    symbol: SubjectToken,
    interval: Interval,
    series: Series,
    last_close: Option<Price>,
    queue: tokio::sync::mpsc::Sender<Item>,
    /// When a closed candle last came, or was last looked for in vain.
    heard: Instant,
    stale: Option<Stale>,
    refill: Refill,
    refused: Option<String>,
    ended: bool,
}

#[derive(Debug)]
struct Stale {
    since: Instant,
    told: bool,
    /// The stream has brought a candle since.
    streaming: bool,
}

#[derive(Debug)]
struct Refill {
    wanted: bool,
    running: bool,
    /// The running or next one shall tell whether the stream is dead.
    judges_stream: bool,
    not_before: Instant,
    /// In a row that brought nothing: paces the next one.
    in_vain: u32,
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
            heard: now,
            stale: None,
            refill: Refill {
                wanted: true,
                running: false,
                judges_stream: false,
                not_before: now,
                in_vain: 0,
                failures: 0,
            },
            refused: None,
            ended: false,
        }
    }

    pub(crate) fn symbol(&self) -> &SubjectToken {
        &self.symbol
    }

    /// Nobody listens any more, or there is nothing more to say.
    pub(crate) fn is_over(&self) -> bool {
        self.ended || self.queue.is_closed()
    }

    /// Its candles come, none is missing.
    pub(crate) fn is_healthy(&self) -> bool {
        self.stale.is_none() && self.refill.failures == 0
    }

    /// Takes in a closed candle of the stream. One that jumps absurdly is left to REST: what that says
    /// counts, whatever it is.
    ///
    /// # Errors
    /// What was wrong with it, in one line.
    pub(crate) fn candle_closed(&mut self, candle: Candle, now: Instant) -> Result<(), String> {
        if let Some(last) = self.last_close.filter(|last| is_absurd(*last, &candle)) {
            // Missing until REST has it, which may be a moment behind the stream.
            let end = self.interval.close_of(candle.open_time);
            self.series.knows_closed_until(end);
            return Err(format!(
                "{} candle {} jumps from {last} to {}: asking REST",
                self.symbol, candle.open_time, candle.close
            ));
        }
        self.heard = now;
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
                "a candle changed after its close; the earlier one stands");
        }
    }

    /// Hands on what there is room for. What does not fit stays, and is handed on later.
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
        self.tell_recovered(now);
        self.tell_refused();
    }

    fn tell_recovered(&mut self, now: Instant) {
        let whole = !self.series.has_next() && !self.series.misses_next();
        let Some(stale) = self.stale.take_if(|s| s.streaming && whole) else {
            return;
        };
        let after = now.duration_since(stale.since);
        info!(symbol = %self.symbol, ?after, "candles come again");
        let item = Item::Recovered { after };
        if stale.told && matches!(self.queue.try_send(item), Err(TrySendError::Full(_))) {
            self.stale = Some(stale);
        }
    }

    fn tell_refused(&mut self) {
        if let Some(reason) = self.refused.take() {
            match self.queue.try_send(Item::Refused { reason }) {
                Err(TrySendError::Full(Item::Refused { reason })) => self.refused = Some(reason),
                _ => self.ended = true,
            }
        }
    }

    /// If no candle has come for too long: says so once, and has REST looked at.
    pub(crate) fn look_at_age(&mut self, market_now: UtcMs, now: Instant, stale_after: Duration) {
        let since = self.series.heard_until();
        let limit = self.interval.millis() * STALE_INTERVALS;
        if market_now.0.saturating_sub(since.0) < limit
            || now.duration_since(self.heard) < stale_after
        {
            return;
        }
        self.heard = now;
        self.refill.wanted = true;
        self.refill.judges_stream = true;
        let stale = self.stale.get_or_insert_with(|| {
            warn!(symbol = %self.symbol, %since, %market_now, "no closed candle for too long");
            Stale {
                since: now,
                told: false,
                streaming: false,
            }
        });
        stale.streaming = false;
        if !stale.told {
            stale.told = self.queue.try_send(Item::Stale { since }).is_ok();
        }
    }

    /// Has REST looked at for what may have been missed.
    pub(crate) fn want_refill(&mut self) {
        self.refill.wanted = true;
    }

    /// Whether to ask REST now; if so, from which open time on.
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

    /// Takes in what REST had.
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
        self.refill.in_vain = if brought { 0 } else { self.refill.in_vain + 1 };
        if self.series.misses_next() {
            self.refill.not_before = now + backoff.wait(self.refill.in_vain.max(1));
        }
        match (asked, brought) {
            (false, _) => Verdict::NotAsked,
            (true, true) => Verdict::StreamIsDead,
            (true, false) => Verdict::NothingToSend,
        }
    }

    /// Whether it brought the expected candle.
    fn take_refill(&mut self, refilled: Refilled, now: Instant) -> bool {
        let any = !refilled.candles.is_empty();
        for candle in refilled.candles {
            self.take(candle);
        }
        self.series.knows_closed_until(refilled.closed_until);
        if any {
            self.heard = now;
            if let Some((from, to)) = self.series.answered() {
                warn!(symbol = %self.symbol, %from, %to, "the exchange has no candles here");
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
