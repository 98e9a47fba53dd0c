//! Candle intervals of the exchange. Calendar intervals (3d, 1w, 1M) are not offered.

use std::fmt;

/// One minute in milliseconds.
pub const MINUTE_MS: i64 = 60_000;

/// A candle interval, named as at Binance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Interval {
    /// One minute.
    M1,
    /// Three minutes.
    M3,
    /// Five minutes.
    M5,
    /// Fifteen minutes.
    M15,
    /// Thirty minutes.
    M30,
    /// One hour.
    H1,
    /// Two hours.
    H2,
    /// Four hours.
    H4,
    /// Six hours.
    H6,
    /// Eight hours.
    H8,
    /// Twelve hours.
    H12,
    /// One day, from midnight UTC.
    D1,
}

impl Interval {
    /// All intervals, shortest first.
    pub const ALL: [Self; 12] = [
        Self::M1,
        Self::M3,
        Self::M5,
        Self::M15,
        Self::M30,
        Self::H1,
        Self::H2,
        Self::H4,
        Self::H6,
        Self::H8,
        Self::H12,
        Self::D1,
    ];

    /// Intervals that a candle file may have.
    pub const RECORDED: [Self; 5] = [Self::M1, Self::M3, Self::M5, Self::M15, Self::M30];

    /// Name at Binance, such as `30m`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::M1 => "1m",
            Self::M3 => "3m",
            Self::M5 => "5m",
            Self::M15 => "15m",
            Self::M30 => "30m",
            Self::H1 => "1h",
            Self::H2 => "2h",
            Self::H4 => "4h",
            Self::H6 => "6h",
            Self::H8 => "8h",
            Self::H12 => "12h",
            Self::D1 => "1d",
        }
    }

    /// Length in milliseconds. Each length divides a day, so that buckets start at multiples of the length since the epoch.
    pub const fn ms(self) -> i64 {
        MINUTE_MS
            * match self {
                Self::M1 => 1,
                Self::M3 => 3,
                Self::M5 => 5,
                Self::M15 => 15,
                Self::M30 => 30,
                Self::H1 => 60,
                Self::H2 => 120,
                Self::H4 => 240,
                Self::H6 => 360,
                Self::H8 => 480,
                Self::H12 => 720,
                Self::D1 => 1_440,
            }
    }

    /// The interval of this name; `None` if there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|i| i.name() == name)
    }

    /// Start of the bucket that contains `time_ms`.
    pub const fn bucket(self, time_ms: i64) -> i64 {
        time_ms - time_ms.rem_euclid(self.ms())
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
