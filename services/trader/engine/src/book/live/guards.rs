//! What an open position lacks: stop, target, or an exit, and the order that it is asked for with.

use protocol::event::Side;
use protocol::time::UtcMs;

use super::closing::{left, reason};
use crate::book::decide::Desk;
use crate::book::{BookRecord, BookState, ExitReason, Position};
use crate::fixed::{Price, Qty};
use crate::orders::{ClientId, Fate, Kind, LAST_ATTEMPT, Leg, Order, Tracked, Way};

/// Binance's code for a trigger that is reached already.
const WOULD_TRIGGER: i64 = -2021;
/// Its codes for what passes: too many requests, too many orders, too late. What is not even sent because of the
/// first has it too.
const PASSING: [i64; 3] = [-1003, -1015, -1021];
/// Stops that are tried before the position is closed.
const STOPS: usize = 3;
/// Targets that the exchange refuses before no more is asked for; without one the position is left by its stop
/// or by a breaker.
pub(super) const TARGETS: usize = 3;
/// Longest pause between two exits, in seconds.
const LONGEST_PAUSE: i64 = 30;

/// What an open position lacks: its stop first.
pub(super) fn guard(
    desk: Desk<'_>,
    state: &BookState,
    position: &Position,
    now: UtcMs,
) -> Option<BookRecord> {
    if let Some(last) = newest(state, Leg::Exit) {
        let over = last.is_over() && now.since(last.order.at) >= pause_after(&last.order);
        return over.then(|| exit(desk, state, position, reason(last), now))?;
    }
    let Position {
        side, stop, target, ..
    } = *position;
    match newest(state, Leg::Stop).map(|o| (&o.order, &o.fate)) {
        None => return trigger(desk, state, side, Leg::Stop, stop, now),
        // It filled a part of the position, and is no more.
        Some((_, Fate::Done(_))) => return exit(desk, state, position, ExitReason::Stop, now),
        Some((
            _,
            Fate::Gone {
                code: Some(WOULD_TRIGGER),
            },
        )) => {
            return exit(desk, state, position, ExitReason::Stop, now);
        }
        Some((_, Fate::Gone { .. })) if refused(state, Leg::Stop) >= STOPS => {
            return exit(desk, state, position, ExitReason::Unprotected, now);
        }
        Some((order, Fate::Gone { .. })) if now.since(order.at) >= pause_after(order) => {
            return trigger(desk, state, side, Leg::Stop, stop, now);
        }
        Some(_) => {}
    }
    match newest(state, Leg::Target).map(|o| (&o.order, &o.fate)) {
        None => trigger(desk, state, side, Leg::Target, target, now),
        Some((
            _,
            Fate::Done(_)
            | Fate::Gone {
                code: Some(WOULD_TRIGGER),
            },
        )) => exit(desk, state, position, ExitReason::Target, now),
        Some((order, Fate::Gone { .. }))
            if refused(state, Leg::Target) < TARGETS
                && now.since(order.at) >= pause_after(order) =>
        {
            trigger(desk, state, side, Leg::Target, target, now)
        }
        Some(_) => None,
    }
}

/// How many of a position's stops or targets came to nothing. What passes does not count: an exit would meet it
/// too. Nor does a target that nobody refused: it can wait until the exchange takes it.
pub(super) fn refused(state: &BookState, leg: Leg) -> usize {
    let counts = |o: &&Tracked| match o.fate {
        Fate::Gone { code: Some(code) } => !PASSING.contains(&code),
        Fate::Gone { code: None } => leg == Leg::Stop,
        Fate::Intended | Fate::Unclear { .. } | Fate::Working | Fate::Done(_) => false,
    };
    let of_leg = state.orders.iter().filter(|o| o.order.leg == leg);
    of_leg.filter(counts).count()
}

/// How long after an attempt the next one may be made.
fn pause_after(order: &Order) -> std::time::Duration {
    let seconds = i64::from(order.attempt).min(LONGEST_PAUSE);
    std::time::Duration::from_secs(seconds.unsigned_abs())
}

pub(super) fn trigger(
    desk: Desk<'_>,
    state: &BookState,
    side: Side,
    leg: Leg,
    price: Price,
    now: UtcMs,
) -> Option<BookRecord> {
    let (id, attempt) = next_id(state, leg)?;
    Some(BookRecord::OrderIntended(Order {
        kind: Kind::Trigger { price },
        ..ask(desk, side, id, leg, attempt, now)
    }))
}

pub(super) fn exit(
    desk: Desk<'_>,
    state: &BookState,
    position: &Position,
    why: ExitReason,
    now: UtcMs,
) -> Option<BookRecord> {
    let (id, attempt) = next_id(state, Leg::Exit)?;
    Some(BookRecord::OrderIntended(Order {
        kind: Kind::Market {
            quantity: left(state, position),
        },
        why: Some(why),
        ..ask(desk, position.side, id, Leg::Exit, attempt, now)
    }))
}

pub(super) fn ask(
    desk: Desk<'_>,
    side: Side,
    id: ClientId,
    leg: Leg,
    attempt: u32,
    at: UtcMs,
) -> Order {
    Order {
        id,
        leg,
        attempt,
        way: Way::of(side, leg),
        kind: Kind::Market {
            quantity: Qty::ZERO,
        },
        at,
        window_ms: desk.config.live.as_ref().map_or(0, |terms| terms.window_ms),
        why: None,
    }
}

/// The id of the next attempt; none after the last one there can be.
fn next_id(state: &BookState, leg: Leg) -> Option<(ClientId, u32)> {
    let entry = state.orders.first()?;
    let attempt = match newest(state, leg) {
        Some(last) if last.order.attempt >= LAST_ATTEMPT => return None,
        Some(last) => last.order.attempt + 1,
        None => 0,
    };
    Some((entry.order.id.sibling(leg, attempt), attempt))
}

pub(super) fn newest(state: &BookState, leg: Leg) -> Option<&Tracked> {
    let of_leg = |o: &&Tracked| o.order.leg == leg && o.order.why != Some(ExitReason::Elsewhere);
    state.orders.iter().rev().find(of_leg)
}
