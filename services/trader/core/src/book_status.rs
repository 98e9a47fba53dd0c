//! A book in a few numbers: for heartbeats and for `trader status`. Decides nothing.

use protocol::VERSION;
use protocol::heartbeat::BookSummary;
use protocol::ids::{BookKey, SubjectToken};
use protocol::report::{BookReport, LockReport, PositionReport};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::{BookPhase, BookState, Position};
use crate::fill_model;
use crate::fixed_point::Price;

/// What a person wants to know of a book. Amounts in the quote currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookStatus {
    /// Where in its life it is.
    pub phase: &'static str,
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
    /// The position it holds.
    pub position: Option<Position>,
    /// Why it trades no more, if it does not.
    pub halt_reason: Option<String>,
}

/// The book's numbers at `last_price`. Without one, an open position counts at its entry price.
pub fn status(state: &BookState, last_price: Option<Price>) -> BookStatus {
    let position = state.position();
    let unrealised = position.map_or(Decimal::ZERO, |position| {
        unrealized_pnl(position, last_price)
    });
    BookStatus {
        phase: state.phase.as_str(),
        capital: state.capital,
        equity: state.equity.saturating_add(unrealised).normalize(),
        realized_pnl: state.equity.saturating_sub(state.capital).normalize(),
        unrealized_pnl: unrealised,
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

/// The same, as heartbeats carry it.
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

/// The newest price, and when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PricePoint {
    /// Close of its candle, the exchange's time.
    pub at: UtcMs,
    /// Its close.
    pub price: Price,
}

/// Everything about a book, for whoever asks. `instance` owns it, `inputs_at` is the wall clock's time.
pub fn report(
    book: &BookKey,
    state: &BookState,
    last_price: Option<PricePoint>,
    instance: &SubjectToken,
    at: UtcMs,
) -> BookReport {
    let status = status(state, last_price.map(|q| q.price));
    let figures = state.performance.figures();
    let locked = last_price.and_then(|q| state.active_lock(q.at));
    let refusals = state.rejected_signals.iter();
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
        rejected_signals: refusals.map(|(why, n)| (why.to_string(), *n)).collect(),
        locked: locked.map(|(by, until)| LockReport {
            lock: by.to_string(),
            until,
        }),
        candle_close: last_price.map(|q| q.at),
        price: last_price.map(|q| q.price.to_decimal()),
        halt_reason: status.halt_reason,
    }
}

/// Every strategy's name is a token (a test holds them to it), so this is never none.
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
