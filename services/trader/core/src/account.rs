//! The account that several books share: its peaks, the latch that its two critical breakers or an
//! operator close it with, and pauses. Its keeper feeds it with what all books together are worth, and
//! with operators' words.
//!
//! A live account begins with [`AccountRecord::AccountOpened`]: without it nobody trades it.
//!
//! | state | `ValueRecorded` | `Said`: unlatch | flatten | pause, resume | `WriterChanged` |
//! | --- | --- | --- | --- | --- | --- |
//! | clear | `ValueRecorded` if a peak (by a thousandth), the day or the capital moved; then `AccountLatched` if a breaker trips | - | `AccountLatched` | `EntriesPaused`, `EntriesResumed` if that changes anything | `WriterChanged` |
//! | latched | - | `Unlatched` if it names this latch | - | same | same |
//!
//! A word that changes nothing leaves no record: it changes nothing when it is read again either.

use std::fmt;

use protocol::VERSION;
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::event::EventBody;
use protocol::ids::{AccountKey, SubjectToken};
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::circuit_breaker::{Breaker, DAILY_LOSS, DRAWDOWN};
use crate::orders::InstallationId;
use crate::performance::drawdown;

const DAY_MS: i64 = 86_400_000;

/// One fact of an account's life. Amounts in the quote currency, times the exchange's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AccountRecord {
    /// A person began a live account here: its orders carry this installation's id.
    AccountOpened {
        /// The id.
        installation_id: InstallationId,
        /// Who did it.
        by: String,
    },
    /// A process keeps the account from here on.
    WriterChanged {
        /// This run of it.
        boot: SubjectToken,
        /// Its name.
        instance: SubjectToken,
    },
    /// What is remembered of its worth.
    ValueRecorded(AccountValue),
    /// A critical breaker tripped, or an operator said so: everything is to be closed, nobody enters.
    Latched(Latch),
    /// An operator ended the latch.
    Unlatched(UnlatchCommand),
    /// An operator stopped entries.
    EntriesPaused(Pause),
    /// An operator let entries be made again.
    EntriesResumed(Pause),
}

/// What is remembered of an account's worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountValue {
    /// When.
    pub at: UtcMs,
    /// What the books began with, together.
    pub capital: Decimal,
    /// Unrealised profit included.
    pub equity: Decimal,
    /// Its highest.
    pub peak: Decimal,
    /// Its highest of this UTC day.
    pub day_peak: Decimal,
}

/// Why an account is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latch {
    /// What an operator names to end it.
    pub latch_id: String,
    /// What closed it.
    #[serde(rename = "breaker")]
    pub trigger: LatchReason,
    /// When.
    pub at: UtcMs,
    /// What the account was worth.
    pub equity: Decimal,
    /// The peak it fell from.
    pub peak: Decimal,
    /// The operator's word, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandSource>,
}

/// What can latch an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatchReason {
    /// [`Breaker::DailyLoss`].
    DailyLoss,
    /// [`Breaker::Drawdown`].
    Drawdown,
    /// A person, by `flatten`.
    Operator,
}

impl LatchReason {
    /// Its name: a breaker's, or the operator.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DailyLoss => Breaker::DailyLoss.as_str(),
            Self::Drawdown => Breaker::Drawdown.as_str(),
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for LatchReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose word something is, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSource {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Its sequence on the operators' journal: carried out once. Zero in records from before there were
    /// other words than unlatch.
    #[serde(default, rename = "word")]
    pub seq: u64,
}

/// An operator ended a latch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlatchCommand {
    /// Which.
    pub latch_id: String,
    /// Whose word it was.
    #[serde(flatten)]
    pub source: CommandSource,
}

/// What an operator stops, or lets go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The entries of this book; of every book without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<SubjectToken>,
    /// Whose word it was.
    #[serde(flatten)]
    pub source: CommandSource,
}

/// What happened to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEvent {
    /// A process has its lease.
    WriterChanged {
        /// This run of the process.
        boot: SubjectToken,
        /// Its name.
        instance: SubjectToken,
    },
    /// All books were looked at.
    Valued {
        /// The exchange's time.
        at: UtcMs,
        /// What the books began with, together.
        capital: Decimal,
        /// What they are worth, unrealised profit included.
        equity: Decimal,
    },
    /// An operator said so.
    CommandReceived {
        /// The exchange's time.
        at: UtcMs,
        /// Sequence of the word on the operators' journal.
        seq: u64,
        /// The word.
        command: AccountCommandRecord,
    },
}

/// Everything an account is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountState {
    /// As last seen. None before it was looked at, and after a latch was ended: its peaks begin anew
    /// then.
    pub value: Option<AccountValue>,
    /// As last stored.
    pub recorded_value: Option<AccountValue>,
    /// What has closed it.
    pub latch: Option<Latch>,
    /// Who enters nothing.
    pub pauses: Vec<Pause>,
    /// Sequence of the last operator's word that changed something.
    pub last_command_seq: u64,
    /// Whose orders are ours; only of a live account that a person began.
    pub installation_id: Option<InstallationId>,
}

/// Why a journal cannot be folded: it was written by a newer build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal entry has version {version}: allowed is up to {VERSION}")]
pub struct UnsupportedVersion {
    version: u16,
}

impl AccountState {
    /// Folds one journal message.
    ///
    /// # Errors
    /// When a newer build wrote it.
    pub fn fold(&mut self, batch: &JournalBatch<AccountRecord>) -> Result<(), UnsupportedVersion> {
        if batch.v > VERSION {
            return Err(UnsupportedVersion { version: batch.v });
        }
        batch.records.iter().for_each(|record| self.apply(record));
        Ok(())
    }

    /// Folds one record.
    pub fn apply(&mut self, record: &AccountRecord) {
        match record {
            AccountRecord::WriterChanged { .. } => {}
            AccountRecord::AccountOpened {
                installation_id: deployment,
                ..
            } => {
                self.installation_id = Some(deployment.clone());
            }
            AccountRecord::ValueRecorded(value) => {
                self.value = Some(*value);
                self.recorded_value = Some(*value);
            }
            AccountRecord::Latched(latch) => {
                self.latch = Some(latch.clone());
                latch
                    .command
                    .iter()
                    .for_each(|said| self.note_command_seq(said));
            }
            AccountRecord::Unlatched(word) => {
                (self.value, self.recorded_value, self.latch) = (None, None, None);
                self.note_command_seq(&word.source);
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
        }
    }

    fn note_command_seq(&mut self, source: &CommandSource) {
        self.last_command_seq = self.last_command_seq.max(source.seq);
    }

    /// Takes in what an event showed beyond its records: peaks too little over the stored ones to be
    /// stored themselves.
    pub fn observe(&mut self, event: &AccountEvent) {
        if let AccountEvent::Valued {
            at,
            capital,
            equity,
        } = event
            && self.latch.is_none()
        {
            self.value = Some(update_peaks(self.value.as_ref(), *at, *capital, *equity));
        }
    }

    /// What this word changes; nothing if it is so already, or names something that is not there.
    pub fn decide_command(
        &self,
        at: UtcMs,
        seq: u64,
        command: &AccountCommandRecord,
    ) -> Option<AccountRecord> {
        let source = CommandSource {
            by: command.by.clone(),
            reason: command.reason.clone(),
            seq,
        };
        let paused =
            |symbol: &Option<SubjectToken>| self.pauses.iter().any(|p| p.symbol == *symbol);
        match &command.command {
            AccountCommand::Pause { symbol } if !paused(symbol) => {
                let symbol = symbol.clone();
                Some(AccountRecord::EntriesPaused(Pause { symbol, source }))
            }
            AccountCommand::Resume { symbol }
                if paused(symbol) || symbol.is_none() && !self.pauses.is_empty() =>
            {
                let symbol = symbol.clone();
                Some(AccountRecord::EntriesResumed(Pause { symbol, source }))
            }
            AccountCommand::Flatten if self.latch.is_none() => {
                Some(AccountRecord::Latched(self.operator_latch(at, source)))
            }
            AccountCommand::Unlatch { latch_id: latch }
                if self.latch.as_ref().is_some_and(|l| l.latch_id == *latch) =>
            {
                let latch = latch.clone();
                Some(AccountRecord::Unlatched(UnlatchCommand {
                    latch_id: latch,
                    source,
                }))
            }
            _ => None,
        }
    }

    fn operator_latch(&self, at: UtcMs, source: CommandSource) -> Latch {
        let value = self.value.as_ref();
        Latch {
            latch_id: format!("{}-{}", LatchReason::Operator, at.0),
            trigger: LatchReason::Operator,
            at,
            equity: value.map_or(Decimal::ZERO, |v| v.equity),
            peak: value.map_or(Decimal::ZERO, |v| v.peak),
            command: Some(source),
        }
    }
}

/// Decides one event: what to append in one message, and then to apply; then the event is to be
/// noticed.
pub fn decide(state: &AccountState, event: AccountEvent) -> Vec<AccountRecord> {
    match event {
        AccountEvent::WriterChanged { boot, instance } => {
            vec![AccountRecord::WriterChanged { boot, instance }]
        }
        AccountEvent::CommandReceived { at, seq, command } => state
            .decide_command(at, seq, &command)
            .into_iter()
            .collect(),
        AccountEvent::Valued { .. } if state.latch.is_some() => Vec::new(),
        AccountEvent::Valued {
            at,
            capital,
            equity,
        } => {
            let value = update_peaks(state.value.as_ref(), at, capital, equity);
            let latch = tripped_breaker(&value).map(AccountRecord::Latched);
            let is_due = state
                .recorded_value
                .as_ref()
                .is_none_or(|last| needs_recording(last, &value));
            let recorded =
                (is_due || latch.is_some()).then_some(AccountRecord::ValueRecorded(value));
            recorded.into_iter().chain(latch).collect()
        }
    }
}

/// The account's worth now, with the peaks that follow from the last one.
pub fn update_peaks(
    last: Option<&AccountValue>,
    at: UtcMs,
    capital: Decimal,
    equity: Decimal,
) -> AccountValue {
    let Some(last) = last else {
        return AccountValue {
            at,
            capital,
            equity,
            peak: equity,
            day_peak: equity,
        };
    };
    // Money brought in or taken out is neither profit nor loss.
    let capital_change = capital.saturating_sub(last.capital);
    let before = if day(at) > day(last.at) {
        equity
    } else {
        last.day_peak.saturating_add(capital_change)
    };
    AccountValue {
        at: at.max(last.at),
        capital,
        equity,
        peak: last.peak.saturating_add(capital_change).max(equity),
        day_peak: before.max(equity),
    }
}

/// Whether it must outlive this process: another day, another capital, or a peak that rose by a
/// thousandth. So a day of rising prices is not a record a second, and a restart forgets no more.
fn needs_recording(last: &AccountValue, now: &AccountValue) -> bool {
    let rose = |last: Decimal, now: Decimal| {
        now.saturating_sub(last) * Decimal::ONE_THOUSAND >= last.abs() && now > last
    };
    (last.capital, day(last.at)) != (now.capital, day(now.at))
        || rose(last.peak, now.peak)
        || rose(last.day_peak, now.day_peak)
}

/// The critical breakers.
fn tripped_breaker(value: &AccountValue) -> Option<Latch> {
    let AccountValue {
        at,
        equity,
        peak,
        day_peak,
        ..
    } = *value;
    let breakers = [
        (LatchReason::DailyLoss, day_peak, DAILY_LOSS),
        (LatchReason::Drawdown, peak, DRAWDOWN),
    ];
    let over = |(_, peak, most): &(LatchReason, Decimal, Decimal)| drawdown(*peak, equity) > *most;
    let (cause, peak, _) = breakers.into_iter().find(over)?;
    Some(Latch {
        latch_id: format!("{cause}-{}", at.0),
        trigger: cause,
        at,
        equity,
        peak,
        command: None,
    })
}

const fn day(at: UtcMs) -> i64 {
    at.0.div_euclid(DAY_MS)
}

/// The event that this record is for the owner; none for what only the keeper needs to know.
pub fn operator_event(account: &AccountKey, record: &AccountRecord) -> Option<EventBody> {
    let account = account.clone();
    match record {
        AccountRecord::AccountOpened { .. }
        | AccountRecord::WriterChanged { .. }
        | AccountRecord::ValueRecorded(_) => None,
        AccountRecord::Latched(latch) => Some(EventBody::AccountLatched {
            account,
            latch_id: latch.latch_id.clone(),
            trigger: latch.trigger.to_string(),
            equity: latch.equity,
            peak: latch.peak,
            by: latch.command.as_ref().map(|command| command.by.clone()),
            reason: latch.command.as_ref().map(|command| command.reason.clone()),
        }),
        AccountRecord::Unlatched(UnlatchCommand {
            latch_id: latch,
            source: said,
        }) => Some(EventBody::AccountUnlatched {
            account,
            latch_id: latch.clone(),
            by: said.by.clone(),
            reason: said.reason.clone(),
        }),
        AccountRecord::EntriesPaused(Pause {
            symbol,
            source: said,
        }) => Some(EventBody::EntriesPaused {
            account,
            symbol: symbol.clone(),
            by: said.by.clone(),
            reason: said.reason.clone(),
        }),
        AccountRecord::EntriesResumed(Pause {
            symbol,
            source: said,
        }) => Some(EventBody::EntriesResumed {
            account,
            symbol: symbol.clone(),
            by: said.by.clone(),
            reason: said.reason.clone(),
        }),
    }
}
