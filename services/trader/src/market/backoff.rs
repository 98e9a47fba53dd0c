//! How long to wait before the next attempt. Nothing here waits.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Doubling waits with a ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The first wait, before jitter.
    pub(crate) first: Duration,
    /// No wait is longer.
    pub(crate) cap: Duration,
}

impl Backoff {
    /// The wait after the `count_failed_exits`th failure in a row: `first` doubled for each earlier failure, at
    /// most `cap`, of which the upper half is left to chance so that instances do not come in step.
    pub(crate) fn wait(self, failures: u32) -> Duration {
        self.wait_with(failures, chance())
    }

    fn wait_with(self, failures: u32, chance: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let half = doubled.min(self.cap) / 2;
        half + half.mul_f64(chance)
    }
}

/// Between 0 and 1. The standard library seeds each `RandomState` anew; jitter needs no better dice.
fn chance() -> f64 {
    let dice = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(dice >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        cap: Duration::from_secs(30),
    };

    #[test]
    fn waits_double_up_to_the_cap_and_never_overflow() {
        for (failures, seconds) in [(0, 1), (1, 1), (2, 2), (5, 16), (6, 30), (u32::MAX, 30)] {
            let longest = BACKOFF.wait_with(failures, 1.0);
            assert_eq!(longest, Duration::from_secs(seconds), "{failures}");
            assert_eq!(BACKOFF.wait_with(failures, 0.0), longest / 2, "{failures}");
        }
    }

    #[test]
    fn chance_stays_in_bounds_and_is_not_a_constant() {
        let throws: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(throws.iter().all(|c| (0.0..=1.0).contains(c)));
        assert!(throws.iter().any(|c| (c - throws[0]).abs() > 1e-9));
    }
}
