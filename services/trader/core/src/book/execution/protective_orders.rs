//! Protective orders: which stop, target or exit an open position lacks, and the order to submit.

use std::time::Duration;

use protocol::event::PositionSide;
use protocol::time::UtcMs;

use super::position_close::{exit_reason, open_quantity};
use crate::book::context::DecisionContext;
use crate::book::{BookRecord, BookState, ExitReason, Position};
use crate::fixed_point::{Price, Qty};
use crate::orders::{
    ClientOrderId, Leg, MAX_ATTEMPT, Order, OrderSide, OrderStatus, OrderType, PLACE_TAKEN,
    TrackedOrder,
};

/// Binance's code for a trigger price that is already reached.
const WOULD_TRIGGER: i64 = -2021;
/// Binance's codes of transient rejections: too many requests, too many orders, outside `recvWindow`. A call that the trader
/// holds back because of the first has the same code.
const TRANSIENT_CODES: [i64; 3] = [-1003, -1015, -1021];
/// Failed stop orders after which the position is closed at the market.
const MAX_STOP_ATTEMPTS: usize = 3;
/// Rejected target orders after which none is placed any more; the position then exits by its stop or a breaker.
pub(super) const MAX_TARGET_REJECTIONS: usize = 3;
/// Longest delay between two attempts, in seconds.
const MAX_RETRY_DELAY_S: i64 = 30;
/// Longest delay between two attempts to place a stop.
const MAX_STOP_RETRY_DELAY: Duration = Duration::from_secs(5);

/// The next missing order of an open position, its stop first; `None` if no order is missing or due.
pub(super) fn next_protective_order(
    context: DecisionContext<'_>,
    state: &BookState,
    position: &Position,
    now: UtcMs,
) -> Option<BookRecord> {
    if let Some(last) = newest_order(state, Leg::Exit) {
        let may_retry = last.is_final() && now.since(last.order.at) >= retry_delay(&last.order);
        return may_retry.then(|| exit_order(context, state, position, exit_reason(last), now))?;
    }
    let Position {
        side,
        stop_price: stop,
        target_price: target,
        ..
    } = *position;
    match newest_order(state, Leg::Stop).map(|o| (&o.order, &o.status)) {
        None => return trigger_order(context, state, side, Leg::Stop, stop, now),
        // The stop filled a part of the position and has ended.
        Some((
            _,
            OrderStatus::Filled(_)
            | OrderStatus::ClosedUnfilled {
                code: Some(WOULD_TRIGGER),
            },
        )) => {
            return exit_order(context, state, position, ExitReason::Stop, now);
        }
        // Another stop protects the position; ours follows once the exchange lists none.
        Some((
            _,
            OrderStatus::ClosedUnfilled {
                code: Some(PLACE_TAKEN),
            },
        )) => {}
        Some((_, OrderStatus::ClosedUnfilled { .. }))
            if count_failed(state, Leg::Stop) >= MAX_STOP_ATTEMPTS =>
        {
            return exit_order(context, state, position, ExitReason::Unprotected, now);
        }
        Some((order, OrderStatus::ClosedUnfilled { .. }))
            if now.since(order.at) >= retry_delay(order).min(MAX_STOP_RETRY_DELAY) =>
        {
            return trigger_order(context, state, side, Leg::Stop, stop, now);
        }
        Some(_) => {}
    }
    match newest_order(state, Leg::Target).map(|o| (&o.order, &o.status)) {
        None => trigger_order(context, state, side, Leg::Target, target, now),
        Some((
            _,
            OrderStatus::Filled(_)
            | OrderStatus::ClosedUnfilled {
                code: Some(WOULD_TRIGGER),
            },
        )) => exit_order(context, state, position, ExitReason::Target, now),
        Some((
            _,
            OrderStatus::ClosedUnfilled {
                code: Some(PLACE_TAKEN),
            },
        )) => None,
        Some((order, OrderStatus::ClosedUnfilled { .. }))
            if count_failed(state, Leg::Target) < MAX_TARGET_REJECTIONS
                && now.since(order.at) >= retry_delay(order) =>
        {
            trigger_order(context, state, side, Leg::Target, target, now)
        }
        Some(_) => None,
    }
}

/// Number of stop or target orders of a position that the exchange rejected. Transient rejections do not count: an exit
/// would get them too. Nor does an order that ended without a rejection: the operator may have canceled it.
pub(super) fn count_failed(state: &BookState, leg: Leg) -> usize {
    let counts = |o: &&TrackedOrder| match o.status {
        OrderStatus::ClosedUnfilled { code: Some(code) } => {
            code != PLACE_TAKEN && !TRANSIENT_CODES.contains(&code)
        }
        OrderStatus::ClosedUnfilled { code: None }
        | OrderStatus::Intended
        | OrderStatus::OutcomeUnknown { .. }
        | OrderStatus::Accepted
        | OrderStatus::Filled(_) => false,
    };
    let of_leg = state.orders.iter().filter(|o| o.order.leg == leg);
    of_leg.filter(counts).count()
}

/// Delay after an attempt before the next one.
fn retry_delay(order: &Order) -> Duration {
    let seconds = i64::from(order.attempt).min(MAX_RETRY_DELAY_S);
    Duration::from_secs(seconds.unsigned_abs())
}

pub(super) fn trigger_order(
    context: DecisionContext<'_>,
    state: &BookState,
    side: PositionSide,
    leg: Leg,
    price: Price,
    now: UtcMs,
) -> Option<BookRecord> {
    let (id, attempt) = next_client_order_id(state, leg)?;
    let price = on_tick(context.filters.tick, side, price);
    Some(BookRecord::OrderIntended(Order {
        order_type: OrderType::Trigger { price },
        ..order_draft(context, side, id, leg, attempt, now)
    }))
}

/// The price on the newest grid, rounded as at the entry: the stop away from the position's price, the target towards it.
fn on_tick(tick: Price, side: PositionSide, price: Price) -> Price {
    match side {
        PositionSide::Long => price.floor_to(tick),
        PositionSide::Short => price.ceil_to(tick),
    }
}

/// The quantity on the newest grid. A rest that is smaller than a step stays to the resting stop, which closes the
/// position whatever its size.
fn on_lot(lot: Qty, quantity: Qty) -> Qty {
    let rounded = quantity.floor_to(lot);
    if rounded > Qty::ZERO {
        rounded
    } else {
        quantity
    }
}

pub(super) fn exit_order(
    context: DecisionContext<'_>,
    state: &BookState,
    position: &Position,
    reason: ExitReason,
    now: UtcMs,
) -> Option<BookRecord> {
    let (id, attempt) = next_client_order_id(state, Leg::Exit)?;
    Some(BookRecord::OrderIntended(Order {
        order_type: OrderType::Market {
            quantity: on_lot(context.filters.lot, open_quantity(state, position)),
        },
        reason: Some(reason),
        ..order_draft(context, position.side, id, Leg::Exit, attempt, now)
    }))
}

pub(super) fn order_draft(
    context: DecisionContext<'_>,
    side: PositionSide,
    id: ClientOrderId,
    leg: Leg,
    attempt: u32,
    at: UtcMs,
) -> Order {
    Order {
        client_order_id: id,
        leg,
        attempt,
        side: OrderSide::for_leg(side, leg),
        order_type: OrderType::Market {
            quantity: Qty::ZERO,
        },
        at,
        recv_window_ms: context
            .config
            .live
            .as_ref()
            .map_or(0, |live| live.recv_window_ms),
        reason: None,
    }
}

/// Id and number of the next attempt; `None` after [`MAX_ATTEMPT`].
fn next_client_order_id(state: &BookState, leg: Leg) -> Option<(ClientOrderId, u32)> {
    let entry = state.orders.first()?;
    let attempt = match newest_order(state, leg) {
        Some(last) if last.order.attempt >= MAX_ATTEMPT => return None,
        Some(last) => last.order.attempt + 1,
        None => 0,
    };
    Some((entry.order.client_order_id.sibling(leg, attempt), attempt))
}

pub(super) fn newest_order(state: &BookState, leg: Leg) -> Option<&TrackedOrder> {
    let of_leg =
        |o: &&TrackedOrder| o.order.leg == leg && o.order.reason != Some(ExitReason::External);
    state.orders.iter().rev().find(of_leg)
}
