//! Clocks of the process. No other module reads the wall clock; cores receive time with each input.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocol::time::{ClockReading, UtcMs};

use crate::failpoint;

/// Wall-clock time now, UTC.
pub fn now() -> UtcMs {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let now = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
    UtcMs(now.saturating_add(failpoint::clock_offset_ms()))
}

/// Wall clock and monotonic clock of a process, whose monotonic zero is the start of this clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the monotonic clock at zero.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Reads the wall clock and the monotonic clock, both in milliseconds.
    pub fn read(&self) -> ClockReading {
        ClockReading {
            utc: now(),
            mono: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Instant at which the monotonic clock shows this many milliseconds.
    pub fn instant_at(&self, mono: u64) -> Instant {
        self.start + Duration::from_millis(mono)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_reading_names_the_instant_it_was_made_at() {
        let clock = Clock::start();
        let before = Instant::now();
        let reading = clock.read();
        let named = clock.instant_at(reading.mono);
        assert!(named + Duration::from_millis(1) >= before && named <= Instant::now());
    }
}
