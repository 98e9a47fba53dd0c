//! Outcomes of the calls to the exchange: whether too many fail. Entry point: [`CallStats`]. The adapter's HTTP client
//! writes it for calls of every kind, those with and without a key.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trader_core::circuit_breaker::EXCHANGE_ERRORS;

/// Failures in a row count only if the newest one is not older than this: without calls, the breaker resets.
const MAX_FAILURE_AGE: Duration = Duration::from_mins(5);
/// Period over which the share of failed calls is measured.
const RATE_PERIOD: Duration = Duration::from_mins(1);
/// Failed calls in that period from which on the share counts: as many as succeeded, and at least these.
const RATE_FAILURES: usize = 10;
/// Most calls that are remembered.
const MAX_CALLS: usize = 200;

/// Outcomes of the newest calls.
#[derive(Debug, Default)]
pub struct CallStats {
    calls: Mutex<RecentCalls>,
}

#[derive(Debug, Default)]
struct RecentCalls {
    failures_in_a_row: u64,
    /// Time of each call, and whether it failed.
    recent: VecDeque<(Instant, bool)>,
    /// Time and text of the newest failure.
    last_failure: Option<(Instant, String)>,
}

impl CallStats {
    /// Records a call that the exchange answered.
    pub fn record_success(&self, now: Instant) {
        let mut calls = self.calls();
        calls.failures_in_a_row = 0;
        calls.remember(now, false);
    }

    /// Records a call without a usable answer. A call that the exchange refused for its content is neither a success
    /// nor a failure.
    pub fn record_failure(&self, error: String, now: Instant) {
        let mut calls = self.calls();
        calls.failures_in_a_row = calls.failures_in_a_row.saturating_add(1);
        calls.remember(now, true);
        calls.last_failure = Some((now, error));
    }

    /// Why the calls count as failing, in one line; `None` while they do not.
    pub fn failure(&self, now: Instant) -> Option<String> {
        let calls = self.calls();
        let (at, error) = calls.last_failure.as_ref()?;
        let in_a_row = calls.failures_in_a_row;
        if in_a_row >= EXCHANGE_ERRORS && now.duration_since(*at) <= MAX_FAILURE_AGE {
            return Some(format!(
                "{in_a_row} calls failed in a row, the last: {error}"
            ));
        }
        let of_period = calls.recent.iter();
        let of_period = of_period.filter(|(at, _)| now.duration_since(*at) <= RATE_PERIOD);
        let count = of_period.clone().count();
        let failed = of_period.filter(|(_, failed)| *failed).count();
        (failed >= RATE_FAILURES && failed * 2 >= count)
            .then(|| format!("{failed} of {count} calls failed within a minute, the last: {error}"))
    }

    fn calls(&self) -> MutexGuard<'_, RecentCalls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecentCalls {
    fn remember(&mut self, now: Instant, failed: bool) {
        if self.recent.len() == MAX_CALLS {
            self.recent.pop_front();
        }
        self.recent.push_back((now, failed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(stats: &CallStats, times: usize, now: Instant) {
        for _ in 0..times {
            stats.record_failure("no answer".to_owned(), now);
        }
    }

    #[test]
    fn five_failures_in_a_row_count_until_a_success_or_five_minutes() {
        let (stats, now) = (CallStats::default(), Instant::now());
        fail(&stats, 4, now);
        assert_eq!(stats.failure(now), None);
        fail(&stats, 1, now);
        let reason = "5 calls failed in a row, the last: no answer";
        assert_eq!(stats.failure(now).as_deref(), Some(reason));
        assert!(stats.failure(now + MAX_FAILURE_AGE).is_some());
        let later = now + MAX_FAILURE_AGE + Duration::from_secs(1);
        assert_eq!(stats.failure(later), None);
        stats.record_success(now);
        assert_eq!(stats.failure(now), None);
    }

    #[test]
    fn every_second_call_that_fails_counts_although_none_fail_in_a_row() {
        let (stats, now) = (CallStats::default(), Instant::now());
        for n in 0..RATE_FAILURES {
            assert_eq!(stats.failure(now), None, "{n}");
            stats.record_success(now);
            fail(&stats, 1, now);
        }
        let reason = "10 of 20 calls failed within a minute, the last: no answer";
        assert_eq!(stats.failure(now).as_deref(), Some(reason));
        stats.record_success(now);
        assert_eq!(stats.failure(now), None, "fewer than half");
    }
}
