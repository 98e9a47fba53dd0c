//! A book in a few numbers: for heartbeats and for `trader status`. Decides nothing.

use protocol::VERSION;
use protocol::heartbeat::BookSummary;
use protocol::ids::{BookKey, Token};
use protocol::report::{BookReport, LockReport, PositionReport};
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::{BookState, Phase, Position};
use crate::fixed::Price;
use crate::paper;

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
    pub realised: Decimal,
    /// Profit of the open position at the last price, its entry fee and funding deducted.
    pub unrealised: Decimal,
    /// Fees paid so far.
    pub fees: Decimal,
    /// Funding paid so far; negative: received.
    pub funding: Decimal,
    /// Positions closed.
    pub trades: u64,
    /// Of those, the ones with a profit after fees.
    pub wins: u64,
    /// The position it holds.
    pub position: Option<Position>,
    /// Why it trades no more, if it does not.
    pub halted: Option<String>,
}

/// The book's numbers at `last_price`. Without one, an open position counts at its entry price.
pub fn status(state: &BookState, last_price: Option<Price>) -> BookStatus {
    let position = state.position();
    let unrealised = position.map_or(Decimal::ZERO, |position| unrealised(position, last_price));
    BookStatus {
        phase: state.phase.as_str(),
        capital: state.capital,
        equity: state.equity.saturating_add(unrealised).normalize(),
        realised: state.equity.saturating_sub(state.capital).normalize(),
        unrealised,
        fees: state.fees,
        funding: state.funding,
        trades: state.trades,
        wins: state.wins,
        position: position.copied(),
        halted: match &state.phase {
            Phase::Halted { reason, .. } => Some(reason.clone()),
            Phase::Unopened | Phase::Flat | Phase::EntryPending(_) | Phase::Open(_) => None,
        },
    }
}

/// The same, as heartbeats carry it.
pub fn summary(book: &BookKey, state: &BookState, last_price: Option<Price>) -> BookSummary {
    let status = status(state, last_price);
    BookSummary {
        book: book.clone(),
        equity: status.equity,
        position: status
            .position
            .as_ref()
            .map_or(Decimal::ZERO, Position::signed_quantity),
        trades: status.trades,
        halted: status.halted,
    }
}

/// The newest price, and when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    /// Close of its candle, the exchange's time.
    pub at: UtcMs,
    /// Its close.
    pub price: Price,
}

/// Everything about a book, for whoever asks. `instance` owns it, `at` is the wall clock's time.
pub fn report(
    book: &BookKey,
    state: &BookState,
    quote: Option<Quote>,
    instance: &Token,
    at: UtcMs,
) -> BookReport {
    let status = status(state, quote.map(|q| q.price));
    let figures = state.performance.figures();
    let locked = quote.and_then(|q| state.locked(q.at));
    let refusals = state.refusals.iter();
    BookReport {
        v: VERSION,
        at,
        instance: instance.clone(),
        book: book.clone(),
        phase: status.phase.to_owned(),
        capital: status.capital,
        equity: status.equity,
        realised: status.realised,
        unrealised: status.unrealised,
        fees: status.fees,
        funding: status.funding,
        trades: status.trades,
        wins: status.wins,
        profit_factor: figures.profit_factor,
        max_drawdown: figures.max_drawdown,
        sharpe: figures.sharpe,
        position: status.position.as_ref().and_then(position_report),
        refusals: refusals.map(|(why, n)| (why.to_string(), *n)).collect(),
        locked: locked.map(|(by, until)| LockReport {
            by: by.to_string(),
            until,
        }),
        candle_close: quote.map(|q| q.at),
        price: quote.map(|q| q.price.to_decimal()),
        halted: status.halted,
    }
}

/// Every strategy's name is a token (a test holds them to it), so this is never none.
fn position_report(position: &Position) -> Option<PositionReport> {
    Some(PositionReport {
        strategy: position.strategy.as_str().parse().ok()?,
        side: position.side,
        quantity: position.quantity.to_decimal(),
        entry: position.price.to_decimal(),
        stop: position.stop.to_decimal(),
        target: position.target.to_decimal(),
        opened: position.at,
    })
}

fn unrealised(position: &Position, last_price: Option<Price>) -> Decimal {
    let Position {
        side,
        price,
        quantity,
        fee,
        funding,
        ..
    } = *position;
    let last_price = last_price.unwrap_or(price);
    (paper::gross(side, price, last_price, quantity) - fee - funding).normalize()
}
