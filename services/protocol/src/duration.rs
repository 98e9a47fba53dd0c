//! Durations as text: one form in logs, messages, tables and replies, and one parser for settings and commands.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

static PARSER: SpanParser = SpanParser::new();

/// A duration for people, in one unit: `850ms`, `31.2s`, `90s`, `16m`, `2.5h`, `3.1d`. Rounded to the digits shown:
/// tenths of a second below 1 min, seconds below 2 min, minutes below 1 h, tenths of an hour below 2 d.
pub fn format_duration(length: Duration) -> String {
    format_ms(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
}

/// As [`format_duration`], for a duration in milliseconds.
pub fn format_ms(ms: u64) -> String {
    let rounded = |unit: u64| ms.saturating_add(unit / 2) / unit;
    let tenths = |unit: u64, name: &str| match rounded(unit / 10) {
        n if n.is_multiple_of(10) => format!("{}{name}", n / 10),
        n => format!("{}.{}{name}", n / 10, n % 10),
    };
    // Each limit is compared with the rounded number: 119.7 s is 2m, not 120s.
    if ms == 0 {
        "0s".to_owned()
    } else if ms < SECOND_MS {
        format!("{ms}ms")
    } else if rounded(SECOND_MS / 10) < 600 {
        tenths(SECOND_MS, "s")
    } else if rounded(SECOND_MS) < 120 {
        format!("{}s", rounded(SECOND_MS))
    } else if rounded(MINUTE_MS) < 60 {
        format!("{}m", rounded(MINUTE_MS))
    } else if rounded(HOUR_MS / 10) < 480 {
        tenths(HOUR_MS, "h")
    } else {
        tenths(DAY_MS, "d")
    }
}

/// A text that is no duration, or one outside the range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a duration from {least} to {most}, for example 30m, 2h or 1h30m")]
pub struct InvalidDuration {
    least: String,
    most: String,
}

/// Parses a number with its unit (`90s`, `30m`, `1.5h`, `2d`), or a sequence of them (`1h30m`). A day has 24 hours and
/// no fraction.
///
/// # Errors
/// [`InvalidDuration`] for any other text, and for a duration outside `range`.
pub fn parse_duration(
    text: &str,
    range: RangeInclusive<Duration>,
) -> Result<Duration, InvalidDuration> {
    let span = PARSER.parse_span(text).ok();
    let length = span
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
        .and_then(|length| Duration::try_from(length).ok());
    length
        .filter(|length| range.contains(length))
        .ok_or_else(|| InvalidDuration {
            least: format_exact(*range.start()),
            most: format_exact(*range.end()),
        })
}

/// A duration with all its digits, in the largest unit that divides it: `90m`, `7d`.
fn format_exact(length: Duration) -> String {
    let ms = length.as_millis();
    let units = [
        (DAY_MS, "d"),
        (HOUR_MS, "h"),
        (MINUTE_MS, "m"),
        (SECOND_MS, "s"),
    ];
    let unit = units
        .into_iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(u128::from(*unit)));
    let (unit, name) = unit.unwrap_or((1, "ms"));
    format!("{}{name}", ms / u128::from(unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn duration_is_printed_in_one_unit_and_rounded() {
        for (ms, text) in [
            (0, "0s"),
            (1, "1ms"),
            (850, "850ms"),
            (1_000, "1s"),
            (2_549, "2.5s"),
            (9_949, "9.9s"),
            (9_950, "10s"),
            (31_200, "31.2s"),
            (59_949, "59.9s"),
            (59_950, "60s"),
            (60_000, "60s"),
            (90_000, "90s"),
            (119_499, "119s"),
            (119_500, "2m"),
            (960_000, "16m"),
            (3_569_999, "59m"),
            (3_570_000, "1h"),
            (7_199_900, "2h"),
            (9_000_000, "2.5h"),
            (48 * HOUR_MS, "2d"),
            (268_000_000, "3.1d"),
            (u64::MAX, "213503982334.6d"),
        ] {
            assert_eq!(format_ms(ms), text, "{ms} ms");
        }
    }

    #[test]
    fn duration_is_parsed_with_units_and_within_its_range() {
        let range = || Duration::from_mins(1)..=Duration::from_hours(7 * 24);
        for (text, minutes) in [
            ("1m", 1),
            ("30m", 30),
            ("2h", 120),
            ("1d", 1_440),
            ("1h 30m", 90),
            ("1.5h", 90),
            ("90 minutes", 90),
            ("7d", 10_080),
        ] {
            assert_eq!(
                parse_duration(text, range()),
                Ok(Duration::from_mins(minutes)),
                "{text}"
            );
        }
        for text in [
            "",
            "m",
            "5",
            "0m",
            "-5m",
            "5m ago",
            "59s",
            "8d",
            "1mo",
            "5x",
            "h5",
            "99999999999999d",
            "٣m",
        ] {
            let error = parse_duration(text, range()).unwrap_err().to_string();
            let expected = "expected a duration from 1m to 7d, for example 30m, 2h or 1h30m";
            assert_eq!(error, expected, "{text:?}");
        }
    }

    #[test]
    fn limit_is_printed_with_all_its_digits() {
        for (ms, text) in [
            (0, "0ms"),
            (90 * MINUTE_MS, "90m"),
            (7 * DAY_MS, "7d"),
            (1_500, "1500ms"),
        ] {
            assert_eq!(format_exact(Duration::from_millis(ms)), text);
        }
    }

    proptest! {
        #[test]
        fn printed_duration_is_parsed_within_its_rounding(ms in 0..47 * HOUR_MS) {
            let any = Duration::ZERO..=Duration::MAX;
            let parsed = parse_duration(&format_ms(ms), any).unwrap().as_millis();
            let difference = parsed.abs_diff(u128::from(ms));
            // The coarsest step is from 2m to 3m.
            prop_assert!(difference * 5 <= u128::from(ms), "{ms} ms");
        }

        #[test]
        fn limit_in_a_message_is_parsed_exactly(ms in 0..10_000 * DAY_MS) {
            let any = Duration::ZERO..=Duration::MAX;
            let length = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_exact(length), any), Ok(length));
        }

        #[test]
        fn parser_accepts_any_text(text in ".{0,40}") {
            let range = Duration::ZERO..=Duration::MAX;
            let _ = parse_duration(&text, range);
        }
    }
}
