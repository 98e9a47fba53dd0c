//! Keeps REST calls under the exchange's request weight, from what its answers say. Nothing here
//! waits: a caller that must not call now is told for how long.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Weight per minute after which we pause by ourselves. Binance allows 2,400 per address; the rest
/// is left to other processes behind the same address.
const HIGH_WATER: u32 = 1_900;

/// The exchange counts by the minute.
const WINDOW: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(crate) struct Budget {
    closed_until: Mutex<Option<Instant>>,
}

impl Budget {
    /// How long no call may be made; `None` when one may.
    pub(crate) fn closed_for(&self, now: Instant) -> Option<Duration> {
        let until = *self.lock();
        until
            .map(|until| until.saturating_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    /// Takes in the used weight that an answer reported.
    pub(crate) fn used(&self, weight: u32, now: Instant) {
        if weight >= HIGH_WATER {
            self.close(WINDOW, now);
        }
    }

    /// The exchange refused a call for `pause`.
    pub(crate) fn close(&self, pause: Duration, now: Instant) {
        let mut until = self.lock();
        *until = (*until).max(now.checked_add(pause));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.closed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
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
        assert_eq!(budget.closed_for(now + WINDOW), None);
    }

    #[test]
    fn a_shorter_pause_does_not_end_a_longer_one() {
        let (budget, now) = (Budget::default(), Instant::now());
        budget.close(Duration::from_mins(2), now);
        budget.close(Duration::from_secs(1), now);
        assert_eq!(budget.closed_for(now), Some(Duration::from_mins(2)));
    }
}
