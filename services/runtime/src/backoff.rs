//! Waiting times between attempts. [`Backoff`] computes them; the caller waits.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Waits that double after each failure, up to a limit, with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// First wait, before jitter.
    pub first: Duration,
    /// Longest wait, before jitter.
    pub cap: Duration,
}

impl Backoff {
    /// Wait after this many failures in a row: `first`, doubled for each failure after the first, at most `cap`.
    /// The upper half is random, so that processes that failed together do not retry together.
    pub fn wait(self, failures: u32) -> Duration {
        self.wait_with(failures, random_fraction())
    }

    fn wait_with(self, failures: u32, fraction: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let half = doubled.min(self.cap) / 2;
        half + half.mul_f64(fraction)
    }
}

/// Number between 0 and 1. The standard library seeds each `RandomState` differently, which is enough for jitter.
fn random_fraction() -> f64 {
    let hash = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(hash >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        cap: Duration::from_secs(30),
    };

    #[test]
    fn backoff_doubles_up_to_the_cap_and_never_overflows() {
        for (failures, seconds) in [(0, 1), (1, 1), (2, 2), (5, 16), (6, 30), (u32::MAX, 30)] {
            let longest = BACKOFF.wait_with(failures, 1.0);
            assert_eq!(longest, Duration::from_secs(seconds), "{failures}");
            assert_eq!(BACKOFF.wait_with(failures, 0.0), longest / 2, "{failures}");
        }
    }

    #[test]
    fn random_fraction_is_within_bounds_and_not_constant() {
        let fractions: Vec<f64> = (0..100).map(|_| random_fraction()).collect();
        assert!(fractions.iter().all(|f| (0.0..=1.0).contains(f)));
        assert!(fractions.iter().any(|f| (f - fractions[0]).abs() > 1e-9));
    }
}
