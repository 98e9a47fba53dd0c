//! One book: the capital of one symbol and at most one position, as a fold of journal records.
//!
//! [`decide`] answers an event with records and changes nothing; [`BookState::apply`] folds a record and decides nothing.
//! A restart replays the records and reaches the same state.
//!
//! | phase | `CapitalAllocated` | `CandleClosed` | `SignalFound` | `AccountLatched` | `WriterChanged` | `Failed` | `Unhalted` |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | unopened | `BookOpened` | - | - | - | `WriterChanged` | `BookHalted` | - |
//! | flat | `CapitalChanged` if it differs | `EntryDecided` or `SignalRejected` on a signal | same | - | same | same | - |
//! | entry pending | - | `PositionOpened` or `EntryDropped`, then as open or flat | - | `EntryDropped` | same | same | - |
//! | open | - | `FundingPaid`; `PositionClosed` at stop, target or breaker, then as flat | - | `PositionClosed` | same | same | - |
//! | halted | - | - | - | - | same | - | `BookUnhalted`, to the phase before the halt; `PositionClosed` if the position was closed meanwhile |
//!
//! A live book ([`LiveConfig`]) submits orders instead of filling on paper: its entry order is intended together with
//! `EntryDecided`, and the records that follow from the exchange's answers are decided in `execution`.
//!
//! `BreakersChecked` records the circuit breakers of an open or flat book that have tripped or reset.
//!
//! `PositionClosed` is followed by the entry locks that the trade causes (`EntriesLocked`).

mod breakers;
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

pub use breakers::ObservedBreakers;
pub use config::{BookConfig, InvalidConfig, LiveConfig};
pub use context::{DecisionInputs, EntryPermission};
pub use decide::{BookEvent, Unhalt, decide, decide_candle};
pub use execution::{
    ExecutionEvent, MAX_LATENESS, REPLACEMENT_PAUSE, Reconciliation, ReconciliationTask,
    compare_with_exchange, count_failed_exits, funding_unknown_since, is_stop_canceled,
    is_unprotected, reconciliation_tasks, required_stop, resting_orders,
};
pub use exit_reason::ExitReason;
pub use record::{
    BookRecord, DropReason, Entry, ExchangeRejection, LostEntry, Position, Trade, Writer,
};
pub use state::{
    BookPhase, BookState, FoldError, RejectedEntries, RejectedSignals, first_needed_candle,
};
