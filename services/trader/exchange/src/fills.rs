//! Trades of the account, also of orders that the journal does not have.

use trader_core::orders::{Fill, OrderSide};

/// One trade of the account, external ones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeFill {
    /// The trade's own id. A later trade has a higher id.
    pub trade_id: i64,
    /// Client order id of the order; that of the conditional order for an order that one triggered.
    pub client_order_id: String,
    /// Side of the order.
    pub side: OrderSide,
    /// Quantity, price, time and costs of the trade.
    pub fill: Fill,
}
