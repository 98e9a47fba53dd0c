//! One order as we ask for it, and what we know became of it.

use std::fmt;

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use super::{ClientOrderId, Fill};
use crate::book::ExitReason;
use crate::fixed_point::{Price, Qty};

/// What an order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// Opens the position.
    Entry,
    /// Rests on the exchange, takes the loss.
    Stop,
    /// Rests on the exchange, takes the profit.
    Target,
    /// Closes the position now.
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

    /// Its name in logs and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Stop => "stop",
            Self::Target => "target",
            Self::Exit => "exit",
        }
    }

    /// Whether it rests in the algo service until a price triggers it.
    pub const fn is_conditional(self) -> bool {
        matches!(self, Self::Stop | Self::Target)
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way an order trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderSide {
    /// Buys.
    Buy,
    /// Sells.
    Sell,
}

impl OrderSide {
    /// The way that opens a position of this side, or closes it.
    pub const fn for_leg(side: PositionSide, leg: Leg) -> Self {
        match (side, leg) {
            (PositionSide::Long, Leg::Entry)
            | (PositionSide::Short, Leg::Stop | Leg::Target | Leg::Exit) => Self::Buy,
            (PositionSide::Short, Leg::Entry)
            | (PositionSide::Long, Leg::Stop | Leg::Target | Leg::Exit) => Self::Sell,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderType {
    /// This much at the market; an entry may open, an exit only reduce.
    Market {
        /// In base units.
        quantity: Qty,
    },
    /// Closes the whole position at the market once the last price reaches this.
    Trigger {
        /// The price.
        price: Price,
    },
}

impl fmt::Display for OrderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Market { quantity } => write!(f, "{quantity} at the market"),
            Self::Trigger { price } => write!(f, "all of it at {price}"),
        }
    }
}

/// An order as it is recorded before it is sent. Nothing in it is renewed: sent late, the exchange
/// refuses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Ours.
    pub client_order_id: ClientOrderId,
    /// What it is for.
    pub leg: Leg,
    /// Which attempt at that, from 0.
    pub attempt: u32,
    /// Which way.
    pub side: OrderSide,
    /// What.
    pub order_type: OrderType,
    /// The exchange's time at which it was decided: the `timestamp` it is signed with.
    pub at: UtcMs,
    /// How long after that the exchange takes it, `recvWindow`, in milliseconds.
    pub recv_window_ms: u32,
    /// Why the position is closed by it; only of an exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ExitReason>,
}

/// How long after an order's window one that the exchange does not know may still appear there, in
/// milliseconds.
const ARRIVAL_GRACE_MS: i64 = 2_000;

impl Order {
    /// Whether the exchange can no longer take it.
    pub fn is_expired(&self, now: UtcMs) -> bool {
        now.0.saturating_sub(self.at.0) > i64::from(self.recv_window_ms) + ARRIVAL_GRACE_MS
    }
}

/// What is known of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Recorded; being sent by who recorded it.
    Intended,
    /// It may be on the exchange or not: to be looked up until that is known.
    OutcomeUnknown {
        /// Since when.
        since: UtcMs,
    },
    /// The exchange has it.
    Accepted,
    /// It has ended with this much filled.
    Filled(Fill),
    /// It has ended, or never was, with nothing filled.
    ClosedUnfilled {
        /// The exchange's error code, if it refused it.
        code: Option<i64>,
    },
}

/// An order with its fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedOrder {
    /// As recorded.
    #[serde(flatten)]
    pub order: Order,
    /// What became of it.
    pub status: OrderStatus,
}

impl TrackedOrder {
    /// What it filled.
    pub const fn fill(&self) -> Option<&Fill> {
        match &self.status {
            OrderStatus::Filled(fill) => Some(fill),
            OrderStatus::Intended
            | OrderStatus::OutcomeUnknown { .. }
            | OrderStatus::Accepted
            | OrderStatus::ClosedUnfilled { .. } => None,
        }
    }

    /// Whether nothing more can come of it.
    pub const fn is_final(&self) -> bool {
        matches!(
            self.status,
            OrderStatus::Filled(_) | OrderStatus::ClosedUnfilled { .. }
        )
    }

    /// Whether it may be on the exchange or not.
    pub const fn is_outcome_unknown(&self) -> bool {
        matches!(self.status, OrderStatus::OutcomeUnknown { .. })
    }
}
