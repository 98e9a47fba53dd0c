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

impl SymbolFilters {
    /// The quantity of one order that closes `open` or a part. More than one order allows is left to the next. A rest
    /// that is smaller than a step is one order.
    pub fn exit_quantity(&self, open: Qty) -> Qty {
        let quantity = if self.max_qty > Qty::ZERO {
            open.min(self.max_qty)
        } else {
            open
        };
        let rounded = quantity.floor_to(self.lot);
        if rounded > Qty::ZERO {
            rounded
        } else {
            quantity
        }
    }
}

/// Whether this error code of the exchange means that an order breaks a filter of its symbol: the filters that it was
/// rounded by may be old.
pub const fn is_filter_error(code: i64) -> bool {
    matches!(
        code,
        // A filter, precision.
        -1013 | -1111
            // Quantity: not positive, too small, too large, not on the step.
            | -4003 | -4004 | -4005 | -4023
            // Price: too low, not on the tick, beyond its bounds.
            | -4013 | -4014 | -4016 | -4024 | -4131
            // Value too small.
            | -4164
    )
}
