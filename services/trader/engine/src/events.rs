//! What of a book's journal the owner hears. Derived from the records alone, so that a replay can
//! publish the same events again under the same ids.

use protocol::event::EventBody;
use protocol::ids::{BookKey, Token};

use crate::book::{BookRecord, Position, Trade};
use crate::protections::Lock;
use crate::strategy::Strategy;

/// The event that this record is for the owner; none for what only the book needs to know.
pub fn owner_event(book: &BookKey, record: &BookRecord) -> Option<EventBody> {
    let key = book;
    let book = book.clone();
    match record {
        BookRecord::OwnerTookOver {
            instance, changes, ..
        } => Some(EventBody::BookClaimed {
            book,
            by: Some(instance.clone()),
            changes: changes.clone(),
        }),
        BookRecord::BookOpened { .. }
        | BookRecord::CapitalChanged { .. }
        | BookRecord::EntryDecided(_)
        | BookRecord::EntryRefused { .. }
        | BookRecord::FundingPaid { .. }
        | BookRecord::OrderIntended(_)
        | BookRecord::OrderWorking { .. }
        | BookRecord::OrderDone { .. }
        | BookRecord::OrderGone { code: None, .. }
        | BookRecord::OrderSettled { .. }
        // After every trade: of no interest to anybody.
        | BookRecord::EntriesLocked {
            by: Lock::CooldownPeriod,
            ..
        } => None,
        BookRecord::EntryDropped { reason, .. } => Some(EventBody::EntryDropped {
            book,
            reason: reason.to_string(),
        }),
        BookRecord::PositionOpened(position) => position_opened(book, position),
        BookRecord::PositionClosed(trade) => position_closed(book, trade),
        BookRecord::BreakerTripped { breaker, why, .. } => Some(EventBody::BreakerTripped {
            scope: key.to_string(),
            breaker: breaker.to_string(),
            reason: why.clone(),
        }),
        BookRecord::EntriesLocked { by, until, why } => Some(EventBody::EntriesLocked {
            book,
            by: by.to_string(),
            reason: why.clone(),
            until: *until,
        }),
        BookRecord::OrderUnclear { id, why, .. } => Some(EventBody::OrderUnclear {
            book,
            leg: id.leg().to_string(),
            order: id.to_string(),
            why: why.clone(),
        }),
        BookRecord::OrderGone {
            id,
            code: Some(code),
            why,
        } => Some(EventBody::OrderRefused {
            book,
            leg: id.leg().to_string(),
            order: id.to_string(),
            code: *code,
            why: why.clone(),
        }),
        BookRecord::BookReleased { who, why } => Some(EventBody::BookReleased {
            book,
            who: who.clone(),
            why: why.clone(),
        }),
        BookRecord::BookHalted { reason } => Some(EventBody::BookHalted {
            book,
            reason: reason.clone(),
        }),
    }
}

fn position_opened(book: BookKey, position: &Position) -> Option<EventBody> {
    Some(EventBody::PositionOpened {
        book,
        strategy: token(position.strategy)?,
        side: position.side,
        quantity: position.quantity.to_decimal(),
        price: position.price.to_decimal(),
        stop: position.stop.to_decimal(),
        target: position.target.to_decimal(),
    })
}

fn position_closed(book: BookKey, trade: &Trade) -> Option<EventBody> {
    Some(EventBody::PositionClosed {
        book,
        strategy: token(trade.strategy)?,
        side: trade.side,
        quantity: trade.quantity.to_decimal(),
        entry: trade.entry.to_decimal(),
        exit: trade.price.to_decimal(),
        reason: trade.reason.to_string(),
        pnl: trade.pnl,
        equity: trade.equity,
    })
}

/// Every strategy's name is a token (a test holds them to it), so this is never none.
fn token(strategy: Strategy) -> Option<Token> {
    strategy.as_str().parse().ok()
}
