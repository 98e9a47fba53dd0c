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
    /// Whether the order was canceled: by the operator, another program or this one.
    pub is_canceled: bool,
}

impl ExecutionReport {
    /// An order that can still fill, of which nothing is filled.
    pub const OPEN: Self = Self {
        is_open: true,
        fill: None,
        is_canceled: false,
    };
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

    /// Trigger price of the stop with which the whole position is closed, if the price moves against it. `None` if stops
    /// do not close all, if the exchange moves that price, and without a position.
    pub fn price_of_close(stops: impl Iterator<Item = Self>, position: Decimal) -> Option<Decimal> {
        let is_long = position.is_sign_positive();
        let mut stops: Vec<Self> = stops
            .filter(|stop| (stop.side == OrderSide::Sell) == is_long)
            .collect();
        // The one that triggers first is first; a price that the exchange moves may be any.
        stops.sort_by_key(|stop| match stop.trigger_price {
            Some(price) => (false, if is_long { -price } else { price }),
            None => (true, Decimal::ZERO),
        });
        let mut uncovered = position.abs();
        if uncovered.is_zero() {
            return None;
        }
        for stop in stops {
            let covered = stop.quantity.unwrap_or(uncovered);
            uncovered = uncovered.saturating_sub(covered);
            if uncovered <= Decimal::ZERO {
                return stop.trigger_price;
            }
        }
        None
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

#[cfg(test)]
mod tests {
    use rust_decimal::dec;

    use super::*;

    fn stop(side: OrderSide, price: Option<Decimal>, quantity: Option<Decimal>) -> WorkingStop {
        WorkingStop {
            side,
            trigger_price: price,
            quantity,
        }
    }

    #[test]
    fn position_is_closed_by_the_stop_that_covers_its_last_part() {
        use OrderSide::{Buy, Sell};
        let half = |price| stop(Sell, Some(price), Some(dec!(0.5)));
        let all = |price| stop(Sell, Some(price), None);
        let close = |stops: &[WorkingStop], position| {
            WorkingStop::price_of_close(stops.iter().copied(), position)
        };
        assert_eq!(
            close(&[half(dec!(90)), half(dec!(95))], dec!(1)),
            Some(dec!(90))
        );
        assert_eq!(
            close(&[all(dec!(80)), half(dec!(95))], dec!(1)),
            Some(dec!(80))
        );
        assert_eq!(
            close(&[all(dec!(80)), all(dec!(95))], dec!(1)),
            Some(dec!(95))
        );
        assert_eq!(close(&[half(dec!(95))], dec!(1)), None, "a part only");
        assert_eq!(close(&[all(dec!(95))], dec!(-1)), None, "the other side");
        assert_eq!(close(&[all(dec!(95))], Decimal::ZERO), None);
        let buy = |price| stop(Buy, Some(price), None);
        assert_eq!(
            close(&[buy(dec!(120)), buy(dec!(110))], dec!(-1)),
            Some(dec!(110))
        );
        assert_eq!(close(&[stop(Sell, None, None)], dec!(1)), None, "trailing");
    }
}
