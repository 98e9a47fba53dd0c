//! Bounds within which no account decision is due, and the marked value of a book, in integers: both are evaluated at every
//! candle.

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::account::AccountState;
use crate::book::BookState;
use crate::fixed_point::Price;

pub(super) const DAY_MS: i64 = 86_400_000;
/// Decimal places of a price times a quantity, both in units of 1e-8.
const PLACES: u32 = 16;

/// Bounds of the account's equity, in units of 1e-16.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueBounds {
    trip_below: i128,
    peak: i128,
    day_ends: i64,
}

/// Equity of a book as a function of the price, in units of 1e-16.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MarkedValue {
    /// Equity with the position valued at its entry price.
    base: i128,
    entry: i64,
    /// Signed quantity: negative short, zero flat.
    quantity: i64,
}

impl ValueBounds {
    /// Exceeded by every candle: the first one values the account.
    pub(super) const NONE: Self = Self {
        trip_below: i128::MAX,
        peak: i128::MIN,
        day_ends: i64::MIN,
    };

    pub(super) fn for_account(account: &AccountState, now: UtcMs) -> Self {
        let day_ends = (now.0.div_euclid(DAY_MS) + 1).saturating_mul(DAY_MS);
        // While the account is latched, only a new day matters.
        let (trip_below, peak) = match (&account.latch, &account.value) {
            // A margin of one in a million: the exact decision is made in decimals.
            (None, Some(value)) => {
                let by_day = units(value.day_peak) * 950_001 / 1_000_000;
                let by_peak = units(value.peak) * 850_001 / 1_000_000;
                (by_day.max(by_peak), units(value.day_peak))
            }
            (None, None) => (i128::MAX, i128::MIN),
            (Some(_), _) => (i128::MIN, i128::MAX),
        };
        Self {
            trip_below,
            peak,
            day_ends,
        }
    }

    /// Whether the account must be valued.
    #[inline]
    pub(super) const fn are_exceeded(&self, equity: i128, now: UtcMs) -> bool {
        equity < self.trip_below || equity > self.peak || now.0 >= self.day_ends
    }
}

impl MarkedValue {
    pub(super) fn of(book: &BookState) -> Self {
        let (entry, quantity, paid) = match book.position() {
            None => (0, 0, Decimal::ZERO),
            Some(p) => {
                let sign = match p.side {
                    PositionSide::Long => 1,
                    PositionSide::Short => -1,
                };
                let paid = p.fee + p.funding;
                (p.entry_price.units(), sign * p.quantity.units(), paid)
            }
        };
        Self {
            base: units(book.equity.saturating_sub(paid)),
            entry,
            quantity,
        }
    }

    /// Equity with the position valued at `price`.
    #[inline]
    pub(super) fn at(&self, price: Price) -> i128 {
        self.base + i128::from(price.units() - self.entry) * i128::from(self.quantity)
    }
}

/// An amount in units of 1e-16.
fn units(value: Decimal) -> i128 {
    let mut value = value;
    value.rescale(PLACES);
    value.mantissa()
}
