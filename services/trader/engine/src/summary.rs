//! A book in a few numbers: for heartbeats and for `trader status`. Decides nothing.

use protocol::heartbeat::BookSummary;
use protocol::ids::BookKey;
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
    /// Profit of the closed positions after fees.
    pub realised: Decimal,
    /// Profit of the open position at the last price, its entry fee deducted.
    pub unrealised: Decimal,
    /// Fees paid so far.
    pub fees: Decimal,
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

fn unrealised(position: &Position, last_price: Option<Price>) -> Decimal {
    let Position {
        side,
        price,
        quantity,
        fee,
        ..
    } = *position;
    let last_price = last_price.unwrap_or(price);
    (paper::gross(side, price, last_price, quantity) - fee).normalize()
}
