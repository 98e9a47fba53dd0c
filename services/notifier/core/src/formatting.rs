//! Times, amounts and names as the operator reads them.

use std::collections::BTreeMap;

use protocol::duration::format_ms;
use protocol::ids::Mode;
use protocol::time::UtcMs;
use rust_decimal::{Decimal, RoundingStrategy};

/// One line of a notification: `name: value`.
pub(crate) fn field(name: &str, value: impl std::fmt::Display) -> String {
    format!("{name}: {value}")
}

/// An amount of quote currency, to the cent.
pub fn format_amount(value: Decimal) -> String {
    format!("{:.2} USDT", round_to_cents(value))
}

/// A profit or loss, with its sign.
pub fn format_pnl(value: Decimal) -> String {
    let sign = if value > Decimal::ZERO { "+" } else { "" };
    format!("{sign}{:.2} USDT", round_to_cents(value))
}

fn round_to_cents(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

/// A share of a whole in brackets: ` (-1.1 %)`. Empty if the whole is zero.
pub(crate) fn format_percent(part: Decimal, whole: Decimal) -> String {
    match part
        .checked_mul(Decimal::ONE_HUNDRED)
        .and_then(|part| part.checked_div(whole))
    {
        Some(percent) => {
            let sign = if percent > Decimal::ZERO { "+" } else { "" };
            let percent = percent.round_dp_with_strategy(1, RoundingStrategy::MidpointAwayFromZero);
            format!(" ({sign}{percent:.1} %)")
        }
        None => String::new(),
    }
}

/// Time to the second: `2026-11-24 03:00:00 UTC`.
pub fn format_time(at: UtcMs) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{} UTC", seconds.replace('T', " ")),
        None => text,
    }
}

/// Mode as it stands in a heading.
pub(crate) const fn mode_label(mode: Mode) -> &'static str {
    match mode {
        Mode::Paper => "PAPER",
        Mode::Live => "LIVE",
    }
}

/// Mode of a trader by the name of its Compose service; `None` if the name says nothing.
pub(crate) fn mode_of_trader(name: &str) -> Option<Mode> {
    [("trader-paper", Mode::Paper), ("trader-live", Mode::Live)]
        .into_iter()
        .find(|(service, _)| name.starts_with(service))
        .map(|(_, mode)| mode)
}

/// Name of a trader behind its mode: `PAPER trader-paper-1`.
pub(crate) fn trader_label(name: &str) -> String {
    match mode_of_trader(name) {
        Some(mode) => format!("{} {name}", mode_label(mode)),
        None => name.to_owned(),
    }
}

/// Duration of a failure; milliseconds say nothing to a reader.
pub(crate) fn format_after(ms: u64) -> String {
    if ms < 1_000 {
        "less than 1s".to_owned()
    } else {
        format_ms(ms)
    }
}

/// One line for each kind of notification: `3 × component failed`.
pub(crate) fn format_counts(counts: &BTreeMap<String, u64>) -> Vec<String> {
    let line = |(kind, count): (&String, &u64)| format!("{count} × {}", kind.replace('_', " "));
    counts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_cents_and_pnl_has_a_sign() {
        let value: Decimal = "-24.70520788".parse().unwrap();
        assert_eq!(format_amount(value), "-24.71 USDT");
        assert_eq!(format_pnl(-value), "+24.71 USDT");
        assert_eq!(format_pnl(Decimal::ZERO), "0.00 USDT");
        assert_eq!(format_percent(value, 1_000.into()), " (-2.5 %)");
        assert_eq!(format_percent(value, Decimal::ZERO), "");
    }

    #[test]
    fn times_have_seconds_and_traders_their_mode() {
        assert_eq!(
            format_time(UtcMs(1_764_000_000_123)),
            "2025-11-24 16:00:00 UTC"
        );
        assert_eq!(trader_label("trader-live-1"), "LIVE trader-live-1");
        assert_eq!(trader_label("trader-01"), "trader-01");
    }
}
