//! Keeps REST calls under the exchange's request weight, from what its answers say. Nothing here
//! waits: a caller that must not call now is told for how long.
//!
//! Two things close it: our own high-water mark, and the exchange's refusal. What protects a position
//! heeds only the second; the mark keeps a reserve for it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Weight per minute after which we pause by ourselves. Binance allows 2,400 per address; the rest
/// is left to other processes behind the same address.
const HIGH_WATER: u32 = 1_900;

/// The exchange counts by the minute.
const WINDOW: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(crate) struct Budget {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    paused_until: Option<Instant>,
    refused_until: Option<Instant>,
}

impl Budget {
    /// How long no call may be made; `None` when one may.
    pub(crate) fn closed_for(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        left(state.paused_until.max(state.refused_until), now)
    }

    /// How long the exchange will refuse any call; `None` when it does not.
    pub(crate) fn refused_for(&self, now: Instant) -> Option<Duration> {
        left(self.lock().refused_until, now)
    }

    /// Takes in the used weight that an answer reported.
    pub(crate) fn used(&self, weight: u32, now: Instant) {
        if weight >= HIGH_WATER {
            let state = &mut *self.lock();
            state.paused_until = state.paused_until.max(now.checked_add(WINDOW));
        }
    }

    /// The exchange refused a call for `wait_before_retry`.
    pub(crate) fn close(&self, pause: Duration, now: Instant) {
        let state = &mut *self.lock();
        state.refused_until = state.refused_until.max(now.checked_add(pause));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long it is until then; `None` when that is past.
pub(crate) fn left(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until
        .map(|until| until.saturating_duration_since(now))
        .filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_pause_at_the_high_water_mark_and_go_on_after_a_minute() {
        let (budget, now) = (Budget::default(), Instant::now());
        budget.used(HIGH_WATER - 1, now);
        assert_eq!(budget.closed_for(now), None);
        budget.used(HIGH_WATER, now);
        assert_eq!(budget.closed_for(now), Some(WINDOW));
        assert_eq!(
            budget.refused_for(now),
            None,
            "the reserve is for what protects"
        );
        assert_eq!(budget.closed_for(now + WINDOW), None);
    }

    #[test]
    fn a_shorter_pause_does_not_end_a_longer_one() {
        let (budget, now) = (Budget::default(), Instant::now());
        budget.close(Duration::from_mins(2), now);
        budget.close(Duration::from_secs(1), now);
        let longer = Some(Duration::from_mins(2));
        assert_eq!(
            (budget.closed_for(now), budget.refused_for(now)),
            (longer, longer)
        );
    }
}
