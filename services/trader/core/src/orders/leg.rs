//! The role of an order for its position, and the side that follows from it.

use std::fmt;

use protocol::event::PositionSide;
use serde::{Deserialize, Serialize};

/// Role of an order for its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// Opens the position at the market.
    Entry,
    /// Rests on the exchange; closes the position with a loss.
    Stop,
    /// Rests on the exchange; closes the position with a profit.
    Target,
    /// Closes the position at the market.
    Exit,
}

impl Leg {
    pub(super) const fn letter(self) -> char {
        match self {
            Self::Entry => 'e',
            Self::Stop => 's',
            Self::Target => 't',
            Self::Exit => 'x',
        }
    }

    /// Name in logs and notifications.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Stop => "stop",
            Self::Target => "target",
            Self::Exit => "exit",
        }
    }

    /// Whether the order rests in the exchange's service for conditional orders until a price triggers it.
    pub const fn is_conditional(self) -> bool {
        matches!(self, Self::Stop | Self::Target)
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Side of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderSide {
    /// Buys the base asset.
    Buy,
    /// Sells the base asset.
    Sell,
}

impl OrderSide {
    /// The side of an order with this leg for a position of this side.
    pub const fn for_leg(side: PositionSide, leg: Leg) -> Self {
        match (side, leg) {
            (PositionSide::Long, Leg::Entry)
            | (PositionSide::Short, Leg::Stop | Leg::Target | Leg::Exit) => Self::Buy,
            (PositionSide::Short, Leg::Entry)
            | (PositionSide::Long, Leg::Stop | Leg::Target | Leg::Exit) => Self::Sell,
        }
    }
}
