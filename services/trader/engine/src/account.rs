//! The account that several books share: its peaks, and the latch that its two critical breakers close
//! it with. Its keeper feeds it with what all books together are worth.
//!
//! | state | `Valued` | `Unlatched` | `TookOver` |
//! | --- | --- | --- | --- |
//! | clear | `Valued` if a peak (by a thousandth), the day or the capital moved; then `Latched` if a breaker trips | - | `KeeperTookOver` |
//! | latched | - | `Unlatched` if it names this latch | same |

use protocol::VERSION;
use protocol::event::EventBody;
use protocol::ids::{AccountKey, Token};
use protocol::journal::JournalEntry;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::breaker::{Breaker, DAILY_LOSS, DRAWDOWN};
use crate::performance::fall;

const DAY: i64 = 86_400_000;

/// One fact of an account's life. Amounts in the quote currency, times the exchange's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AccountRecord {
    /// A process keeps the account from here on.
    KeeperTookOver {
        /// This run of it.
        boot: Token,
        /// Its name.
        instance: Token,
    },
    /// What is remembered of its worth.
    Valued(Value),
    /// A critical breaker tripped: everything is to be closed, nobody enters.
    Latched(Latch),
    /// An operator ended the latch.
    Unlatched(Unlatch),
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
    /// Which breaker.
    pub breaker: Breaker,
    /// When.
    pub at: UtcMs,
    /// What the account was worth.
    pub equity: Decimal,
    /// The peak it fell from.
    pub peak: Decimal,
}

/// An operator's word, on the journal of operators. It counts for the latch it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlatch {
    /// The latch.
    pub latch: String,
    /// Who.
    pub who: String,
    /// Why.
    pub why: String,
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
    Unlatched(Unlatch),
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
            AccountRecord::Valued(value) => {
                self.value = Some(*value);
                self.stored = Some(*value);
            }
            AccountRecord::Latched(latch) => self.latch = Some(latch.clone()),
            AccountRecord::Unlatched(_) => {
                *self = Self::default();
            }
        }
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

    /// Whether this operator's word ends its latch.
    pub fn is_ended_by(&self, word: &Unlatch) -> bool {
        self.latch
            .as_ref()
            .is_some_and(|latch| latch.id == word.latch)
    }
}

/// Decides one event: what to append in one message, and then to apply; then the event is to be
/// noticed.
pub fn decide(state: &AccountState, event: AccountEvent) -> Vec<AccountRecord> {
    match event {
        AccountEvent::TookOver { boot, instance } => {
            vec![AccountRecord::KeeperTookOver { boot, instance }]
        }
        AccountEvent::Unlatched(word) if state.is_ended_by(&word) => {
            vec![AccountRecord::Unlatched(word)]
        }
        AccountEvent::Valued { .. } if state.latch.is_some() => Vec::new(),
        AccountEvent::Unlatched(_) => Vec::new(),
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
        (Breaker::DailyLoss, day_peak, DAILY_LOSS),
        (Breaker::Drawdown, peak, DRAWDOWN),
    ];
    let over = |(_, peak, most): &(Breaker, Decimal, Decimal)| fall(*peak, equity) > *most;
    let (breaker, peak, _) = breakers.into_iter().find(over)?;
    Some(Latch {
        id: format!("{breaker}-{}", at.0),
        breaker,
        at,
        equity,
        peak,
    })
}

const fn day(at: UtcMs) -> i64 {
    at.0.div_euclid(DAY)
}

/// The event that this record is for the owner; none for what only the keeper needs to know.
pub fn owner_event(account: &AccountKey, record: &AccountRecord) -> Option<EventBody> {
    let account = account.clone();
    match record {
        AccountRecord::KeeperTookOver { .. } | AccountRecord::Valued(_) => None,
        AccountRecord::Latched(latch) => Some(EventBody::AccountLatched {
            account,
            latch: latch.id.clone(),
            breaker: latch.breaker.to_string(),
            equity: latch.equity,
            peak: latch.peak,
        }),
        AccountRecord::Unlatched(word) => Some(EventBody::AccountUnlatched {
            account,
            latch: word.latch.clone(),
            who: word.who.clone(),
            why: word.why.clone(),
        }),
    }
}
