//! Conversion of the SDK's answers, in which every field may be missing, to values. An answer that cannot be
//! read is [`MarketError::Retry`]: no value is guessed.

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Price, Qty};

use crate::market::MarketError;

/// The value of a mandatory field.
pub(super) fn must<T>(what: &'static str, field: &str, value: Option<T>) -> Result<T, MarketError> {
    value.ok_or_else(|| MarketError::retry(what, format!("the answer has no {field}")))
}

/// The decimal of a mandatory field.
pub(super) fn decimal(
    what: &'static str,
    field: &str,
    value: Option<&str>,
) -> Result<Decimal, MarketError> {
    let text = must(what, field, value)?;
    Decimal::from_str_exact(text).map_err(|_| unreadable(what, field, text))
}

/// The time of a mandatory field.
pub(super) fn time(
    what: &'static str,
    field: &str,
    value: Option<i64>,
) -> Result<UtcMs, MarketError> {
    must(what, field, value).map(UtcMs)
}

/// A quantity in the trader core's fixed-point units.
pub(super) fn qty(what: &'static str, value: Decimal) -> Result<Qty, MarketError> {
    Qty::from_decimal(value).map_err(|error| MarketError::retry(what, error.to_string()))
}

/// A price in the trader core's fixed-point units, rounded to 8 decimals.
pub(super) fn price(what: &'static str, value: Decimal) -> Result<Price, MarketError> {
    Price::from_decimal(value.round_dp(8))
        .map_err(|error| MarketError::retry(what, error.to_string()))
}

/// The error for a field with an unknown value.
pub(super) fn unreadable(what: &'static str, field: &str, value: &str) -> MarketError {
    MarketError::retry(what, format!("the answer's {field} is {value:?}"))
}
