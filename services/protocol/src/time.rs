//! Points in time in messages and cores: [`UtcMs`] and [`ClockReading`]. Nothing here reads a clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UtcMs(pub i64);

impl UtcMs {
    /// The point in time `span` later, saturating.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// Time since `earlier`; zero if `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.millis_since(earlier))
    }

    /// Time since `earlier` in milliseconds; zero if `earlier` is not earlier.
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl fmt::Display for UtcMs {
    /// RFC 3339 with milliseconds; the number of milliseconds outside the calendar.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// One instant by two clocks of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// Wall clock, for records and messages. May jump.
    pub utc: UtcMs,
    /// Monotonic clock in milliseconds since an arbitrary start within the process.
    pub mono: u64,
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utc_ms_prints_as_rfc_3339_also_beyond_the_calendar() {
        assert_eq!(
            UtcMs(1_640_991_660_000).to_string(),
            "2021-12-31T23:01:00.000Z"
        );
        assert_eq!(UtcMs(i64::MAX).to_string(), "9223372036854775807ms");
    }

    #[test]
    fn utc_ms_since_is_never_negative() {
        assert_eq!(UtcMs(5).since(UtcMs(2)), Duration::from_millis(3));
        assert_eq!(UtcMs(2).since(UtcMs(5)), Duration::ZERO);
        assert_eq!(UtcMs(i64::MAX).plus(Duration::MAX), UtcMs(i64::MAX));
    }
}
