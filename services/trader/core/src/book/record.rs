//! What a book's journal holds. Each record carries what its reader needs, amounts as decimal text.
//!
//! The JSON is held against `tests/golden/`: a change here is a change of every journal.

use std::fmt;

use protocol::event::PositionSide;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{BookConfig, ExitReason};
use crate::circuit_breaker::Breaker;
use crate::entry::SignalRejection;
use crate::fixed_point::{Price, Qty};
use crate::orders::{ClientOrderId, Fill, FillCosts, Order};
use crate::protections::EntryLockKind;
use crate::regime::Regime;
use crate::strategy::Strategy;
use crate::symbol_filters::SymbolFilters;

/// One fact of a book's life. Times are the exchange's; the envelope has the writer's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BookRecord {
    /// A process owns the book from here on.
    WriterChanged {
        /// This run of it.
        boot: SubjectToken,
        /// Its name.
        instance: SubjectToken,
        /// What it trades the book with.
        config: BookConfig,
        /// What of that is not as the last owner had it, each as `name: old -> new`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        config_changes: Vec<String>,
    },
    /// The book got its capital.
    BookOpened {
        /// In the quote currency.
        capital: Decimal,
        /// The exchange's rules at that time.
        filters: SymbolFilters,
    },
    /// The book's share of the capital was changed; only ever while it is flat.
    CapitalChanged {
        /// What it is now, in the quote currency.
        capital: Decimal,
    },
    /// An entry with its bracket was decided at a bar's close.
    EntryDecided(Entry),
    /// A signal became no entry.
    SignalRejected {
        /// Close of the bar that has the signal.
        bar_close: UtcMs,
        /// Whose signal.
        strategy: Strategy,
        /// Why.
        reason: SignalRejection,
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
        reason: String,
    },
    /// No entries for a while.
    EntriesLocked {
        /// What locks them.
        lock: EntryLockKind,
        /// Until when, market time.
        until: UtcMs,
        /// Why, in words.
        reason: String,
    },
    /// The book trades no more until a person looks.
    BookHalted {
        /// Why, in one line.
        reason: String,
    },
    /// A person has looked: the book goes on where it was halted.
    BookUnhalted {
        /// Who says so.
        by: String,
        /// Why it may go on.
        reason: String,
    },
    /// An order is sent after this, by who recorded it and by nobody else.
    OrderIntended(Order),
    /// Whether the exchange has it is not known.
    OrderOutcomeUnknown {
        /// Which.
        client_order_id: ClientOrderId,
        /// Since when, the exchange's time.
        at: UtcMs,
        /// What happened instead of an answer.
        error: String,
    },
    /// The exchange has it.
    OrderAccepted {
        /// Which.
        client_order_id: ClientOrderId,
    },
    /// It has ended, filled wholly or in part.
    OrderFilled {
        /// Which.
        client_order_id: ClientOrderId,
        /// How.
        #[serde(flatten)]
        fill: Fill,
    },
    /// It has ended with nothing filled, or never was on the exchange.
    OrderClosedUnfilled {
        /// Which.
        client_order_id: ClientOrderId,
        /// The exchange's error code, if it refused it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i64>,
        /// In words.
        reason: String,
    },
    /// What an order's trades cost was read.
    OrderCostsRecorded {
        /// Which.
        client_order_id: ClientOrderId,
        /// How much.
        #[serde(flatten)]
        costs: FillCosts,
    },
}

/// A decided entry: one bracket, whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose signal.
    pub strategy: Strategy,
    /// Long or short.
    pub side: PositionSide,
    /// Close of the bar that has the signal.
    pub bar_close: UtcMs,
    /// Open time of the base candle at whose open it fills.
    pub enter_at: UtcMs,
    /// Close price of that bar.
    pub reference_price: Price,
    /// In base units.
    pub quantity: Qty,
    /// Where the loss is taken.
    pub stop_price: Price,
    /// Where the profit is taken.
    pub target_price: Price,
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
    pub side: PositionSide,
    /// In base units.
    pub quantity: Qty,
    /// Fill price.
    pub entry_price: Price,
    /// Fee of the entry, in the quote currency.
    pub fee: Decimal,
    /// Where the loss is taken.
    pub stop_price: Price,
    /// Where the profit is taken.
    pub target_price: Price,
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
    pub side: PositionSide,
    /// In base units.
    pub quantity: Qty,
    /// Fill price of the entry.
    pub entry_price: Price,
    /// Fill price of the exit.
    pub exit_price: Price,
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
            Self::WriterChanged { .. } => "writer_changed",
            Self::BookOpened { .. } => "book_opened",
            Self::CapitalChanged { .. } => "capital_changed",
            Self::EntryDecided(_) => "entry_decided",
            Self::SignalRejected { .. } => "signal_rejected",
            Self::EntryDropped { .. } => "entry_dropped",
            Self::PositionOpened(_) => "position_opened",
            Self::FundingPaid { .. } => "funding_paid",
            Self::PositionClosed(_) => "position_closed",
            Self::BreakerTripped { .. } => "breaker_tripped",
            Self::EntriesLocked { .. } => "entries_locked",
            Self::BookHalted { .. } => "book_halted",
            Self::BookUnhalted { .. } => "book_unhalted",
            Self::OrderIntended(_) => "order_intended",
            Self::OrderOutcomeUnknown { .. } => "order_outcome_unknown",
            Self::OrderAccepted { .. } => "order_accepted",
            Self::OrderFilled { .. } => "order_filled",
            Self::OrderClosedUnfilled { .. } => "order_closed_unfilled",
            Self::OrderCostsRecorded { .. } => "order_costs_recorded",
        }
    }
}

impl Position {
    /// The quantity as a signed number: positive long, negative short.
    pub fn signed_quantity(&self) -> Decimal {
        match self.side {
            PositionSide::Long => self.quantity.to_decimal(),
            PositionSide::Short => -self.quantity.to_decimal(),
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
    NotAccepted,
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
            Self::NotAccepted => "the exchange did not take the order",
        })
    }
}
