//! How a book and an account are, for everybody who asks: REPORTS holds the newest of each, so that
//! they are answered with every trader dead. Amounts in the quote currency.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::event::PositionSide;
use crate::ids::{BookKey, SubjectToken};
use crate::time::UtcMs;

/// One book, as its owner last saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BookReport {
    /// Version of this message.
    pub v: u16,
    /// When it was made, wall clock.
    pub at: UtcMs,
    /// Who owns it.
    pub instance: SubjectToken,
    /// Which book.
    pub book: BookKey,
    /// Where in its life it is.
    pub phase: String,
    /// What it began with.
    pub capital: Decimal,
    /// Capital plus realised and unrealised profit, every fee paid so far deducted.
    pub equity: Decimal,
    /// Profit of the closed positions after fees and funding.
    pub realized_pnl: Decimal,
    /// Profit of the open position at the last price, its entry fee and funding deducted.
    pub unrealized_pnl: Decimal,
    /// Fees paid so far.
    pub fees: Decimal,
    /// Funding paid so far; negative: received.
    pub funding: Decimal,
    /// Positions closed.
    pub trades: u64,
    /// Of those, the ones with a profit after fees.
    pub winning_trades: u64,
    /// Profits by losses; none without a loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profit_factor: Option<Decimal>,
    /// Largest fall of the realised equity from a peak, as a share of the peak.
    pub max_drawdown: Decimal,
    /// Sharpe ratio of the daily realised returns, a year being 365 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharpe: Option<Decimal>,
    /// The position it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<PositionReport>,
    /// Signals refused so far, by reason.
    #[serde(default)]
    pub rejected_signals: BTreeMap<String, u64>,
    /// What keeps it from entries now, and until when by the exchange's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<LockReport>,
    /// Close of the newest candle, the exchange's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candle_close: Option<UtcMs>,
    /// The price there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Decimal>,
    /// Why it trades no more, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt_reason: Option<String>,
}

/// An open position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PositionReport {
    /// Whose signal opened it.
    pub strategy: SubjectToken,
    /// Long or short.
    pub side: PositionSide,
    /// In base units.
    pub quantity: Decimal,
    /// Fill price.
    pub entry_price: Decimal,
    /// Where the loss is taken.
    pub stop_price: Decimal,
    /// Where the profit is taken.
    pub target_price: Decimal,
    /// Open time of the candle in which it was opened.
    pub opened_at: UtcMs,
}

/// What keeps a book from entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockReport {
    /// The protection or breaker.
    pub lock: String,
    /// The exchange's time.
    pub until: UtcMs,
}

/// What a book was worth at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquityPoint {
    /// Version of this message.
    pub v: u16,
    /// The exchange's time.
    pub at: UtcMs,
    /// Unrealised profit included.
    pub equity: Decimal,
}

/// One account, as its keeper last saw it. Entries need one that is not latched and that has been
/// renewed within a minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountReport {
    /// Version of this message.
    pub v: u16,
    /// When it was made, wall clock.
    pub at: UtcMs,
    /// Who keeps it.
    pub instance: SubjectToken,
    /// Sequence in JOURNAL of the newest record behind it.
    pub seq: u64,
    /// All books together, unrealised profit included.
    pub equity: Decimal,
    /// Its highest ever.
    pub peak: Decimal,
    /// Its highest of this UTC day.
    pub day_peak: Decimal,
    /// What has closed the account, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latch: Option<LatchReport>,
    /// Books whose worth cannot be told now: no entries until it can.
    #[serde(default)]
    pub unvalued_books: Vec<SubjectToken>,
    /// Sequence in JOURNAL of the last operator's word behind it: who knows of a later one waits for it.
    #[serde(default)]
    pub command_seq: u64,
    /// Whose entries an operator has stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PauseReport>,
}

/// Entries that an operator has stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseReport {
    /// Those of this symbol's book; of every book without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<SubjectToken>,
    /// Who did it.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// What has closed an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatchReport {
    /// What an operator names to end it.
    pub latch_id: String,
    /// The breaker by its name.
    pub trigger: String,
    /// When, wall clock.
    pub at: UtcMs,
}
