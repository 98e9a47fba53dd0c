//! Delays before restarts: exponential backoff with a maximum and optional jitter.

use std::time::Duration;

/// Longest delay before a restart, however many failures came before it.
pub const MAX_DELAY: Duration = Duration::from_hours(1);
/// Failures in a row that are answered with a restart. The next one is answered with a quarantine.
pub const MAX_CONSECUTIVE_FAILURES: u32 = 10;
/// Longest extension by jitter, in thousandths of the delay.
const MAX_JITTER: u32 = 200;

/// Delay before the restart after the `consecutive_failures`-th failure in a row (the first is 1).
///
/// The delay doubles while the result is at most half of the maximum, then it is the maximum: 30 s, 1, 2, 4, 8 and 16
/// minutes, 1 hour.
pub fn delay(base: Duration, consecutive_failures: u32) -> Duration {
    let mut delay = base.min(MAX_DELAY);
    for _ in 1..consecutive_failures.min(64) {
        let doubled = delay * 2;
        delay = if doubled <= MAX_DELAY / 2 {
            doubled
        } else {
            MAX_DELAY
        };
    }
    delay
}

/// `delay` extended by up to a fifth, by `random` in thousandths, up to the maximum.
pub fn jittered(delay: Duration, random: u16) -> Duration {
    let extra = u32::from(random.min(999)) * MAX_JITTER;
    (delay + delay * extra / 1_000_000).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_follows_the_specified_table_of_ten_delays() {
        let delays: Vec<u64> = (1..=10)
            .map(|n| delay(Duration::from_secs(30), n).as_secs())
            .collect();
        assert_eq!(delays, [30, 60, 120, 240, 480, 960, 3600, 3600, 3600, 3600]);
        assert_eq!(delays.iter().sum::<u64>(), 4 * 3600 + 31 * 60 + 30);
    }

    #[test]
    fn backoff_starts_at_the_base_delay_and_never_exceeds_the_maximum() {
        for (base, second) in [(0, 0), (1, 2), (900, 1800), (901, 3600), (3600, 3600)] {
            let base = Duration::from_secs(base);
            assert_eq!(delay(base, 1), base);
            assert_eq!(delay(base, 2).as_secs(), second, "{base:?}");
            assert!(delay(base, u32::MAX) <= MAX_DELAY);
        }
    }

    #[test]
    fn jitter_adds_at_most_a_fifth() {
        let delay = Duration::from_mins(1);
        assert_eq!(jittered(delay, 0), delay);
        assert_eq!(jittered(delay, 500), Duration::from_secs(66));
        assert!(jittered(delay, 999) < Duration::from_secs(72));
        assert_eq!(jittered(MAX_DELAY, 999), MAX_DELAY);
    }
}
