//! Faults of API keys and of candles, as they are armed.

use serde::{Deserialize, Serialize};

use crate::interval::Interval;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeKey {
    pub(crate) key: String,
    pub(crate) on: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MissingCandle {
    pub(crate) symbol: String,
    pub(crate) interval: String,
    /// First open time, UTC ms; `None` for the open candle.
    pub(crate) from: Option<i64>,
    /// Number of candles; zero restores all.
    pub(crate) count: u32,
}

impl MissingCandle {
    /// Whether the candle is withheld.
    pub(super) fn hides(&self, symbol: &str, interval: Interval, open_time: i64) -> bool {
        let Some(from) = self.from else {
            return false;
        };
        let end = from.saturating_add(i64::from(self.count) * interval.ms());
        self.symbol == symbol
            && Interval::from_name(&self.interval) == Some(interval)
            && (from..end).contains(&open_time)
    }
}
