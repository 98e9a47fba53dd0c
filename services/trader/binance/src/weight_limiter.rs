//! Keeps REST calls under the exchange's limit of request weight. Entry point: [`WeightLimiter`]. It never waits: a
//! caller that must not call now receives the remaining time.
//!
//! Two causes pause calls: our own high-water mark, and a rejection by the exchange. Calls that protect a
//! position ignore the mark, which keeps a reserve for them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Weight per minute at which calls pause. Binance allows 2,400 per address; the rest
/// is left to other processes behind the same address.
const HIGH_WATER: u32 = 1_900;

/// The exchange counts by the minute.
const WINDOW: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(crate) struct WeightLimiter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    paused_until: Option<Instant>,
    rejected_until: Option<Instant>,
}

impl WeightLimiter {
    /// How long no call may be made; `None` when calls may be made.
    pub(crate) fn closed_for(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        left(state.paused_until.max(state.rejected_until), now)
    }

    /// How long the exchange rejects every call; `None` when it accepts calls.
    pub(crate) fn rejected_for(&self, now: Instant) -> Option<Duration> {
        left(self.lock().rejected_until, now)
    }

    /// Takes in the used weight of an answer; pauses calls near the limit.
    pub(crate) fn used(&self, weight: u32, now: Instant) {
        if weight >= HIGH_WATER {
            let state = &mut *self.lock();
            state.paused_until = state.paused_until.max(now.checked_add(WINDOW));
        }
    }

    /// Records that the exchange rejects calls for `pause`.
    pub(crate) fn close(&self, pause: Duration, now: Instant) {
        let state = &mut *self.lock();
        state.rejected_until = state.rejected_until.max(now.checked_add(pause));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that is left until `until`; `None` when it has passed.
pub(crate) fn left(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until
        .map(|until| until.saturating_duration_since(now))
        .filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_pause_at_the_high_water_mark_and_continue_after_a_minute() {
        let (limiter, now) = (WeightLimiter::default(), Instant::now());
        limiter.used(HIGH_WATER - 1, now);
        assert_eq!(limiter.closed_for(now), None);
        limiter.used(HIGH_WATER, now);
        assert_eq!(limiter.closed_for(now), Some(WINDOW));
        assert_eq!(
            limiter.rejected_for(now),
            None,
            "the reserve is for what protects"
        );
        assert_eq!(limiter.closed_for(now + WINDOW), None);
    }

    #[test]
    fn a_shorter_pause_does_not_end_a_longer_one() {
        let (limiter, now) = (WeightLimiter::default(), Instant::now());
        limiter.close(Duration::from_mins(2), now);
        limiter.close(Duration::from_secs(1), now);
        let longer = Some(Duration::from_mins(2));
        assert_eq!(
            (limiter.closed_for(now), limiter.rejected_for(now)),
            (longer, longer)
        );
    }
}
