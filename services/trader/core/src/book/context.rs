//! Inputs of a decision that are not part of the book's state.

use protocol::time::UtcMs;

use super::{BookConfig, BookRecord, BookState};
use crate::circuit_breaker::Breaker;
use crate::protections::{EntryLock, EntryLockKind};
use crate::symbol_filters::SymbolFilters;

/// Inputs of a decision that come from outside the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionInputs {
    /// Exchange time at the decision.
    pub exchange_time: UtcMs,
    /// Whether the account currently permits new entries.
    pub entry_permission: EntryPermission,
    /// Whether [`EXCHANGE_ERRORS`](crate::circuit_breaker::EXCHANGE_ERRORS) calls to the exchange have failed in a row.
    pub is_exchange_failing: bool,
}

/// Whether the account currently permits new entries, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryPermission {
    /// The account permits new entries.
    Allowed {
        /// Sequence in JOURNAL of the account state that permits them.
        seq: u64,
    },
    /// An account breaker or the operator has latched the account.
    Latched,
    /// The operator has paused entries of the account or of this symbol.
    Paused,
    /// The account report cannot be read, or is too old.
    Unknown,
    /// The exchange does not trade the symbol now, or does not list it, or its filters cannot be read.
    NotTradable,
    /// The symbol was removed from the settings: its book is wound down.
    SymbolRemoved,
    /// The exchange holds a position in the symbol that the book did not open.
    ExternalPosition,
    /// The exchange's balance differs from what the books explain, and the operator has not accepted the difference.
    BalanceDiffers,
    /// Leverage, margin type, position mode, fee asset or margin assets on the exchange are not those by which risk is computed, or are unknown.
    OtherSettings,
}

/// Borrowed configuration shared by all steps of one decision.
#[derive(Clone, Copy)]
pub(super) struct DecisionContext<'a> {
    pub(super) config: &'a BookConfig,
    pub(super) filters: &'a SymbolFilters,
}

impl DecisionContext<'_> {
    /// Whether a candle or bar that closed at `close` is at most one base interval old.
    pub(super) const fn is_fresh(self, close: UtcMs, inputs: DecisionInputs) -> bool {
        inputs.exchange_time.0.saturating_sub(close.0) <= self.config.base.millis()
    }

    /// The `PositionClosed` record of a trade, followed by the breakers and entry locks that the trade resets or causes.
    pub(super) fn with_locks(self, state: &BookState, trade: BookRecord) -> Vec<BookRecord> {
        let mut after = state.clone();
        let (locks, at) = match (after.apply(&trade), &trade) {
            (Ok(()), BookRecord::PositionClosed(closed)) => {
                let protections = &self.config.protections;
                let losses = after.consecutive_losses;
                let locks = protections.locks_after(&after.recent_trades, losses);
                (locks, closed.at)
            }
            // The caller gets the same error when it applies the record.
            _ => return vec![trade],
        };
        let mut records = vec![trade];
        if after.tripped_breakers.contains(&Breaker::PositionLoss) {
            let breaker = Breaker::PositionLoss;
            records.push(BookRecord::BreakerReset { breaker, at });
        }
        for EntryLock {
            lock,
            until,
            reason,
        } in locks
        {
            if lock == EntryLockKind::ConsecutiveLosses {
                records.push(BookRecord::BreakerTripped {
                    breaker: Breaker::ConsecutiveLosses,
                    at,
                    reason: reason.clone(),
                });
            }
            records.push(BookRecord::EntriesLocked {
                lock,
                until,
                reason,
            });
        }
        records
    }
}
