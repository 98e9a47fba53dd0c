//! The account that several books share: its peaks, the latch that its two critical breakers or an
//! operator close it with, and pauses. Its keeper feeds it with what all books together are worth, and
//! with operators' words.
//!
//! A live account begins with [`AccountRecord::Founded`]: without it nobody trades it.
//!
//! | state | `Valued` | `Said`: unlatch | flatten | pause, resume | `TookOver` |
//! | --- | --- | --- | --- | --- | --- |
//! | clear | `Valued` if a peak (by a thousandth), the day or the capital moved; then `Latched` if a breaker trips | - | `Latched` | `Paused`, `Resumed` if that changes anything | `KeeperTookOver` |
//! | latched | - | `Unlatched` if it names this latch | - | same | same |
//!
//! A word that changes nothing leaves no record: it changes nothing when it is read again either.

use std::fmt;

use protocol::VERSION;
use protocol::event::EventBody;
use protocol::ids::{AccountKey, Token};
use protocol::journal::JournalEntry;
use protocol::operator::{AccountOrder, Word};
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::breaker::{Breaker, DAILY_LOSS, DRAWDOWN};
use crate::orders::Deployment;
use crate::performance::fall;

const DAY: i64 = 86_400_000;

/// One fact of an account's life. Amounts in the quote currency, times the exchange's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AccountRecord {
    /// A person began a live account here: its orders carry this installation's id.
    Founded {
        /// The id.
        deployment: Deployment,
        /// Who did it.
        who: String,
    },
    /// A process keeps the account from here on.
    KeeperTookOver {
        /// This run of it.
        boot: Token,
        /// Its name.
        instance: Token,
    },
    /// What is remembered of its worth.
    Valued(Value),
    /// A critical breaker tripped, or an operator said so: everything is to be closed, nobody enters.
    Latched(Latch),
    /// An operator ended the latch.
    Unlatched(Unlatch),
    /// An operator stopped entries.
    Paused(Pause),
    /// An operator let entries be made again.
    Resumed(Pause),
}

/// What is remembered of an account's worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
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
    pub id: String,
    /// What closed it.
    #[serde(rename = "breaker")]
    pub cause: Cause,
    /// When.
    pub at: UtcMs,
    /// What the account was worth.
    pub equity: Decimal,
    /// The peak it fell from.
    pub peak: Decimal,
    /// The operator's word, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

/// What can latch an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// [`Breaker::DailyLoss`].
    DailyLoss,
    /// [`Breaker::Drawdown`].
    Drawdown,
    /// A person, by `flatten`.
    Operator,
}

impl Cause {
    /// Its name: a breaker's, or the operator.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DailyLoss => Breaker::DailyLoss.as_str(),
            Self::Drawdown => Breaker::Drawdown.as_str(),
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose word something is, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
    /// Its sequence on the operators' journal: carried out once. Zero in records from before there were
    /// other words than unlatch.
    #[serde(default, rename = "word")]
    pub seq: u64,
}

/// An operator ended a latch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlatch {
    /// Which.
    pub latch: String,
    /// Whose word it was.
    #[serde(flatten)]
    pub said: Said,
}

/// What an operator stops, or lets go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// The entries of this book; of every book without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<Token>,
    /// Whose word it was.
    #[serde(flatten)]
    pub said: Said,
}

/// What happened to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountEvent {
    /// A process has its lease.
    TookOver {
        /// This run of the process.
        boot: Token,
        /// Its name.
        instance: Token,
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
    Said {
        /// The exchange's time.
        at: UtcMs,
        /// Sequence of the word on the operators' journal.
        seq: u64,
        /// The word.
        word: Word,
    },
}

/// Everything an account is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountState {
    /// As last seen. None before it was looked at, and after a latch was ended: its peaks begin anew
    /// then.
    pub value: Option<Value>,
    /// As last stored.
    pub stored: Option<Value>,
    /// What has closed it.
    pub latch: Option<Latch>,
    /// Who enters nothing.
    pub pauses: Vec<Pause>,
    /// Sequence of the last operator's word that changed something.
    pub carried_out: u64,
    /// Whose orders are ours; only of a live account that a person began.
    pub deployment: Option<Deployment>,
}

/// Why a journal cannot be folded: it was written by a newer build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("journal entry has version {version}: allowed is up to {VERSION}")]
pub struct NewerVersion {
    version: u16,
}

impl AccountState {
    /// Folds one journal message.
    ///
    /// # Errors
    /// When a newer build wrote it.
    pub fn fold(&mut self, entry: &JournalEntry<AccountRecord>) -> Result<(), NewerVersion> {
        if entry.v > VERSION {
            return Err(NewerVersion { version: entry.v });
        }
        entry.records.iter().for_each(|record| self.apply(record));
        Ok(())
    }

    /// Folds one record.
    pub fn apply(&mut self, record: &AccountRecord) {
        match record {
            AccountRecord::KeeperTookOver { .. } => {}
            AccountRecord::Founded { deployment, .. } => {
                self.deployment = Some(deployment.clone());
            }
            AccountRecord::Valued(value) => {
                self.value = Some(*value);
                self.stored = Some(*value);
            }
            AccountRecord::Latched(latch) => {
                self.latch = Some(latch.clone());
                latch.said.iter().for_each(|said| self.carry_out(said));
            }
            AccountRecord::Unlatched(word) => {
                (self.value, self.stored, self.latch) = (None, None, None);
                self.carry_out(&word.said);
            }
            AccountRecord::Paused(pause) => {
                self.pauses.push(pause.clone());
                self.carry_out(&pause.said);
            }
            AccountRecord::Resumed(pause) => {
                let ended = |p: &Pause| pause.symbol.is_none() || p.symbol == pause.symbol;
                self.pauses.retain(|p| !ended(p));
                self.carry_out(&pause.said);
            }
        }
    }

    fn carry_out(&mut self, said: &Said) {
        self.carried_out = self.carried_out.max(said.seq);
    }

    /// Takes in what an event showed beyond its records: peaks too little over the stored ones to be
    /// stored themselves.
    pub fn notice(&mut self, event: &AccountEvent) {
        if let AccountEvent::Valued {
            at,
            capital,
            equity,
        } = event
            && self.latch.is_none()
        {
            self.value = Some(valued(self.value.as_ref(), *at, *capital, *equity));
        }
    }

    /// What this word changes; nothing if it is so already, or names something that is not there.
    pub fn obey(&self, at: UtcMs, seq: u64, word: &Word) -> Option<AccountRecord> {
        let said = Said {
            who: word.who.clone(),
            why: word.why.clone(),
            seq,
        };
        let paused = |symbol: &Option<Token>| self.pauses.iter().any(|p| p.symbol == *symbol);
        match &word.order {
            AccountOrder::Pause { symbol } if !paused(symbol) => {
                let symbol = symbol.clone();
                Some(AccountRecord::Paused(Pause { symbol, said }))
            }
            AccountOrder::Resume { symbol }
                if paused(symbol) || symbol.is_none() && !self.pauses.is_empty() =>
            {
                let symbol = symbol.clone();
                Some(AccountRecord::Resumed(Pause { symbol, said }))
            }
            AccountOrder::Flatten if self.latch.is_none() => {
                Some(AccountRecord::Latched(self.closed_by(at, said)))
            }
            AccountOrder::Unlatch { latch }
                if self.latch.as_ref().is_some_and(|l| l.id == *latch) =>
            {
                let latch = latch.clone();
                Some(AccountRecord::Unlatched(Unlatch { latch, said }))
            }
            _ => None,
        }
    }

    fn closed_by(&self, at: UtcMs, said: Said) -> Latch {
        let value = self.value.as_ref();
        Latch {
            id: format!("{}-{}", Cause::Operator, at.0),
            cause: Cause::Operator,
            at,
            equity: value.map_or(Decimal::ZERO, |v| v.equity),
            peak: value.map_or(Decimal::ZERO, |v| v.peak),
            said: Some(said),
        }
    }
}

/// Decides one event: what to append in one message, and then to apply; then the event is to be
/// noticed.
pub fn decide(state: &AccountState, event: AccountEvent) -> Vec<AccountRecord> {
    match event {
        AccountEvent::TookOver { boot, instance } => {
            vec![AccountRecord::KeeperTookOver { boot, instance }]
        }
        AccountEvent::Said { at, seq, word } => state.obey(at, seq, &word).into_iter().collect(),
        AccountEvent::Valued { .. } if state.latch.is_some() => Vec::new(),
        AccountEvent::Valued {
            at,
            capital,
            equity,
        } => {
            let value = valued(state.value.as_ref(), at, capital, equity);
            let latch = tripped(&value).map(AccountRecord::Latched);
            let moved = state
                .stored
                .as_ref()
                .is_none_or(|last| is_news(last, &value));
            let remembered = (moved || latch.is_some()).then_some(AccountRecord::Valued(value));
            remembered.into_iter().chain(latch).collect()
        }
    }
}

/// The account's worth now, with the peaks that follow from the last one.
pub fn valued(last: Option<&Value>, at: UtcMs, capital: Decimal, equity: Decimal) -> Value {
    let Some(last) = last else {
        return Value {
            at,
            capital,
            equity,
            peak: equity,
            day_peak: equity,
        };
    };
    // Money brought in or taken out is neither profit nor loss.
    let brought = capital.saturating_sub(last.capital);
    let before = if day(at) > day(last.at) {
        equity
    } else {
        last.day_peak.saturating_add(brought)
    };
    Value {
        at: at.max(last.at),
        capital,
        equity,
        peak: last.peak.saturating_add(brought).max(equity),
        day_peak: before.max(equity),
    }
}

/// Whether it must outlive this process: another day, another capital, or a peak that rose by a
/// thousandth. So a day of rising prices is not a record a second, and a restart forgets no more.
fn is_news(last: &Value, now: &Value) -> bool {
    let rose = |last: Decimal, now: Decimal| {
        now.saturating_sub(last) * Decimal::ONE_THOUSAND >= last.abs() && now > last
    };
    (last.capital, day(last.at)) != (now.capital, day(now.at))
        || rose(last.peak, now.peak)
        || rose(last.day_peak, now.day_peak)
}

/// The critical breakers.
fn tripped(value: &Value) -> Option<Latch> {
    let Value {
        at,
        equity,
        peak,
        day_peak,
        ..
    } = *value;
    let breakers = [
        (Cause::DailyLoss, day_peak, DAILY_LOSS),
        (Cause::Drawdown, peak, DRAWDOWN),
    ];
    let over = |(_, peak, most): &(Cause, Decimal, Decimal)| fall(*peak, equity) > *most;
    let (cause, peak, _) = breakers.into_iter().find(over)?;
    Some(Latch {
        id: format!("{cause}-{}", at.0),
        cause,
        at,
        equity,
        peak,
        said: None,
    })
}

const fn day(at: UtcMs) -> i64 {
    at.0.div_euclid(DAY)
}

/// The event that this record is for the owner; none for what only the keeper needs to know.
pub fn owner_event(account: &AccountKey, record: &AccountRecord) -> Option<EventBody> {
    let account = account.clone();
    match record {
        AccountRecord::Founded { .. }
        | AccountRecord::KeeperTookOver { .. }
        | AccountRecord::Valued(_) => None,
        AccountRecord::Latched(latch) => Some(EventBody::AccountLatched {
            account,
            latch: latch.id.clone(),
            breaker: latch.cause.to_string(),
            equity: latch.equity,
            peak: latch.peak,
            said: latch
                .said
                .as_ref()
                .map(|said| format!("{}: {}", said.who, said.why)),
        }),
        AccountRecord::Unlatched(Unlatch { latch, said }) => Some(EventBody::AccountUnlatched {
            account,
            latch: latch.clone(),
            who: said.who.clone(),
            why: said.why.clone(),
        }),
        AccountRecord::Paused(Pause { symbol, said }) => Some(EventBody::EntriesPaused {
            account,
            symbol: symbol.clone(),
            who: said.who.clone(),
            why: said.why.clone(),
        }),
        AccountRecord::Resumed(Pause { symbol, said }) => Some(EventBody::EntriesResumed {
            account,
            symbol: symbol.clone(),
            who: said.who.clone(),
            why: said.why.clone(),
        }),
    }
}
