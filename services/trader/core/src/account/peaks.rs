//! Peaks of an account's equity.

use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::AccountValue;

const DAY_MS: i64 = 86_400_000;

/// The current value of an account, with the peaks that follow from its last value.
pub(super) fn update_peaks(
    last: Option<&AccountValue>,
    at: UtcMs,
    capital: Decimal,
    equity: Decimal,
) -> AccountValue {
    let Some(last) = last else {
        return AccountValue {
            at,
            capital,
            equity,
            peak: equity,
            day_peak: equity,
        };
    };
    // Capital that was added or withdrawn is neither profit nor loss.
    let capital_change = capital.saturating_sub(last.capital);
    let before = if day(at) > day(last.at) {
        equity
    } else {
        last.day_peak.saturating_add(capital_change)
    };
    AccountValue {
        at: at.max(last.at),
        capital,
        equity,
        peak: last.peak.saturating_add(capital_change).max(equity),
        day_peak: before.max(equity),
    }
}

/// Whether a value must be journaled: another day, another capital, or a peak that rose by a thousandth. Smaller rises
/// would be a record a second on a day of rising prices.
pub(super) fn needs_recording(last: &AccountValue, now: &AccountValue) -> bool {
    let rose = |last: Decimal, now: Decimal| {
        now.saturating_sub(last) * Decimal::ONE_THOUSAND >= last.abs() && now > last
    };
    (last.capital, day(last.at)) != (now.capital, day(now.at))
        || rose(last.peak, now.peak)
        || rose(last.day_peak, now.day_peak)
}

const fn day(at: UtcMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}
