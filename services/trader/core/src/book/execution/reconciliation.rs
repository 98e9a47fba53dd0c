//! What is to be asked of the exchange, and how its view differs from the book. Decides nothing.

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::position_close::{is_funding_listed, open_quantity};
use super::protective_orders::{MAX_TARGET_REJECTIONS, count_failed, newest_order};
use crate::book::{BookPhase, BookState};
use crate::fixed_point::Qty;
use crate::orders::{
    ClientOrderId, ExchangeView, InstallationId, Leg, OpenOrder, Order, OrderStatus, TrackedOrder,
};

/// How long an entry may fill before its rest is cancelled, in milliseconds.
const ENTRY_FILL_TIMEOUT_MS: i64 = 2_000;

/// What is to be asked of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReconciliationTask {
    /// What became of this order.
    QueryOrder(Order),
    /// End this order; what became of it is looked up then.
    CancelOrder(Order),
    /// Which funding was paid in this time.
    QueryFunding {
        /// From then on.
        from: UtcMs,
    },
}

/// What is to be asked of the exchange now, in this order. Nothing while all is as it should be.
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
                Some(ReconciliationTask::QueryOrder(order))
            }
            OrderStatus::Accepted if order.leg.is_conditional() && closed => {
                Some(ReconciliationTask::CancelOrder(order))
            }
            // The exit was refused: it may be one of these that has closed the position.
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
    if tasks.is_empty() && closed && is_funding_listed(state, now) {
        tasks.extend(
            funding_unknown_since(state).map(|from| ReconciliationTask::QueryFunding { from }),
        );
    }
    tasks
}

/// From when on funding of the open position is not known.
pub fn funding_unknown_since(state: &BookState) -> Option<UtcMs> {
    match state.phase {
        BookPhase::Open(_) => state.last_funding_at.max(opened_at(state)),
        BookPhase::Unopened
        | BookPhase::Flat
        | BookPhase::EntryPending(_)
        | BookPhase::Halted { .. } => None,
    }
}

/// Orders that rest on the exchange as they should. They are looked up when there is a hint, and now and
/// then.
pub fn resting_orders(state: &BookState) -> impl Iterator<Item = &Order> {
    let resting =
        |o: &&TrackedOrder| o.status == OrderStatus::Accepted && o.order.leg.is_conditional();
    state.orders.iter().filter(resting).map(|o| &o.order)
}

/// Whether an open position's newest stop, exit, or target came to nothing, so that time alone brings the next
/// one.
pub fn is_unprotected(state: &BookState) -> bool {
    let BookPhase::Open(position) = &state.phase else {
        return false;
    };
    let came_to_nothing = |leg| {
        newest_order(state, leg)
            .is_some_and(|o| matches!(o.status, OrderStatus::ClosedUnfilled { .. }))
    };
    let no_target =
        || came_to_nothing(Leg::Target) && count_failed(state, Leg::Target) < MAX_TARGET_REJECTIONS;
    let lacks = || came_to_nothing(Leg::Stop) || came_to_nothing(Leg::Exit) || no_target();
    open_quantity(state, position) > Qty::ZERO && lacks()
}

/// How many guards and exits of the open position came to nothing. Each is a reason to hold the book against
/// the exchange: the position may be gone.
pub fn count_failed_exits(state: &BookState) -> usize {
    let failed = |o: &&TrackedOrder| {
        matches!(o.status, OrderStatus::ClosedUnfilled { .. })
            && matches!(o.order.leg, Leg::Stop | Leg::Exit)
    };
    state.orders.iter().filter(failed).count()
}

/// How the exchange's view of a symbol differs from the book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Orders of ours that the book does not want: to be cancelled.
    pub orphans: Vec<OpenOrder>,
    /// Another installation's id under our prefix.
    pub foreign_installation: Option<InstallationId>,
    /// Orders that are nobody's of ours: left alone.
    pub external_orders: usize,
    /// What the book believes to rest there, and does not: to be looked up.
    pub missing_orders: Vec<Order>,
    /// What the exchange holds beyond what the book does: signed base units. None while an order is on its way
    /// or missing, which says nothing about that.
    pub position_difference: Option<Decimal>,
}

/// Compares the book with what the exchange shows. Changes nothing.
pub fn compare_with_exchange(
    state: &BookState,
    ours: &InstallationId,
    view: &ExchangeView,
) -> Reconciliation {
    let mut reconciliation = Reconciliation::default();
    for open in &view.open_orders {
        match ClientOrderId::installation_in(&open.client_order_id) {
            None => reconciliation.external_orders += 1,
            Some(deployment) if deployment != *ours => {
                reconciliation.foreign_installation = Some(deployment);
            }
            Some(_) if is_wanted(state, &open.client_order_id) => {}
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

/// What the exchange should hold for us; none while an order is on its way.
fn expected_position(state: &BookState) -> Option<Decimal> {
    let on_its_way = |o: &TrackedOrder| match o.status {
        OrderStatus::Intended | OrderStatus::OutcomeUnknown { .. } => true,
        OrderStatus::Accepted => !o.order.leg.is_conditional(),
        OrderStatus::Filled(_) | OrderStatus::ClosedUnfilled { .. } => false,
    };
    if state.orders.iter().any(on_its_way) {
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

/// When the entry's last trade was.
fn opened_at(state: &BookState) -> Option<UtcMs> {
    let entry = state.orders.iter().find(|o| o.order.leg == Leg::Entry)?;
    entry.fill().map(|fill| fill.at)
}
