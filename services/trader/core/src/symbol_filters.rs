//! The exchange's filters for one symbol: grids and limits that every order must keep.

use protocol::ids::SubjectToken;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::fixed_point::{Price, Qty};

/// Grids and limits of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolFilters {
    /// Symbol on the exchange, such as `BTCUSDT`.
    pub symbol: SubjectToken,
    /// Price step in the quote currency: all prices are multiples.
    pub tick: Price,
    /// Quantity step in base units: all quantities are multiples.
    pub lot: Qty,
    /// Smallest quantity of an order, in base units.
    pub min_qty: Qty,
    /// Largest quantity of an order, in base units.
    pub max_qty: Qty,
    /// Smallest value of an order, in the quote currency.
    pub min_notional: Decimal,
}
