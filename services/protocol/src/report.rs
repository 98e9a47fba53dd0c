//! Reports: the newest published state of a book or an account, readable while every trader is down. Amounts are in
//! the quote currency.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::event::PositionSide;
use crate::ids::{BookKey, SubjectToken};
use crate::time::UtcMs;

/// State of a book, as its trader last published it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BookReport {
    /// Version of the message.
    pub v: u16,
    /// Time of the report, wall clock.
    pub at: UtcMs,
    /// Instance that trades the book.
    pub instance: SubjectToken,
    /// Key of the book.
    pub book: BookKey,
    /// Phase of the book.
    pub phase: String,
    /// Capital of the book.
    pub capital: Decimal,
    /// Capital plus realized and unrealized profit, after all fees.
    pub equity: Decimal,
    /// Profit of the closed positions, after fees and funding.
    pub realized_pnl: Decimal,
    /// Profit of the open position at the last price, after its entry fee and funding.
    pub unrealized_pnl: Decimal,
    /// Fees paid so far.
    pub fees: Decimal,
    /// Funding paid so far; negative if received.
    pub funding: Decimal,
    /// Positions closed so far.
    pub trades: u64,
    /// Closed positions with a profit after fees.
    pub winning_trades: u64,
    /// Sum of profits divided by sum of losses; `None` without a loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profit_factor: Option<Decimal>,
    /// Largest fall of the realized equity from a peak, as a fraction of the peak.
    pub max_drawdown: Decimal,
    /// Sharpe ratio of the daily realized returns, for a year of 365 days; `None` if it is undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharpe: Option<Decimal>,
    /// Open position; `None` if flat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionReport>,
    /// Number of rejected signals, by reason.
    #[serde(default)]
    pub rejected_signals: BTreeMap<String, u64>,
    /// Number of entry orders that the exchange rejected, by its error code.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rejected_entries: BTreeMap<i64, u64>,
    /// Names of the book's circuit breakers that are tripped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tripped_breakers: Vec<String>,
    /// Lock of the entries; `None` if entries are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<LockReport>,
    /// Close time of the newest candle, in exchange time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candle_close: Option<UtcMs>,
    /// Close price of the newest candle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Decimal>,
    /// Why the book is halted; `None` if it is not halted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt_reason: Option<String>,
    /// What the book waits for before it follows the market; `None` if it does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitReport>,
}

/// What a book waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitReport {
    /// Reason in one line.
    pub reason: String,
    /// Begin of the wait, wall clock.
    pub since: UtcMs,
}

/// An open position with its stop and its target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PositionReport {
    /// Strategy whose signal opened the position.
    pub strategy: SubjectToken,
    /// Side of the position.
    pub side: PositionSide,
    /// Quantity in base units.
    pub quantity: Decimal,
    /// Fill price of the entry.
    pub entry_price: Decimal,
    /// Price at which the stop order closes the position.
    pub stop_price: Decimal,
    /// Price at which the target order closes the position.
    pub target_price: Decimal,
    /// Open time of the candle in which the position was opened.
    pub opened_at: UtcMs,
}

impl PositionReport {
    /// The quantity in base units: positive long, negative short.
    pub fn signed_quantity(&self) -> Decimal {
        match self.side {
            PositionSide::Long => self.quantity,
            PositionSide::Short => -self.quantity,
        }
    }
}

/// Lock of the entries of a book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockReport {
    /// Protection or breaker that locks the entries.
    pub lock: String,
    /// End of the lock, in exchange time.
    pub until: UtcMs,
}

/// Equity of a book at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquityPoint {
    /// Version of the message.
    pub v: u16,
    /// Time of the point, in exchange time.
    pub at: UtcMs,
    /// Equity, including unrealized profit.
    pub equity: Decimal,
}

/// State of an account, as its leader last published it. Entries need a report that is younger than a minute and has no
/// latch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountReport {
    /// Version of the message.
    pub v: u16,
    /// Time of the report, wall clock.
    pub at: UtcMs,
    /// Instance of the account leader.
    pub instance: SubjectToken,
    /// Sequence in JOURNAL of the newest record of the report.
    pub seq: u64,
    /// Equity of all books, including unrealized profit.
    pub equity: Decimal,
    /// Highest equity so far.
    pub peak: Decimal,
    /// Highest equity of the UTC day.
    pub day_peak: Decimal,
    /// Latch of the account; `None` if the account is not latched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<LatchReport>,
    /// Symbols of books whose value is unknown. The account takes no entries while there is one.
    #[serde(default)]
    pub unvalued_books: Vec<SubjectToken>,
    /// Sequence in JOURNAL of the newest account command of the report. A book that has seen a later command waits for it.
    #[serde(default)]
    pub command_seq: u64,
    /// Pauses of the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PauseReport>,
    /// Newest check of the exchange's balance; `None` on paper and before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<BalanceReport>,
    /// Id of the unexplained difference of the balance that stops entries; `None` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference_id: Option<String>,
}

/// Check of the exchange's balance against what the books and the account journaled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalanceReport {
    /// Time of the check, wall clock.
    pub at: UtcMs,
    /// Balance on the exchange without unrealized profit and loss.
    pub balance: Decimal,
    /// Balance less what is expected; zero if everything is explained, also before the first baseline.
    pub difference: Decimal,
}

/// Pause of entries by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseReport {
    /// Symbol whose book is paused; `None` for all books.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<SubjectToken>,
    /// Operator who gave the command.
    pub by: String,
    /// Reason the operator gave.
    pub reason: String,
}

/// Latch of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatchReport {
    /// Id that ends the latch.
    pub latch_id: String,
    /// Name of the account breaker, or `operator`.
    pub trigger: String,
    /// Time of the latch, wall clock.
    pub at: UtcMs,
    /// Whether the account leader has found the account flat since the latch.
    #[serde(default)]
    pub is_flat: bool,
}
