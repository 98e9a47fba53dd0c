//! Why a position was closed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Reason for which a position was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// The price reached the stop.
    Stop,
    /// The price reached the target.
    Target,
    /// The position-loss breaker tripped.
    PositionLoss,
    /// An account breaker or the operator latched the account.
    AccountLatched,
    /// The exchange rejected every stop order for the position.
    Unprotected,
    /// An external order or a liquidation closed the position on the exchange.
    External,
}

impl fmt::Display for ExitReason {
    /// Writes the reason as text for logs and notifications.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Target => "target",
            Self::PositionLoss => "position loss",
            Self::AccountLatched => "account latched",
            Self::Unprotected => "no stop order accepted",
            Self::External => "closed externally on the exchange",
        })
    }
}
