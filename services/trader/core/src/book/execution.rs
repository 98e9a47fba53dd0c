//! Live mode: the records that follow from the exchange's answers. Paper fills are in `paper`; the status of one order is
//! described in [`orders`](crate::orders).
//!
//! | phase | entry filled | entry closed unfilled | stop or target closed unfilled | exit closed unfilled | position closed |
//! | --- | --- | --- | --- | --- | --- |
//! | entry pending | `PositionOpened`, stop and target intended | `EntryDropped`; intended once more if a filter refused it and the newest filters give another quantity | | | |
//! | open | | | intended again; exit at the market if it would trigger at once, or after three failed stops | intended again | the other orders are canceled; `PositionClosed` once all have ended and every cost is known |
//! | flat | `EntryAdopted`, for an entry that was believed lost; then as entry pending | | | | |
//!
//! Stop and target follow from the fill alone. Fees and profit are recorded when the exchange lists the trades, and
//! nothing but the `PositionClosed` waits for them.
//!
//! Stop and target rest on the exchange as long as the position is open, also while an exit is in flight. They close the
//! position whatever its size, so that they can never open one.

mod external_trades;
mod order_outcome;
mod position_close;
mod protective_orders;
mod reconciliation;

pub use protective_orders::REPLACEMENT_PAUSE;
pub use reconciliation::{
    MAX_LATENESS, Reconciliation, ReconciliationTask, compare_with_exchange, count_failed_exits,
    funding_unknown_since, is_stop_canceled, is_unprotected, reconciliation_tasks, required_stop,
    resting_orders,
};

use protocol::time::UtcMs;
use rust_decimal::Decimal;

use self::order_outcome::{closed_unfilled, order_call_finished};
use self::position_close::{closed_trade, is_funding_listed, open_quantity};
use self::protective_orders::{exit_order, newest_order, next_protective_order, trigger_order};
use super::context::{DecisionContext, DecisionInputs};
use super::position_loss::{exceeds_position_loss, position_loss_tripped};
use super::{BookPhase, BookRecord, BookState, DropReason, Entry, ExitReason, Position};
use crate::candle::Candle;
use crate::fill_model;
use crate::fixed_point::{Qty, notional};
use crate::orders::{
    AccountTrade, ClientOrderId, Fill, FillCosts, FundingPayment, Leg, Order, OrderCallOutcome,
    OrderStatus, OrderType, PLACE_TAKEN, TrackedOrder,
};
use crate::strategy::Signal;
use crate::symbol_filters::{SymbolFilters, is_filter_error};

/// Largest number of decisions that follow from one event.
const MAX_FOLLOW_UPS: usize = 4;

/// Input of a live book from its orders. Times are exchange times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutionEvent {
    /// A call about an order has finished.
    OrderCallFinished {
        /// Id of the order.
        client_order_id: ClientOrderId,
        /// Outcome of the call.
        outcome: OrderCallOutcome,
        /// Time of the outcome.
        now: UtcMs,
    },
    /// The costs of an order's fill were read from the exchange.
    CostsReceived {
        /// Id of the order.
        client_order_id: ClientOrderId,
        /// Fees and profit of all its trades.
        costs: FillCosts,
        /// Time of the query.
        now: UtcMs,
    },
    /// Funding payments of the position were read from the exchange.
    FundingReceived {
        /// Payments, oldest first; those already recorded are ignored.
        payments: Vec<FundingPayment>,
        /// All trades of the account in the symbol since the entry order, read after the last exit; `None` if they were
        /// not read. No trade is recorded as closed without them.
        trades: Option<Vec<AccountTrade>>,
        /// Time of the query.
        now: UtcMs,
    },
    /// A timer is due, such as the next query of an unknown outcome.
    Ticked {
        /// Exchange time of the event.
        now: UtcMs,
    },
    /// The position must be closed now.
    CloseRequested {
        /// Reason for closing it.
        reason: ExitReason,
        /// Exchange time of the event.
        now: UtcMs,
    },
    /// The account's trades in the symbol since the entry order were read: the operator may have changed the position.
    TradesReceived {
        /// All trades, those of the book included.
        trades: Vec<AccountTrade>,
        /// Exchange time of the event.
        now: UtcMs,
    },
    /// An entry order that was believed lost has filled.
    LateEntryFilled {
        /// Id of the entry order.
        client_order_id: ClientOrderId,
        /// What the order filled.
        fill: Fill,
        /// Exchange time of the event.
        now: UtcMs,
    },
    /// A stop of another client closes the position, after the book's own was canceled.
    OtherStopFound,
    /// The exchange has a position and no stop that works, although the book's stop needs no further attempt.
    StopMissing {
        /// Exchange time of the event.
        now: UtcMs,
    },
}

/// Decides one event of a live book that has capital and is not halted.
pub(super) fn decide(
    context: DecisionContext<'_>,
    state: &BookState,
    event: ExecutionEvent,
) -> Vec<BookRecord> {
    let (first, now) = match event {
        ExecutionEvent::OrderCallFinished {
            client_order_id: id,
            outcome,
            now,
        } => (order_call_finished(state, &id, outcome, now), now),
        ExecutionEvent::FundingReceived {
            payments,
            trades,
            now,
        } => {
            let records = funding_received(context, state, &payments, trades.as_deref(), now);
            (records, now)
        }
        ExecutionEvent::Ticked { now } => (Vec::new(), now),
        ExecutionEvent::CloseRequested { reason, now } => {
            (close_requested(context, state, reason, now), now)
        }
        ExecutionEvent::CostsReceived {
            client_order_id: id,
            costs,
            now,
        } => (costs_received(state, &id, costs), now),
        ExecutionEvent::TradesReceived { trades, now } => {
            (external_trades::records(context, state, &trades, now), now)
        }
        ExecutionEvent::LateEntryFilled {
            client_order_id: id,
            fill,
            now,
        } => (late_entry_filled(state, &id, fill), now),
        ExecutionEvent::OtherStopFound => return other_stop_found(state),
        ExecutionEvent::StopMissing { now } => (stop_missing(context, state, now), now),
    };
    with_follow_ups(context, state, first, now)
}

/// Decides a closed candle: a signal, or the position-loss breaker. Stop and target are executed by the exchange.
pub(super) fn candle_closed(
    context: DecisionContext<'_>,
    state: &BookState,
    candle: &Candle,
    signal: Option<&Signal>,
    inputs: DecisionInputs,
) -> Vec<BookRecord> {
    let is_recent = context.is_fresh(context.config.base.close_of(candle.open_time), inputs);
    let records = match &state.phase {
        BookPhase::Open(position)
            if is_recent && exceeds_position_loss(state, position, candle.close) =>
        {
            close_losing_position(context, state, candle.open_time, inputs.exchange_time)
        }
        _ => Vec::new(),
    };
    match signal {
        Some(signal) if records.is_empty() => context.judge_signal(state, signal, inputs),
        Some(signal) => context.judge_signal_after(state, records, signal, inputs),
        None => records,
    }
}

fn with_follow_ups(
    context: DecisionContext<'_>,
    state: &BookState,
    mut records: Vec<BookRecord>,
    now: UtcMs,
) -> Vec<BookRecord> {
    let mut after = state.clone();
    if after.apply_all(&records).is_err() {
        // The caller gets the same error when it applies the records.
        return records;
    }
    for _ in 0..MAX_FOLLOW_UPS {
        let more = follow_ups(context, &after, now);
        if more.is_empty() || after.apply_all(&more).is_err() {
            break;
        }
        records.extend(more);
    }
    records
}

/// Records the costs of a fill once.
fn costs_received(state: &BookState, id: &ClientOrderId, costs: FillCosts) -> Vec<BookRecord> {
    let fill = state.order(id).and_then(|tracked| tracked.fill());
    let is_new = fill.is_some_and(|fill| fill.costs.is_none());
    let record = is_new.then(|| BookRecord::OrderCostsRecorded {
        client_order_id: id.clone(),
        costs,
    });
    record.into_iter().collect()
}

/// Takes an entry back that was dropped because it never reached the exchange, and has filled after all.
fn late_entry_filled(state: &BookState, id: &ClientOrderId, fill: Fill) -> Vec<BookRecord> {
    let lost = state.lost_entries.iter();
    let Some(lost) = lost.rev().find(|lost| lost.order.client_order_id == *id) else {
        return Vec::new();
    };
    if state.phase != BookPhase::Flat {
        return Vec::new();
    }
    vec![
        BookRecord::EntryAdopted(lost.clone()),
        BookRecord::OrderFilled {
            client_order_id: id.clone(),
            fill,
        },
    ]
}

/// Leaves the place of the book's stop, which was canceled, to the stop that another client has placed since.
fn other_stop_found(state: &BookState) -> Vec<BookRecord> {
    if !matches!(state.phase, BookPhase::Open(_)) {
        return Vec::new();
    }
    let canceled = newest_order(state, Leg::Stop).filter(|own| own.canceled_at().is_some());
    let record = canceled.map(|own| {
        let reason = "another stop has its place".to_owned();
        closed_unfilled(&own.order.client_order_id, Some(PLACE_TAKEN), reason)
    });
    record.into_iter().collect()
}

/// Intends the stop again whose place a stop of another client had.
fn stop_missing(context: DecisionContext<'_>, state: &BookState, now: UtcMs) -> Vec<BookRecord> {
    let BookPhase::Open(position) = &state.phase else {
        return Vec::new();
    };
    let has_ended = newest_order(state, Leg::Stop).is_none_or(TrackedOrder::is_final);
    if !has_ended || open_quantity(state, position) == Qty::ZERO {
        return Vec::new();
    }
    let (side, stop_price) = (position.side, position.stop_price);
    trigger_order(context, state, side, Leg::Stop, stop_price, now)
        .into_iter()
        .collect()
}

/// Records the payments that were not recorded before, and the trade once it is complete.
fn funding_received(
    context: DecisionContext<'_>,
    state: &BookState,
    payments: &[FundingPayment],
    trades: Option<&[AccountTrade]>,
    now: UtcMs,
) -> Vec<BookRecord> {
    if !matches!(state.phase, BookPhase::Open(_)) {
        return Vec::new();
    }
    let known = funding_unknown_since(state);
    let new = payments.iter().filter(|p| Some(p.at) > known);
    let mut records: Vec<BookRecord> = new
        .map(|p| BookRecord::FundingPaid {
            at: p.at,
            amount: p.amount,
        })
        .collect();
    if let Some(trades) = trades {
        records.extend(external_trades::records(context, state, trades, now));
    }
    let mut after = state.clone();
    if trades.is_some()
        && after.apply_all(&records).is_ok()
        && is_funding_listed(&after, now)
        && let Some(trade) = closed_trade(&after)
    {
        records.extend(context.with_locks(&after, trade));
    }
    records
}

fn close_requested(
    context: DecisionContext<'_>,
    state: &BookState,
    reason: ExitReason,
    now: UtcMs,
) -> Vec<BookRecord> {
    match &state.phase {
        // A rejected exit is intended again by `next_protective_order`.
        BookPhase::Open(position) if newest_order(state, Leg::Exit).is_none() => {
            exit_order(context, state, position, reason, now)
                .into_iter()
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Closes a position that has lost too much, and records the breaker once.
fn close_losing_position(
    context: DecisionContext<'_>,
    state: &BookState,
    at: UtcMs,
    now: UtcMs,
) -> Vec<BookRecord> {
    let mut records = close_requested(context, state, ExitReason::PositionLoss, now);
    if !records.is_empty() {
        records.push(position_loss_tripped(at));
    }
    records
}

/// The records that the state requires without a further event.
fn follow_ups(context: DecisionContext<'_>, state: &BookState, now: UtcMs) -> Vec<BookRecord> {
    match &state.phase {
        BookPhase::EntryPending(entry) => after_entry_order(context, state, entry, now),
        BookPhase::Open(position) if open_quantity(state, position) > Qty::ZERO => {
            next_protective_order(context, state, position, now)
                .into_iter()
                .collect()
        }
        BookPhase::Unopened | BookPhase::Flat | BookPhase::Open(_) | BookPhase::Halted { .. } => {
            Vec::new()
        }
    }
}

fn after_entry_order(
    context: DecisionContext<'_>,
    state: &BookState,
    entry: &Entry,
    now: UtcMs,
) -> Vec<BookRecord> {
    let of_entry = state.orders.iter().find(|o| o.order.leg == Leg::Entry);
    match of_entry.map(|o| &o.status) {
        Some(OrderStatus::Filled(fill)) => position_opened(context, state, entry, fill, now),
        Some(OrderStatus::ClosedUnfilled {
            code: Some(code), ..
        }) if is_filter_error(*code)
            && let Some(again) = entry_by_new_filters(context, state, entry, now) =>
        {
            vec![BookRecord::OrderIntended(again)]
        }
        Some(OrderStatus::ClosedUnfilled { code, .. }) => vec![BookRecord::EntryDropped {
            at: now,
            reason: DropReason::NotAccepted,
            rejection: code.and_then(|code| state.exchange_rejection(code)),
        }],
        Some(
            OrderStatus::Intended | OrderStatus::OutcomeUnknown { .. } | OrderStatus::Accepted,
        )
        | None => Vec::new(),
    }
}

/// The entry order that a filter refused, rounded by the newest filters; `None` if they change nothing, or rule it out.
fn entry_by_new_filters(
    context: DecisionContext<'_>,
    state: &BookState,
    entry: &Entry,
    now: UtcMs,
) -> Option<Order> {
    let refused = &state
        .orders
        .iter()
        .find(|o| o.order.leg == Leg::Entry)?
        .order;
    let OrderType::Market { quantity } = refused.order_type else {
        return None;
    };
    let SymbolFilters {
        lot,
        min_qty,
        max_qty,
        min_notional,
        ..
    } = *context.filters;
    let rounded = quantity.min(max_qty).floor_to(lot);
    let is_allowed = rounded >= min_qty
        && rounded > Qty::ZERO
        && notional(entry.reference_price, rounded) >= min_notional;
    let is_new = refused.attempt == 0 && rounded != quantity;
    (is_allowed && is_new).then(|| Order {
        client_order_id: refused.client_order_id.sibling(Leg::Entry, 1),
        attempt: 1,
        order_type: OrderType::Market { quantity: rounded },
        at: now,
        ..refused.clone()
    })
}

/// The position and, in the same batch, its two protective orders.
fn position_opened(
    context: DecisionContext<'_>,
    state: &BookState,
    entry: &Entry,
    fill: &Fill,
    now: UtcMs,
) -> Vec<BookRecord> {
    let estimated_fee = fill_model::fee(fill.price, fill.quantity, context.config.fee_rate);
    let position = Position {
        at: context.config.base.open_of(fill.at),
        strategy: entry.strategy,
        side: entry.side,
        quantity: fill.quantity,
        entry_price: fill.price,
        fee: fill.costs.map_or(estimated_fee, |costs| costs.fee),
        stop_price: entry.stop_price,
        target_price: entry.target_price,
        funding: Decimal::ZERO,
    };
    let protective = [
        (Leg::Stop, entry.stop_price),
        (Leg::Target, entry.target_price),
    ];
    let protective =
        protective.map(|(leg, price)| trigger_order(context, state, entry.side, leg, price, now));
    [BookRecord::PositionOpened(position)]
        .into_iter()
        .chain(protective.into_iter().flatten())
        .collect()
}
