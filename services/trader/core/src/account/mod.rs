//! The account that several books share: equity peaks, the latch, and pauses of entries. The account leader feeds it with
//! the equity of all books together and with the operator's commands.
//!
//! [`decide`] answers an event with records and changes nothing; [`AccountState::apply`] folds a record and decides
//! nothing. A live account begins with [`AccountRecord::AccountOpened`]; without it the account is not traded.
//!
//! | state | `Valued` | `CommandReceived`: unlatch | flatten | pause, resume | `WriterChanged` | `ClosingChecked` |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | not latched | `ValueRecorded` if the day, the capital or a peak (by a thousandth) changed; then `Latched` if an account breaker trips | - | `Latched` | `EntriesPaused`, `EntriesResumed` if that changes anything | `WriterChanged` | - |
//! | latched | - | `Unlatched` if the command names this latch | - | same | same | `Flattened` once nothing is open; `StillOpen` whenever a reminder is due |
//!
//! A command that changes nothing leaves no record: when it is read again, it changes nothing either.

mod closing;
mod decide;
mod events;
mod peaks;
mod record;
mod state;

pub use closing::reminder_interval;
pub use decide::decide;
pub use events::operator_event;
pub use record::{
    AccountRecord, AccountValue, CommandSource, Flattened, Latch, LatchReason, Pause, StillOpen,
    UnlatchCommand,
};
pub use state::{AccountEvent, AccountState, ClosingCheck, ClosingProgress, UnsupportedVersion};
