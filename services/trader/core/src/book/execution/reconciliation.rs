//! Reconciliation with the exchange: what to query, and how the exchange's view differs from the book. Decides
//! nothing.

use std::time::Duration;

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::position_close::{is_funding_listed, is_overclosed, open_quantity};
use super::protective_orders::{MAX_TARGET_REJECTIONS, count_failed, newest_order};
use crate::book::{BookPhase, BookState};
use crate::fixed_point::{Price, Qty};
use crate::orders::{
    ClientOrderId, ExchangeView, Fill, InstallationId, Leg, OpenOrder, Order, OrderStatus,
    PLACE_TAKEN, TrackedOrder, WorkingStop,
};

/// How long after its decision an entry that was believed lost may still appear on the exchange.
pub const MAX_LATENESS: Duration = Duration::from_hours(1);
/// Time in milliseconds after which the rest of an unfilled entry is canceled.
const ENTRY_FILL_TIMEOUT_MS: i64 = 2_000;

/// A query or cancellation to run against the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReconciliationTask {
    /// Query the status of an order.
    QueryOrder(Order),
    /// Cancel an order; its status is queried afterwards.
    CancelOrder(Order),
    /// Query the costs of an order that has filled.
    QueryCosts(Order, Fill),
    /// Query the account's trades since the entry: the orders of the book closed more than it had opened.
    QueryTrades,
    /// Query the account's trades since the entry, then the funding payments since a time: the position is closed.
    QueryFunding {
        /// Start of the query, exclusive.
        from: UtcMs,
    },
}

/// The tasks that are due now, in this order. Empty if nothing is open or unknown.
pub fn reconciliation_tasks(state: &BookState, now: UtcMs) -> Vec<ReconciliationTask> {
    let closed = match &state.phase {
        BookPhase::Open(position) => open_quantity(state, position) == Qty::ZERO,
        BookPhase::EntryPending(_) => false,
        BookPhase::Unopened | BookPhase::Flat | BookPhase::Halted { .. } => return Vec::new(),
    };
    let has_failed_exit = newest_order(state, Leg::Exit)
        .is_some_and(|o| matches!(o.status, OrderStatus::ClosedUnfilled { .. }));
    let of_order = |o: &TrackedOrder| {
        let order = o.order.clone();
        match &o.status {
            OrderStatus::OutcomeUnknown { .. } => Some(ReconciliationTask::QueryOrder(order)),
            OrderStatus::Filled(fill) if fill.costs.is_none() => {
                Some(ReconciliationTask::QueryCosts(order, *fill))
            }
            OrderStatus::Accepted if order.leg.is_conditional() && closed => {
                Some(ReconciliationTask::CancelOrder(order))
            }
            // The exit was rejected: a stop or target may have closed the position.
            OrderStatus::Accepted if order.leg.is_conditional() && has_failed_exit => {
                Some(ReconciliationTask::QueryOrder(order))
            }
            OrderStatus::Accepted
                if order.leg == Leg::Entry && now.0 - order.at.0 > ENTRY_FILL_TIMEOUT_MS =>
            {
                Some(ReconciliationTask::CancelOrder(order))
            }
            OrderStatus::Accepted if !order.leg.is_conditional() => {
                Some(ReconciliationTask::QueryOrder(order))
            }
            OrderStatus::Accepted
            | OrderStatus::Intended
            | OrderStatus::Filled(_)
            | OrderStatus::ClosedUnfilled { .. } => None,
        }
    };
    let mut tasks: Vec<ReconciliationTask> = state.orders.iter().filter_map(of_order).collect();
    if is_overclosed(state) {
        tasks.push(ReconciliationTask::QueryTrades);
    }
    if tasks.is_empty() && closed && is_funding_listed(state, now) {
        tasks.extend(
            funding_unknown_since(state).map(|from| ReconciliationTask::QueryFunding { from }),
        );
    }
    tasks
}

/// Time since which funding of the open position is unknown; `None` without an open position.
pub fn funding_unknown_since(state: &BookState) -> Option<UtcMs> {
    match state.phase {
        BookPhase::Open(_) => state.last_funding_at.max(opened_at(state)),
        BookPhase::Unopened
        | BookPhase::Flat
        | BookPhase::EntryPending(_)
        | BookPhase::Halted { .. } => None,
    }
}

/// Accepted stop and target orders. They are queried after a hint of the user stream, and periodically.
pub fn resting_orders(state: &BookState) -> impl Iterator<Item = &Order> {
    let resting =
        |o: &&TrackedOrder| o.status == OrderStatus::Accepted && o.order.leg.is_conditional();
    state.orders.iter().filter(resting).map(|o| &o.order)
}

impl ReconciliationTask {
    /// Whether the task only reads what a fill cost: nothing that protects a position depends on it.
    pub const fn is_accounting(&self) -> bool {
        match self {
            Self::QueryCosts(..) | Self::QueryTrades | Self::QueryFunding { .. } => true,
            Self::QueryOrder(_) | Self::CancelOrder(_) => false,
        }
    }
}

/// The stop that the exchange must have while the book has, or may have, a position: its side and its price. `None` for a
/// book that cannot have one.
pub fn required_stop(state: &BookState, now: UtcMs) -> Option<(PositionSide, Price)> {
    match &state.phase {
        BookPhase::Open(position)
        | BookPhase::Halted {
            position: Some(position),
            ..
        } => Some((position.side, position.stop_price)),
        BookPhase::EntryPending(entry)
        | BookPhase::Halted {
            entry: Some(entry), ..
        } => Some((entry.side, entry.stop_price)),
        BookPhase::Unopened | BookPhase::Flat | BookPhase::Halted { .. } => {
            let lost = state.lost_entries.iter().rev();
            let mut recent = lost.filter(|lost| now.since(lost.order.at) <= MAX_LATENESS);
            recent
                .next()
                .map(|lost| (lost.entry.side, lost.entry.stop_price))
        }
    }
}

/// Whether the newest stop, exit or target of an open position has failed, so that the next attempt only waits for time.
/// A stop whose place another stop has is no failure.
pub fn is_unprotected(state: &BookState) -> bool {
    let BookPhase::Open(position) = &state.phase else {
        return false;
    };
    let has_failed = |leg| {
        newest_order(state, leg).is_some_and(|o| match o.status {
            OrderStatus::ClosedUnfilled { code, .. } => code != Some(PLACE_TAKEN),
            _ => false,
        })
    };
    let no_target =
        || has_failed(Leg::Target) && count_failed(state, Leg::Target) < MAX_TARGET_REJECTIONS;
    let is_missing = || has_failed(Leg::Stop) || has_failed(Leg::Exit) || no_target();
    open_quantity(state, position) > Qty::ZERO && is_missing()
}

/// Whether the book's stop was canceled and none has its place yet: the operator may be replacing it.
pub fn is_stop_canceled(state: &BookState) -> bool {
    let stop = newest_order(state, Leg::Stop);
    matches!(state.phase, BookPhase::Open(_)) && stop.is_some_and(|o| o.canceled_at().is_some())
}

/// Number of failed stop and exit orders of the open position. Each is a reason for a reconciliation: the position may
/// have been closed on the exchange.
pub fn count_failed_exits(state: &BookState) -> usize {
    let failed = |o: &&TrackedOrder| {
        matches!(o.status, OrderStatus::ClosedUnfilled { .. })
            && matches!(o.order.leg, Leg::Stop | Leg::Exit)
    };
    state.orders.iter().filter(failed).count()
}

/// Differences between the exchange's view of a symbol and the book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Orders of this installation that the book does not need: they are canceled.
    pub orphans: Vec<OpenOrder>,
    /// Id of another installation that trades this symbol; `None` if there is none.
    pub foreign_installation: Option<InstallationId>,
    /// Number of external orders; they are ignored.
    pub external_orders: usize,
    /// Orders that should rest on the exchange and do not: they are queried.
    pub missing_orders: Vec<Order>,
    /// Stops and targets that the book believed lost and that rest on the exchange: they are queried.
    pub found_orders: Vec<Order>,
    /// Position on the exchange minus the book's, in signed base units. `None` while an order is in flight or missing.
    pub position_difference: Option<Decimal>,
    /// Whether working stops of any client close the exchange's position, without those that the book knows as canceled.
    /// True without a position.
    pub is_protected: bool,
}

/// Compares the book with the exchange's view. Changes nothing.
pub fn compare_with_exchange(
    state: &BookState,
    ours: &InstallationId,
    view: &ExchangeView,
    now: UtcMs,
) -> Reconciliation {
    let mut reconciliation = Reconciliation {
        is_protected: is_protected(state, view),
        ..Reconciliation::default()
    };
    for open in &view.open_orders {
        match ClientOrderId::installation_in(&open.client_order_id) {
            None => reconciliation.external_orders += 1,
            Some(other) if other != *ours => {
                reconciliation.foreign_installation = Some(other);
            }
            Some(_) if is_wanted(state, &open.client_order_id) => {}
            Some(_) if let Some(order) = lost_order(state, &open.client_order_id) => {
                reconciliation.found_orders.push(order.clone());
            }
            Some(_) if is_only_stop(state, view, open, now) => {}
            Some(_) => reconciliation.orphans.push(open.clone()),
        }
    }
    let is_open = |order: &&Order| {
        view.open_orders
            .iter()
            .any(|o| o.client_order_id == order.client_order_id.as_str())
    };
    let missing = resting_orders(state).filter(|order| !is_open(order));
    reconciliation.missing_orders = missing.cloned().collect();
    if reconciliation.missing_orders.is_empty()
        && let Some(expected) = expected_position(state)
    {
        reconciliation.position_difference = Some(view.position - expected);
    }
    reconciliation
}

fn is_wanted(state: &BookState, client_id: &str) -> bool {
    let known = state.order(&ClientOrderId::from_exchange(client_id));
    known.is_some_and(|o| !o.is_final())
}

/// The stop or target with this id that the book believed lost and still needs; `None` for any other order.
fn lost_order<'a>(state: &'a BookState, client_id: &str) -> Option<&'a Order> {
    let lost = state.order(&ClientOrderId::from_exchange(client_id))?;
    let BookPhase::Open(position) = &state.phase else {
        return None;
    };
    let leg = lost.order.leg;
    let is_needed = leg.is_conditional()
        && open_quantity(state, position) > Qty::ZERO
        && newest_order(state, leg).is_none_or(TrackedOrder::is_final);
    (lost.is_lost() && is_needed).then_some(&lost.order)
}

/// As [`ExchangeView::is_protected`], without stops that were canceled: a list may be old.
fn is_protected(state: &BookState, view: &ExchangeView) -> bool {
    let is_canceled = |open: &&OpenOrder| {
        let known = state.order(&ClientOrderId::from_exchange(&open.client_order_id));
        known.is_some_and(|o| o.canceled_at().is_some())
    };
    let working = view.open_orders.iter().filter(|open| !is_canceled(open));
    WorkingStop::protect(working.filter_map(|open| open.stop), view.position)
}

/// Whether a stop that the book does not know protects a position of the book that has no other: the protection check
/// placed it, or an attempt that was believed lost.
fn is_only_stop(state: &BookState, view: &ExchangeView, open: &OpenOrder, now: UtcMs) -> bool {
    let has_own =
        newest_order(state, Leg::Stop).is_some_and(|own| own.status == OrderStatus::Accepted);
    let protects = WorkingStop::protect(open.stop.into_iter(), view.position);
    !view.position.is_zero() && protects && !has_own && required_stop(state, now).is_some()
}

/// The position that the exchange should have, in signed base units; `None` while an order is in flight.
fn expected_position(state: &BookState) -> Option<Decimal> {
    let is_in_flight = |o: &TrackedOrder| match o.status {
        OrderStatus::Intended | OrderStatus::OutcomeUnknown { .. } => true,
        OrderStatus::Accepted => !o.order.leg.is_conditional(),
        OrderStatus::Filled(_) | OrderStatus::ClosedUnfilled { .. } => false,
    };
    if state.orders.iter().any(is_in_flight) {
        return None;
    }
    match &state.phase {
        BookPhase::Open(position) => Some(signed_quantity(
            position.side,
            open_quantity(state, position),
        )),
        BookPhase::Halted { .. } | BookPhase::EntryPending(_) => None,
        BookPhase::Unopened | BookPhase::Flat => Some(Decimal::ZERO),
    }
}

fn signed_quantity(side: PositionSide, quantity: Qty) -> Decimal {
    match side {
        PositionSide::Long => quantity.to_decimal(),
        PositionSide::Short => -quantity.to_decimal(),
    }
}

/// Time of the entry's last trade; `None` before its fill.
fn opened_at(state: &BookState) -> Option<UtcMs> {
    let entry = state.orders.iter().find(|o| o.order.leg == Leg::Entry)?;
    entry.fill().map(|fill| fill.at)
}
