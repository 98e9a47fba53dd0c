//! Records of a book's journal. Each record carries all that its readers need; amounts are decimal text.
//!
//! The JSON is compared with `tests/golden/`: a change of a record changes every journal.

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

/// The process that may append to a book's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// Instance name of the process, such as `trader-paper-1`.
    pub instance: SubjectToken,
    /// Boot id of the process.
    pub boot: SubjectToken,
}

/// One fact in a book's journal. Times are exchange times; the batch carries the writer's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum BookRecord {
    /// Another process writes this journal from here on.
    WriterChanged {
        /// Boot id of the new writer.
        boot: SubjectToken,
        /// Instance name of the new writer.
        instance: SubjectToken,
        /// The writer before; `None` before the first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Writer>,
        /// Configuration with which the new writer trades the book.
        config: BookConfig,
        /// Differences from the configuration of the last writer, each as `name: old -> new`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        config_changes: Vec<String>,
    },
    /// The book received its capital.
    BookOpened {
        /// Capital in the quote currency.
        capital: Decimal,
        /// The exchange's filters for the symbol at that time.
        filters: SymbolFilters,
    },
    /// The capital of the book changed; recorded only while the book is flat.
    CapitalChanged {
        /// New capital in the quote currency.
        capital: Decimal,
    },
    /// An entry with stop and target was decided at the close of a bar.
    EntryDecided(Entry),
    /// A signal was rejected.
    SignalRejected {
        /// Close time of the bar that has the signal.
        bar_close: UtcMs,
        /// Strategy of the signal.
        strategy: Strategy,
        /// Reason of the rejection.
        reason: SignalRejection,
    },
    /// The pending entry was dropped.
    EntryDropped {
        /// Open time of the candle at which the entry was dropped.
        at: UtcMs,
        /// Reason for dropping the entry.
        reason: DropReason,
        /// How the exchange rejected the order; `None` if it did not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rejection: Option<ExchangeRejection>,
    },
    /// An entry that was dropped because its order never reached the exchange is pending again: the order has appeared.
    EntryAdopted(LostEntry),
    /// The entry filled, completely or in part.
    PositionOpened(Position),
    /// Funding was paid or received for the open position, or a liquidation fee was charged.
    FundingPaid {
        /// Open time of the candle at which it was due; in live mode the exchange's time.
        at: UtcMs,
        /// Amount in the quote currency; negative if received.
        amount: Decimal,
    },
    /// The position was closed.
    PositionClosed(Trade),
    /// A circuit breaker of this book tripped.
    BreakerTripped {
        /// Breaker of this book that tripped.
        breaker: Breaker,
        /// Open time of the candle that tripped it; the exchange's time for a breaker that no candle trips.
        at: UtcMs,
        /// Reason as text for the operator.
        reason: String,
    },
    /// A circuit breaker of this book has reset.
    BreakerReset {
        /// Breaker of this book that has reset.
        breaker: Breaker,
        /// Exchange time of the reset.
        at: UtcMs,
    },
    /// Entries are locked for a time.
    EntriesLocked {
        /// Protection or breaker that locks them.
        lock: EntryLockKind,
        /// Market time at which the lock ends.
        until: UtcMs,
        /// Reason as text for the operator.
        reason: String,
    },
    /// The book does not trade until the operator unhalts it.
    BookHalted {
        /// Reason in one line.
        reason: String,
    },
    /// The operator ended the halt: the book continues where it was halted.
    BookUnhalted {
        /// Who gave the command.
        by: String,
        /// Reason that was given.
        reason: String,
    },
    /// An order that the writer of this record, and no other process, submits after the append.
    OrderIntended(Order),
    /// It is unknown whether the exchange has the order.
    OrderOutcomeUnknown {
        /// Id of the order.
        client_order_id: ClientOrderId,
        /// Exchange time since which the outcome is unknown.
        at: UtcMs,
        /// Error that happened instead of an answer.
        error: String,
    },
    /// The exchange accepted the order.
    OrderAccepted {
        /// Id of the order.
        client_order_id: ClientOrderId,
    },
    /// The order ended with a fill, complete or partial.
    OrderFilled {
        /// Id of the order.
        client_order_id: ClientOrderId,
        /// Quantity, price and time of the fill.
        #[serde(flatten)]
        fill: Fill,
    },
    /// The order ended without a fill, or never reached the exchange.
    OrderClosedUnfilled {
        /// Id of the order.
        client_order_id: ClientOrderId,
        /// Error code of the exchange; `None` if the exchange did not reject the order.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i64>,
        /// Exchange time at which the order was found canceled; `None` if it ended otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        canceled_at: Option<UtcMs>,
        /// Reason as text for the operator.
        reason: String,
    },
    /// Fees and profit of an order's trades were read from the exchange.
    OrderCostsRecorded {
        /// Id of the order.
        client_order_id: ClientOrderId,
        /// Fees and realized profit.
        #[serde(flatten)]
        costs: FillCosts,
    },
}

/// The answer with which the exchange rejected an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeRejection {
    /// Error code of the exchange.
    pub code: i64,
    /// Error text of the exchange, in one line.
    pub text: String,
}

/// An entry whose order never reached the exchange, as far as the book could find out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostEntry {
    /// The entry as it was decided.
    pub entry: Entry,
    /// Its order.
    pub order: Order,
}

/// A decided entry with its stop and target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Strategy of the signal.
    pub strategy: Strategy,
    /// Side of the position.
    pub side: PositionSide,
    /// Close time of the bar that has the signal.
    pub bar_close: UtcMs,
    /// Open time of the base candle at whose open it fills.
    pub enter_at: UtcMs,
    /// Close price of that bar, in the quote currency.
    pub reference_price: Price,
    /// Quantity in base units.
    pub quantity: Qty,
    /// Stop price in the quote currency.
    pub stop_price: Price,
    /// Target price in the quote currency.
    pub target_price: Price,
    /// ATR14 at that bar, in the quote currency.
    pub atr: Price,
    /// RSI14 at that bar.
    pub rsi: Decimal,
    /// Regime that an adaptive strategy used; `None` for other strategies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regime: Option<Regime>,
    /// How many times volatility halved the size.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub halvings: u8,
    /// Sequence in JOURNAL of the account state that permitted the entry; 0 in a backtest.
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

/// A position from its entry to its exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Open time of the candle in which the entry filled.
    pub at: UtcMs,
    /// Strategy of the signal.
    pub strategy: Strategy,
    /// Side of the position.
    pub side: PositionSide,
    /// Quantity in base units.
    pub quantity: Qty,
    /// Mean fill price of the entry, in the quote currency.
    pub entry_price: Price,
    /// Fee of the entry, in the quote currency.
    pub fee: Decimal,
    /// Stop price in the quote currency.
    pub stop_price: Price,
    /// Target price in the quote currency.
    pub target_price: Price,
    /// Funding paid while it is open, in the quote currency.
    #[serde(default)]
    pub funding: Decimal,
}

/// A closed position with its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trade {
    /// Open time of the candle in which the exit filled.
    pub at: UtcMs,
    /// Strategy that opened the position.
    pub strategy: Strategy,
    /// Side of the position.
    pub side: PositionSide,
    /// Quantity in base units.
    pub quantity: Qty,
    /// Fill price of the entry.
    pub entry_price: Price,
    /// Fill price of the exit.
    pub exit_price: Price,
    /// Fee of the exit, in the quote currency.
    pub fee: Decimal,
    /// Reason for which the position was closed.
    pub reason: ExitReason,
    /// Funding paid while it was open, in the quote currency.
    #[serde(default)]
    pub funding: Decimal,
    /// Profit after both fees and funding, in the quote currency; negative for a loss.
    pub pnl: Decimal,
    /// Equity of the book after this trade, in the quote currency.
    pub equity: Decimal,
}

impl BookRecord {
    /// The value of the `type` field in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::WriterChanged { .. } => "writer_changed",
            Self::BookOpened { .. } => "book_opened",
            Self::CapitalChanged { .. } => "capital_changed",
            Self::EntryDecided(_) => "entry_decided",
            Self::SignalRejected { .. } => "signal_rejected",
            Self::EntryDropped { .. } => "entry_dropped",
            Self::EntryAdopted(_) => "entry_adopted",
            Self::PositionOpened(_) => "position_opened",
            Self::FundingPaid { .. } => "funding_paid",
            Self::PositionClosed(_) => "position_closed",
            Self::BreakerTripped { .. } => "breaker_tripped",
            Self::BreakerReset { .. } => "breaker_reset",
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
    /// The quantity in base units: positive long, negative short.
    pub fn signed_quantity(&self) -> Decimal {
        match self.side {
            PositionSide::Long => self.quantity.to_decimal(),
            PositionSide::Short => -self.quantity.to_decimal(),
        }
    }
}

/// Reason for which a pending entry was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The entry's candle was processed when the market had already passed it.
    TooLate,
    /// The entry's candle is missing; a later one arrived.
    CandleMissing,
    /// The candle opened at the stop or beyond it.
    OpenBeyondStop,
    /// The fill would have been at the target or beyond it.
    FillBeyondTarget,
    /// An account breaker or the operator latched the account meanwhile.
    AccountLatched,
    /// The operator paused entries meanwhile.
    Paused,
    /// The exchange rejected the order, or did not receive it in time.
    NotAccepted,
}

impl fmt::Display for DropReason {
    /// Writes the reason as text for the operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLate => "the market had moved on before the entry could be filled",
            Self::CandleMissing => "the candle of the entry is missing",
            Self::OpenBeyondStop => "the market opened at the stop or beyond it",
            Self::FillBeyondTarget => "the entry would have filled at the target or beyond it",
            Self::AccountLatched => "the account was latched meanwhile",
            Self::Paused => "the operator paused entries meanwhile",
            Self::NotAccepted => "the exchange did not accept the order",
        })
    }
}
