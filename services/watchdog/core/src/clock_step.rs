//! Steps of the wall clock against the monotonic clock: a clock that was set, or a host that was suspended. They change
//! no decision and are reported.

use std::time::Duration;

use protocol::duration::format_ms;
use protocol::time::{ClockReading, UtcMs};

/// Smallest difference between two readings that counts as a step, in milliseconds. A corrected drift is far smaller.
const MIN_STEP_MS: i64 = 1_000;
/// Shortest time between two reports: a clock that is stepped all the time does not fill the journal.
const REPORT_INTERVAL: Duration = Duration::from_mins(10);

/// Compares successive readings of both clocks.
#[derive(Debug)]
pub struct ClockStepDetector {
    last: ClockReading,
    /// Sum of the steps that were not reported yet, in milliseconds.
    unreported_ms: i64,
    /// Time of the last report, by the monotonic clock in milliseconds.
    reported_at: Option<u64>,
}

impl ClockStepDetector {
    /// Starts with a reading. `last_record` is the time of the newest record in the journal: a time in the future means
    /// that the clock was set back since.
    pub fn new(now: ClockReading, last_record: Option<UtcMs>) -> Self {
        let ahead = last_record.map_or(0, |at| at.0.saturating_sub(now.utc.0));
        Self {
            last: now,
            unreported_ms: if ahead >= MIN_STEP_MS { -ahead } else { 0 },
            reported_at: None,
        }
    }

    /// Adds a reading. Returns the step in milliseconds that is to be reported, negative if the clock was set back.
    pub fn observe(&mut self, now: ClockReading) -> Option<i64> {
        let wall = now.utc.0.saturating_sub(self.last.utc.0);
        let passed = now.mono.saturating_sub(self.last.mono);
        let step = wall.saturating_sub(i64::try_from(passed).unwrap_or(i64::MAX));
        self.last = now;
        if step.saturating_abs() >= MIN_STEP_MS {
            self.unreported_ms = self.unreported_ms.saturating_add(step);
        }
        let is_due = self
            .reported_at
            .is_none_or(|at| Duration::from_millis(now.mono.saturating_sub(at)) >= REPORT_INTERVAL);
        if !is_due || self.unreported_ms.saturating_abs() < MIN_STEP_MS {
            return None;
        }
        self.reported_at = Some(now.mono);
        Some(std::mem::take(&mut self.unreported_ms))
    }
}

/// A step with its sign: `+2.5h`, `-3s`.
pub fn format_step(by_ms: i64) -> String {
    let sign = if by_ms < 0 { '-' } else { '+' };
    format!("{sign}{}", format_ms(by_ms.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn at(mono: u64, offset_ms: i64) -> ClockReading {
        let utc = UtcMs(1_700_000_000_000 + i64::try_from(mono).unwrap() + offset_ms);
        ClockReading { utc, mono }
    }

    #[test]
    fn step_of_the_wall_clock_is_reported_with_its_size() {
        for step in [-3_000, -HOUR_MS, HOUR_MS, -24 * HOUR_MS] {
            let mut detector = ClockStepDetector::new(at(0, 0), None);
            assert_eq!(detector.observe(at(1_000, 0)), None);
            assert_eq!(detector.observe(at(2_000, step)), Some(step));
            assert_eq!(detector.observe(at(3_000, step)), None, "once");
        }
    }

    #[test]
    fn corrected_drift_and_a_delayed_loop_are_no_steps() {
        let mut detector = ClockStepDetector::new(at(0, 0), None);
        for second in 1..10_000_i64 {
            let reading = at(u64::try_from(second).unwrap() * 1_000, second);
            assert_eq!(detector.observe(reading), None, "{second}");
        }
        assert_eq!(detector.observe(at(60_000_000, 10_000)), None);
    }

    #[test]
    fn clock_that_is_stepped_all_the_time_is_reported_every_ten_minutes() {
        let mut detector = ClockStepDetector::new(at(0, 0), None);
        let reports = (1..=3_600_u64).filter_map(|second| {
            detector.observe(at(second * 1_000, -3_000 * i64::try_from(second).unwrap()))
        });
        let reports: Vec<i64> = reports.collect();
        assert_eq!(reports.len(), 6, "{reports:?}");
        assert!(reports.iter().sum::<i64>() <= -3_000 * 3_000);
    }

    #[test]
    fn journal_record_from_the_future_is_a_clock_that_was_set_back() {
        let future = UtcMs(at(0, HOUR_MS).utc.0);
        let mut detector = ClockStepDetector::new(at(0, 0), Some(future));
        assert_eq!(detector.observe(at(1_000, 0)), Some(-HOUR_MS));
        let mut detector = ClockStepDetector::new(at(0, 0), Some(at(0, -HOUR_MS).utc));
        assert_eq!(detector.observe(at(1_000, 0)), None, "an old record");
    }
}
