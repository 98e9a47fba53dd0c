//! Circuit breakers of a book: which have tripped or reset since the last record about them.

use std::collections::BTreeMap;

use protocol::time::UtcMs;

use super::{BookPhase, BookRecord, BookState};
use crate::circuit_breaker::Breaker;
use crate::protections::EntryLockKind;

/// The breakers that do not follow from the book's records: those of the market and of the exchange.
///
/// A breaker that is missing was not evaluated, and keeps its state. Each other has the reason for which it is tripped,
/// or `None`.
pub type ObservedBreakers = BTreeMap<Breaker, Option<String>>;

/// Records each breaker whose state differs from that of the journal.
pub(super) fn breakers_checked(
    state: &BookState,
    at: UtcMs,
    mut observed: ObservedBreakers,
) -> Vec<BookRecord> {
    let tripped = &state.tripped_breakers;
    let until = state.locks.get(&EntryLockKind::ConsecutiveLosses);
    if until.is_none_or(|until| *until <= at) {
        observed.insert(Breaker::ConsecutiveLosses, None);
    }
    // A position that was closed while the book was halted left no trade behind its breaker.
    if state.phase == BookPhase::Flat {
        observed.insert(Breaker::PositionLoss, None);
    }
    let record = |(breaker, reason): (Breaker, Option<String>)| match reason {
        Some(reason) if !tripped.contains(&breaker) => Some(BookRecord::BreakerTripped {
            breaker,
            at,
            reason,
        }),
        None if tripped.contains(&breaker) => Some(BookRecord::BreakerReset { breaker, at }),
        Some(_) | None => None,
    };
    observed.into_iter().filter_map(record).collect()
}
