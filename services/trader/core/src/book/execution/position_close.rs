//! The close of a live position: its open quantity, and the trade once it is complete.

use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::{BookPhase, BookRecord, BookState, ExitReason, Position, Trade};
use crate::fixed_point::{Price, Qty};
use crate::orders::{Fill, FillCosts, Leg, OrderStatus, TrackedOrder};

/// Funding is paid at a full hour, on the position open at that time.
const HOUR_MS: i64 = 3_600_000;
/// Time after the full hour in which a payment may still be missing from the exchange's list, in milliseconds.
const FUNDING_LISTED_AFTER_MS: i64 = 60_000;

/// Fills that reduced the position, with their orders.
pub(super) fn exit_fills(state: &BookState) -> impl Iterator<Item = (&TrackedOrder, &Fill)> {
    let leaving = state.orders.iter().filter(|o| o.order.leg != Leg::Entry);
    leaving.filter_map(|o| o.fill().map(|fill| (o, fill)))
}

/// The quantity that is still open.
pub(super) fn open_quantity(state: &BookState, position: &Position) -> Qty {
    Qty::from_units((position.quantity.units() - closed_units(state)).max(0))
}

/// Whether the exits closed more than the book had opened: the operator added to the position, which is not booked yet.
pub(super) fn is_overclosed(state: &BookState) -> bool {
    let BookPhase::Open(position) = &state.phase else {
        return false;
    };
    closed_units(state) > position.quantity.units()
}

fn closed_units(state: &BookState) -> i64 {
    let fills = exit_fills(state).map(|(_, fill)| fill.quantity.units());
    fills.fold(0, i64::saturating_add)
}

pub(super) fn exit_reason(tracked: &TrackedOrder) -> ExitReason {
    match tracked.order.leg {
        Leg::Target => ExitReason::Target,
        Leg::Exit => tracked.order.reason.unwrap_or(ExitReason::External),
        Leg::Stop | Leg::Entry => ExitReason::Stop,
    }
}

/// The trade; `None` until the position is closed, every order has ended and every cost is known, and while the exits
/// closed more than is booked.
pub(super) fn closed_trade(state: &BookState) -> Option<BookRecord> {
    let BookPhase::Open(position) = &state.phase else {
        return None;
    };
    if !is_fully_accounted(state, position) {
        return None;
    }
    let costs: Vec<FillCosts> = exit_fills(state)
        .filter_map(|(_, fill)| fill.costs)
        .collect();
    let fee: Decimal = costs.iter().map(|c| c.fee).sum();
    let realized_pnl: Decimal = costs.iter().map(|c| c.realized_pnl).sum();
    let pnl = (realized_pnl - position.fee - fee - position.funding).normalize();
    let (first, _) = exit_fills(state).next()?;
    let last = exit_fills(state).map(|(_, fill)| fill.at).max()?;
    let base = state.config.as_ref()?.base;
    Some(BookRecord::PositionClosed(Trade {
        at: base.open_of(last),
        strategy: position.strategy,
        side: position.side,
        quantity: position.quantity,
        entry_price: position.entry_price,
        exit_price: mean_exit_price(state, position.quantity)?,
        fee: fee.normalize(),
        reason: exit_reason(first),
        funding: position.funding,
        pnl,
        equity: state.equity.saturating_add(pnl).normalize(),
    }))
}

fn is_fully_accounted(state: &BookState, position: &Position) -> bool {
    let known = |o: &TrackedOrder| match &o.status {
        OrderStatus::Filled(fill) => fill.costs.is_some(),
        OrderStatus::ClosedUnfilled { .. } => true,
        OrderStatus::Intended | OrderStatus::OutcomeUnknown { .. } | OrderStatus::Accepted => false,
    };
    closed_units(state) == position.quantity.units() && state.orders.iter().all(known)
}

/// Mean price of all exits, rounded to 1e-8.
fn mean_exit_price(state: &BookState, quantity: Qty) -> Option<Price> {
    let value = |fill: &Fill| fill.price.to_decimal() * fill.quantity.to_decimal();
    let value: Decimal = exit_fills(state).map(|(_, fill)| value(fill)).sum();
    let mean = value.checked_div(quantity.to_decimal())?;
    Price::from_decimal(mean.round_dp(crate::fixed_point::SCALE)).ok()
}

/// Whether funding paid before the last exit must be in the exchange's list by now.
pub(super) fn is_funding_listed(state: &BookState, now: UtcMs) -> bool {
    let last = exit_fills(state).map(|(_, fill)| fill.at.0).max();
    last.is_none_or(|last| {
        let behind = last.rem_euclid(HOUR_MS);
        behind >= FUNDING_LISTED_AFTER_MS || now.0 >= last - behind + FUNDING_LISTED_AFTER_MS
    })
}
