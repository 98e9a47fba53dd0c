//! The exchange's own date in the headers of its answers. Waits that an answer states as a point in time are
//! counted from it: the clock of this machine decides nothing.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use protocol::time::UtcMs;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// The date of an answer; `None` if it states none that can be read.
pub(super) fn date_of(headers: &HeaderMap) -> Option<UtcMs> {
    parse(text(headers, &DATE)?)
}

/// The wait that `Retry-After` demands, in seconds or as a date; `None` if it is missing or cannot be read.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = text(headers, &RETRY_AFTER)?;
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(parse(text)?.since(date_of(headers)?)),
    }
}

/// The wait until the end of a ban that the text of an error states in milliseconds since the epoch; `None` if it
/// states none.
pub(super) fn ban_left(message: &str, headers: &HeaderMap) -> Option<Duration> {
    let (_, until) = message.split_once("banned until ")?;
    let digits = until.bytes().take_while(u8::is_ascii_digit).count();
    let until = UtcMs(until.get(..digits)?.parse().ok()?);
    Some(until.since(date_of(headers)?))
}

/// The value of a header as text; `None` if it is missing or no text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn parse(text: &str) -> Option<UtcMs> {
    let at = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(UtcMs(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                reqwest::header::HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    const NOW: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

    #[test]
    fn retry_after_is_read_in_seconds_and_as_a_date() {
        let after = |pairs: &[_]| retry_after(&headers(pairs));
        let seconds = |s| Some(Duration::from_secs(s));
        assert_eq!(after(&[("retry-after", " 30 ")]), seconds(30));
        let date = ("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT");
        assert_eq!(after(&[NOW, date]), seconds(23));
        let past = ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT");
        assert_eq!(after(&[NOW, past]), seconds(0));
        for unreadable in [&[date][..], &[NOW, ("retry-after", "soon")], &[NOW]] {
            assert_eq!(after(unreadable), None, "{unreadable:?}");
        }
    }

    #[test]
    fn end_of_a_ban_is_counted_from_the_exchanges_date() {
        let text = "Way too many requests; IP(1.2.3.4) banned until 784111837000. Please use the websocket";
        let left = ban_left(text, &headers(&[NOW]));
        assert_eq!(left, Some(Duration::from_mins(1)));
        assert_eq!(ban_left(text, &headers(&[])), None);
        assert_eq!(
            ban_left("banned until further notice", &headers(&[NOW])),
            None
        );
    }
}
