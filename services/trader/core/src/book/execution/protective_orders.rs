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
/// Binance's codes of rejections that say nothing about the order, so that an exit would get them too: too many requests,
/// too many orders, outside `recvWindow`, the symbol or the key unknown. A call that the trader holds back has the first.
const TRANSIENT_CODES: [i64; 8] = [-1003, -1015, -1021, -1022, -1121, -2008, -2014, -2015];
/// Failed stop orders after which the position is closed at the market.
const MAX_STOP_ATTEMPTS: usize = 3;
/// Rejected target orders after which none is placed any more; the position then exits by its stop or a breaker.
pub(super) const MAX_TARGET_REJECTIONS: usize = 3;
/// Longest delay between two attempts.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// Longest delay between two attempts to place a stop.
const MAX_STOP_RETRY_DELAY: Duration = Duration::from_secs(3);
/// How long a stop or target that was canceled is not placed again. The exchange's app replaces an order by canceling it
/// and placing another one, which an order of ours would keep out.
pub const REPLACEMENT_PAUSE: Duration = Duration::from_secs(2);

/// The next missing order of an open position, its stop first; `None` if no order is missing or due.
pub(super) fn next_protective_order(
    context: DecisionContext<'_>,
    state: &BookState,
    position: &Position,
    now: UtcMs,
) -> Option<BookRecord> {
    if let Some(last) = newest_order(state, Leg::Exit) {
        let is_filled = last.fill().is_some();
        let is_due = is_filled || now.since(last.order.at) >= retry_delay(&last.order);
        return (last.is_final() && is_due)
            .then(|| exit_order(context, state, position, exit_reason(last), now))?;
    }
    let Position {
        side,
        stop_price: stop,
        target_price: target,
        ..
    } = *position;
    match newest_order(state, Leg::Stop).map(|o| (o, &o.status)) {
        None => return trigger_order(context, state, side, Leg::Stop, stop, now),
        // The stop filled a part of the position and has ended.
        Some((
            _,
            OrderStatus::Filled(_)
            | OrderStatus::ClosedUnfilled {
                code: Some(WOULD_TRIGGER),
                ..
            },
        )) => {
            return exit_order(context, state, position, ExitReason::Stop, now);
        }
        // Another stop protects the position; ours follows once the exchange lists none.
        Some((
            _,
            OrderStatus::ClosedUnfilled {
                code: Some(PLACE_TAKEN),
                ..
            },
        )) => {}
        Some((_, OrderStatus::ClosedUnfilled { .. }))
            if count_failed(state, Leg::Stop) >= MAX_STOP_ATTEMPTS =>
        {
            return exit_order(context, state, position, ExitReason::Unprotected, now);
        }
        Some((last, OrderStatus::ClosedUnfilled { .. }))
            if may_retry(last, MAX_STOP_RETRY_DELAY, now) =>
        {
            return trigger_order(context, state, side, Leg::Stop, stop, now);
        }
        Some(_) => {}
    }
    match newest_order(state, Leg::Target).map(|o| (o, &o.status)) {
        None => trigger_order(context, state, side, Leg::Target, target, now),
        Some((
            _,
            OrderStatus::Filled(_)
            | OrderStatus::ClosedUnfilled {
                code: Some(WOULD_TRIGGER),
                ..
            },
        )) => exit_order(context, state, position, ExitReason::Target, now),
        Some((
            _,
            OrderStatus::ClosedUnfilled {
                code: Some(PLACE_TAKEN),
                ..
            },
        )) => None,
        Some((last, OrderStatus::ClosedUnfilled { .. }))
            if count_failed(state, Leg::Target) < MAX_TARGET_REJECTIONS
                && may_retry(last, MAX_RETRY_DELAY, now) =>
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
        OrderStatus::ClosedUnfilled {
            code: Some(code), ..
        } => code != PLACE_TAKEN && !TRANSIENT_CODES.contains(&code),
        OrderStatus::ClosedUnfilled { code: None, .. }
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
    Duration::from_secs(u64::from(order.attempt)).min(MAX_RETRY_DELAY)
}

/// Whether the next attempt is due after this one, which has ended. `longest` limits the delay.
fn may_retry(last: &TrackedOrder, longest: Duration, now: UtcMs) -> bool {
    let is_pause_over = match last.status {
        OrderStatus::ClosedUnfilled {
            canceled_at: Some(at),
            ..
        } => now.since(at) >= REPLACEMENT_PAUSE,
        _ => true,
    };
    is_pause_over && now.since(last.order.at) >= retry_delay(&last.order).min(longest)
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
            // A rest that is smaller than a step stays to the resting stop, which closes the position whatever its size.
            quantity: context
                .filters
                .exit_quantity(open_quantity(state, position)),
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
    let attempt = match attempts(state, leg).map(|o| o.order.attempt).max() {
        Some(last) if last >= MAX_ATTEMPT => return None,
        Some(last) => last + 1,
        None => 0,
    };
    Some((entry.order.client_order_id.sibling(leg, attempt), attempt))
}

/// The newest attempt for a leg that has not ended, else the newest of all; `None` before the first.
pub(super) fn newest_order(state: &BookState, leg: Leg) -> Option<&TrackedOrder> {
    let mut active = attempts(state, leg).filter(|o| !o.is_final());
    active.next().or_else(|| attempts(state, leg).next())
}

/// The book's own orders for a leg, newest first.
fn attempts(state: &BookState, leg: Leg) -> impl Iterator<Item = &TrackedOrder> {
    let own = state.orders.iter().rev();
    own.filter(move |o| o.order.leg == leg && o.order.reason != Some(ExitReason::External))
}
