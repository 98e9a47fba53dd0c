//! Errors of answers that arrived and cannot be used, in one line.

use exchange::ExchangeError;

use crate::client::one_line;

/// A failure that may pass. Any reason becomes one line.
pub(crate) fn retry(what: &'static str, reason: impl AsRef<str>) -> ExchangeError {
    ExchangeError::retry(what, one_line(reason.as_ref()))
}

/// A failure that a retry cannot fix. Any reason becomes one line.
pub(crate) fn rejected(what: &'static str, reason: impl AsRef<str>) -> ExchangeError {
    ExchangeError::rejected(what, one_line(reason.as_ref()))
}
