//! A closed candle and its interval.

use std::fmt;
use std::str::FromStr;

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::fixed_point::Price;

/// Intervals of candles and bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Interval {
    /// One minute: the base interval of trading.
    #[serde(rename = "1m")]
    M1,
    /// Three minutes.
    #[serde(rename = "3m")]
    M3,
    /// Five minutes.
    #[serde(rename = "5m")]
    M5,
    /// Fifteen minutes.
    #[serde(rename = "15m")]
    M15,
    /// Thirty minutes: the interval at which strategies are evaluated.
    #[serde(rename = "30m")]
    M30,
    /// One hour.
    #[serde(rename = "1h")]
    H1,
    /// Four hours.
    #[serde(rename = "4h")]
    H4,
}

/// A text that is not an [`Interval`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid interval {0:?}: expected 1m, 3m, 5m, 15m, 30m, 1h or 4h")]
pub struct InvalidInterval(String);

impl Interval {
    /// All intervals, shortest first.
    pub const ALL: [Self; 7] = [
        Self::M1,
        Self::M3,
        Self::M5,
        Self::M15,
        Self::M30,
        Self::H1,
        Self::H4,
    ];

    /// Length of the interval, in milliseconds.
    pub const fn millis(self) -> i64 {
        let minutes = match self {
            Self::M1 => 1,
            Self::M3 => 3,
            Self::M5 => 5,
            Self::M15 => 15,
            Self::M30 => 30,
            Self::H1 => 60,
            Self::H4 => 240,
        };
        minutes * 60_000
    }

    /// Name on the exchange.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::M1 => "1m",
            Self::M3 => "3m",
            Self::M5 => "5m",
            Self::M15 => "15m",
            Self::M30 => "30m",
            Self::H1 => "1h",
            Self::H4 => "4h",
        }
    }

    /// Open time of the candle that contains `at`.
    pub const fn open_of(self, at: UtcMs) -> UtcMs {
        UtcMs(at.0.saturating_sub(at.0.rem_euclid(self.millis())))
    }

    /// Close time of the candle that opens at `open_time`: the open time of the next candle. Binance's `closeTime` is one
    /// millisecond less.
    pub const fn close_of(self, open_time: UtcMs) -> UtcMs {
        UtcMs(open_time.0.saturating_add(self.millis()))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Interval {
    type Err = InvalidInterval;

    fn from_str(text: &str) -> Result<Self, InvalidInterval> {
        Self::ALL
            .into_iter()
            .find(|interval| interval.as_str() == text)
            .ok_or_else(|| InvalidInterval(text.to_owned()))
    }
}

/// A closed candle with prices in the quote currency. [`Candle::new`] checks it; the interval is known from the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Candle {
    /// Time at which the candle began.
    pub open_time: UtcMs,
    /// First price of the interval.
    pub open: Price,
    /// Highest price of the interval.
    pub high: Price,
    /// Lowest price of the interval.
    pub low: Price,
    /// Last price of the interval.
    pub close: Price,
}

/// Numbers that do not make a valid candle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCandle {
    /// A price is zero or negative.
    #[error("candle {open_time}: {field} is {value}: expected more than 0")]
    NotPositive {
        /// Open time of the candle.
        open_time: UtcMs,
        /// Name of the price.
        field: &'static str,
        /// Value of the price.
        value: Price,
    },
    /// The high is below open or close.
    #[error("candle {open_time}: high is {high}: expected at least open and close, {least}")]
    HighTooLow {
        /// Open time of the candle.
        open_time: UtcMs,
        /// Value of the price.
        high: Price,
        /// The larger of open and close.
        least: Price,
    },
    /// The low is above open or close.
    #[error("candle {open_time}: low is {low}: expected at most open and close, {most}")]
    LowTooHigh {
        /// Open time of the candle.
        open_time: UtcMs,
        /// Value of the price.
        low: Price,
        /// The smaller of open and close.
        most: Price,
    },
    /// The open time is off the grid of the interval.
    #[error("candle {open_time}: invalid open time: expected a multiple of {interval}")]
    NotAligned {
        /// Open time of the candle.
        open_time: UtcMs,
        /// Interval of the candle.
        interval: Interval,
    },
}

impl Candle {
    /// A candle of `interval`, checked.
    ///
    /// # Errors
    /// [`InvalidCandle`] for the first rule that is broken.
    pub fn new(
        interval: Interval,
        open_time: UtcMs,
        open: Price,
        high: Price,
        low: Price,
        close: Price,
    ) -> Result<Self, InvalidCandle> {
        if interval.open_of(open_time) != open_time {
            return Err(InvalidCandle::NotAligned {
                open_time,
                interval,
            });
        }
        for (field, value) in [
            ("open", open),
            ("high", high),
            ("low", low),
            ("close", close),
        ] {
            if value <= Price::ZERO {
                return Err(InvalidCandle::NotPositive {
                    open_time,
                    field,
                    value,
                });
            }
        }
        let (least, most) = (open.max(close), open.min(close));
        if high < least {
            return Err(InvalidCandle::HighTooLow {
                open_time,
                high,
                least,
            });
        }
        if low > most {
            return Err(InvalidCandle::LowTooHigh {
                open_time,
                low,
                most,
            });
        }
        Ok(Self {
            open_time,
            open,
            high,
            low,
            close,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candle(at: i64, prices: [i64; 4]) -> Result<Candle, InvalidCandle> {
        let [open, high, low, close] = prices.map(Price::from_units);
        Candle::new(Interval::M1, UtcMs(at), open, high, low, close)
    }

    #[test]
    fn the_smallest_candle_is_a_single_price() {
        assert!(candle(0, [1, 1, 1, 1]).is_ok());
        assert!(candle(60_000, [2, 3, 1, 2]).is_ok());
        assert!(candle(-60_000, [2, 3, 1, 2]).is_ok());
    }

    #[test]
    fn invalid_candle_is_rejected_with_the_broken_rule() {
        let cases = [
            (1, [2, 3, 1, 2], "a multiple of 1m"),
            (0, [0, 3, 1, 2], "open is 0"),
            (0, [2, 3, -1, 2], "low is -0.00000001"),
            (0, [4, 3, 1, 2], "high is 0.00000003"),
            (0, [2, 3, 1, 4], "at least open and close, 0.00000004"),
            (0, [2, 3, 3, 3], "low is 0.00000003"),
            (0, [3, 3, 3, 2], "at most open and close, 0.00000002"),
        ];
        for (at, prices, text) in cases {
            let refused = candle(at, prices).unwrap_err().to_string();
            assert!(refused.contains(text), "{refused} lacks {text}");
        }
    }

    #[test]
    fn intervals_read_back_and_align_on_both_sides_of_the_epoch() {
        for interval in Interval::ALL {
            assert_eq!(interval.as_str().parse(), Ok(interval));
            let ms = interval.millis();
            for (at, open) in [(0, 0), (ms - 1, 0), (ms, ms), (-1, -ms)] {
                assert_eq!(interval.open_of(UtcMs(at)), UtcMs(open), "{interval} {at}");
            }
            assert_eq!(interval.close_of(UtcMs(0)), UtcMs(ms));
        }
        assert!("2m".parse::<Interval>().is_err());
        let _ = Interval::H4.open_of(UtcMs(i64::MIN));
    }
}
