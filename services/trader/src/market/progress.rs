//! Counters and state of the feed, for heartbeats and status: [`FeedStats`]. Only the feed task writes them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::heartbeat::{ComponentState, ComponentStatus};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::clock;
use runtime::components::ComponentSource;
use trader_core::circuit_breaker::EXCHANGE_ERRORS;

/// The feed's loop ticks five times a second, also in a quiet market. In milliseconds.
const TURNS_WITHIN_MS: u64 = 10_000;

/// Counters of the feed task.
#[derive(Debug, Default)]
pub struct FeedStats {
    turns: AtomicU64,
    errors: AtomicU64,
    errors_in_a_row: AtomicU64,
    healthy: AtomicBool,
    stopped: AtomicBool,
    details: Mutex<FeedStatsInner>,
}

#[derive(Debug, Default)]
struct FeedStatsInner {
    last_error: Option<LastFeedError>,
    /// End of the newest candle handed to the book, by symbol.
    closed_until: BTreeMap<SubjectToken, UtcMs>,
}

/// The newest error of the feed.
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
    /// Turns of the loop, errors and state: retrying while the stream is down or a book's candles are stale.
    pub fn component_status(&self) -> ComponentStatus {
        let state = if self.stopped.load(Relaxed) {
            ComponentState::Stopped
        } else if self.healthy.load(Relaxed) {
            ComponentState::Ok
        } else {
            ComponentState::Retrying
        };
        ComponentStatus {
            deadline_ms: Some(TURNS_WITHIN_MS),
            iterations: self.turns.load(Relaxed),
            errors: self.errors.load(Relaxed),
            state,
        }
    }

    /// The newest error since the start; `None` if there was none.
    pub fn last_error(&self) -> Option<LastFeedError> {
        self.details().last_error.clone()
    }

    /// End of the newest candle handed on, for each symbol that has a book.
    pub fn closed_until(&self) -> BTreeMap<SubjectToken, UtcMs> {
        self.details().closed_until.clone()
    }

    /// The oldest "time since the end of the newest candle" over all symbols, in exchange time;
    /// `None` without books.
    pub fn candle_age(&self, market_now: UtcMs) -> Option<Duration> {
        let details = self.details();
        let oldest = details.closed_until.values().min();
        oldest.map(|oldest| market_now.since(*oldest))
    }

    /// Whether so many calls failed in a row that no book may enter a position.
    pub fn exchange_fails(&self) -> bool {
        self.errors_in_a_row.load(Relaxed) >= EXCHANGE_ERRORS
    }

    /// Records an answered call or a candle: errors in a row start at zero again.
    pub(crate) fn answered(&self) {
        self.errors_in_a_row.store(0, Relaxed);
    }

    pub(crate) fn turned(&self, healthy: bool) {
        self.turns.fetch_add(1, Relaxed);
        self.healthy.store(healthy, Relaxed);
    }

    pub(crate) fn failed(&self, text: String) {
        self.errors.fetch_add(1, Relaxed);
        self.errors_in_a_row.fetch_add(1, Relaxed);
        self.details().last_error = Some(LastFeedError {
            at: clock::now(),
            text,
        });
    }

    pub(crate) fn handed_on(&self, symbol: &SubjectToken, closed_until: UtcMs) {
        let mut details = self.details();
        match details.closed_until.get_mut(symbol) {
            Some(newest) => *newest = closed_until,
            None => drop(details.closed_until.insert(symbol.clone(), closed_until)),
        }
    }

    pub(crate) fn forgot(&self, symbol: &SubjectToken) {
        self.details().closed_until.remove(symbol);
    }

    pub(crate) fn stopped(&self) {
        self.stopped.store(true, Relaxed);
    }

    fn details(&self) -> MutexGuard<'_, FeedStatsInner> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
