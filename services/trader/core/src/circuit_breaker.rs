//! The seven circuit breakers: their names, and what each is about and does. Where each is evaluated:
//! `entry_permission` (daily loss, drawdown), `book` (position loss, losses in a row), `volatility_breaker`
//! (volatility), and the body, which alone knows of stale data and of the exchange's errors.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// A circuit breaker by its name. All are armed from the start; one that cannot be evaluated counts
/// as tripped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// Account, critical: equity more than 5 % under the UTC day's peak. Closes everything and latches.
    DailyLoss,
    /// Account, critical: equity more than 15 % under its peak. Closes everything and latches.
    Drawdown,
    /// Book: a position that lost more than 3 % of the slice's equity. Closes that position.
    PositionLoss,
    /// Book: a 30m return more than 3 deviations out. Halves new sizes until under 2.
    Volatility,
    /// Book: 5 losses in a row. No entries for an hour.
    ConsecutiveLosses,
    /// Book: no closed candle for 3 intervals and 10 s. No entries until they come again.
    StaleData,
    /// Adapter: 5 errors in a row. No entries until a call succeeds.
    ExchangeErrors,
}

/// Equity may fall so far under the day's peak.
pub const DAILY_LOSS: Decimal = Decimal::from_parts(5, 0, 0, false, 2);
/// Equity may fall so far under its peak.
pub const DRAWDOWN: Decimal = Decimal::from_parts(15, 0, 0, false, 2);
/// One position may lose so much of the slice's equity.
pub const POSITION_LOSS: Decimal = Decimal::from_parts(3, 0, 0, false, 2);
/// Errors of the exchange in a row.
pub const EXCHANGE_ERRORS: u64 = 5;

impl Breaker {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::DailyLoss,
        Self::Drawdown,
        Self::PositionLoss,
        Self::Volatility,
        Self::ConsecutiveLosses,
        Self::StaleData,
        Self::ExchangeErrors,
    ];

    /// Its name in records, messages and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DailyLoss => "daily_loss",
            Self::Drawdown => "drawdown",
            Self::PositionLoss => "position_loss",
            Self::Volatility => "volatility",
            Self::ConsecutiveLosses => "consecutive_losses",
            Self::StaleData => "stale_data",
            Self::ExchangeErrors => "exchange_errors",
        }
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
