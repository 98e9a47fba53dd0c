//! Numbers as the owner reads them: spans of time, amounts.

use rust_decimal::{Decimal, RoundingStrategy};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long something ran: `42s`, `12m`, `2.5h`, `3.1d`.
pub fn uptime(ms: u64) -> String {
    match ms {
        _ if ms < MINUTE => format!("{}s", ms / SECOND),
        _ if ms < HOUR => format!("{}m", ms / MINUTE),
        _ if ms < 2 * DAY => tenths(ms, HOUR, "h"),
        _ => tenths(ms, DAY, "d"),
    }
}

/// How long to wait, as the seed writes its delays: `30s`, `60s`, `2m`, `1h`. Rounded up.
pub fn delay(ms: u64) -> String {
    match ms {
        _ if ms < 2 * MINUTE => format!("{}s", ms.div_ceil(SECOND)),
        _ if ms < HOUR => format!("{}m", ms.div_ceil(MINUTE)),
        _ if ms.is_multiple_of(HOUR) => format!("{}h", ms / HOUR),
        _ => tenths(ms, HOUR, "h"),
    }
}

/// How long something took: `850ms`, `31.2s`, then as [`uptime`].
pub fn span(ms: u64) -> String {
    match ms {
        _ if ms < SECOND => format!("{ms}ms"),
        _ if ms < MINUTE => tenths(ms, SECOND, "s"),
        _ => uptime(ms),
    }
}

/// One digit after the point, cut and not rounded, without a float.
fn tenths(ms: u64, unit: u64, name: &str) -> String {
    format!("{}.{}{name}", ms / unit, ms % unit * 10 / unit)
}

/// An amount of quote currency, to the cent.
pub fn amount(value: Decimal) -> String {
    format!("{:.2} USDT", cents(value))
}

/// A profit or loss, with its sign.
pub fn profit(value: Decimal) -> String {
    let sign = if value > Decimal::ZERO { "+" } else { "" };
    format!("{sign}{:.2} USDT", cents(value))
}

/// Formatting alone would cut.
fn cents(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_the_seed_writes_them() {
        let cases = [
            (uptime(0), "0s"),
            (uptime(90_000), "1m"),
            (uptime(9_000_000), "2.5h"),
            (uptime(268_000_000), "3.1d"),
            (delay(0), "0s"),
            (delay(30_000), "30s"),
            (delay(60_000), "60s"),
            (delay(120_000), "2m"),
            (delay(960_000), "16m"),
            (delay(3_600_000), "1h"),
            (span(850), "850ms"),
            (span(31_200), "31.2s"),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn amounts_have_cents_and_profits_their_sign() {
        let value: Decimal = "-24.70520788".parse().unwrap();
        assert_eq!(amount(value), "-24.71 USDT");
        assert_eq!(profit(-value), "+24.71 USDT");
        assert_eq!(profit(Decimal::ZERO), "0.00 USDT");
    }
}
