//! How the summary writes numbers, times and names.

use std::fmt::Display;

use protocol::time::UtcMs;
use rust_decimal::prelude::FromPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use trader_core::strategy::Strategy;

/// Formats a time, for example `2022-01-31T05:30Z`.
pub(super) fn minute(at: UtcMs) -> String {
    let text = at.to_string();
    text.get(..16)
        .map_or(text.clone(), |head| format!("{head}Z"))
}

pub(super) fn percent(share: Decimal) -> String {
    let percent = hundredths(share.saturating_mul(Decimal::ONE_HUNDRED));
    format!("{percent:.2} %")
}

pub(super) fn signed_percent(share: Decimal) -> String {
    let percent = hundredths(share.saturating_mul(Decimal::ONE_HUNDRED));
    format!("{percent:+.2} %")
}

/// Formats a share as a percentage with all its digits.
pub(super) fn rate(share: Decimal) -> String {
    format!("{} %", (share * Decimal::ONE_HUNDRED).normalize())
}

/// Formats an amount with two decimals and separated thousands.
pub(super) fn amount(value: Decimal) -> String {
    grouped(&format!("{:.2}", hundredths(value)))
}

/// Rounds to cents: the formatting of a decimal only truncates.
pub(super) fn hundredths(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// Formats a number with separated thousands.
pub(super) fn grouped(number: &impl Display) -> String {
    let text = number.to_string();
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |d| ("-", d));
    let mut out = String::from(sign);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// Names of strategies, joined by commas.
pub(super) fn names(strategies: &[Strategy]) -> String {
    let names: Vec<&str> = strategies.iter().map(|s| s.as_str()).collect();
    names.join(", ")
}

/// A statistic, rounded to six decimals; `None` if it is none, or no number.
pub(super) fn ratio(value: Option<f64>) -> Option<Decimal> {
    let value = Decimal::from_f64(value?)?;
    Some(value.round_dp(6).normalize())
}

/// A statistic with two decimals.
pub(super) fn two_decimals(value: Option<f64>) -> String {
    let value = ratio(value).map(hundredths);
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            ("0", "0"),
            ("999", "999"),
            ("-1000", "-1,000"),
            ("1234567.89", "1,234,567.89"),
        ] {
            assert_eq!(grouped(&number), text);
        }
        assert_eq!(amount(Decimal::new(-12_345_678, 3)), "-12,345.68");
        assert_eq!(percent(Decimal::new(428_571, 6)), "42.86 %");
        assert_eq!(rate(Decimal::new(6, 4)), "0.06 %");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(minute(UtcMs(1_640_991_660_000)), "2021-12-31T23:01Z");
    }
}
