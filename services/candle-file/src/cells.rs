//! Times and numbers of cells, parsed in place.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::{UNITS_PER_ONE, VALUE_LIMIT};

/// Decimal places of a unit.
const PLACES: u32 = 8;
/// Latest open time of a candle: 2100-01-01.
pub(crate) const MAX_OPEN_TIME_MS: i64 = 4_102_444_800_000;
/// From here on an integer is a time in seconds, up to the next limit: 2001-09-09 to 5138. No candle of an earlier time
/// is in milliseconds from here up to [`MILLIS_FROM`].
const SECONDS_FROM: i64 = 1_000_000_000;
const MILLIS_FROM: i64 = 100_000_000_000;
const MICROS_FROM: i64 = 100_000_000_000_000;
const NANOS_FROM: i64 = 100_000_000_000_000_000;

/// A cell without spaces and quotes around it.
pub(crate) fn trimmed(cell: &[u8]) -> &[u8] {
    let cell = cell.trim_ascii();
    match cell {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner.trim_ascii(),
        _ => cell,
    }
}

/// Milliseconds since the epoch of a time cell: an integer in seconds, milliseconds, microseconds or nanoseconds, or a date
/// with or without a time, in UTC if it names no offset. `None` for anything else, and outside of 1970 to 2100.
pub(crate) fn time_ms(cell: &[u8]) -> Option<i64> {
    let ms = match digits(cell) {
        Some(number) => millis_of(number),
        None => text_ms(std::str::from_utf8(cell).ok()?)?,
    };
    (0..=MAX_OPEN_TIME_MS).contains(&ms).then_some(ms)
}

/// The time of a date in one cell and a time of day in another.
pub(crate) fn date_and_clock_ms(date: &[u8], clock: &[u8]) -> Option<i64> {
    let (date, clock) = (
        std::str::from_utf8(date).ok()?,
        std::str::from_utf8(clock).ok()?,
    );
    if !is_clock(clock.as_bytes()) {
        return None;
    }
    time_ms(format!("{date} {clock}").as_bytes())
}

/// Whether a cell is a time of day.
pub(crate) fn is_clock(cell: &[u8]) -> bool {
    matches!(cell, [h, m @ .., _] if h.is_ascii_digit() && m.contains(&b':') && m.len() < 12)
        && !cell.contains(&b'-')
}

fn digits(cell: &[u8]) -> Option<i64> {
    if cell.is_empty() || cell.len() > 19 {
        return None;
    }
    let mut number: i64 = 0;
    for byte in cell {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number
            .checked_mul(10)?
            .checked_add(i64::from(byte - b'0'))?;
    }
    Some(number)
}

const fn millis_of(number: i64) -> i64 {
    match number {
        SECONDS_FROM..MILLIS_FROM => number * 1_000,
        MICROS_FROM..NANOS_FROM => number / 1_000,
        NANOS_FROM.. => number / 1_000_000,
        _ => number,
    }
}

fn text_ms(text: &str) -> Option<i64> {
    if let Some(ms) = float_ms(text) {
        return Some(ms);
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let text = iso(text);
    let text = text
        .trim_end_matches("GMT+0000")
        .trim_end_matches("UTC")
        .trim_end();
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let civil = match text.parse::<DateTime>() {
        Ok(civil) => civil,
        Err(_) => text
            .parse::<Date>()
            .ok()?
            .to_datetime(jiff::civil::Time::midnight()),
    };
    Some(TimeZone::UTC.to_timestamp(civil).ok()?.as_millisecond())
}

/// A whole number that is written with a fraction or an exponent: `1640995200000.0`, `1.6409952e9`.
fn float_ms(text: &str) -> Option<i64> {
    let number = decimal(text)?;
    let whole = number.trunc();
    if whole >= Decimal::from(MILLIS_FROM) || number == whole {
        return whole.to_i64().map(millis_of);
    }
    // Seconds with a fraction.
    (number * Decimal::ONE_THOUSAND).trunc().to_i64()
}

/// Dates with slashes or dots, in the order year, month, day or day, month, year, as ISO 8601.
fn iso(text: &str) -> String {
    let (date, rest) = text.split_at(text.find([' ', 'T']).unwrap_or(text.len()));
    let parts: Vec<&str> = date.split(['/', '.', '-']).collect();
    let date = match parts[..] {
        [year, month, day] if year.len() == 4 => format!("{year}-{month:0>2}-{day:0>2}"),
        // With slashes it may be the month that comes first.
        [day, month, year] if year.len() == 4 && date.contains('.') => {
            format!("{year}-{month:0>2}-{day:0>2}")
        }
        _ => date.to_owned(),
    };
    date + rest
}

/// Units of a number from 0 to below [`VALUE_LIMIT`], in plain or scientific notation; finer ones are rounded. `None` for
/// anything else. With `is_comma` the decimal separator may be a comma.
#[inline]
pub(crate) fn units(cell: &[u8], is_comma: bool) -> Option<i64> {
    let mut whole: i64 = 0;
    let mut places = None;
    if cell.is_empty() || cell.len() > 18 {
        return slow_units(cell, is_comma);
    }
    for byte in cell {
        match byte {
            b'0'..=b'9' => {
                whole = whole * 10 + i64::from(byte - b'0');
                places = places.map(|n| n + 1);
            }
            b'.' if places.is_none() => places = Some(0),
            _ => return slow_units(cell, is_comma),
        }
    }
    let places = places.unwrap_or(0);
    if places > 8 || cell.len() == 1 && places == 0 && !cell[0].is_ascii_digit() {
        return slow_units(cell, is_comma);
    }
    let units = whole.checked_mul(POWERS[8 - places])?;
    (units < VALUE_LIMIT * UNITS_PER_ONE).then_some(units)
}

const POWERS: [i64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

#[cold]
fn slow_units(cell: &[u8], is_comma: bool) -> Option<i64> {
    let text = std::str::from_utf8(cell).ok()?;
    let number = if is_comma && text.contains(',') {
        decimal(&text.replace('.', "").replacen(',', ".", 1))?
    } else {
        decimal(text)?
    };
    if number < Decimal::ZERO || number >= Decimal::from(VALUE_LIMIT) {
        return None;
    }
    (number.round_dp(PLACES) * Decimal::from(UNITS_PER_ONE)).to_i64()
}

fn decimal(text: &str) -> Option<Decimal> {
    text.parse::<Decimal>()
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_all_units_and_notations() {
        let day = 1_640_995_200_000;
        for text in [
            "1640995200",
            "1640995200.0",
            "1.6409952e9",
            "1640995200000",
            "1640995200000.0",
            "1640995200000000",
            "1640995200000000000",
            "2022-01-01",
            "2022-01-01 00:00",
            "2022-01-01 00:00:00",
            "2022-01-01T00:00:00Z",
            "2022-01-01 00:00:00+00:00",
            "2022-01-01T02:00:00+02:00",
            "2022-01-01 00:00:00.000",
            "2022/01/01 00:00",
            "2022.01.01 00:00",
            "01.01.2022 00:00:00.000 GMT+0000",
            "2022-01-01 00:00:00 UTC",
        ] {
            assert_eq!(time_ms(text.as_bytes()), Some(day), "{text}");
        }
        assert_eq!(time_ms(b"60000"), Some(60_000));
        assert_eq!(time_ms(b"1640995200.5"), Some(day + 500));
        assert_eq!(
            date_and_clock_ms(b"2022.01.01", b"00:01"),
            Some(day + 60_000)
        );
        for text in [
            "",
            "yesterday",
            "01/02/2022",
            "-5",
            "2101-01-01",
            "00:00",
            "1e300",
        ] {
            assert_eq!(time_ms(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_read_in_units() {
        for (text, expected) in [
            ("1", 100_000_000),
            ("46319.50", 4_631_950_000_000),
            ("0.00000001", 1),
            (".5", 50_000_000),
            ("1e-05", 1_000),
            ("0.30000000000000004", 30_000_000),
            ("999999999.99999999", 99_999_999_999_999_999),
        ] {
            assert_eq!(units(text.as_bytes(), false), Some(expected), "{text}");
        }
        assert_eq!(units(b"46.319,50", true), Some(4_631_950_000_000));
        for text in [
            "",
            ".",
            "-1",
            "NaN",
            "inf",
            "1,5",
            "1e9",
            "1000000000",
            "0x1",
            "1.2.3",
        ] {
            assert_eq!(units(text.as_bytes(), false), None, "{text}");
        }
    }
}
