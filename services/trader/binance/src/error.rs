//! Conversion of the SDK's errors to [`ExchangeError`], and of any text to one line without a signature.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use binance_sdk::errors::ConnectorError;
use exchange::ExchangeError;

/// Wait after HTTP 429 without a `Retry-After`: the exchange counts by the minute.
const PAUSE_WHEN_LIMITED: Duration = Duration::from_mins(1);

/// Wait after HTTP 418 (banned) without a `Retry-After`: the shortest ban.
const PAUSE_WHEN_BANNED: Duration = Duration::from_mins(2);

/// Codes with status 400 for a fault of the exchange, not of the request.
const EXCHANGE_FAULTS: [i64; 8] = [-1000, -1001, -1003, -1006, -1007, -1008, -1015, -1016];

/// Most characters kept of an error text.
const LONGEST_REASON: usize = 300;

/// A failure that may pass. Any reason becomes one line.
pub(crate) fn retry(what: &'static str, reason: impl AsRef<str>) -> ExchangeError {
    ExchangeError::retry(what, one_line(reason.as_ref()))
}

/// A failure that a retry cannot fix. Any reason becomes one line.
pub(crate) fn rejected(what: &'static str, reason: impl AsRef<str>) -> ExchangeError {
    ExchangeError::rejected(what, one_line(reason.as_ref()))
}

/// Converts an error of an SDK call. The SDK wraps its own type, and reports some faults without it.
pub(crate) fn from_sdk(
    what: &'static str,
    error: &(dyn Error + Send + Sync + 'static),
) -> ExchangeError {
    match error.downcast_ref::<ConnectorError>() {
        Some(known) => from_connector(what, known),
        None => retry(what, with_causes(error)),
    }
}

/// Converts an error of the SDK whose type is known.
pub(crate) fn from_connector(what: &'static str, error: &ConnectorError) -> ExchangeError {
    let pause = |given: Option<u32>, otherwise: Duration| ExchangeError::Retry {
        what,
        reason: one_line(&error.to_string()),
        after: Some(given.map_or(otherwise, |s| Duration::from_secs(s.into()))),
    };
    match error {
        ConnectorError::TooManyRequestsError { retry_after, .. } => {
            pause(*retry_after, PAUSE_WHEN_LIMITED)
        }
        ConnectorError::RateLimitBanError { retry_after, .. } => {
            pause(*retry_after, PAUSE_WHEN_BANNED)
        }
        // The exchange's firewall refused the call, not its API: further calls lead to a ban.
        ConnectorError::ForbiddenError { .. } => pause(None, PAUSE_WHEN_LIMITED),
        ConnectorError::BadRequestError { code, .. }
            if !code.is_some_and(|c| EXCHANGE_FAULTS.contains(&c)) =>
        {
            rejected(what, error.to_string())
        }
        ConnectorError::UnauthorizedError { .. } | ConnectorError::NotFoundError { .. } => {
            rejected(what, error.to_string())
        }
        // The SDK reports HTTP 451 without its status.
        ConnectorError::ConnectorClientError { msg, .. } if msg.contains("restricted location") => {
            rejected(what, error.to_string())
        }
        ConnectorError::BadRequestError { .. }
        | ConnectorError::ConnectorClientError { .. }
        | ConnectorError::ServerError { .. }
        | ConnectorError::NetworkError(_) => retry(what, error.to_string()),
    }
}
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

/// One line of an answer of the exchange or of a proxy, which may be a whole page. The query of an address is
/// left out: it may be signed.
pub(crate) fn one_line(text: &str) -> String {
    let parts = text.split_whitespace().map(without_query);
    let mut line = parts.collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST_REASON) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn without_query(part: &str) -> Cow<'_, str> {
    let Some((address, query)) = part.split_once('?').filter(|(a, _)| a.contains("://")) else {
        return Cow::Borrowed(part);
    };
    let behind = query.find([')', '"', ':']).and_then(|at| query.get(at..));
    Cow::Owned(format!("{address}{}", behind.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_step(error: &ConnectorError) -> &'static str {
        match from_connector("klines", error) {
            ExchangeError::Retry { after: None, .. } => "retry",
            ExchangeError::Retry { after: Some(_), .. } => "pause",
            ExchangeError::Rejected { .. } => "stop",
            ExchangeError::UnknownSymbol { .. } => "symbol",
        }
    }

    #[test]
    fn each_fault_of_the_sdk_says_what_to_do_next() {
        let msg = || "text".to_owned();
        let bad = |code| ConnectorError::BadRequestError { msg: msg(), code };
        let client = |msg: &str| ConnectorError::ConnectorClientError {
            msg: msg.to_owned(),
            code: None,
        };
        let server = ConnectorError::ServerError {
            msg: msg(),
            status_code: Some(503),
        };
        let limited = ConnectorError::TooManyRequestsError {
            msg: msg(),
            code: Some(-1003),
            retry_after: None,
        };
        for (error, step) in [
            (bad(Some(-1121)), "stop"),
            (bad(Some(-1001)), "retry"),
            (bad(None), "stop"),
            (client("HTTP request failed: operation timed out"), "retry"),
            (client("unavailable from a restricted location"), "stop"),
            (server, "retry"),
            (limited, "pause"),
            (ConnectorError::NetworkError(msg()), "retry"),
        ] {
            assert_eq!(next_step(&error), step, "{error}");
        }
    }

    #[test]
    fn the_exchanges_own_pause_is_kept() {
        let error = ConnectorError::RateLimitBanError {
            msg: "banned".to_owned(),
            code: Some(-1003),
            retry_after: Some(7),
        };
        let ExchangeError::Retry { after, .. } = from_connector("time", &error) else {
            panic!("a ban ends");
        };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_signature_is_in_no_error() {
        let text =
            "error sending request for url (https://a.b/fapi/v1/order?x=1&signature=2): lost?";
        let line = "error sending request for url (https://a.b/fapi/v1/order): lost?";
        assert_eq!(one_line(text), line);
    }

    #[test]
    fn a_page_becomes_one_short_line() {
        let page = format!("<html>\n\t<body>{}é", "x".repeat(400));
        let line = one_line(&page);
        assert!(
            !line.contains('\n') && line.chars().count() == LONGEST_REASON + 1,
            "{line}"
        );
    }
}
