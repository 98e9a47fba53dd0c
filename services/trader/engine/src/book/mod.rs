//! One book: one symbol's capital and its at most one position, as a fold of journal records.
//!
//! [`decide`] answers an event with records and changes nothing; [`BookState::apply`] folds a record
//! and decides nothing. A restart replays the records and is where it was.
//!
//! | phase | `Opened` | `CandleClosed` | `SignalFound` | `TookOver` | `Failed` |
//! | --- | --- | --- | --- | --- | --- |
//! | unopened | `BookOpened` | - | - | `OwnerTookOver` | `BookHalted` |
//! | flat | - | `EntryDecided` on a signal | `EntryDecided` | same | same |
//! | entry pending | - | `PositionOpened` or `EntryDropped`, then as open or flat | refused | same | same |
//! | open | - | `PositionClosed` at stop or target, then as flat | refused | same | same |
//! | halted | - | - | - | same | - |

mod config;
mod decide;
mod record;
mod state;

pub use config::{BadConfig, BookConfig};
pub use decide::{BookEvent, Decision, decide};
pub use record::{BookRecord, DropReason, Entry, ExitReason, Position, Trade};
pub use state::{BadRecord, BookState, Owner, Phase, resume_from};
