//! Prices and quantities as integers in units of 1e-8: exact and fast. Amounts of money (fees, profit, equity) are
//! [`Decimal`].

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// Decimal places of one unit: the finest step that Binance uses.
pub const SCALE: u32 = 8;

/// Number of units in 1: 10^[`SCALE`].
pub const UNITS_PER_ONE: i64 = 100_000_000;

/// A number that is not a multiple of 1e-8, or too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not representable: expected a decimal of at most 8 places within ±92233720368")]
pub struct NotRepresentable(String);

macro_rules! fixed {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(i64);

        impl $name {
            /// The value 0, which is also the default.
            pub const ZERO: Self = Self(0);

            /// A number from units of 1e-8.
            pub const fn from_units(units: i64) -> Self {
                Self(units)
            }

            /// The number in units of 1e-8.
            pub const fn units(self) -> i64 {
                self.0
            }

            /// The number equal to a decimal.
            ///
            /// # Errors
            /// [`NotRepresentable`] if the decimal has more than 8 places without trailing zeros, or is too large.
            pub fn from_decimal(value: Decimal) -> Result<Self, NotRepresentable> {
                units_of(value)
                    .map(Self)
                    .ok_or_else(|| NotRepresentable(value.to_string()))
            }

            /// The number as a decimal without trailing zeros.
            pub fn to_decimal(self) -> Decimal {
                Decimal::new(self.0, SCALE).normalize()
            }

            /// The nearest float, for indicators only.
            #[expect(clippy::cast_precision_loss, reason = "indicators are floats; no amounts of money")]
            pub fn to_f64(self) -> f64 {
                self.0 as f64 / UNITS_PER_ONE as f64
            }

            /// Largest multiple of `step` that is at most this number; the number itself if `step` is zero.
            #[must_use]
            pub const fn floor_to(self, step: Self) -> Self {
                if step.0 <= 0 {
                    return self;
                }
                Self(self.0.saturating_sub(self.0.rem_euclid(step.0)))
            }

            /// Smallest multiple of `step` that is at least this number; the number itself if `step` is zero.
            #[must_use]
            pub const fn ceil_to(self, step: Self) -> Self {
                let floor = self.floor_to(step);
                if floor.0 == self.0 {
                    return self;
                }
                Self(floor.0.saturating_add(step.0))
            }

            /// Absolute difference of two numbers.
            #[must_use]
            pub const fn distance(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0).saturating_abs())
            }
        }

        impl FromStr for $name {
            type Err = NotRepresentable;

            fn from_str(text: &str) -> Result<Self, NotRepresentable> {
                Decimal::from_str_exact(text)
                    .ok()
                    .and_then(units_of)
                    .map(Self)
                    .ok_or_else(|| NotRepresentable(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotRepresentable;

            fn try_from(text: String) -> Result<Self, NotRepresentable> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.to_decimal(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

fixed!(
    /// A price in the quote currency.
    Price
);
fixed!(
    /// A quantity in base units.
    Qty
);

/// Value of a quantity at a price, in the quote currency. Exact below 7.9e12; above that the 28th digit is rounded.
pub fn notional(price: Price, qty: Qty) -> Decimal {
    (price.to_decimal() * qty.to_decimal()).normalize()
}

/// The units of a decimal. Uses the mantissa, because multiplication of a `Decimal` of 28 digits rounds silently.
fn units_of(value: Decimal) -> Option<i64> {
    let value = value.normalize();
    let missing = SCALE.checked_sub(value.scale())?;
    let units = value.mantissa().checked_mul(10_i128.pow(missing))?;
    i64::try_from(units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn a_decimal_becomes_units_exactly_or_not_at_all() {
        for (text, units) in [
            ("46319.5", 4_631_950_000_000),
            ("0.00000001", 1),
            ("1.1000000000000000", 110_000_000),
            ("-3", -300_000_000),
            ("92233720368.54775807", i64::MAX),
        ] {
            assert_eq!(price(text).units(), units, "{text}");
        }
        for text in [
            "0.000000001",
            "92233720368.54775808",
            "1.0000000000000000000000000001",
            "1.00000000000000000000000000001",
            "NaN",
            "",
            "1e3",
        ] {
            let refused = text.parse::<Price>().unwrap_err().to_string();
            assert!(refused.contains(&format!("{text:?}")), "{refused}");
        }
    }

    #[test]
    fn rounding_lands_on_the_grid_on_the_named_side() {
        let tick = price("0.1");
        for (value, floor, ceil) in [
            ("1.0", "1.0", "1.0"),
            ("1.04", "1.0", "1.1"),
            ("1.05", "1.0", "1.1"),
            ("1.06", "1.0", "1.1"),
            ("-1.04", "-1.1", "-1.0"),
        ] {
            let value = price(value);
            assert_eq!(value.floor_to(tick), price(floor), "{value}");
            assert_eq!(value.ceil_to(tick), price(ceil), "{value}");
        }
    }

    #[test]
    fn a_step_of_zero_is_no_grid() {
        let value = price("1.23456789");
        assert_eq!(value.floor_to(Price::ZERO), value);
        assert_eq!(value.ceil_to(Price::ZERO), value);
    }

    #[test]
    fn nothing_panics_at_the_ends_of_the_range() {
        let (min, max) = (Price::from_units(i64::MIN), Price::from_units(i64::MAX));
        let step = Price::from_units(3);
        for value in [min, max] {
            let _ = (value.floor_to(step), value.ceil_to(step));
            let _ = (value.distance(min), value.distance(max), value.to_f64());
        }
        assert!(notional(max, Qty::from_units(i64::MAX)) > Decimal::ZERO);
    }

    #[test]
    fn a_notional_is_exact() {
        let qty: Qty = "0.12345678".parse().unwrap();
        let exact = Decimal::from_str_exact("5718.45632121").unwrap();
        assert_eq!(notional(price("46319.5"), qty), exact);
    }

    #[test]
    fn json_holds_the_decimal_as_text() {
        assert_eq!(
            serde_json::to_string(&price("46319.50")).unwrap(),
            r#""46319.5""#
        );
        assert_eq!(
            serde_json::from_str::<Price>(r#""0.1""#).unwrap(),
            price("0.1")
        );
        assert!(serde_json::from_str::<Price>("0.1").is_err());
    }
}
