//! Conversion of the SDK's answers, in which every field may be missing, to values. An answer that cannot be
//! read is [`ExchangeError::Retry`]: no value is guessed.

use exchange::ExchangeError;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Price, Qty};

use crate::error::retry;

/// The value of a mandatory field.
pub(super) fn must<T>(
    what: &'static str,
    field: &str,
    value: Option<T>,
) -> Result<T, ExchangeError> {
    value.ok_or_else(|| retry(what, format!("the answer has no {field}")))
}

/// The decimal of a mandatory field.
pub(super) fn decimal(
    what: &'static str,
    field: &str,
    value: Option<&str>,
) -> Result<Decimal, ExchangeError> {
    let text = must(what, field, value)?;
    Decimal::from_str_exact(text).map_err(|_| unreadable(what, field, text))
}

/// The time of a mandatory field.
pub(super) fn time(
    what: &'static str,
    field: &str,
    value: Option<i64>,
) -> Result<UtcMs, ExchangeError> {
    must(what, field, value).map(UtcMs)
}

/// A quantity in the trader core's fixed-point units.
pub(super) fn qty(what: &'static str, value: Decimal) -> Result<Qty, ExchangeError> {
    Qty::from_decimal(value).map_err(|error| retry(what, error.to_string()))
}

/// A price in the trader core's fixed-point units, rounded to 8 decimals.
pub(super) fn price(what: &'static str, value: Decimal) -> Result<Price, ExchangeError> {
    Price::from_decimal(value.round_dp(8)).map_err(|error| retry(what, error.to_string()))
}

/// The error for a field with an unknown value.
pub(super) fn unreadable(what: &'static str, field: &str, value: &str) -> ExchangeError {
    retry(what, format!("the answer's {field} is {value:?}"))
}
