//! The seven circuit breakers: names and limits. Daily loss and drawdown are evaluated in [`account`](crate::account),
//! position loss and consecutive losses in [`book`](crate::book), volatility in
//! [`volatility_breaker`](crate::volatility_breaker). Stale data and exchange errors are evaluated by the trader process and
//! recorded by [`book`](crate::book).

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// A circuit breaker by its name. All breakers are always active; a breaker that cannot be evaluated counts as tripped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breaker {
    /// Account: equity more than 5 % below the peak of the UTC day. Closes all positions and latches the account.
    DailyLoss,
    /// Account: equity more than 15 % below its peak. Closes all positions and latches the account.
    Drawdown,
    /// Book: a position lost more than 3 % of the book's equity. Closes that position.
    PositionLoss,
    /// Book: a 30-minute return more than 3 standard deviations from the mean. Halves new sizes until it is below 2.
    Volatility,
    /// Book: 5 losses in a row. Locks entries for an hour.
    ConsecutiveLosses,
    /// Book: no closed candle for 3 intervals and 10 s. Blocks entries until candles arrive again. The exchange's time
    /// counts, and the own clock while the exchange sends none.
    StaleData,
    /// Book: 5 failed calls to the exchange in a row, or 10 in a minute that are half of all. Blocks entries until fewer
    /// fail.
    ExchangeErrors,
}

/// Largest fall of the equity from the day's peak, as a share.
pub const DAILY_LOSS: Decimal = Decimal::from_parts(5, 0, 0, false, 2);
/// Largest fall of the equity from its peak, as a share.
pub const DRAWDOWN: Decimal = Decimal::from_parts(15, 0, 0, false, 2);
/// Largest loss of one position, as a share of the book's equity.
pub const POSITION_LOSS: Decimal = Decimal::from_parts(3, 0, 0, false, 2);
/// Failed calls in a row at which the exchange-errors breaker trips.
pub const EXCHANGE_ERRORS: u64 = 5;

impl Breaker {
    /// All breakers: those of accounts first.
    pub const ALL: [Self; 7] = [
        Self::DailyLoss,
        Self::Drawdown,
        Self::PositionLoss,
        Self::Volatility,
        Self::ConsecutiveLosses,
        Self::StaleData,
        Self::ExchangeErrors,
    ];

    /// Whether the breaker is of the account: it closes all positions and latches the account.
    pub const fn is_of_account(self) -> bool {
        matches!(self, Self::DailyLoss | Self::Drawdown)
    }

    /// Name in records, notifications and metrics.
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
