//! How long to wait before the next start.

use std::time::Duration;

/// No delay is longer.
pub const CAP: Duration = Duration::from_hours(1);
/// Failures in a row that are still answered with a restart; one more is not.
pub const MOST_CONSECUTIVE: u32 = 10;
/// Part of a delay that jitter may add, in thousandths.
const JITTER: u32 = 200;

/// Delay before the restart that answers the `consecutive`-th failure in a row (the first is 1).
///
/// Doubles while the result is at most half of the cap, then it is the cap: 30 s, 1, 2, 4, 8 and
/// 16 minutes, 1 hour.
pub fn delay(base: Duration, consecutive: u32) -> Duration {
    let mut delay = base.min(CAP);
    for _ in 1..consecutive.min(64) {
        let doubled = delay * 2;
        delay = if doubled <= CAP / 2 { doubled } else { CAP };
    }
    delay
}

/// `delay` made up to a fifth longer by `chance` (thousandths), never beyond the cap.
pub fn jittered(delay: Duration, chance: u16) -> Duration {
    let share = u32::from(chance.min(999)) * JITTER;
    (delay + delay * share / 1_000_000).min(CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_table_holds_and_its_ten_delays_sum_to_4_h_31_m_30_s() {
        let delays: Vec<u64> = (1..=10)
            .map(|n| delay(Duration::from_secs(30), n).as_secs())
            .collect();
        assert_eq!(delays, [30, 60, 120, 240, 480, 960, 3600, 3600, 3600, 3600]);
        assert_eq!(delays.iter().sum::<u64>(), 4 * 3600 + 31 * 60 + 30);
    }

    #[test]
    fn any_base_starts_at_itself_and_never_passes_the_cap() {
        for (base, second) in [(0, 0), (1, 2), (900, 1800), (901, 3600), (3600, 3600)] {
            let base = Duration::from_secs(base);
            assert_eq!(delay(base, 1), base);
            assert_eq!(delay(base, 2).as_secs(), second, "{base:?}");
            assert!(delay(base, u32::MAX) <= CAP);
        }
    }

    #[test]
    fn jitter_adds_at_most_a_fifth() {
        let delay = Duration::from_mins(1);
        assert_eq!(jittered(delay, 0), delay);
        assert_eq!(jittered(delay, 500), Duration::from_secs(66));
        assert!(jittered(delay, 999) < Duration::from_secs(72));
        assert_eq!(jittered(CAP, 999), CAP);
    }
}
