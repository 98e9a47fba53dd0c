//! From the SDK's answers, whose every field may be missing, to values. An answer that cannot be read is
//! asked for again, never guessed.

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Price, Qty};

use crate::market::MarketError;

/// A field that must be there.
pub(super) fn must<T>(what: &'static str, field: &str, value: Option<T>) -> Result<T, MarketError> {
    value.ok_or_else(|| MarketError::retry(what, format!("the answer has no {field}")))
}

/// A decimal that must be there.
pub(super) fn decimal(
    what: &'static str,
    field: &str,
    value: Option<&str>,
) -> Result<Decimal, MarketError> {
    let text = must(what, field, value)?;
    Decimal::from_str_exact(text).map_err(|_| unreadable(what, field, text))
}

/// A time that must be there.
pub(super) fn time(
    what: &'static str,
    field: &str,
    value: Option<i64>,
) -> Result<UtcMs, MarketError> {
    must(what, field, value).map(UtcMs)
}

/// A quantity as the engine counts it.
pub(super) fn qty(what: &'static str, value: Decimal) -> Result<Qty, MarketError> {
    Qty::from_decimal(value).map_err(|error| MarketError::retry(what, error.to_string()))
}

/// A price as the engine counts it.
pub(super) fn price(what: &'static str, value: Decimal) -> Result<Price, MarketError> {
    Price::from_decimal(value.round_dp(8))
        .map_err(|error| MarketError::retry(what, error.to_string()))
}

/// A field whose value is none of those known.
pub(super) fn unreadable(what: &'static str, field: &str, value: &str) -> MarketError {
    MarketError::retry(what, format!("the answer's {field} is {value:?}"))
}
