//! Requested and stored orders, conditional orders, fills and incomes.

use std::collections::VecDeque;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::enums::{
    AlgoStatus, AlgoType, IncomeType, OrderStatus, OrderType, PositionSide, Side, TimeInForce,
    WorkingType,
};

/// Request for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// Symbol of the contract.
    pub symbol: String,
    /// Side: buy or sell.
    pub side: Side,
    /// Position that the order belongs to.
    pub position_side: PositionSide,
    /// Type of the order.
    pub kind: OrderType,
    /// How long the order may rest unfilled.
    pub time_in_force: TimeInForce,
    /// Limit price in USDT; zero for a market order.
    pub price: Decimal,
    /// Quantity of the base asset.
    pub quantity: Decimal,
    /// Whether the order may only reduce a position.
    pub reduce_only: bool,
    /// Client order id; `None` if the client gave none.
    pub client_id: Option<String>,
}

/// Request for a conditional order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlgo {
    /// Symbol of the contract.
    pub symbol: String,
    /// Side: buy or sell.
    pub side: Side,
    /// Position that the order belongs to.
    pub position_side: PositionSide,
    /// Type of the order.
    pub kind: AlgoType,
    /// Trigger price in USDT.
    pub trigger_price: Decimal,
    /// Quantity of the base asset; zero with `close_position`.
    pub quantity: Decimal,
    /// Whether the order closes the whole position when triggered.
    pub close_position: bool,
    /// Whether the order may only reduce a position.
    pub reduce_only: bool,
    /// Price that triggers the order: last or mark price.
    pub working_type: WorkingType,
    /// Client order id; `None` if the client gave none.
    pub client_id: Option<String>,
}

/// An order in the order book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Id that the exchange assigned.
    pub id: i64,
    /// Id that the client chose, or that the exchange made if the client chose none.
    pub client_id: String,
    /// Symbol of the contract.
    pub symbol: String,
    /// Side: buy or sell.
    pub side: Side,
    /// Position that the order belongs to.
    pub position_side: PositionSide,
    /// Type of the order.
    pub kind: OrderType,
    /// How long the order may rest unfilled.
    pub time_in_force: TimeInForce,
    /// Limit price in USDT; zero for a market order.
    pub price: Decimal,
    /// Quantity of the base asset.
    pub quantity: Decimal,
    /// Filled quantity of the base asset.
    pub filled: Decimal,
    /// Value of the fills in USDT.
    pub filled_quote: Decimal,
    /// Whether the order may only reduce a position.
    pub reduce_only: bool,
    /// Whether it came from a conditional order with `close_position`.
    pub close_position: bool,
    /// Type of the conditional order it came from; `None` for others.
    pub origin: Option<AlgoType>,
    /// Status after the last change.
    pub status: OrderStatus,
    /// Time of creation, UTC ms.
    pub created_ms: i64,
    /// Time of the last change, UTC ms.
    pub updated_ms: i64,
    /// Parts in which the order fills; `None` if it fills as far as the price allows.
    pub fill_plan: Option<FillPlan>,
    /// Id of the conditional order that became this order; `None` for others.
    pub algo_id: Option<i64>,
}

/// Parts in which an order fills, as a fault planned them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillPlan {
    /// Parts that are not filled, each with its time after the part before, in milliseconds.
    pub parts: VecDeque<(i64, Decimal)>,
    /// Time before which the next part does not fill, UTC ms.
    pub not_before_ms: i64,
    /// Time at which the exchange ends the rest, UTC ms, and the status then; `None` if all fills.
    pub end: Option<(i64, OrderStatus)>,
}

impl FillPlan {
    /// Whether a part is left to fill.
    pub fn has_part(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Removes the part that has filled at a time.
    pub fn part_filled(&mut self, at_ms: i64) {
        self.parts.pop_front();
        let wait = self.parts.front().map_or(0, |(after_ms, _)| *after_ms);
        self.not_before_ms = at_ms + wait;
    }
}

impl Order {
    /// Quantity that is not filled.
    pub fn remaining(&self) -> Decimal {
        self.quantity - self.filled
    }

    /// Mean price of the fills; zero without fills.
    pub fn average_price(&self) -> Decimal {
        if self.filled.is_zero() {
            Decimal::ZERO
        } else {
            self.filled_quote / self.filled
        }
    }

    /// Type in REST answers, where orders of the exchange are limit orders.
    pub const fn rest_type(&self) -> &'static str {
        match self.kind {
            OrderType::Liquidation => OrderType::Limit.as_str(),
            other => other.as_str(),
        }
    }

    /// Type as the client requested it, in REST answers.
    pub const fn rest_original_type(&self) -> &'static str {
        match self.origin {
            Some(kind) => kind.as_str(),
            None => self.rest_type(),
        }
    }

    /// Type as the client requested it: that of the conditional order, if there was one.
    pub const fn original_type(&self) -> &'static str {
        match self.origin {
            Some(kind) => kind.as_str(),
            None => self.kind.as_str(),
        }
    }
}

/// A conditional order, which becomes an order when its trigger is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Algo {
    /// Id that the exchange assigned.
    pub id: i64,
    /// Id that the client chose, or that the exchange made if the client chose none.
    pub client_id: String,
    /// Symbol of the contract.
    pub symbol: String,
    /// Side: buy or sell.
    pub side: Side,
    /// Position that the order belongs to.
    pub position_side: PositionSide,
    /// Type of the order.
    pub kind: AlgoType,
    /// Trigger price in USDT.
    pub trigger_price: Decimal,
    /// Quantity of the base asset; zero with `close_position`.
    pub quantity: Decimal,
    /// Whether the order closes the whole position when triggered.
    pub close_position: bool,
    /// Whether the order may only reduce a position.
    pub reduce_only: bool,
    /// Price that triggers the order: last or mark price.
    pub working_type: WorkingType,
    /// Status after the last change.
    pub status: AlgoStatus,
    /// Time of creation, UTC ms.
    pub created_ms: i64,
    /// Time of the last change, UTC ms.
    pub updated_ms: i64,
    /// Time of the trigger, UTC ms; zero before.
    pub triggered_ms: i64,
    /// Id of the order that the trigger created.
    pub order_id: Option<i64>,
    /// Mean price of that order.
    pub actual_price: Decimal,
    /// Filled quantity of that order.
    pub actual_quantity: Decimal,
    /// Reason of a rejection or expiry.
    pub reason: String,
}

/// A fill of an order, complete or partial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// Id that the exchange assigned.
    pub id: i64,
    /// Id of the order.
    pub order_id: i64,
    /// Symbol of the contract.
    pub symbol: String,
    /// Side: buy or sell.
    pub side: Side,
    /// Position that the order belongs to.
    pub position_side: PositionSide,
    /// Price of the fill in USDT.
    pub price: Decimal,
    /// Quantity of the base asset.
    pub quantity: Decimal,
    /// Value of the fill in USDT.
    pub quote_quantity: Decimal,
    /// Fee of the fill, in `fee_asset`.
    pub fee: Decimal,
    /// Asset of the fee.
    pub fee_asset: String,
    /// Realized profit in USDT before fees.
    pub realized_pnl: Decimal,
    /// Whether the order was the maker.
    pub is_maker: bool,
    /// Exchange time at which it happened, UTC ms.
    pub at_ms: i64,
}

/// A change of the wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Income {
    /// Id that the exchange assigned.
    pub id: i64,
    /// Symbol of the contract.
    pub symbol: String,
    /// Type of the income.
    pub kind: IncomeType,
    /// Change of the balance, in `asset`.
    pub amount: Decimal,
    /// Asset of the amount.
    pub asset: String,
    /// Id of the fill it came from; `None` if it came from none.
    pub trade_id: Option<i64>,
    /// Exchange time at which it happened, UTC ms.
    pub at_ms: i64,
    /// Exchange time from which lists show it, UTC ms; 0 if at once.
    #[serde(default)]
    pub listed_from_ms: i64,
}
