//! One order as journaled before submission, and its known status.

use std::fmt;

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use super::{ClientOrderId, Fill, Leg, OrderSide};
use crate::book::ExitReason;
use crate::fixed_point::{Price, Qty};

/// Type of an order, with its quantity or price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderType {
    /// Trades this quantity at the market. An exit is sent as reduce-only.
    Market {
        /// Quantity in base units.
        quantity: Qty,
    },
    /// Closes the whole position at the market once the last price reaches the trigger.
    Trigger {
        /// Trigger price in the quote currency.
        price: Price,
    },
}

impl fmt::Display for OrderType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Market { quantity } => write!(f, "{quantity} at the market"),
            Self::Trigger { price } => write!(f, "close the position at {price}"),
        }
    }
}

/// An order as journaled before submission. Its timestamp is fixed, so that the exchange rejects a late submission
/// through `recvWindow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Id by which the exchange and the journal know the order.
    pub client_order_id: ClientOrderId,
    /// Role for the position.
    pub leg: Leg,
    /// Number of the attempt for this leg, from 0.
    pub attempt: u32,
    /// Direction of the order: buy or sell.
    pub side: OrderSide,
    /// Market or trigger, with quantity or price.
    pub order_type: OrderType,
    /// Exchange time of the decision: the `timestamp` with which the order is signed.
    pub at: UtcMs,
    /// Time in milliseconds after `at` in which the exchange accepts the order: `recvWindow`.
    pub recv_window_ms: u32,
    /// Reason for which an exit closes the position; `None` for other legs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<ExitReason>,
}

/// Time in milliseconds after the end of `recvWindow` in which an order may still appear on the exchange.
const ARRIVAL_GRACE_MS: i64 = 2_000;

impl Order {
    /// Whether the exchange can no longer accept the order.
    pub fn is_expired(&self, now: UtcMs) -> bool {
        now.0.saturating_sub(self.at.0) > i64::from(self.recv_window_ms) + ARRIVAL_GRACE_MS
    }
}

/// Known status of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Journaled; the process that journaled it submits it.
    Intended,
    /// Possibly on the exchange: queried until the outcome is known.
    OutcomeUnknown {
        /// Time since which the outcome is unknown.
        since: UtcMs,
    },
    /// Accepted by the exchange.
    Accepted,
    /// Ended with a fill, complete or partial.
    Filled(Fill),
    /// Ended without a fill, or never reached the exchange.
    ClosedUnfilled {
        /// Error code of the exchange; `None` if the exchange did not reject the order.
        code: Option<i64>,
        /// Exchange time at which the order was found canceled; `None` if it ended otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        canceled_at: Option<UtcMs>,
    },
}

/// An order with its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedOrder {
    /// The order as journaled.
    #[serde(flatten)]
    pub order: Order,
    /// Newest status that is known of the order.
    pub status: OrderStatus,
}

impl TrackedOrder {
    /// The fill; `None` unless the order has ended with one.
    pub const fn fill(&self) -> Option<&Fill> {
        match &self.status {
            OrderStatus::Filled(fill) => Some(fill),
            OrderStatus::Intended
            | OrderStatus::OutcomeUnknown { .. }
            | OrderStatus::Accepted
            | OrderStatus::ClosedUnfilled { .. } => None,
        }
    }

    /// Whether the order has ended.
    pub const fn is_final(&self) -> bool {
        matches!(
            self.status,
            OrderStatus::Filled(_) | OrderStatus::ClosedUnfilled { .. }
        )
    }

    /// Whether the order ended without a fill, a rejection and a cancellation. It may appear after all.
    pub const fn is_lost(&self) -> bool {
        matches!(
            self.status,
            OrderStatus::ClosedUnfilled {
                code: None,
                canceled_at: None
            }
        )
    }

    /// Exchange time at which the order was found canceled; `None` if it was not.
    pub const fn canceled_at(&self) -> Option<UtcMs> {
        match self.status {
            OrderStatus::ClosedUnfilled { canceled_at, .. } => canceled_at,
            OrderStatus::Intended
            | OrderStatus::OutcomeUnknown { .. }
            | OrderStatus::Accepted
            | OrderStatus::Filled(_) => None,
        }
    }

    /// Whether it is unknown if the order is on the exchange.
    pub const fn is_outcome_unknown(&self) -> bool {
        matches!(self.status, OrderStatus::OutcomeUnknown { .. })
    }
}
