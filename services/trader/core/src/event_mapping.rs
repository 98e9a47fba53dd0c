//! Events for the operator that follow from a book's records. They depend on the records alone, so that a replay publishes
//! the same events under the same ids.

use protocol::event::EventBody;
use protocol::ids::{BookKey, SubjectToken};

use crate::book::{BookRecord, Position, Trade};
use crate::orders::PLACE_TAKEN;
use crate::protections::EntryLockKind;
use crate::strategy::Strategy;

/// The event that a record is for the operator; `None` for records without interest outside the book.
pub fn operator_event(book: &BookKey, record: &BookRecord) -> Option<EventBody> {
    let key = book;
    let book = book.clone();
    match record {
        BookRecord::WriterChanged {
            boot,
            instance,
            previous,
            config_changes,
            ..
        } => {
            // A start or restart of the same trader has a notification of its own. The same process again had lost the
            // book.
            let previous = previous.as_ref();
            let is_start = previous.is_none_or(|last| last.instance == *instance && last.boot != *boot);
            (!is_start || !config_changes.is_empty()).then(|| EventBody::BookAcquired {
                book,
                instance: Some(instance.clone()),
                previous: previous.map(|last| last.instance.clone()),
                config_changes: config_changes.clone(),
            })
        }
        BookRecord::BookOpened { .. }
        | BookRecord::CapitalChanged { .. }
        | BookRecord::EntryDecided(_)
        | BookRecord::SignalRejected { .. }
        | BookRecord::FundingPaid { .. }
        | BookRecord::OrderIntended(_)
        | BookRecord::OrderAccepted { .. }
        | BookRecord::OrderFilled { .. }
        | BookRecord::OrderClosedUnfilled { code: None, .. }
        // Another stop, or target, protects the position.
        | BookRecord::OrderClosedUnfilled { code: Some(PLACE_TAKEN), .. }
        // The position that follows is news of its own.
        | BookRecord::EntryAdopted(_)
        | BookRecord::OrderCostsRecorded { .. }
        // The first is imposed after every trade; the second follows the record of its breaker.
        | BookRecord::EntriesLocked {
            lock: EntryLockKind::CooldownPeriod | EntryLockKind::ConsecutiveLosses,
            ..
        } => None,
        BookRecord::EntryDropped {
            reason, rejection, ..
        } => Some(EventBody::EntryDropped {
            book,
            reason: reason.to_string(),
            code: rejection.as_ref().map(|rejection| rejection.code),
            text: rejection.as_ref().map(|rejection| rejection.text.clone()),
        }),
        BookRecord::PositionOpened(position) => position_opened(book, position),
        BookRecord::PositionClosed(trade) => position_closed(book, trade),
        BookRecord::BreakerTripped { breaker, reason, .. } => Some(EventBody::BreakerTripped {
            scope: key.to_string(),
            breaker: breaker.to_string(),
            reason: reason.clone(),
        }),
        BookRecord::BreakerReset { breaker, .. } => Some(EventBody::BreakerReset {
            scope: key.to_string(),
            breaker: breaker.to_string(),
        }),
        BookRecord::EntriesLocked { lock, until, reason } => Some(EventBody::EntriesLocked {
            book,
            lock: lock.to_string(),
            reason: reason.clone(),
            until: *until,
        }),
        BookRecord::OrderOutcomeUnknown { .. } | BookRecord::OrderClosedUnfilled { .. } => {
            order_failed(book, record)
        }
        BookRecord::BookUnhalted { by, reason } => Some(EventBody::BookUnhalted {
            book,
            by: by.clone(),
            reason: reason.clone(),
        }),
        BookRecord::BookHalted { reason } => Some(EventBody::BookHalted {
            book,
            reason: reason.clone(),
        }),
    }
}

fn order_failed(book: BookKey, record: &BookRecord) -> Option<EventBody> {
    match record {
        BookRecord::OrderOutcomeUnknown {
            client_order_id: id,
            error,
            ..
        } => Some(EventBody::OrderOutcomeUnknown {
            book,
            leg: id.leg().to_string(),
            client_order_id: id.to_string(),
            error: error.clone(),
        }),
        BookRecord::OrderClosedUnfilled {
            client_order_id: id,
            code: Some(code),
            reason,
            ..
        } => Some(EventBody::OrderRejected {
            book,
            leg: id.leg().to_string(),
            client_order_id: id.to_string(),
            code: *code,
            reason: reason.clone(),
        }),
        _ => None,
    }
}

fn position_opened(book: BookKey, position: &Position) -> Option<EventBody> {
    Some(EventBody::PositionOpened {
        book,
        strategy: token(position.strategy)?,
        side: position.side,
        quantity: position.quantity.to_decimal(),
        entry_price: position.entry_price.to_decimal(),
        stop_price: position.stop_price.to_decimal(),
        target_price: position.target_price.to_decimal(),
    })
}

fn position_closed(book: BookKey, trade: &Trade) -> Option<EventBody> {
    Some(EventBody::PositionClosed {
        book,
        strategy: token(trade.strategy)?,
        side: trade.side,
        quantity: trade.quantity.to_decimal(),
        entry_price: trade.entry_price.to_decimal(),
        exit_price: trade.exit_price.to_decimal(),
        reason: trade.reason.to_string(),
        pnl: trade.pnl,
        equity: trade.equity,
    })
}

/// The strategy's name as a token. A test checks that every name is one, so this is never `None`.
fn token(strategy: Strategy) -> Option<SubjectToken> {
    strategy.as_str().parse().ok()
}
