//! Counters and state of the feed, for heartbeats, health and metrics: [`FeedStats`]. Only the feed writes them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::heartbeat::{ComponentState, ComponentStatus};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::clock;
use runtime::components::ComponentSource;
use trader_core::circuit_breaker::EXCHANGE_ERRORS;

use crate::CallStats;

/// Deadline of an iteration in milliseconds. The loop ticks five times a second, also in a quiet market.
const DEADLINE_MS: u64 = 10_000;

/// Counters and state of a feed.
#[derive(Debug, Default)]
pub struct FeedStats {
    iterations: AtomicU64,
    errors: AtomicU64,
    errors_in_a_row: AtomicU64,
    /// Outcomes of all calls to the exchange, those for orders included.
    calls: Arc<CallStats>,
    healthy: AtomicBool,
    stopped: AtomicBool,
    details: Mutex<FeedStatsInner>,
}

#[derive(Debug, Default)]
struct FeedStatsInner {
    last_error: Option<LastFeedError>,
    /// End of the newest candle sent to a book, by symbol.
    closed_until: BTreeMap<SubjectToken, UtcMs>,
    /// End of the newest candle that a book has handled, by symbol; before that, of the first that it was sent.
    handled_until: BTreeMap<SubjectToken, UtcMs>,
}

/// An error of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFeedError {
    /// Wall time of the error.
    pub at: UtcMs,
    /// The error, in one line.
    pub text: String,
}

impl ComponentSource for FeedStats {
    fn component_status(&self) -> ComponentStatus {
        Self::component_status(self)
    }

    fn last_error(&self) -> Option<(UtcMs, String)> {
        Self::last_error(self).map(|error| (error.at, error.text))
    }
}

impl FeedStats {
    /// Iterations of the feed's loop, errors and state: retrying while the stream is down or candles are stale.
    pub fn component_status(&self) -> ComponentStatus {
        let state = if self.stopped.load(Relaxed) {
            ComponentState::Stopped
        } else if self.healthy.load(Relaxed) {
            ComponentState::Ok
        } else {
            ComponentState::Retrying
        };
        ComponentStatus {
            deadline_ms: Some(DEADLINE_MS),
            iterations: self.iterations.load(Relaxed),
            errors: self.errors.load(Relaxed),
            state,
        }
    }

    /// The newest error since the start; `None` if there was none.
    pub fn last_error(&self) -> Option<LastFeedError> {
        self.details().last_error.clone()
    }

    /// End of the newest candle sent to a book, for each symbol with a subscription.
    pub fn closed_until(&self) -> BTreeMap<SubjectToken, UtcMs> {
        self.details().closed_until.clone()
    }

    /// Age of the newest candle that its book has handled, in exchange time, of the symbol for which it is highest; `None`
    /// without candles. A candle that waits for its book does not count: a book that is behind is not up to date.
    pub fn candle_age(&self, market_now: UtcMs) -> Option<Duration> {
        let details = self.details();
        let oldest = details.handled_until.values().min();
        oldest.map(|oldest| market_now.since(*oldest))
    }

    /// Stats of a feed whose process makes calls with these outcomes.
    pub fn with_calls(calls: Arc<CallStats>) -> Self {
        Self {
            calls,
            ..Self::default()
        }
    }

    /// Why the exchange counts as failing, so that no book may enter a position; `None` while it does not.
    pub fn exchange_failure(&self) -> Option<String> {
        let errors = self.errors_in_a_row.load(Relaxed);
        if errors < EXCHANGE_ERRORS {
            return self.calls.failure(Instant::now());
        }
        let last = self.last_error().map(|error| error.text);
        let last = last.unwrap_or_default();
        Some(format!(
            "{errors} errors of the market feed in a row, the last: {last}"
        ))
    }

    /// Records an answered call or a candle: the errors in a row start at zero again.
    pub fn record_success(&self) {
        self.errors_in_a_row.store(0, Relaxed);
    }

    /// Records one iteration of the feed's loop, and whether the feed is healthy after it.
    pub fn record_iteration(&self, healthy: bool) {
        self.iterations.fetch_add(1, Relaxed);
        self.healthy.store(healthy, Relaxed);
    }

    /// Records an error, in one line.
    pub fn record_error(&self, text: String) {
        self.errors.fetch_add(1, Relaxed);
        self.errors_in_a_row.fetch_add(1, Relaxed);
        self.details().last_error = Some(LastFeedError {
            at: clock::now(),
            text,
        });
    }

    /// Records the end of the newest candle that a book of this symbol has been sent.
    pub fn record_candle(&self, symbol: &SubjectToken, closed_until: UtcMs) {
        let mut details = self.details();
        if let Some(newest) = details.closed_until.get_mut(symbol) {
            *newest = closed_until;
            return;
        }
        details.closed_until.insert(symbol.clone(), closed_until);
        details.handled_until.insert(symbol.clone(), closed_until);
    }

    /// Records the end of the newest candle that the book of this symbol has handled.
    pub fn record_handled(&self, symbol: &SubjectToken, closed_until: UtcMs) {
        if let Some(newest) = self.details().handled_until.get_mut(symbol) {
            *newest = closed_until;
        }
    }

    /// Removes a symbol without subscriptions.
    pub fn remove_symbol(&self, symbol: &SubjectToken) {
        let mut details = self.details();
        details.closed_until.remove(symbol);
        details.handled_until.remove(symbol);
    }

    /// Records the end of the feed.
    pub fn record_stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    fn details(&self) -> MutexGuard<'_, FeedStatsInner> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candle_that_waits_for_its_book_is_not_handled() {
        let (stats, symbol): (_, SubjectToken) = (FeedStats::default(), "BTCUSDT".parse().unwrap());
        let minute = |minute: i64| UtcMs(minute * 60_000);
        assert_eq!(stats.candle_age(minute(9)), None);
        for closed in 1..=5 {
            stats.record_candle(&symbol, minute(closed));
        }
        assert_eq!(stats.candle_age(minute(5)), Some(Duration::from_mins(4)));
        stats.record_handled(&symbol, minute(5));
        assert_eq!(stats.candle_age(minute(5)), Some(Duration::ZERO));
        stats.remove_symbol(&symbol);
        stats.record_handled(&symbol, minute(6));
        assert_eq!(stats.candle_age(minute(9)), None);
    }
}
