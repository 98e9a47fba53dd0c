//! A book's state: only what its records say. Folding is total: a record that does not fit is an
//! error for the caller to halt the book with, never a panic.

use protocol::VERSION;
use protocol::ids::Token;
use protocol::journal::JournalEntry;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::{BookRecord, Entry, Position, Trade};

/// Everything a book is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BookState {
    /// Who took it over last.
    pub owner: Option<Owner>,
    /// Where in its life it is.
    pub phase: Phase,
    /// What it began with, in the quote currency.
    pub capital: Decimal,
    /// Capital plus the profit of every closed position, fees deducted.
    pub equity: Decimal,
    /// Fees paid so far, an open position's entry included.
    pub fees: Decimal,
    /// Positions closed.
    pub trades: u64,
    /// Of those, the ones with a profit after fees.
    pub wins: u64,
    /// Close of the newest bar that an entry was decided on: no bar is entered twice.
    pub entered_bar: Option<UtcMs>,
    /// Open time of the newest candle that filled or dropped something: none is used twice.
    pub used_candle: Option<UtcMs>,
}

/// The process that owns a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub instance: Token,
    /// This run of it.
    pub boot: Token,
}

/// Where in its life a book is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
            (_, BookRecord::OwnerTookOver { boot, instance, .. }) => self.took_over(boot, instance),
            (Phase::Unopened, BookRecord::BookOpened { capital, .. }) => self.opened(*capital),
            (Phase::Flat, BookRecord::EntryDecided(entry)) => self.decided(entry),
            (Phase::EntryPending(_), BookRecord::EntryDropped { at, .. }) => self.dropped(*at),
            (Phase::EntryPending(_), BookRecord::PositionOpened(position)) => self.filled(position),
            (Phase::Open(_), BookRecord::PositionClosed(trade)) => self.closed(trade)?,
            (
                Phase::Unopened | Phase::Flat | Phase::EntryPending(_) | Phase::Open(_),
                BookRecord::BookHalted { reason },
            ) => self.halted(reason),
            (phase, record) => {
                return Err(BadRecord::OutOfPlace {
                    record: record.kind(),
                    phase: phase.as_str(),
                });
            }
        }
        Ok(())
    }

    fn took_over(&mut self, boot: &Token, instance: &Token) {
        self.owner = Some(Owner {
            instance: instance.clone(),
            boot: boot.clone(),
        });
    }

    fn opened(&mut self, capital: Decimal) {
        self.capital = capital;
        self.equity = capital;
        self.phase = Phase::Flat;
    }

    fn decided(&mut self, entry: &Entry) {
        self.entered_bar = Some(entry.bar_close);
        self.phase = Phase::EntryPending(*entry);
    }

    fn dropped(&mut self, at: UtcMs) {
        self.used_candle = Some(at);
        self.phase = Phase::Flat;
    }

    fn filled(&mut self, position: &Position) {
        self.used_candle = Some(position.at);
        self.fees = self.fees.saturating_add(position.fee);
        self.phase = Phase::Open(*position);
    }

    fn closed(&mut self, trade: &Trade) -> Result<(), BadRecord> {
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
        self.phase = Phase::Flat;
        Ok(())
    }

    fn halted(&mut self, reason: &str) {
        self.phase = Phase::Halted {
            reason: reason.to_owned(),
            position: self.position().copied(),
        };
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
