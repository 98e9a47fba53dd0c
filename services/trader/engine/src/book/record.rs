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
use crate::breaker::Breaker;
use crate::entry::Refusal;
use crate::fixed::{Price, Qty};
use crate::orders::{ClientId, Costs, Fill, Order};
use crate::protections::Lock;
use crate::regime::Regime;
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
        /// What of that is not as the last owner had it, each as `name: old -> new`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<String>,
    },
    /// The book got its capital.
    BookOpened {
        /// In the quote currency.
        capital: Decimal,
        /// The exchange's rules at that time.
        rules: SymbolRules,
    },
    /// The book's share of the capital was changed; only ever while it is flat.
    CapitalChanged {
        /// What it is now, in the quote currency.
        capital: Decimal,
    },
    /// An entry with its bracket was decided at a bar's close.
    EntryDecided(Entry),
    /// A signal became no entry.
    EntryRefused {
        /// Close of the bar that has the signal.
        bar_close: UtcMs,
        /// Whose signal.
        strategy: Strategy,
        /// Why.
        reason: Refusal,
    },
    /// The decided entry was not made.
    EntryDropped {
        /// Open time of the candle that showed it.
        at: UtcMs,
        /// Why.
        reason: DropReason,
    },
    /// The entry filled.
    PositionOpened(Position),
    /// Funding fell due on the open position; or, on an exchange, a liquidation cost that beside its trade.
    FundingPaid {
        /// Open time of the candle at whose begin it fell due.
        at: UtcMs,
        /// In the quote currency; negative when it was received.
        amount: Decimal,
    },
    /// The position was closed.
    PositionClosed(Trade),
    /// A circuit breaker of this book tripped.
    BreakerTripped {
        /// Which.
        breaker: Breaker,
        /// Open time of the candle that did it.
        at: UtcMs,
        /// Why, in words.
        why: String,
    },
    /// No entries for a while.
    EntriesLocked {
        /// What locks them.
        by: Lock,
        /// Until when, market time.
        until: UtcMs,
        /// Why, in words.
        why: String,
    },
    /// The book trades no more until a person looks.
    BookHalted {
        /// Why, in one line.
        reason: String,
    },
    /// A person has looked: the book goes on where it was halted.
    BookReleased {
        /// Who says so.
        who: String,
        /// Why it may go on.
        why: String,
    },
    /// An order is sent after this, by who recorded it and by nobody else.
    OrderIntended(Order),
    /// Whether the exchange has it is not known.
    OrderUnclear {
        /// Which.
        id: ClientId,
        /// Since when, the exchange's time.
        at: UtcMs,
        /// What happened instead of an answer.
        why: String,
    },
    /// The exchange has it.
    OrderWorking {
        /// Which.
        id: ClientId,
    },
    /// It has ended, filled wholly or in part.
    OrderDone {
        /// Which.
        id: ClientId,
        /// How.
        #[serde(flatten)]
        fill: Fill,
    },
    /// It has ended with nothing filled, or never was on the exchange.
    OrderGone {
        /// Which.
        id: ClientId,
        /// The exchange's error code, if it refused it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i64>,
        /// In words.
        why: String,
    },
    /// What an order's trades cost was read.
    OrderSettled {
        /// Which.
        id: ClientId,
        /// How much.
        #[serde(flatten)]
        costs: Costs,
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
    /// The regime that an adaptive strategy went by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regime: Option<Regime>,
    /// How often volatility halved the size.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub halvings: u8,
    /// Sequence in JOURNAL of the account's state that allowed it; 0 in a backtest.
    #[serde(default)]
    pub account_seq: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_zero(n: &u8) -> bool {
    *n == 0
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
    /// Funding paid while it is open, in the quote currency.
    #[serde(default)]
    pub funding: Decimal,
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
    /// Funding paid while it was open, in the quote currency.
    #[serde(default)]
    pub funding: Decimal,
    /// Profit or loss after both fees and funding, in the quote currency.
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
            Self::CapitalChanged { .. } => "capital_changed",
            Self::EntryDecided(_) => "entry_decided",
            Self::EntryRefused { .. } => "entry_refused",
            Self::EntryDropped { .. } => "entry_dropped",
            Self::PositionOpened(_) => "position_opened",
            Self::FundingPaid { .. } => "funding_paid",
            Self::PositionClosed(_) => "position_closed",
            Self::BreakerTripped { .. } => "breaker_tripped",
            Self::EntriesLocked { .. } => "entries_locked",
            Self::BookHalted { .. } => "book_halted",
            Self::BookReleased { .. } => "book_released",
            Self::OrderIntended(_) => "order_intended",
            Self::OrderUnclear { .. } => "order_unclear",
            Self::OrderWorking { .. } => "order_working",
            Self::OrderDone { .. } => "order_done",
            Self::OrderGone { .. } => "order_gone",
            Self::OrderSettled { .. } => "order_settled",
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// A critical breaker or an operator closed the account meanwhile.
    AccountLatched,
    /// An operator stopped entries meanwhile.
    Paused,
    /// The exchange refused the order, or did not take it in time.
    NotTaken,
}

impl fmt::Display for DropReason {
    /// In words, for the owner.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLate => "the market had moved on before the entry could be made",
            Self::CandleMissing => "the candle to enter on is missing",
            Self::OpenBeyondStop => "the market opened at the stop or beyond it",
            Self::FillBeyondTarget => "the entry would have filled at the target or beyond it",
            Self::AccountLatched => "the account was closed meanwhile",
            Self::Paused => "an operator paused entries meanwhile",
            Self::NotTaken => "the exchange did not take the order",
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
    /// The breaker for the loss of one position.
    PositionLoss,
    /// A critical breaker of the account, or an operator.
    AccountLatched,
    /// The exchange took no stop for it.
    Unprotected,
    /// Somebody else closed it on the exchange: a person, or a liquidation.
    Elsewhere,
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Target => "target",
            Self::PositionLoss => "position loss",
            Self::AccountLatched => "account latched",
            Self::Unprotected => "no stop was taken",
            Self::Elsewhere => "closed on the exchange, not by us",
        })
    }
}
