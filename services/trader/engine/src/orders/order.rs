//! One order as we ask for it, and what we know became of it.

use std::fmt;

use protocol::event::Side;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use super::{ClientId, Fill};
use crate::book::ExitReason;
use crate::fixed::{Price, Qty};

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
pub enum Way {
    /// Buys.
    Buy,
    /// Sells.
    Sell,
}

impl Way {
    /// The way that opens a position of this side, or closes it.
    pub const fn of(side: Side, leg: Leg) -> Self {
        match (side, leg) {
            (Side::Long, Leg::Entry) | (Side::Short, Leg::Stop | Leg::Target | Leg::Exit) => {
                Self::Buy
            }
            (Side::Short, Leg::Entry) | (Side::Long, Leg::Stop | Leg::Target | Leg::Exit) => {
                Self::Sell
            }
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
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

impl fmt::Display for Kind {
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
    pub id: ClientId,
    /// What it is for.
    pub leg: Leg,
    /// Which attempt at that, from 0.
    pub attempt: u32,
    /// Which way.
    pub way: Way,
    /// What.
    pub kind: Kind,
    /// The exchange's time at which it was decided: the `timestamp` it is signed with.
    pub at: UtcMs,
    /// How long after that the exchange takes it, `recvWindow`, in milliseconds.
    pub window_ms: u32,
    /// Why the position is closed by it; only of an exit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<ExitReason>,
}

/// How long after an order's window one that the exchange does not know may still appear there, in
/// milliseconds.
const GRACE_MS: i64 = 2_000;

impl Order {
    /// Whether the exchange can no longer take it.
    pub fn is_past(&self, now: UtcMs) -> bool {
        now.0.saturating_sub(self.at.0) > i64::from(self.window_ms) + GRACE_MS
    }
}

/// What is known of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Recorded; being sent by who recorded it.
    Intended,
    /// It may be on the exchange or not: to be looked up until that is known.
    Unclear {
        /// Since when.
        since: UtcMs,
    },
    /// The exchange has it.
    Working,
    /// It has ended with this much filled.
    Done(Fill),
    /// It has ended, or never was, with nothing filled.
    Gone {
        /// The exchange's error code, if it refused it.
        code: Option<i64>,
    },
}

/// An order with its fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracked {
    /// As recorded.
    #[serde(flatten)]
    pub order: Order,
    /// What became of it.
    pub fate: Fate,
}

impl Tracked {
    /// What it filled.
    pub const fn fill(&self) -> Option<&Fill> {
        match &self.fate {
            Fate::Done(fill) => Some(fill),
            Fate::Intended | Fate::Unclear { .. } | Fate::Working | Fate::Gone { .. } => None,
        }
    }

    /// Whether nothing more can come of it.
    pub const fn is_over(&self) -> bool {
        matches!(self.fate, Fate::Done(_) | Fate::Gone { .. })
    }

    /// Whether it may be on the exchange or not.
    pub const fn is_unclear(&self) -> bool {
        matches!(self.fate, Fate::Unclear { .. })
    }
}
