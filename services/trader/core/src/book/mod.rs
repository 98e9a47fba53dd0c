//! One book: one symbol's capital and its at most one position, as a fold of journal records.
//!
//! [`decide`] answers an event with records and changes nothing; [`BookState::apply`] folds a record
//! and decides nothing. A restart replays the records and is where it was.
//!
//! | phase | `CapitalAllocated` | `CandleClosed` | `SignalFound` | `AccountLatched` | `WriterChanged` | `Failed` | `Unhalted` |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | unopened | `BookOpened` | - | - | - | `WriterChanged` | `BookHalted` | - |
//! | flat | `CapitalChanged` if it did | `EntryDecided` or `SignalRejected` on a signal | same | - | same | same | - |
//! | entry pending | - | `PositionOpened` or `EntryDropped`, then as open or flat | - | `EntryDropped` | same | same | - |
//! | open | - | `FundingPaid`; `PositionClosed` at stop, target or breaker, then as flat | - | `PositionClosed` | same | same | - |
//! | halted | - | - | - | - | same | - | `BookUnhalted`: as it was; `PositionClosed` if it is closed meanwhile |
//!
//! A book that trades on an exchange ([`LiveConfig`]) sends orders instead of filling on paper: its entry is
//! intended together with `EntryDecided`, and what follows from the exchange's answers is in `live`.
//!
//! With `PositionClosed` come the locks that the trade brings about (`EntriesLocked`).

mod config;
mod context;
mod decide;
mod entry_decision;
mod execution;
mod exit_reason;
mod paper;
mod position_loss;
mod record;
mod state;

pub use config::{BookConfig, InvalidConfig, LiveConfig};
pub use context::{DecisionInputs, EntryPermission};
pub use decide::{BookEvent, Unhalt, decide, decide_candle};
pub use execution::{
    ExecutionEvent, Reconciliation, ReconciliationTask, compare_with_exchange, count_failed_exits,
    funding_unknown_since, is_unprotected, reconciliation_tasks, resting_orders,
};
pub use exit_reason::ExitReason;
pub use record::{BookRecord, DropReason, Entry, Position, Trade};
pub use state::{BookPhase, BookState, FoldError, Writer, first_needed_candle};
