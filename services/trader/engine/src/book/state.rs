//! A book's state: only what its records say. Folding is total: a record that does not fit is an
//! error for the caller to halt the book with, never a panic.

use std::collections::{BTreeMap, VecDeque};

use protocol::VERSION;
use protocol::ids::Token;
use protocol::journal::JournalEntry;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::book::{BookConfig, BookRecord, Entry, Position, Trade};
use crate::entry::Refusal;
use crate::orders::{ClientId, Costs, Fate, Leg, Order, Tracked};
use crate::performance::Performance;
use crate::protections::{Lock, Outcome, REMEMBERED};

/// Everything a book is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookState {
    /// Who took it over last.
    pub owner: Option<Owner>,
    /// What that one trades it with.
    pub config: Option<BookConfig>,
    /// Where in its life it is.
    pub phase: Phase,
    /// What it began with, in the quote currency.
    pub capital: Decimal,
    /// Capital plus the profit of every closed position, fees and funding deducted.
    pub equity: Decimal,
    /// Fees paid so far, an open position's entry included.
    pub fees: Decimal,
    /// Funding paid so far, an open position's included.
    pub funding: Decimal,
    /// Positions closed.
    pub trades: u64,
    /// Of those, the ones with a profit after fees.
    pub wins: u64,
    /// Close of the newest bar that an entry was decided on: no bar is entered twice.
    pub entered_bar: Option<UtcMs>,
    /// Open time of the newest candle that filled or dropped something: none is used twice.
    pub used_candle: Option<UtcMs>,
    /// Close of the newest bar whose signal was refused: none is refused twice.
    pub refused_bar: Option<UtcMs>,
    /// Signals refused so far, by reason.
    pub refusals: BTreeMap<Refusal, u64>,
    /// The reason of the newest refusal.
    pub last_refusal: Option<Refusal>,
    /// What keeps it from entries, and until when.
    pub locks: BTreeMap<Lock, UtcMs>,
    /// Losses in a row since the breaker for them last tripped.
    pub losses_in_a_row: u32,
    /// The newest trades, oldest first, at most [`REMEMBERED`].
    pub recent: VecDeque<Outcome>,
    /// Figures of the closed trades.
    pub performance: Performance,
    /// The orders of the pending entry or the open position, in the order in which they were decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Tracked>,
    /// Time of the newest funding taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub funded: Option<UtcMs>,
}

/// The process that owns a book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its name.
    pub instance: Token,
    /// This run of it.
    pub boot: Token,
}

/// Where in its life a book is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It has no capital yet.
    #[default]
    Unopened,
    /// It waits for a signal.
    Flat,
    /// An entry is decided and fills at the next candle's open.
    EntryPending(Entry),
    /// It has a position.
    Open(Position),
    /// It trades no more until a person looks.
    Halted {
        /// Why.
        reason: String,
        /// What it held at that time, unmanaged since.
        position: Option<Position>,
        /// The entry that was decided at that time, and neither made nor dropped since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entry: Option<Entry>,
    },
}

/// Why a journal cannot be folded. The book is to be halted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Written by a newer build.
    #[error("journal entry has version {version}: allowed is up to {VERSION}")]
    NewerVersion {
        /// Its version.
        version: u16,
    },
    /// It cannot follow what came before it.
    #[error("record {record} is not allowed for a book that is {phase}")]
    OutOfPlace {
        /// Its kind.
        record: &'static str,
        /// The phase it met.
        phase: &'static str,
    },
    /// Its equity is not what the records before it add up to.
    #[error("equity in the record is {recorded}: the records before it add up to {folded}")]
    EquityMismatch {
        /// In the record.
        recorded: Decimal,
        /// By folding.
        folded: Decimal,
    },
}

impl Phase {
    /// Its name in logs and `status`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unopened => "unopened",
            Self::Flat => "flat",
            Self::EntryPending(_) => "entry pending",
            Self::Open(_) => "open",
            Self::Halted { .. } => "halted",
        }
    }
}

impl BookState {
    /// The position it holds; also that of a halted book.
    pub const fn position(&self) -> Option<&Position> {
        match &self.phase {
            Phase::Open(position) => Some(position),
            Phase::Halted { position, .. } => position.as_ref(),
            Phase::Unopened | Phase::Flat | Phase::EntryPending(_) => None,
        }
    }

    /// The lock that keeps it from entries at this time; of several the one that lasts longest.
    pub fn locked(&self, market_now: UtcMs) -> Option<(Lock, UtcMs)> {
        let held = self.locks.iter().filter(|(_, until)| **until > market_now);
        held.max_by_key(|(_, until)| **until)
            .map(|(by, until)| (*by, *until))
    }

    /// Folds one journal message.
    ///
    /// # Errors
    /// [`BadRecord`]; the state may then hold a part of the message and is not to be used.
    pub fn fold(&mut self, entry: &JournalEntry<BookRecord>) -> Result<(), BadRecord> {
        if entry.v > VERSION {
            return Err(BadRecord::NewerVersion { version: entry.v });
        }
        self.apply_all(&entry.records)
    }

    /// Folds the records of one decision.
    ///
    /// # Errors
    /// As [`Self::fold`].
    pub fn apply_all(&mut self, records: &[BookRecord]) -> Result<(), BadRecord> {
        records.iter().try_for_each(|record| self.apply(record))
    }

    /// Folds one record.
    ///
    /// # Errors
    /// [`BadRecord`] when it does not fit; the state has not changed then.
    pub fn apply(&mut self, record: &BookRecord) -> Result<(), BadRecord> {
        match (&self.phase, record) {
            (
                _,
                BookRecord::OwnerTookOver {
                    boot,
                    instance,
                    config,
                    ..
                },
            ) => self.took_over(boot, instance, config),
            (Phase::Unopened, BookRecord::BookOpened { capital, .. }) => self.opened(*capital),
            (Phase::Flat, BookRecord::CapitalChanged { capital }) => self.capital_changed(*capital),
            (Phase::Flat, BookRecord::EntryDecided(entry)) => self.decided(entry),
            (Phase::EntryPending(_), BookRecord::EntryDropped { at, .. }) => self.dropped(*at),
            (Phase::EntryPending(_), BookRecord::PositionOpened(position)) => self.filled(position),
            (Phase::Open(_), BookRecord::FundingPaid { at, amount }) => self.funded(*at, *amount),
            (Phase::Open(position), BookRecord::PositionClosed(trade)) => {
                let opened = position.at;
                self.closed(opened, trade)?;
            }
            (
                Phase::Flat | Phase::EntryPending(_) | Phase::Open(_),
                BookRecord::EntryRefused {
                    bar_close, reason, ..
                },
            ) => self.refused(*bar_close, *reason),
            (Phase::Flat, BookRecord::EntriesLocked { by, until, .. }) => self.lock(*by, *until),
            (Phase::Flat | Phase::Open(_), BookRecord::BreakerTripped { .. }) => {}
            (Phase::EntryPending(_) | Phase::Open(_), BookRecord::OrderIntended(order)) => {
                self.intended(order);
            }
            (Phase::EntryPending(_) | Phase::Open(_), record) if self.knows(record) => {
                self.told_of_order(record);
            }
            (
                Phase::Unopened | Phase::Flat | Phase::EntryPending(_) | Phase::Open(_),
                BookRecord::BookHalted { reason },
            ) => self.halted(reason),
            (
                Phase::Halted {
                    position, entry, ..
                },
                BookRecord::BookReleased { .. },
            ) => self.released(*position, *entry),
            (phase, record) => {
                return Err(BadRecord::OutOfPlace {
                    record: record.kind(),
                    phase: phase.as_str(),
                });
            }
        }
        Ok(())
    }

    fn took_over(&mut self, boot: &Token, instance: &Token, config: &BookConfig) {
        self.config = Some(config.clone());
        self.owner = Some(Owner {
            instance: instance.clone(),
            boot: boot.clone(),
        });
        // The last owner may have sent them, or not.
        for tracked in &mut self.orders {
            if tracked.fate == Fate::Intended {
                let since = tracked.order.at;
                tracked.fate = Fate::Unclear { since };
            }
        }
    }

    fn opened(&mut self, capital: Decimal) {
        self.capital = capital;
        self.equity = capital;
        self.performance.began(capital);
        self.phase = Phase::Flat;
    }

    fn capital_changed(&mut self, capital: Decimal) {
        let by = capital.saturating_sub(self.capital);
        self.capital = capital;
        self.equity = self.equity.saturating_add(by);
        self.performance.capital_changed(by);
        // The falls that protections look for are of trades, not of this.
        self.recent.clear();
    }

    fn refused(&mut self, bar_close: UtcMs, reason: Refusal) {
        self.refused_bar = Some(bar_close);
        *self.refusals.entry(reason).or_default() += 1;
        self.last_refusal = Some(reason);
    }

    fn lock(&mut self, by: Lock, until: UtcMs) {
        if by == Lock::ConsecutiveLosses {
            self.losses_in_a_row = 0;
        }
        self.locks.insert(by, until);
    }

    fn decided(&mut self, entry: &Entry) {
        self.entered_bar = Some(entry.bar_close);
        self.phase = Phase::EntryPending(*entry);
    }

    fn dropped(&mut self, at: UtcMs) {
        self.orders.clear();
        self.used_candle = Some(at);
        self.phase = Phase::Flat;
    }

    fn filled(&mut self, position: &Position) {
        self.used_candle = Some(position.at);
        self.fees = self.fees.saturating_add(position.fee);
        self.phase = Phase::Open(*position);
    }

    fn funded(&mut self, at: UtcMs, amount: Decimal) {
        // The candle is used: told again after a restart, it must not be paid for again.
        self.used_candle = Some(at);
        self.funded = Some(at);
        self.funding = self.funding.saturating_add(amount);
        if let Phase::Open(position) = &mut self.phase {
            position.funding = position.funding.saturating_add(amount);
        }
    }

    fn closed(&mut self, opened: UtcMs, trade: &Trade) -> Result<(), BadRecord> {
        let folded = self.equity.saturating_add(trade.pnl);
        if folded != trade.equity {
            return Err(BadRecord::EquityMismatch {
                recorded: trade.equity,
                folded,
            });
        }
        self.equity = folded;
        self.fees = self.fees.saturating_add(trade.fee);
        self.trades += 1;
        self.wins += u64::from(trade.pnl > Decimal::ZERO);
        self.used_candle = Some(trade.at);
        let lost = trade.pnl < Decimal::ZERO;
        self.losses_in_a_row = if lost { self.losses_in_a_row + 1 } else { 0 };
        self.remember(trade);
        self.performance.closed(opened, trade.at, trade.pnl, folded);
        self.orders.clear();
        self.phase = Phase::Flat;
        Ok(())
    }

    fn intended(&mut self, order: &Order) {
        let (order, fate) = (order.clone(), Fate::Intended);
        self.orders.push(Tracked { order, fate });
    }

    /// Whether the record is about an order of ours.
    fn knows(&self, record: &BookRecord) -> bool {
        order_of(record).is_some_and(|id| self.order(id).is_some())
    }

    fn told_of_order(&mut self, record: &BookRecord) {
        let fate = match record {
            BookRecord::OrderUnclear { at, .. } => Fate::Unclear { since: *at },
            BookRecord::OrderWorking { .. } => Fate::Working,
            BookRecord::OrderDone { fill, .. } => Fate::Done(*fill),
            BookRecord::OrderGone { code, .. } => Fate::Gone { code: *code },
            BookRecord::OrderSettled { id, costs } => return self.settled(id, *costs),
            _ => return,
        };
        let id = order_of(record);
        let told = self.orders.iter_mut().find(|o| Some(&o.order.id) == id);
        if let Some(tracked) = told {
            tracked.fate = fate;
        }
    }

    /// What the entry cost was reckoned until its trades were read.
    fn settled(&mut self, id: &ClientId, costs: Costs) {
        let Some(tracked) = self.orders.iter_mut().find(|o| o.order.id == *id) else {
            return;
        };
        if let Fate::Done(fill) = &mut tracked.fate {
            fill.costs = Some(costs);
        }
        if let (Leg::Entry, Phase::Open(position)) = (tracked.order.leg, &mut self.phase) {
            let more = costs.fee.saturating_sub(position.fee);
            self.fees = self.fees.saturating_add(more);
            position.fee = costs.fee;
        }
    }

    /// An order of the pending entry or the open position.
    pub fn order(&self, id: &ClientId) -> Option<&Tracked> {
        self.orders.iter().find(|o| o.order.id == *id)
    }

    fn remember(&mut self, trade: &Trade) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(Outcome {
            at: trade.at,
            reason: trade.reason,
            pnl: trade.pnl,
            equity: trade.equity,
        });
    }

    fn halted(&mut self, reason: &str) {
        let entry = match &self.phase {
            Phase::EntryPending(entry) => Some(*entry),
            _ => None,
        };
        self.phase = Phase::Halted {
            reason: reason.to_owned(),
            position: self.position().copied(),
            entry,
        };
    }

    /// Where it was when it was halted. Its orders were kept: their owner to be asks for them.
    fn released(&mut self, position: Option<Position>, entry: Option<Entry>) {
        self.phase = match (position, entry) {
            (Some(position), _) => Phase::Open(position),
            (None, Some(entry)) => Phase::EntryPending(entry),
            (None, None) if self.capital.is_zero() => Phase::Unopened,
            (None, None) => Phase::Flat,
        };
    }
}

/// The order that a record tells of.
const fn order_of(record: &BookRecord) -> Option<&ClientId> {
    match record {
        BookRecord::OrderUnclear { id, .. }
        | BookRecord::OrderWorking { id }
        | BookRecord::OrderDone { id, .. }
        | BookRecord::OrderGone { id, .. }
        | BookRecord::OrderSettled { id, .. } => Some(id),
        _ => None,
    }
}

/// Open time of the first base candle that a book must be given after a restart: that of a pending
/// entry, or the one in which the position was opened (used already, and ignored as such). None when
/// no old candle matters to it.
pub const fn resume_from(state: &BookState) -> Option<UtcMs> {
    match &state.phase {
        Phase::EntryPending(entry) => Some(entry.enter_at),
        Phase::Open(position) => Some(position.at),
        Phase::Unopened | Phase::Flat | Phase::Halted { .. } => None,
    }
}
