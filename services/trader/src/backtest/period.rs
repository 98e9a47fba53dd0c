//! The times of `--from` and `--to`.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use protocol::time::UtcMs;

/// A date or a time in UTC, or milliseconds since the epoch.
///
/// # Errors
/// What is expected.
pub(super) fn utc_time(text: &str) -> Result<UtcMs, String> {
    let expected =
        || "expected a date or a time in UTC, e.g. 2025-01-31 or 2025-01-31T12:00".to_owned();
    if text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(UtcMs).map_err(|_| expected());
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(UtcMs(time.as_millisecond()));
    }
    // `2025-01-31T12:00Z` has no seconds, which a `Timestamp` needs.
    let civil = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let civil = civil.parse::<DateTime>().or_else(|_| {
        let date = text.parse::<Date>();
        date.map(|date| date.to_datetime(jiff::civil::Time::midnight()))
    });
    let time = civil.and_then(|civil| TimeZone::UTC.to_timestamp(civil));
    time.map(|time| UtcMs(time.as_millisecond()))
        .map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_milliseconds_are_utc() {
        let noon = UtcMs(1_738_324_800_000);
        for text in [
            "2025-01-31T12:00",
            "2025-01-31 12:00",
            "2025-01-31T12:00Z",
            "2025-01-31T12:00:00Z",
            "2025-01-31T14:00:00+02:00",
            "1738324800000",
        ] {
            assert_eq!(utc_time(text), Ok(noon), "{text}");
        }
        assert_eq!(utc_time("2025-01-31"), Ok(UtcMs(1_738_281_600_000)));
        for text in ["", "now", "31.01.2025", "2025-13-01", "2025"] {
            assert!(utc_time(text).is_err(), "{text}");
        }
    }
}
