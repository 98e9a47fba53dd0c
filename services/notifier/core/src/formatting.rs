//! Numbers as the owner reads them: spans of time, amounts.

use rust_decimal::{Decimal, RoundingStrategy};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long something ran: `42s`, `12m`, `2.5h`, `3.1d`.
pub fn format_uptime(ms: u64) -> String {
    match ms {
        _ if ms < MINUTE => format!("{}s", ms / SECOND),
        _ if ms < HOUR => format!("{}m", ms / MINUTE),
        _ if ms < 2 * DAY => format_tenths(ms, HOUR, "h"),
        _ => format_tenths(ms, DAY, "d"),
    }
}

/// How long to wait, as the seed writes its delays: `30s`, `60s`, `2m`, `1h`. Rounded up.
pub fn format_delay(ms: u64) -> String {
    match ms {
        _ if ms < 2 * MINUTE => format!("{}s", ms.div_ceil(SECOND)),
        _ if ms < HOUR => format!("{}m", ms.div_ceil(MINUTE)),
        _ if ms.is_multiple_of(HOUR) => format!("{}h", ms / HOUR),
        _ => format_tenths(ms, HOUR, "h"),
    }
}

/// How long something took: `850duration_ms`, `31.2s`, then as [`format_uptime`].
pub fn format_duration(ms: u64) -> String {
    match ms {
        _ if ms < SECOND => format!("{ms}ms"),
        _ if ms < MINUTE => format_tenths(ms, SECOND, "s"),
        _ => format_uptime(ms),
    }
}

/// One digit after the point, cut and not rounded, without a float.
fn format_tenths(ms: u64, unit: u64, name: &str) -> String {
    format!("{}.{}{name}", ms / unit, ms % unit * 10 / unit)
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

/// Formatting alone would cut.
fn round_to_cents(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_formatted_as_specified() {
        let cases = [
            (format_uptime(0), "0s"),
            (format_uptime(90_000), "1m"),
            (format_uptime(9_000_000), "2.5h"),
            (format_uptime(268_000_000), "3.1d"),
            (format_delay(0), "0s"),
            (format_delay(30_000), "30s"),
            (format_delay(60_000), "60s"),
            (format_delay(120_000), "2m"),
            (format_delay(960_000), "16m"),
            (format_delay(3_600_000), "1h"),
            (format_duration(850), "850ms"),
            (format_duration(31_200), "31.2s"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn amounts_have_cents_and_pnl_has_a_sign() {
        let value: Decimal = "-24.70520788".parse().unwrap();
        assert_eq!(format_amount(value), "-24.71 USDT");
        assert_eq!(format_pnl(-value), "+24.71 USDT");
        assert_eq!(format_pnl(Decimal::ZERO), "0.00 USDT");
    }
}
