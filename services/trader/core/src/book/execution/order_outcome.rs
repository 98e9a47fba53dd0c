//! The outcome of a call about one order: what it changes, by the order's status. The table is in
//! [`orders`](crate::orders).

use protocol::time::UtcMs;

use crate::book::{BookRecord, BookState};
use crate::orders::{ClientOrderId, ExecutionReport, OrderCallOutcome, OrderStatus};

/// The records that follow from the outcome of a call about an order.
pub(super) fn order_call_finished(
    state: &BookState,
    id: &ClientOrderId,
    outcome: OrderCallOutcome,
    now: UtcMs,
) -> Vec<BookRecord> {
    let Some(tracked) = state.order(id) else {
        return Vec::new();
    };
    let record = match (&tracked.status, outcome) {
        // It was believed lost, and waits on the exchange.
        (
            OrderStatus::ClosedUnfilled { .. },
            OrderCallOutcome::Reported(ExecutionReport {
                is_open: true,
                fill: None,
                ..
            }),
        ) if tracked.is_lost() && tracked.order.leg.is_conditional() => {
            Some(BookRecord::OrderAccepted {
                client_order_id: id.clone(),
            })
        }
        (OrderStatus::Filled(_) | OrderStatus::ClosedUnfilled { .. }, _) => None,
        (_, OrderCallOutcome::Reported(report)) => {
            record_of_report(id, &tracked.status, report, now)
        }
        (OrderStatus::Intended, OrderCallOutcome::Rejected { code, reason }) => {
            Some(closed_unfilled(id, Some(code), reason))
        }
        (OrderStatus::Intended, OrderCallOutcome::Unknown { error }) => {
            Some(outcome_unknown(id, now, error))
        }
        (OrderStatus::Intended | OrderStatus::Accepted, OrderCallOutcome::NotFound) => Some(
            outcome_unknown(id, now, "unknown to the exchange".to_owned()),
        ),
        (OrderStatus::OutcomeUnknown { .. }, OrderCallOutcome::NotFound)
            if tracked.order.is_expired(now) =>
        {
            Some(closed_unfilled(
                id,
                None,
                "the order never reached the exchange".to_owned(),
            ))
        }
        // A query without an answer changes nothing.
        (OrderStatus::OutcomeUnknown { .. } | OrderStatus::Accepted, _) => None,
    };
    record.into_iter().collect()
}

fn record_of_report(
    id: &ClientOrderId,
    status: &OrderStatus,
    report: ExecutionReport,
    now: UtcMs,
) -> Option<BookRecord> {
    let id = id.clone();
    match report {
        ExecutionReport { is_open: true, .. } if *status == OrderStatus::Accepted => None,
        ExecutionReport { is_open: true, .. } => Some(BookRecord::OrderAccepted {
            client_order_id: id,
        }),
        ExecutionReport {
            fill: Some(fill), ..
        } => Some(BookRecord::OrderFilled {
            client_order_id: id,
            fill,
        }),
        ExecutionReport {
            is_canceled: true, ..
        } => Some(BookRecord::OrderClosedUnfilled {
            client_order_id: id,
            code: None,
            canceled_at: Some(now),
            reason: "the order was canceled".to_owned(),
        }),
        ExecutionReport { fill: None, .. } => Some(closed_unfilled(
            &id,
            None,
            "the order ended without a fill".to_owned(),
        )),
    }
}

/// The record of an order that ended without a fill, and was not canceled.
pub(super) fn closed_unfilled(id: &ClientOrderId, code: Option<i64>, reason: String) -> BookRecord {
    let id = id.clone();
    BookRecord::OrderClosedUnfilled {
        client_order_id: id,
        code,
        canceled_at: None,
        reason,
    }
}

fn outcome_unknown(id: &ClientOrderId, at: UtcMs, error: String) -> BookRecord {
    let id = id.clone();
    BookRecord::OrderOutcomeUnknown {
        client_order_id: id,
        at,
        error,
    }
}
