//! Errors of calls to an exchange, one variant for each thing that the caller does next: [`ExchangeError`].

use std::time::Duration;

/// A call to the exchange that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The call may succeed later.
    #[error("{what}: {reason}")]
    Retry {
        /// The call, for example `candles`.
        what: &'static str,
        /// The cause, in one line.
        reason: String,
        /// The shortest wait that the exchange or the client's own limits demand; `None` if neither does.
        after: Option<Duration>,
    },
    /// The exchange refused the call by an error of its own. That is no verdict yet: see [`Verdict`](crate::Verdict).
    #[error("{what}: {reason}")]
    Rejected {
        /// The call, for example `candles`.
        what: &'static str,
        /// The cause, in one line.
        reason: String,
    },
}

impl ExchangeError {
    /// A failure that may pass, without a demanded wait. The reason must be one line.
    pub fn retry(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Retry {
            what,
            reason: reason.into(),
            after: None,
        }
    }

    /// A refusal by the exchange. The reason must be one line.
    pub fn rejected(what: &'static str, reason: impl Into<String>) -> Self {
        Self::Rejected {
            what,
            reason: reason.into(),
        }
    }
}
