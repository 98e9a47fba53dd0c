//! What the exchange says, in our words.

use std::fmt;

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::fixed_point::{Price, Qty};

/// What an order filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// In base units; more than zero.
    pub quantity: Qty,
    /// Mean price, rounded to 1e-8.
    pub price: Price,
    /// Time of the last trade, the exchange's.
    pub at: UtcMs,
    /// Fee and profit by the exchange's own count; none while its trades were not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<FillCosts>,
}

/// What an order's trades cost and brought, in the quote currency, to the last digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillCosts {
    /// Fees paid.
    pub fee: Decimal,
    /// Profit realised, before fees.
    pub realized_pnl: Decimal,
}

/// An order as the exchange has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionReport {
    /// Whether it can still fill.
    pub is_open: bool,
    /// What it filled so far, if anything.
    pub fill: Option<Fill>,
}

/// What came of a call about one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderCallOutcome {
    /// The exchange has it.
    Reported(ExecutionReport),
    /// The exchange refused it: it was not executed and will not be.
    Rejected {
        /// Its error code.
        code: i64,
        /// Its words, one line.
        reason: String,
    },
    /// Sent, and no clear answer.
    Unknown {
        /// What happened instead, one line.
        error: String,
    },
    /// Neither orders nor trades of the exchange know it.
    NotFound,
}

impl fmt::Display for OrderCallOutcome {
    /// For a log: in words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported(ExecutionReport {
                fill: Some(fill), ..
            }) => write!(f, "filled {} at {}", fill.quantity, fill.price),
            Self::Reported(ExecutionReport { is_open: true, .. }) => f.write_str("taken"),
            Self::Reported(ExecutionReport { .. }) => f.write_str("ended unfilled"),
            Self::Rejected { code, reason: why } => write!(f, "refused: {why} ({code})"),
            Self::Unknown { error: why } => write!(f, "unclear: {why}"),
            Self::NotFound => f.write_str("not known there"),
        }
    }
}

/// A payment that no order made: funding, or what a liquidation cost beside its trade. Positive is paid,
/// negative received, in the quote currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FundingPayment {
    /// When, the exchange's time.
    pub at: UtcMs,
    /// How much.
    pub amount: Decimal,
}

/// An order that rests on the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOrder {
    /// The id its sender gave it.
    pub client_order_id: String,
    /// The exchange's own id.
    pub exchange_order_id: i64,
    /// Whether it is in the algo service.
    pub is_conditional: bool,
}

/// One symbol as the exchange has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeView {
    /// Base units, positive long, negative short.
    pub position: Decimal,
    /// All that rests, ours and others'.
    pub open_orders: Vec<OpenOrder>,
}
