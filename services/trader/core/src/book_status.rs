//! Figures of a book for heartbeats, reports and `trader status`.

use protocol::VERSION;
use protocol::heartbeat::BookSummary;
use protocol::ids::{BookKey, SubjectToken};
use protocol::report::{BookReport, LockReport, PositionReport};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::{BookPhase, BookState, Position};
use crate::fill_model;
use crate::fixed_point::Price;

/// Figures of a book. Amounts are in the quote currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookStatus {
    /// Name of the phase.
    pub phase: &'static str,
    /// Capital of the book.
    pub capital: Decimal,
    /// Capital plus realized and unrealized profit, after all fees paid so far.
    pub equity: Decimal,
    /// Profit of the closed positions after fees and funding.
    pub realized_pnl: Decimal,
    /// Profit of the open position at the last price, its entry fee and funding deducted.
    pub unrealized_pnl: Decimal,
    /// Fees paid so far.
    pub fees: Decimal,
    /// Funding paid so far; negative if received.
    pub funding: Decimal,
    /// Number of closed positions.
    pub trades: u64,
    /// Number of closed positions with a profit after fees.
    pub winning_trades: u64,
    /// The open position; `None` if there is none.
    pub position: Option<Position>,
    /// Reason of the halt; `None` unless the book is halted.
    pub halt_reason: Option<String>,
}

/// The figures of a book at `last_price`; without a price, an open position is valued at its entry price.
pub fn status(state: &BookState, last_price: Option<Price>) -> BookStatus {
    let position = state.position();
    let unrealized = position.map_or(Decimal::ZERO, |position| {
        unrealized_pnl(position, last_price)
    });
    BookStatus {
        phase: state.phase.as_str(),
        capital: state.capital,
        equity: state.equity.saturating_add(unrealized).normalize(),
        realized_pnl: state.equity.saturating_sub(state.capital).normalize(),
        unrealized_pnl: unrealized,
        fees: state.fees,
        funding: state.funding,
        trades: state.trades,
        winning_trades: state.winning_trades,
        position: position.copied(),
        halt_reason: match &state.phase {
            BookPhase::Halted { reason, .. } => Some(reason.clone()),
            BookPhase::Unopened
            | BookPhase::Flat
            | BookPhase::EntryPending(_)
            | BookPhase::Open(_) => None,
        },
    }
}

/// The figures of a book as heartbeats carry them.
pub fn summary(book: &BookKey, state: &BookState, last_price: Option<Price>) -> BookSummary {
    let status = status(state, last_price);
    BookSummary {
        book: book.clone(),
        equity: status.equity,
        position_quantity: status
            .position
            .as_ref()
            .map_or(Decimal::ZERO, Position::signed_quantity),
        trades: status.trades,
        halt_reason: status.halt_reason,
    }
}

/// Newest price of a symbol with its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PricePoint {
    /// Close time of the candle, exchange time.
    pub at: UtcMs,
    /// Close price in the quote currency.
    pub price: Price,
}

/// The published report of a book. `instance` holds its lease; `at` is the wall clock's time.
pub fn report(
    book: &BookKey,
    state: &BookState,
    last_price: Option<PricePoint>,
    instance: &SubjectToken,
    at: UtcMs,
) -> BookReport {
    let status = status(state, last_price.map(|q| q.price));
    let figures = state
        .performance
        .figures(last_price.map(|newest| newest.at));
    let locked = last_price.and_then(|q| state.active_lock(q.at));
    let rejections = state.rejected_signals.iter();
    let rejected_entries = state.rejected_entries.iter();
    let tripped = state.tripped_breakers.iter();
    BookReport {
        v: VERSION,
        at,
        instance: instance.clone(),
        book: book.clone(),
        phase: status.phase.to_owned(),
        capital: status.capital,
        equity: status.equity,
        realized_pnl: status.realized_pnl,
        unrealized_pnl: status.unrealized_pnl,
        fees: status.fees,
        funding: status.funding,
        trades: status.trades,
        winning_trades: status.winning_trades,
        profit_factor: figures.profit_factor,
        max_drawdown: figures.max_drawdown,
        sharpe: figures.sharpe,
        position: status.position.as_ref().and_then(position_report),
        rejected_signals: rejections
            .map(|(reason, rejected)| (reason.to_string(), rejected.count))
            .collect(),
        rejected_entries: rejected_entries
            .map(|(code, rejected)| (*code, rejected.count))
            .collect(),
        tripped_breakers: tripped.map(ToString::to_string).collect(),
        locked: locked.map(|(lock, until)| LockReport {
            lock: lock.to_string(),
            until,
        }),
        candle_close: last_price.map(|q| q.at),
        price: last_price.map(|q| q.price.to_decimal()),
        halt_reason: status.halt_reason,
        waits_for: None,
    }
}

/// `None` only if a strategy's name is not a token, which a test excludes.
fn position_report(position: &Position) -> Option<PositionReport> {
    Some(PositionReport {
        strategy: position.strategy.as_str().parse().ok()?,
        side: position.side,
        quantity: position.quantity.to_decimal(),
        entry_price: position.entry_price.to_decimal(),
        stop_price: position.stop_price.to_decimal(),
        target_price: position.target_price.to_decimal(),
        opened_at: position.at,
    })
}

fn unrealized_pnl(position: &Position, last_price: Option<Price>) -> Decimal {
    let Position {
        side,
        entry_price: price,
        quantity,
        fee,
        funding,
        ..
    } = *position;
    let last_price = last_price.unwrap_or(price);
    (fill_model::gross_pnl(side, price, last_price, quantity) - fee - funding).normalize()
}
