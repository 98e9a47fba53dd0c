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
//! `BalanceSampled` is independent of the latch: `BalanceBaselined`, `FundsTransferred`, `BalanceDiffers` and
//! `BalanceExplained` as the balance check finds; see the table there. A difference closes nothing and trips no breaker.
//! Equity is that of the books alone, so a transfer moves neither equity nor peaks.
//!
//! | balance check | sample explained | sample with a difference | command accept |
//! | --- | --- | --- | --- |
//! | no baseline | `BalanceBaselined` once nothing moves | same | - |
//! | no difference known | `FundsTransferred` for each new transfer; `BalanceBaselined` once nothing moves, if anything has changed | `BalanceDiffers` once it has lasted | - |
//! | difference known | `BalanceExplained` | `BalanceDiffers` if it has become another one | `DifferenceAccepted` if it names this difference |
//!
//! A command that changes nothing leaves no record: when it is read again, it changes nothing either.

mod balance;
mod closing;
mod decide;
mod events;
mod peaks;
mod record;
mod state;

pub use balance::{
    BalanceSample, BalanceState, BookAccounting, BookBalance, CashFlow, CashFlowKind, TOLERANCE,
    needs_cash_flows,
};
pub use closing::reminder_interval;
pub use decide::decide;
pub use events::operator_event;
pub use record::{
    AcceptedDifference, AccountRecord, AccountValue, BalanceBaseline, BalanceDifference,
    CommandSource, Flattened, FundsTransfer, Latch, LatchReason, Pause, StillOpen, UnlatchCommand,
};
pub use state::{AccountEvent, AccountState, ClosingCheck, ClosingProgress, UnsupportedVersion};
