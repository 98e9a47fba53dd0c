//! Faults of calls and of their answers, as they are armed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::{Bounded, HttpStatus, Milliseconds};

/// A fault without fields of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoFields {}

/// An error instead of the call, or instead of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorAnswer {
    pub(crate) status: HttpStatus,
    pub(crate) code: i32,
    /// `None` for the message of the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

/// Position of a delay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DelayPosition {
    /// The call is executed late.
    Before,
    /// The call is executed at once and answered late.
    #[default]
    After,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delay {
    pub(crate) ms: Milliseconds,
    #[serde(default)]
    pub(crate) when: DelayPosition,
}

/// Texts with which Binance answers 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UnavailableText {
    /// The request was forwarded and not answered in time: it may be executed.
    UnknownError,
    /// The request was not executed.
    ServiceUnavailable,
    /// The request was not executed.
    InternalError,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unavailable {
    pub(crate) text: UnavailableText,
    #[serde(default)]
    pub(crate) executed: bool,
}

/// A page of the network in front of the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HtmlPage {
    pub(crate) status: HttpStatus,
    #[serde(default)]
    pub(crate) executed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmptyBody {
    #[serde(default = "ok")]
    pub(crate) status: HttpStatus,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OtherBody {
    #[serde(default = "ok")]
    pub(crate) status: HttpStatus,
    pub(crate) body: Value,
}

/// How the length of a truncated body is announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BodyFraming {
    #[default]
    ContentLength,
    Chunked,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TruncatedBody {
    /// `None` for half of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<Bounded<0, 1_000_000>>,
    #[serde(default)]
    pub(crate) framing: BodyFraming,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlowBody {
    #[serde(default = "one_byte")]
    pub(crate) bytes: Bounded<1, 1_000_000>,
    #[serde(default = "one_second")]
    pub(crate) every_ms: Bounded<1, 60_000>,
}

/// What is wrong with a compressed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GzipForm {
    /// Compressed although the client has not offered it.
    Unrequested,
    /// The compressed bytes are damaged.
    Corrupt,
    /// The compressed bytes end early; the HTTP message is complete.
    Truncated,
    /// The header says gzip; the body is not compressed.
    Plain,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gzip {
    pub(crate) form: GzipForm,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MissingHeaders {
    #[serde(default = "limit_headers")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryLag {
    pub(crate) ms: Milliseconds,
}

/// A limit of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ClientLimit {
    /// Request weight of every address in a minute.
    #[serde(rename = "weight")]
    Weight,
    /// Orders of an account in 10 seconds.
    #[serde(rename = "orders-10s")]
    OrdersPer10s,
    /// Orders of an account in a minute.
    #[serde(rename = "orders-1m")]
    OrdersPerMinute,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExhaustLimit {
    pub(crate) limit: ClientLimit,
    /// What remains of the limit until the window ends.
    #[serde(default = "nothing")]
    pub(crate) left: Bounded<0, 100_000>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ban {
    pub(crate) ms: Milliseconds,
}

const fn ok() -> HttpStatus {
    Bounded(200)
}

const fn one_byte() -> Bounded<1, 1_000_000> {
    Bounded(1)
}

const fn one_second() -> Bounded<1, 60_000> {
    Bounded(1_000)
}

const fn nothing() -> Bounded<0, 100_000> {
    Bounded(0)
}

fn limit_headers() -> Vec<String> {
    [
        "x-mbx-used-weight-1m",
        "x-mbx-order-count-10s",
        "x-mbx-order-count-1m",
        "retry-after",
    ]
    .map(str::to_owned)
    .into()
}
