//! State of an account: the fold of its records, and peaks too small to be recorded.

use std::time::Duration;

use protocol::VERSION;
use protocol::account_command::AccountCommandRecord;
use protocol::event::OpenPosition;
use protocol::ids::SubjectToken;
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::peaks::update_peaks;
use super::{
    AccountRecord, AccountValue, BalanceSample, BalanceState, CommandSource, Latch, Pause,
};
use crate::orders::InstallationId;

/// What a check of all books of a latched account has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosingCheck {
    /// Positions that are still open, and entries that may still open one; empty if the account is flat.
    pub positions: Vec<OpenPosition>,
    /// Positions that were closed since the latch.
    pub trades: u64,
    /// Profit of these positions after fees and funding.
    pub pnl: Decimal,
    /// Equity of all books.
    pub equity: Decimal,
    /// Time since the latch.
    pub since_latch: Duration,
    /// Time since the operator was last notified what is open: since the latch or the last reminder.
    pub since_report: Duration,
}

/// What the operator has been notified about the close of a latched account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClosingProgress {
    /// Number of reminders since the latch, or since the account was last found flat.
    pub reminders: u32,
    /// Whether the account was found flat.
    pub is_flat: bool,
}

/// Input of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEvent {
    /// A process has acquired the account leader's lease.
    WriterChanged {
        /// Boot id of the process.
        boot: SubjectToken,
        /// Instance name of the process.
        instance: SubjectToken,
    },
    /// All books were valued.
    Valued {
        /// Exchange time of the valuation.
        at: UtcMs,
        /// Capital of all books together.
        capital: Decimal,
        /// Equity of all books together, unrealized profit included.
        equity: Decimal,
    },
    /// The operator gave a command.
    CommandReceived {
        /// Exchange time at which the command was read.
        at: UtcMs,
        /// Sequence of the command in the operator journal.
        seq: u64,
        /// Command as stored in the operator journal.
        command: AccountCommandRecord,
    },
    /// All books were checked while the account is latched.
    ClosingChecked(ClosingCheck),
    /// The balance on the exchange was read, with all that may explain it.
    BalanceSampled(BalanceSample),
}

/// State of one account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountState {
    /// Newest value; `None` before the first valuation and after a latch has ended, when the peaks start over.
    pub value: Option<AccountValue>,
    /// Newest value in the journal; `None` as for `value`.
    pub recorded_value: Option<AccountValue>,
    /// The active latch; `None` while the account is not latched.
    pub latch: Option<Latch>,
    /// What was reported about the close of the latched account.
    pub closing: ClosingProgress,
    /// Active pauses of entries.
    pub pauses: Vec<Pause>,
    /// Sequence in the operator journal of the last command that changed something; 0 before the first.
    pub last_command_seq: u64,
    /// Installation id of a live account's client order ids; `None` in paper mode and before `AccountOpened`.
    pub installation_id: Option<InstallationId>,
    /// The balance check; without a baseline on paper.
    pub balance: BalanceState,
}

/// A journal batch that a newer program wrote: this one cannot fold it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "journal batch has version {version}: expected at most {VERSION}; start a newer version of the program"
)]
pub struct UnsupportedVersion {
    version: u16,
}

impl AccountState {
    /// Folds one journal batch.
    ///
    /// # Errors
    /// [`UnsupportedVersion`] if a newer program wrote the batch.
    pub fn fold(&mut self, batch: &JournalBatch<AccountRecord>) -> Result<(), UnsupportedVersion> {
        if batch.v > VERSION {
            return Err(UnsupportedVersion { version: batch.v });
        }
        batch.records.iter().for_each(|record| self.apply(record));
        Ok(())
    }

    /// Changes the state by one journaled record.
    pub fn apply(&mut self, record: &AccountRecord) {
        match record {
            AccountRecord::WriterChanged { .. } => {}
            AccountRecord::AccountOpened {
                installation_id, ..
            } => {
                self.installation_id = Some(installation_id.clone());
            }
            AccountRecord::ValueRecorded(value) => {
                self.value = Some(*value);
                self.recorded_value = Some(*value);
            }
            AccountRecord::Latched(latch) => {
                self.latch = Some(latch.clone());
                self.closing = ClosingProgress::default();
                latch
                    .command
                    .iter()
                    .for_each(|source| self.note_command_seq(source));
            }
            AccountRecord::Flattened(_) => {
                self.closing = ClosingProgress {
                    reminders: 0,
                    is_flat: true,
                };
            }
            AccountRecord::StillOpen(still_open) => {
                self.closing = ClosingProgress {
                    reminders: still_open.reminder,
                    is_flat: false,
                };
            }
            AccountRecord::Unlatched(command) => {
                (self.value, self.recorded_value, self.latch) = (None, None, None);
                self.note_command_seq(&command.source);
            }
            AccountRecord::EntriesPaused(pause) => {
                self.pauses.push(pause.clone());
                self.note_command_seq(&pause.source);
            }
            AccountRecord::EntriesResumed(pause) => {
                let ended = |p: &Pause| pause.symbol.is_none() || p.symbol == pause.symbol;
                self.pauses.retain(|p| !ended(p));
                self.note_command_seq(&pause.source);
            }
            AccountRecord::BalanceBaselined(baseline) => self.balance.rebase(baseline.clone()),
            AccountRecord::FundsTransferred(transfer) => self.balance.note_transfer(transfer),
            AccountRecord::BalanceDiffers(difference) => {
                self.balance.difference = Some(difference.clone());
            }
            AccountRecord::BalanceExplained { .. } => self.balance.difference = None,
            AccountRecord::DifferenceAccepted(accepted) => {
                self.balance.accept(&accepted.difference_id);
                self.note_command_seq(&accepted.source);
            }
        }
    }

    fn note_command_seq(&mut self, source: &CommandSource) {
        self.last_command_seq = self.last_command_seq.max(source.seq);
    }

    /// Applies what an event shows beyond its records: peaks that rose too little to be recorded, and the newest sample of
    /// the balance. Call it after the
    /// records of the event have been applied.
    pub fn observe(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Valued {
                at,
                capital,
                equity,
            } if self.latch.is_none() => {
                self.value = Some(update_peaks(self.value.as_ref(), *at, *capital, *equity));
            }
            AccountEvent::BalanceSampled(sample) => {
                self.balance.observed = Some(self.balance.observe(sample));
            }
            _ => {}
        }
    }
}
