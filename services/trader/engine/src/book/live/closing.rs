//! The end of a position: what of it is still open, and the trade once nothing of it can change.

use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::{BookRecord, BookState, ExitReason, Phase, Position, Trade};
use crate::fixed::{Price, Qty};
use crate::orders::{Costs, Fate, Fill, Leg, Tracked};

/// Funding is paid at a full hour, on whatever is held then.
const HOUR_MS: i64 = 3_600_000;
/// So long after it a payment may still be missing in the exchange's list.
const LISTED_MS: i64 = 60_000;

/// Fills that made the position smaller.
pub(super) fn exits(state: &BookState) -> impl Iterator<Item = (&Tracked, &Fill)> {
    let leaving = state.orders.iter().filter(|o| o.order.leg != Leg::Entry);
    leaving.filter_map(|o| o.fill().map(|fill| (o, fill)))
}

/// What of the position is still open.
pub(super) fn left(state: &BookState, position: &Position) -> Qty {
    let closed: i64 = exits(state).map(|(_, fill)| fill.quantity.units()).sum();
    Qty::from_units((position.quantity.units() - closed).max(0))
}

pub(super) fn reason(tracked: &Tracked) -> ExitReason {
    match tracked.order.leg {
        Leg::Target => ExitReason::Target,
        Leg::Exit => tracked.order.why.unwrap_or(ExitReason::Elsewhere),
        Leg::Stop | Leg::Entry => ExitReason::Stop,
    }
}

/// The trade, once nothing of it can change: all is closed, every order is over, every cost is known.
pub(super) fn closed(state: &BookState) -> Option<BookRecord> {
    let Phase::Open(position) = &state.phase else {
        return None;
    };
    if !is_accounted(state, position) {
        return None;
    }
    let costs: Vec<Costs> = exits(state).filter_map(|(_, fill)| fill.costs).collect();
    let fee: Decimal = costs.iter().map(|c| c.fee).sum();
    let realised: Decimal = costs.iter().map(|c| c.realised).sum();
    let pnl = (realised - position.fee - fee - position.funding).normalize();
    let (first, _) = exits(state).next()?;
    let last = exits(state).map(|(_, fill)| fill.at).max()?;
    let base = state.config.as_ref()?.base;
    Some(BookRecord::PositionClosed(Trade {
        at: base.open_of(last),
        strategy: position.strategy,
        side: position.side,
        quantity: position.quantity,
        entry: position.price,
        price: mean(state, position.quantity)?,
        fee: fee.normalize(),
        reason: reason(first),
        funding: position.funding,
        pnl,
        equity: state.equity.saturating_add(pnl).normalize(),
    }))
}

fn is_accounted(state: &BookState, position: &Position) -> bool {
    let known = |o: &Tracked| match &o.fate {
        Fate::Done(fill) => fill.costs.is_some(),
        Fate::Gone { .. } => true,
        Fate::Intended | Fate::Unclear { .. } | Fate::Working => false,
    };
    left(state, position) == Qty::ZERO && state.orders.iter().all(known)
}

/// Mean price of all exits, rounded to 1e-8.
fn mean(state: &BookState, quantity: Qty) -> Option<Price> {
    let worth = |fill: &Fill| fill.price.to_decimal() * fill.quantity.to_decimal();
    let worth: Decimal = exits(state).map(|(_, fill)| worth(fill)).sum();
    let mean = worth.checked_div(quantity.to_decimal())?;
    Price::from_decimal(mean.round_dp(crate::fixed::SCALE)).ok()
}

/// Whether what was paid until the last exit is in the exchange's list by now.
pub(super) fn is_all_listed(state: &BookState, now: UtcMs) -> bool {
    let last = exits(state).map(|(_, fill)| fill.at.0).max();
    last.is_none_or(|last| {
        let behind = last.rem_euclid(HOUR_MS);
        behind >= LISTED_MS || now.0 >= last - behind + LISTED_MS
    })
}
