//! What the exchange reports about orders, trades and positions.

use std::fmt;

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::OrderSide;
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
    /// The exchange's id of the order, by which its trades are read; `None` if the exchange has not named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_order_id: Option<i64>,
    /// Fee and profit as the exchange reports them; `None` until the order's trades have been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<FillCosts>,
}

/// Fees and realized profit of an order's trades, exact, in the quote currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillCosts {
    /// Fees of all trades of the order, also of those paid in another asset.
    pub fee: Decimal,
    /// The part of `fee` that was paid in another asset: its value when the trades were made. The balance in the quote
    /// currency does not show it.
    #[serde(default, skip_serializing_if = "Decimal::is_zero")]
    pub fee_in_other_assets: Decimal,
    /// Realized profit before fees; negative for a loss.
    pub realized_pnl: Decimal,
}

impl FillCosts {
    /// Change of the balance in the quote currency: the profit less the fees that were paid in it.
    pub fn balance_change(&self) -> Decimal {
        self.realized_pnl - (self.fee - self.fee_in_other_assets)
    }
}

/// One trade of the account in the book's symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountTrade {
    /// The exchange's id of the trade. A later trade has a higher id.
    pub trade_id: i64,
    /// Whether an order of the book traded; otherwise the operator or another program did.
    pub is_ours: bool,
    /// Side of the order that traded.
    pub side: OrderSide,
    /// Quantity, price and costs of the trade.
    pub fill: Fill,
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
    /// The stop that this order is; `None` for any other order.
    pub stop: Option<WorkingStop>,
}

/// A stop order that works on the exchange of any client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkingStop {
    /// Side of the order that it becomes.
    pub side: OrderSide,
    /// Trigger price in the quote currency; `None` if the exchange moves it.
    pub trigger_price: Option<Decimal>,
    /// Quantity in base units; `None` if it closes the whole position.
    pub quantity: Option<Decimal>,
}

impl WorkingStop {
    /// Whether stops close the whole of a position: positive long, negative short, in base units. True for no position.
    pub fn protect(stops: impl Iterator<Item = Self>, position: Decimal) -> bool {
        let closing = if position.is_sign_negative() {
            OrderSide::Buy
        } else {
            OrderSide::Sell
        };
        let mut uncovered = position.abs();
        for stop in stops.filter(|stop| stop.side == closing) {
            let covered = stop.quantity.unwrap_or(uncovered);
            uncovered = uncovered.saturating_sub(covered);
        }
        uncovered <= Decimal::ZERO
    }
}

/// Position and open orders of one symbol on the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeView {
    /// Position in base units: positive long, negative short.
    pub position: Decimal,
    /// Mean entry price of the position in the quote currency; `None` if flat.
    pub entry_price: Option<Decimal>,
    /// All open orders, external ones included.
    pub open_orders: Vec<OpenOrder>,
}

impl ExchangeView {
    /// Whether working stops of any client close the whole position. True without a position.
    pub fn is_protected(&self) -> bool {
        let stops = self.open_orders.iter().filter_map(|order| order.stop);
        WorkingStop::protect(stops, self.position)
    }
}
