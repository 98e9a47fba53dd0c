//! What a book's journal holds. Each record carries what its reader needs, amounts as decimal text.
//!
//! The JSON is held against `tests/golden/`: a change here is a change of every journal.

use std::fmt;

use protocol::event::Side;
use protocol::ids::Token;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::book::BookConfig;
use crate::fixed::{Price, Qty};
use crate::rules::SymbolRules;
use crate::strategy::Strategy;

/// One fact of a book's life. Times are the exchange's; the envelope has the writer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BookRecord {
    /// A process owns the book from here on.
    OwnerTookOver {
        /// This run of it.
        boot: Token,
        /// Its name.
        instance: Token,
        /// What it trades the book with.
        config: BookConfig,
    },
    /// The book got its capital.
    BookOpened {
        /// In the quote currency.
        capital: Decimal,
        /// The exchange's rules at that time.
        rules: SymbolRules,
    },
    /// An entry with its bracket was decided at a bar's close.
    EntryDecided(Entry),
    /// The decided entry was not made.
    EntryDropped {
        /// Open time of the candle that showed it.
        at: UtcMs,
        /// Why.
        reason: DropReason,
    },
    /// The entry filled.
    PositionOpened(Position),
    /// Stop or target filled.
    PositionClosed(Trade),
    /// The book trades no more until a person looks.
    BookHalted {
        /// Why, in one line.
        reason: String,
    },
}

/// A decided entry: one bracket, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose signal.
    pub strategy: Strategy,
    /// Long or short.
    pub side: Side,
    /// Close of the bar that has the signal.
    pub bar_close: UtcMs,
    /// Open time of the base candle at whose open it fills.
    pub enter_at: UtcMs,
    /// Close price of that bar.
    pub reference: Price,
    /// In base units.
    pub quantity: Qty,
    /// Where the loss is taken.
    pub stop: Price,
    /// Where the profit is taken.
    pub target: Price,
    /// ATR14 at that bar.
    pub atr: Price,
    /// RSI14 at that bar.
    pub rsi: Decimal,
}

/// An open position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Open time of the candle in which the entry filled.
    pub at: UtcMs,
    /// Whose signal.
    pub strategy: Strategy,
    /// Long or short.
    pub side: Side,
    /// In base units.
    pub quantity: Qty,
    /// Fill price.
    pub price: Price,
    /// Fee of the entry, in the quote currency.
    pub fee: Decimal,
    /// Where the loss is taken.
    pub stop: Price,
    /// Where the profit is taken.
    pub target: Price,
}

/// A closed position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// Open time of the candle in which the exit filled.
    pub at: UtcMs,
    /// Whose signal had opened it.
    pub strategy: Strategy,
    /// Long or short.
    pub side: Side,
    /// In base units.
    pub quantity: Qty,
    /// Fill price of the entry.
    pub entry: Price,
    /// Fill price of the exit.
    pub price: Price,
    /// Fee of the exit, in the quote currency.
    pub fee: Decimal,
    /// What closed it.
    pub reason: ExitReason,
    /// Profit or loss after both fees, in the quote currency.
    pub pnl: Decimal,
    /// The book's capital and all profit so far, this one included.
    pub equity: Decimal,
}

impl BookRecord {
    /// The word in its `type` field.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::OwnerTookOver { .. } => "owner_took_over",
            Self::BookOpened { .. } => "book_opened",
            Self::EntryDecided(_) => "entry_decided",
            Self::EntryDropped { .. } => "entry_dropped",
            Self::PositionOpened(_) => "position_opened",
            Self::PositionClosed(_) => "position_closed",
            Self::BookHalted { .. } => "book_halted",
        }
    }
}

impl Position {
    /// The quantity as a signed number: positive long, negative short.
    pub fn signed_quantity(&self) -> Decimal {
        match self.side {
            Side::Long => self.quantity.to_decimal(),
            Side::Short => -self.quantity.to_decimal(),
        }
    }
}

/// Why a decided entry was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The entry's candle was seen when the market was already past it.
    TooLate,
    /// The entry's candle never came; a later one did.
    CandleMissing,
    /// The open was at the stop or beyond it.
    OpenBeyondStop,
    /// The fill would have been at the target or beyond it.
    FillBeyondTarget,
}

impl fmt::Display for DropReason {
    /// In words, for the owner.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLate => "the market had moved on before the entry could be made",
            Self::CandleMissing => "the candle to enter on is missing",
            Self::OpenBeyondStop => "the market opened at the stop or beyond it",
            Self::FillBeyondTarget => "the entry would have filled at the target or beyond it",
        })
    }
}

/// What closed a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// The loss was taken.
    Stop,
    /// The profit was taken.
    Target,
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Target => "target",
        })
    }
}
