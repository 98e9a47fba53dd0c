//! Errors of calls to the exchange, one variant for each thing that the caller does next: [`MarketError`]. The
//! SDK's errors are converted here.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use binance_sdk::errors::ConnectorError;
use protocol::ids::SubjectToken;

/// A call to the exchange that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarketError {
    /// The call may succeed later.
    #[error("{what}: {reason}")]
    Retry {
        /// The call, for example `klines`.
        what: &'static str,
        /// One line on the cause.
        reason: String,
        /// The least wait, if the exchange or our own budget demands one.
        after: Option<Duration>,
    },
    /// The call will fail again until settings or the account change.
    #[error("{what}: {reason}")]
    Refused {
        /// The call, for example `klines`.
        what: &'static str,
        /// One line on the cause.
        reason: String,
    },
    /// The settings name a symbol that cannot be traded.
    #[error(
        "SYMBOLS=\"{symbol}\": expected listed symbols such as {examples}; {symbol} is {reason}"
    )]
    UnknownSymbol {
        /// The symbol of the settings.
        symbol: SubjectToken,
        /// Why the symbol cannot be traded.
        reason: String,
        /// A few symbols that can be traded, the most similar first.
        examples: String,
    },
}

/// Wait after HTTP 429 without a `Retry-After`: the exchange counts by the minute.
const PAUSE_WHEN_LIMITED: Duration = Duration::from_mins(1);

/// Wait after HTTP 418 (banned) without a `Retry-After`: the shortest ban.
const PAUSE_WHEN_BANNED: Duration = Duration::from_mins(2);

/// Codes with status 400 for a fault of the exchange, not of the request.
const EXCHANGE_FAULTS: [i64; 8] = [-1000, -1001, -1003, -1006, -1007, -1008, -1015, -1016];

/// Most characters kept of an error text.
const LONGEST_REASON: usize = 300;

impl MarketError {
    pub(crate) fn retry(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Retry {
            what,
            reason: one_line(&reason.into()),
            after: None,
        }
    }

    pub(crate) fn refused(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Refused {
            what,
            reason: one_line(&reason.into()),
        }
    }

    /// Converts an error of an SDK call. The SDK wraps its own type, and reports some faults without it.
    pub(crate) fn from_sdk(
        what: &'static str,
        error: &(dyn Error + Send + Sync + 'static),
    ) -> Self {
        match error.downcast_ref::<ConnectorError>() {
            Some(known) => Self::from_connector(what, known),
            None => Self::retry(what, with_causes(error)),
        }
    }

    pub(crate) fn from_connector(what: &'static str, error: &ConnectorError) -> Self {
        let pause = |given: Option<u32>, otherwise: Duration| Self::Retry {
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
                Self::refused(what, error.to_string())
            }
            ConnectorError::UnauthorizedError { .. } | ConnectorError::NotFoundError { .. } => {
                Self::refused(what, error.to_string())
            }
            // The SDK reports HTTP 451 without its status.
            ConnectorError::ConnectorClientError { msg, .. }
                if msg.contains("restricted location") =>
            {
                Self::refused(what, error.to_string())
            }
            ConnectorError::BadRequestError { .. }
            | ConnectorError::ConnectorClientError { .. }
            | ConnectorError::ServerError { .. }
            | ConnectorError::NetworkError(_) => Self::retry(what, error.to_string()),
        }
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
        match MarketError::from_connector("klines", error) {
            MarketError::Retry { after: None, .. } => "retry",
            MarketError::Retry { after: Some(_), .. } => "pause",
            MarketError::Refused { .. } => "stop",
            MarketError::UnknownSymbol { .. } => "symbol",
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
        let MarketError::Retry { after, .. } = MarketError::from_connector("time", &error) else {
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
