//! What the exchange allows for one symbol: the grids and limits that every order must keep.

use protocol::ids::SubjectToken;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::fixed_point::{Price, Qty};

/// The exchange's rules of one symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolFilters {
    /// The exchange's symbol, e.g. `BTCUSDT`.
    pub symbol: SubjectToken,
    /// Prices are multiples of this.
    pub tick: Price,
    /// Quantities are multiples of this, in base units.
    pub lot: Qty,
    /// Smallest order, in base units.
    pub min_qty: Qty,
    /// Largest order, in base units.
    pub max_qty: Qty,
    /// Smallest value of an order, in the quote currency.
    pub min_notional: Decimal,
}
