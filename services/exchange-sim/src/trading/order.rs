//! Orders, conditional orders, trades and incomes: what is kept and stored of them, and what is asked
//! for to get one. Not here: what happens to them.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::enums::{
    AlgoStatus, AlgoType, IncomeType, OrderStatus, OrderType, PositionSide, Side, TimeInForce,
    WorkingType,
};

/// What a client asks for at the ordinary endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOrder {
    /// Contract.
    pub symbol: String,
    /// Way.
    pub side: Side,
    /// Position.
    pub position_side: PositionSide,
    /// Type.
    pub kind: OrderType,
    /// How long it stays.
    pub time_in_force: TimeInForce,
    /// Limit price; zero for a market order.
    pub price: Decimal,
    /// How much.
    pub quantity: Decimal,
    /// May only make a position smaller.
    pub reduce_only: bool,
    /// The client's own id, if it gave one.
    pub client_id: Option<String>,
}

/// What a client asks for at the algo service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlgo {
    /// Contract.
    pub symbol: String,
    /// Way.
    pub side: Side,
    /// Position.
    pub position_side: PositionSide,
    /// Type.
    pub kind: AlgoType,
    /// Price at which it is triggered.
    pub trigger_price: Decimal,
    /// How much; zero with `close_position`.
    pub quantity: Decimal,
    /// Closes whatever the position is by then.
    pub close_position: bool,
    /// May only make a position smaller.
    pub reduce_only: bool,
    /// Price that triggers.
    pub working_type: WorkingType,
    /// The client's own id, if it gave one.
    pub client_id: Option<String>,
}

/// An order in the matching engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The exchange's id.
    pub id: i64,
    /// The client's id.
    pub client_id: String,
    /// Contract.
    pub symbol: String,
    /// Way.
    pub side: Side,
    /// Position.
    pub position_side: PositionSide,
    /// Type.
    pub kind: OrderType,
    /// How long it stays.
    pub time_in_force: TimeInForce,
    /// Limit price; zero for a market order.
    pub price: Decimal,
    /// How much.
    pub quantity: Decimal,
    /// How much of it is filled.
    pub filled: Decimal,
    /// Value of what is filled.
    pub filled_quote: Decimal,
    /// May only make a position smaller.
    pub reduce_only: bool,
    /// Came from a conditional order that closes a position.
    pub close_position: bool,
    /// The conditional order's type, if it came from one.
    pub origin: Option<AlgoType>,
    /// How it stands.
    pub status: OrderStatus,
    /// When it came, UTC ms.
    pub created_ms: i64,
    /// When it last changed, UTC ms.
    pub updated_ms: i64,
    /// Rests untouched until then: the second half of a partial fill, UTC ms.
    pub no_fill_until_ms: i64,
    /// Fills in two parts.
    pub fills_in_parts: bool,
}

impl Order {
    /// What is not filled yet.
    pub fn remaining(&self) -> Decimal {
        self.quantity - self.filled
    }

    /// Mean price of what is filled.
    pub fn average_price(&self) -> Decimal {
        if self.filled.is_zero() {
            Decimal::ZERO
        } else {
            self.filled_quote / self.filled
        }
    }

    /// The type it was asked for as.
    pub const fn original_type(&self) -> &'static str {
        match self.origin {
            Some(kind) => kind.as_str(),
            None => self.kind.as_str(),
        }
    }
}

/// A conditional order in the algo service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Algo {
    /// The exchange's id.
    pub id: i64,
    /// The client's id.
    pub client_id: String,
    /// Contract.
    pub symbol: String,
    /// Way.
    pub side: Side,
    /// Position.
    pub position_side: PositionSide,
    /// Type.
    pub kind: AlgoType,
    /// Price at which it is triggered.
    pub trigger_price: Decimal,
    /// How much; zero with `close_position`.
    pub quantity: Decimal,
    /// Closes whatever the position is by then.
    pub close_position: bool,
    /// May only make a position smaller.
    pub reduce_only: bool,
    /// Price that triggers.
    pub working_type: WorkingType,
    /// How it stands.
    pub status: AlgoStatus,
    /// When it came, UTC ms.
    pub created_ms: i64,
    /// When it last changed, UTC ms.
    pub updated_ms: i64,
    /// When it was triggered, UTC ms; zero before.
    pub triggered_ms: i64,
    /// The order it became.
    pub order_id: Option<i64>,
    /// That order's mean price.
    pub actual_price: Decimal,
    /// How much that order filled.
    pub actual_quantity: Decimal,
    /// Why it was rejected or expired.
    pub reason: String,
}

/// A fill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// The exchange's id.
    pub id: i64,
    /// Its order.
    pub order_id: i64,
    /// Contract.
    pub symbol: String,
    /// Way.
    pub side: Side,
    /// Position.
    pub position_side: PositionSide,
    /// Price.
    pub price: Decimal,
    /// How much.
    pub quantity: Decimal,
    /// Value.
    pub quote_quantity: Decimal,
    /// Fee in USDT.
    pub fee: Decimal,
    /// What closing realised, before fees.
    pub realized_pnl: Decimal,
    /// Whether the order was resting.
    pub is_maker: bool,
    /// When, UTC ms.
    pub at_ms: i64,
}

/// A change of the wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Income {
    /// The exchange's id.
    pub id: i64,
    /// Contract.
    pub symbol: String,
    /// Why.
    pub kind: IncomeType,
    /// How much.
    pub amount: Decimal,
    /// The trade it came from.
    pub trade_id: Option<i64>,
    /// When, UTC ms.
    pub at_ms: i64,
}
