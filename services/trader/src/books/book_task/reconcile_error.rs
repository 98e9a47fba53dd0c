//! Why a round of queries to the exchange failed.

use exchange::ExchangeError;

use super::book::BookTaskEnd;

/// Why a round failed.
pub(super) enum ReconcileError {
    /// The exchange did not answer, or rejected the query.
    Exchange(ExchangeError),
    /// The task of the book ends.
    End(BookTaskEnd),
}

impl From<ExchangeError> for ReconcileError {
    fn from(error: ExchangeError) -> Self {
        Self::Exchange(error)
    }
}

impl From<BookTaskEnd> for ReconcileError {
    fn from(end: BookTaskEnd) -> Self {
        Self::End(end)
    }
}
