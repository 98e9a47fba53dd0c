//! What a role may do, and which account has a stream.

use runtime::streams;

/// Account of all streams but [`EVENTS_ACCOUNT`]'s.
pub(super) const STREAMS_ACCOUNT: &str = "STREAMS";
/// Account of the stream of events. A role that may create a consumer in an account can aim its messages at a subject
/// that is subscribed there, so only the notifier may create one beside its own.
pub(super) const EVENTS_ACCOUNT: &str = "EVENTS";

/// What a role may do.
pub struct RoleRights {
    /// User name, and name of the inbox: `_INBOX_<user>.>`.
    pub user: &'static str,
    /// Account of the role.
    pub account: &'static str,
    /// What the role is, in a comment of the configuration.
    pub purpose: &'static str,
    /// Subjects under which it stores messages.
    pub stores: Vec<String>,
    /// Stream and filter: the newest message of each subject.
    pub reads: Vec<(&'static str, String)>,
    /// Stream and filter: consumers of its own, which end with it.
    pub replays: Vec<(&'static str, String)>,
    /// Stream, name and filter of a durable consumer, which it acknowledges.
    pub durable: Option<(&'static str, &'static str, &'static str)>,
    /// Account and subject of requests to another role.
    pub requests: Vec<(&'static str, &'static str)>,
    /// Requests that it answers, also those of its own commands.
    pub answers: Vec<&'static str>,
    /// Account and subject of messages that it receives as they are published.
    pub receives: Vec<(&'static str, &'static str)>,
    /// Subjects that only its own account has.
    pub own: Vec<&'static str>,
    /// Whether it may list the streams and read any message by sequence.
    pub inspects_streams: bool,
    /// Connections of the role at the same time.
    pub max_connections: u16,
}

/// Account of a stream.
pub(super) fn account_of_stream(stream: &str) -> &'static str {
    if stream == streams::EVENTS {
        EVENTS_ACCOUNT
    } else {
        STREAMS_ACCOUNT
    }
}

/// Account of the stream that stores a subject.
pub(super) fn account_of_subject(subject: &str) -> &'static str {
    if subject.starts_with("event.") {
        EVENTS_ACCOUNT
    } else {
        STREAMS_ACCOUNT
    }
}

/// Names of all streams.
pub(super) const STREAM_NAMES: [&str; 8] = [
    streams::JOURNAL,
    streams::SNAPSHOTS,
    streams::EVENTS,
    streams::TRADES,
    streams::REPORTS,
    streams::EQUITY,
    streams::HEARTBEATS,
    streams::LEASES,
];

/// Whether a subject or a filter lies within a filter.
pub fn is_within(filter: &str, inner: &str) -> bool {
    let mut inner = inner.split('.');
    for token in filter.split('.') {
        match (token, inner.next()) {
            (">", next) => return next.is_some(),
            ("*", Some(">")) | (_, None) => return false,
            ("*", Some(_)) => {}
            (token, Some(next)) if token == next => {}
            _ => return false,
        }
    }
    inner.next().is_none()
}
