//! One book: one symbol's capital and its at most one position, as a fold of journal records.
//!
//! [`decide`] answers an event with records and changes nothing; [`BookState::apply`] folds a record
//! and decides nothing. A restart replays the records and is where it was.
//!
//! | phase | `Opened` | `CandleClosed` | `SignalFound` | `Latched` | `TookOver` | `Failed` | `Released` |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | unopened | `BookOpened` | - | - | - | `OwnerTookOver` | `BookHalted` | - |
//! | flat | `CapitalChanged` if it did | `EntryDecided` or `EntryRefused` on a signal | same | - | same | same | - |
//! | entry pending | - | `PositionOpened` or `EntryDropped`, then as open or flat | - | `EntryDropped` | same | same | - |
//! | open | - | `FundingPaid`; `PositionClosed` at stop, target or breaker, then as flat | - | `PositionClosed` | same | same | - |
//! | halted | - | - | - | - | same | - | `BookReleased`: as it was; `PositionClosed` if it is closed meanwhile |
//!
//! A book that trades on an exchange ([`Terms`]) sends orders instead of filling on paper: its entry is
//! intended together with `EntryDecided`, and what follows from the exchange's answers is in `live`.
//!
//! With `PositionClosed` come the locks that the trade brings about (`EntriesLocked`).

mod config;
mod decide;
mod live;
mod record;
mod state;

pub use config::{BadConfig, BookConfig, Terms};
pub use decide::{BookEvent, Leave, Now, Release, decide, decide_candle};
pub use live::{
    Findings, LiveEvent, Task, compare, failures, is_unguarded, payments_from, resting, tasks,
};
pub use record::{BookRecord, DropReason, Entry, ExitReason, Position, Trade};
pub use state::{BadRecord, BookState, Owner, Phase, resume_from};
