//! What the exchange reports about orders, trades and positions.

use std::fmt;

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::fixed_point::{Price, Qty};

/// Fill of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Filled quantity in base units; more than zero.
    pub quantity: Qty,
    /// Mean price in the quote currency, rounded to 1e-8.
    pub price: Price,
    /// Exchange time of the last trade.
    pub at: UtcMs,
    /// Fee and profit as the exchange reports them; `None` until the order's trades have been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<FillCosts>,
}

/// Fees and realized profit of an order's trades, exact, in the quote currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillCosts {
    /// Fees of all trades of the order.
    pub fee: Decimal,
    /// Realized profit before fees; negative for a loss.
    pub realized_pnl: Decimal,
}

/// State of an order on the exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionReport {
    /// Whether the order can still fill.
    pub is_open: bool,
    /// The fill so far; `None` if nothing was filled.
    pub fill: Option<Fill>,
}

/// Outcome of a call about one order: a submission, a cancellation or a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderCallOutcome {
    /// The exchange knows the order.
    Reported(ExecutionReport),
    /// The exchange rejected the order: it was not executed and will not be.
    Rejected {
        /// Error code of the exchange.
        code: i64,
        /// Error text of the exchange, in one line.
        reason: String,
    },
    /// The call was sent, and its outcome is unknown.
    Unknown {
        /// What happened instead of an answer, in one line.
        error: String,
    },
    /// The exchange has neither the order nor one of its trades.
    NotFound,
}

impl fmt::Display for OrderCallOutcome {
    /// Writes the outcome as text for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported(ExecutionReport {
                fill: Some(fill), ..
            }) => write!(f, "filled {} at {}", fill.quantity, fill.price),
            Self::Reported(ExecutionReport { is_open: true, .. }) => f.write_str("accepted"),
            Self::Reported(ExecutionReport { .. }) => f.write_str("ended without a fill"),
            Self::Rejected { code, reason } => write!(f, "rejected: {reason} ({code})"),
            Self::Unknown { error } => write!(f, "outcome unknown: {error}"),
            Self::NotFound => f.write_str("unknown to the exchange"),
        }
    }
}

/// A cash flow not caused by an order: funding, or the liquidation fee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FundingPayment {
    /// Exchange time of the cash flow.
    pub at: UtcMs,
    /// Amount in the quote currency: positive paid, negative received.
    pub amount: Decimal,
}

/// An open order on the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrder {
    /// Client order id as text: it may belong to another program.
    pub client_order_id: String,
    /// Id that the exchange assigned.
    pub exchange_order_id: i64,
    /// Whether it is a conditional order.
    pub is_conditional: bool,
}

/// Position and open orders of one symbol on the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeView {
    /// Position in base units: positive long, negative short.
    pub position: Decimal,
    /// All open orders, external ones included.
    pub open_orders: Vec<OpenOrder>,
}
