//! Failures of calls, in one taxonomy: [`CallError`].
//!
//! It answers the two kinds of caller. An order asks [`CallError::order_outcome`]: was it rejected, or is its outcome
//! unknown? A wrong rejection costs money, so every failure that is not a known rejection is unknown. A call that may
//! be repeated asks [`CallError::retry`]: after how long, or never? Only the exchange's own error of a known kind is
//! permanent; a page of a content network or of a firewall passes.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use exchange::ExchangeError;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use trader_core::orders::OrderCallOutcome;

use super::date;
use crate::wire::scalar;

/// Error codes of the exchange that callers handle.
pub mod code {
    /// The request limit is reached; also used for calls that were not sent for that reason.
    pub const LIMITED: i64 = -1003;
    /// The limit of orders is reached.
    pub const TOO_MANY_ORDERS: i64 = -1015;
    /// The call's timestamp is outside `recvWindow`: a wrong clock, or a late call.
    pub const STALE: i64 = -1021;
    /// A cancellation of an order that the exchange does not have.
    pub const UNKNOWN_ORDER: i64 = -2011;
    /// A query for an order that the exchange does not have.
    pub const NO_SUCH_ORDER: i64 = -2013;
    /// A cancellation of a conditional order that is being triggered.
    pub const TRIGGERING: i64 = -4117;
    /// The margin mode is what it should be.
    pub const SAME_MARGIN: i64 = -4046;
}

/// Codes for a fault of the exchange, not of the call: the exchange does not know the outcome.
const EXCHANGE_FAULTS: [i64; 6] = [-1000, -1001, -1006, -1007, -1008, -1016];

/// Wait after 429 that states none: the exchange counts by the minute.
const PAUSE_WHEN_LIMITED: Duration = Duration::from_mins(1);
/// First wait after a page with 403 that states none. It is a firewall's: a block that lasts, or one odd answer.
pub(super) const FIRST_PAUSE_BY_FIREWALL: Duration = Duration::from_secs(1);
/// Wait after 418 (banned) that states none: the shortest ban.
const PAUSE_WHEN_BANNED: Duration = Duration::from_mins(2);
/// Wait after too many orders that states none: the shorter of the two windows.
const PAUSE_OF_ORDERS: Duration = Duration::from_secs(10);
/// Longest wait that a ban may demand: Binance's longest ban.
const LONGEST_BAN: Duration = Duration::from_hours(72);
/// Longest wait that anything else may demand. The exchange counts by the minute; a longer wait is a mistake of
/// something between it and this process, and would leave positions alone.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Most characters kept of an error text.
const LONGEST_REASON: usize = 300;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {failure}")]
pub struct CallError {
    /// The call, for example `klines`.
    pub what: &'static str,
    /// How the call failed.
    pub failure: Failure,
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was sent.
    NotSent {
        /// The cause, in one line.
        reason: String,
        /// Time until calls are sent again; `None` if a setting is missing.
        after: Option<Duration>,
    },
    /// The exchange's own error, with a status of the class 4xx.
    Refused {
        /// HTTP status.
        status: u16,
        /// Error code of the exchange.
        code: i64,
        /// Error text of the exchange, in one line.
        message: String,
    },
    /// The exchange, or its firewall, wants fewer calls.
    Limited {
        /// HTTP status.
        status: u16,
        /// Error code of the exchange; `None` if the answer is not the exchange's own error.
        code: Option<i64>,
        /// Error text, in one line.
        message: String,
        /// What is limited.
        scope: LimitScope,
        /// The wait that the answer states; `None` if it states none.
        stated: Option<Duration>,
    },
    /// It is unknown whether the call took effect: no answer, half an answer, a fault of the exchange, or an answer
    /// that is not the exchange's.
    Unknown {
        /// Error code of the exchange; `None` if there is none.
        code: Option<i64>,
        /// The cause, in one line.
        reason: String,
    },
    /// The call succeeded, and its answer lacks a field or has a value that cannot be read.
    Unreadable {
        /// The cause, in one line.
        reason: String,
    },
}

/// What [`Failure::Limited`] concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// All calls from this address.
    Calls,
    /// Orders of this account.
    Orders,
}

/// When a call that may be repeated is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// When the caller wants to.
    Soon,
    /// Not before this time has passed.
    After(Duration),
    /// The same call fails again until a setting or the account changes.
    Never,
}

impl CallError {
    /// Error code of the exchange; `None` if there is none.
    pub fn code(&self) -> Option<i64> {
        match &self.failure {
            Failure::Refused { code, .. } => Some(*code),
            Failure::Limited { code, .. } | Failure::Unknown { code, .. } => *code,
            Failure::NotSent { .. } | Failure::Unreadable { .. } => None,
        }
    }

    /// Whether the time that the call was signed with is in doubt.
    pub fn is_stale(&self) -> bool {
        self.code() == Some(code::STALE)
    }

    /// When a call that may be repeated is repeated.
    pub fn retry(&self) -> Retry {
        self.failure.retry()
    }

    /// The outcome of the order whose call failed.
    pub fn order_outcome(self) -> OrderCallOutcome {
        match self.failure {
            Failure::NotSent { .. } => OrderCallOutcome::Rejected {
                code: code::LIMITED,
                reason: self.failure.to_string(),
            },
            Failure::Refused {
                status,
                code,
                message,
            }
            | Failure::Limited {
                status,
                code: Some(code),
                message,
                ..
            } if refuses(status) && is_refusal(code) => OrderCallOutcome::Rejected {
                code,
                reason: message,
            },
            _ => OrderCallOutcome::Unknown {
                error: self.to_string(),
            },
        }
    }
}

impl Failure {
    /// Whether the exchange, or the way to it, failed: neither was the call held back nor did the exchange refuse its
    /// content.
    pub(super) const fn is_of_exchange(&self) -> bool {
        match self {
            Self::Limited { .. } | Self::Unknown { .. } | Self::Unreadable { .. } => true,
            Self::NotSent { .. } | Self::Refused { .. } => false,
        }
    }
}

impl From<CallError> for ExchangeError {
    fn from(error: CallError) -> Self {
        let (what, reason) = (error.what, error.failure.to_string());
        match error.retry() {
            Retry::Soon => Self::retry(what, reason),
            Retry::After(after) => Self::Retry {
                what,
                reason,
                after: Some(after),
            },
            Retry::Never => Self::rejected(what, reason),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent { reason, .. } => write!(f, "not sent: {reason}"),
            Self::Refused { code, message, .. } => write!(f, "{message} ({code})"),
            Self::Limited {
                status,
                code,
                message,
                ..
            } => match code {
                Some(code) => write!(f, "{message} ({code}, status {status})"),
                None => write!(f, "limited with status {status}: {message}"),
            },
            Self::Unknown { code, reason } => match code {
                Some(code) => write!(f, "{reason} ({code})"),
                None => f.write_str(reason),
            },
            Self::Unreadable { reason } => write!(f, "unreadable answer: {reason}"),
        }
    }
}

/// The exchange's own error.
#[derive(Deserialize)]
struct ErrorBody {
    #[serde(deserialize_with = "scalar::integer")]
    code: i64,
    #[serde(default)]
    msg: String,
}

impl Failure {
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::NotSent { after, .. } => after.map_or(Retry::Never, Retry::After),
            Self::Refused { status, code, .. } if is_permanent(*status, *code) => Retry::Never,
            Self::Limited {
                status,
                scope,
                stated,
                ..
            } => Retry::After(stated.unwrap_or_else(|| usual_pause(*status, *scope))),
            Self::Refused { .. } | Self::Unknown { .. } | Self::Unreadable { .. } => Retry::Soon,
        }
    }

    /// A call whose outcome is unknown, for this reason.
    pub(super) fn unknown(reason: &str) -> Self {
        Self::Unknown {
            code: None,
            reason: one_line(reason),
        }
    }

    /// The failure that an answer with an error status is. `body` is an error text if the body could not be read.
    pub(super) fn of_answer(
        status: u16,
        headers: &HeaderMap,
        body: &Result<Vec<u8>, String>,
    ) -> Self {
        let own = body.as_ref().ok().and_then(|body| own_error(body));
        let code = own.as_ref().map(|own| own.code);
        let message = match (&own, body) {
            (Some(own), _) => one_line(&own.msg),
            (None, Ok(body)) => page(body),
            (None, Err(reason)) => one_line(reason),
        };
        let orders = code == Some(code::TOO_MANY_ORDERS);
        // The firewall answers with a page, the exchange with its own error.
        let firewall = status == 403 && own.is_none();
        if matches!(status, 418 | 429) || orders || firewall || code == Some(code::LIMITED) {
            let stated = date::retry_after(headers).or_else(|| date::ban_left(&message, headers));
            let longest = if status == 418 {
                LONGEST_BAN
            } else {
                LONGEST_PAUSE
            };
            return Self::Limited {
                status,
                code,
                message,
                scope: if orders {
                    LimitScope::Orders
                } else {
                    LimitScope::Calls
                },
                stated: stated.map(|stated| stated.clamp(Duration::from_secs(1), longest)),
            };
        }
        match code {
            Some(code) if (400..500).contains(&status) && !EXCHANGE_FAULTS.contains(&code) => {
                Self::Refused {
                    status,
                    code,
                    message,
                }
            }
            _ => Self::Unknown {
                code,
                reason: one_line(&format!("status {status}: {message}")),
            },
        }
    }

    /// The failure that an answer with status 200 is; `None` if the exchange does not call it an error itself.
    pub(super) fn of_success(body: &[u8]) -> Option<Self> {
        let own = own_error(body).filter(|own| own.code < 0)?;
        Some(Self::Unknown {
            code: Some(own.code),
            reason: one_line(&format!("error with status 200: {}", own.msg)),
        })
    }

    /// An answer with status 200 that is not what was asked for.
    pub(super) fn not_the_answer(body: &[u8], error: &serde_json::Error) -> Self {
        if error.is_data() {
            let reason = one_line(&error.to_string());
            return Self::Unreadable { reason };
        }
        Self::unknown(&format!("no JSON: {error}: {}", page(body)))
    }
}

fn own_error(body: &[u8]) -> Option<ErrorBody> {
    serde_json::from_slice(body).ok()
}

/// The first characters of a body that is not the exchange's own.
fn page(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..LONGEST_REASON).unwrap_or(body));
    if text.trim().is_empty() {
        "empty body".to_owned()
    } else {
        one_line(&text)
    }
}

/// Wait after a refusal that states none.
pub(super) const fn usual_pause(status: u16, scope: LimitScope) -> Duration {
    match (status, scope) {
        (418, _) => PAUSE_WHEN_BANNED,
        (403, LimitScope::Calls) => FIRST_PAUSE_BY_FIREWALL,
        (_, LimitScope::Orders) => PAUSE_OF_ORDERS,
        (_, LimitScope::Calls) => PAUSE_WHEN_LIMITED,
    }
}

/// Whether the exchange certainly did not take an order that it answered with this status and an error of its own.
const fn refuses(status: u16) -> bool {
    matches!(status, 400 | 401 | 403 | 418 | 429)
}

/// Whether the same call fails again. An unknown code is not: it may be a fault that passes.
const fn is_permanent(status: u16, code: i64) -> bool {
    // 451: calls from this country are not served. -5000: no such path.
    status == 451
        || code == -5_000
        || matches!(code, code::UNKNOWN_ORDER | code::NO_SUCH_ORDER)
        || (refuses(status) && code != code::STALE && is_refusal(code))
}

/// Whether this code means that the exchange did not take the order and will not take it.
///
/// Not among them: -1000, -1001, -1006, -1007, -1008, -1016 (the exchange does not know), -4116 (an
/// order with this id exists: perhaps this one), and all codes that are not listed here.
const fn is_refusal(code: i64) -> bool {
    matches!(
        code,
        // No right, too many, too late, not signed, not as the protocol wants it.
        -1002 | code::LIMITED | -1005 | -1010 | -1013 | -1014 | code::TOO_MANY_ORDERS | -1020 | code::STALE
            | -1022 | -1023 | -1136..=-1099
            // Against the account's state.
            | -2008 | -2010 | -2014 | -2015 | -2028..=-2018
            // Against the symbol's filters, or the account's settings.
            | -4115..=-4000
            | -4999..=-4117
            // Could not be executed as asked.
            | -5028..=-5021
    )
}

/// An error with its causes, in one line.
pub(super) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    one_line(&text)
}

/// One line of an answer of the exchange or of a proxy, which may be a whole page. The query of an address is
/// left out: it may be signed.
pub fn one_line(text: &str) -> String {
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
#[path = "error_tests.rs"]
mod tests;
