//! A book whose orders go to an exchange: what follows from its answers. Paper fills are in `decide`;
//! what one order's life is, in `orders`.
//!
//! | phase | entry done | entry gone | stop or target gone | exit gone | all of it closed |
//! | --- | --- | --- | --- | --- | --- |
//! | entry pending | `PositionOpened`, stop and target intended | `EntryDropped` | | | |
//! | open | | | intended again; closed at the market if it would trigger at once, or after three stops | intended again | the others are cancelled; `PositionClosed` once they are over and every cost is known |
//!
//! Stop and target rest on the exchange for as long as the position does, also while an exit is on its
//! way. They close whatever the position is, so that they can never open one.

mod closing;
mod guards;
mod look;

pub use look::{Findings, Task, compare, failures, is_unguarded, payments_from, resting, tasks};

use protocol::time::UtcMs;
use rust_decimal::Decimal;

use self::closing::{closed, is_all_listed, left};
use self::guards::{ask, exit, guard, newest, trigger};
use crate::book::decide::{Desk, lost_too_much};
use crate::book::{BookRecord, BookState, DropReason, Entry, ExitReason, Now, Phase, Position};
use crate::breaker::{Breaker, POSITION_LOSS};
use crate::candle::Candle;
use crate::fixed::Qty;
use crate::orders::{Answer, ClientId, Fate, Fill, Kind, Leg, Order, Payment, Report, Way};
use crate::paper;
use crate::strategy::Signal;

/// Decisions that can follow from one another at most.
const CHAIN: usize = 4;

/// What happened to a book's orders. Times are the exchange's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveEvent {
    /// A call about an order came back.
    Answered {
        /// Which.
        id: ClientId,
        /// With what.
        answer: Answer,
        /// When.
        now: UtcMs,
    },
    /// What was paid for the position, as far as it was asked for.
    Paid {
        /// Oldest first; those taken in before do no harm.
        payments: Vec<Payment>,
        /// When.
        now: UtcMs,
    },
    /// Time has passed.
    Looked {
        /// When.
        now: UtcMs,
    },
    /// The position is to be closed now.
    CloseNow {
        /// Why.
        why: ExitReason,
        /// When.
        now: UtcMs,
    },
    /// Trades that are not of our orders closed the position, or a part of it.
    ClosedElsewhere {
        /// The exchange's id of their order.
        order: i64,
        /// What they filled, with its costs.
        fill: Fill,
        /// When.
        now: UtcMs,
    },
}

/// Decides one event of a book that has capital and is not halted.
pub(super) fn decide(desk: Desk<'_>, state: &BookState, event: LiveEvent) -> Vec<BookRecord> {
    let (first, now) = match event {
        LiveEvent::Answered { id, answer, now } => (answered(state, &id, answer, now), now),
        LiveEvent::Paid { payments, now } => (paid(desk, state, &payments, now), now),
        LiveEvent::Looked { now } => (Vec::new(), now),
        LiveEvent::CloseNow { why, now } => (close_now(desk, state, why, now), now),
        LiveEvent::ClosedElsewhere { order, fill, now } => {
            (closed_elsewhere(desk, state, order, fill, now), now)
        }
    };
    with_consequences(desk, state, first, now)
}

/// Decides a closed candle: a signal, or a loss that is too large. Stop and target are the exchange's.
pub(super) fn candle_closed(
    desk: Desk<'_>,
    state: &BookState,
    candle: &Candle,
    signal: Option<&Signal>,
    now: Now,
) -> Vec<BookRecord> {
    let is_news = desk.is_fresh(desk.config.base.close_of(candle.open_time), now);
    let records = match &state.phase {
        Phase::Open(position) if is_news && lost_too_much(state, position, candle.close) => {
            lost(desk, state, candle.open_time, now.market)
        }
        _ => Vec::new(),
    };
    match signal {
        Some(signal) if records.is_empty() => desk.judge(state, signal, now),
        Some(signal) => desk.judge_after(state, records, signal, now),
        None => records,
    }
}

/// The order that a decided entry is; none on paper.
pub(super) fn entry_order(desk: Desk<'_>, entry: &Entry, at: UtcMs) -> Option<Order> {
    let terms = desk.config.live.as_ref()?;
    let symbol = &desk.rules.symbol;
    Some(Order {
        id: ClientId::of_entry(&terms.deployment, symbol, entry.strategy, entry.bar_close),
        leg: Leg::Entry,
        attempt: 0,
        way: Way::of(entry.side, Leg::Entry),
        kind: Kind::Market {
            quantity: entry.quantity,
        },
        at,
        window_ms: terms.window_ms,
        why: None,
    })
}

fn with_consequences(
    desk: Desk<'_>,
    state: &BookState,
    mut records: Vec<BookRecord>,
    now: UtcMs,
) -> Vec<BookRecord> {
    let mut after = state.clone();
    if after.apply_all(&records).is_err() {
        // The caller meets the same error when it applies them.
        return records;
    }
    for _ in 0..CHAIN {
        let more = follows(desk, &after, now);
        if more.is_empty() || after.apply_all(&more).is_err() {
            break;
        }
        records.extend(more);
    }
    records
}

fn answered(state: &BookState, id: &ClientId, answer: Answer, now: UtcMs) -> Vec<BookRecord> {
    let Some(tracked) = state.order(id) else {
        return Vec::new();
    };
    let record = match (&tracked.fate, answer) {
        (Fate::Done(known), answer) => settled(id, known, &answer),
        (Fate::Gone { .. }, _) => None,
        (_, Answer::Has(report)) => reported(id, &tracked.fate, report),
        (Fate::Intended, Answer::Refused { code, why }) => Some(gone(id, Some(code), why)),
        (Fate::Intended, Answer::Unclear { why }) => Some(unclear(id, now, why)),
        (Fate::Intended | Fate::Working, Answer::NotFound) => {
            Some(unclear(id, now, "the exchange does not know it".to_owned()))
        }
        (Fate::Unclear { .. }, Answer::NotFound) if tracked.order.is_past(now) => {
            Some(gone(id, None, "it never reached the exchange".to_owned()))
        }
        // A question that was not answered changes nothing.
        (Fate::Unclear { .. } | Fate::Working, _) => None,
    };
    record.into_iter().collect()
}

fn reported(id: &ClientId, fate: &Fate, report: Report) -> Option<BookRecord> {
    let id = id.clone();
    match report {
        Report { working: true, .. } if *fate == Fate::Working => None,
        Report { working: true, .. } => Some(BookRecord::OrderWorking { id }),
        Report {
            fill: Some(fill), ..
        } => Some(BookRecord::OrderDone { id, fill }),
        Report { fill: None, .. } => Some(gone(&id, None, "it ended unfilled".to_owned())),
    }
}

fn settled(id: &ClientId, known: &Fill, answer: &Answer) -> Option<BookRecord> {
    match answer {
        Answer::Has(Report {
            fill: Some(Fill {
                costs: Some(costs), ..
            }),
            ..
        }) if known.costs.is_none() => Some(BookRecord::OrderSettled {
            id: id.clone(),
            costs: *costs,
        }),
        _ => None,
    }
}

fn gone(id: &ClientId, code: Option<i64>, why: String) -> BookRecord {
    let id = id.clone();
    BookRecord::OrderGone { id, code, why }
}

fn unclear(id: &ClientId, at: UtcMs, why: String) -> BookRecord {
    let id = id.clone();
    BookRecord::OrderUnclear { id, at, why }
}

/// What was not taken in before.
fn paid(desk: Desk<'_>, state: &BookState, payments: &[Payment], now: UtcMs) -> Vec<BookRecord> {
    if !matches!(state.phase, Phase::Open(_)) {
        return Vec::new();
    }
    let known = payments_from(state);
    let new = payments.iter().filter(|p| Some(p.at) > known);
    let mut records: Vec<BookRecord> = new
        .map(|p| BookRecord::FundingPaid {
            at: p.at,
            amount: p.amount,
        })
        .collect();
    let mut after = state.clone();
    if after.apply_all(&records).is_ok()
        && is_all_listed(&after, now)
        && let Some(trade) = closed(&after)
    {
        records.extend(desk.with_locks(&after, trade));
    }
    records
}

fn close_now(desk: Desk<'_>, state: &BookState, why: ExitReason, now: UtcMs) -> Vec<BookRecord> {
    match &state.phase {
        // One that was refused is intended again by itself.
        Phase::Open(position) if newest(state, Leg::Exit).is_none() => {
            exit(desk, state, position, why, now).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The breaker of one position's loss, once.
fn lost(desk: Desk<'_>, state: &BookState, at: UtcMs, now: UtcMs) -> Vec<BookRecord> {
    let mut records = close_now(desk, state, ExitReason::PositionLoss, now);
    if !records.is_empty() {
        let share = POSITION_LOSS * Decimal::ONE_HUNDRED;
        records.push(BookRecord::BreakerTripped {
            breaker: Breaker::PositionLoss,
            at,
            why: format!("the position lost more than {share} % of the slice's equity"),
        });
    }
    records
}

/// Somebody else's trades are taken for an exit of ours: what follows is the same.
fn closed_elsewhere(
    desk: Desk<'_>,
    state: &BookState,
    order: i64,
    fill: Fill,
    now: UtcMs,
) -> Vec<BookRecord> {
    let Phase::Open(position) = &state.phase else {
        return Vec::new();
    };
    let id = ClientId::told(&format!("elsewhere-{order}"));
    if state.order(&id).is_some() || fill.quantity > left(state, position) {
        return Vec::new();
    }
    let order = Order {
        kind: Kind::Market {
            quantity: fill.quantity,
        },
        ..ask(desk, position.side, id.clone(), Leg::Exit, 0, now)
    };
    let why = Some(ExitReason::Elsewhere);
    vec![
        BookRecord::OrderIntended(Order { why, ..order }),
        BookRecord::OrderDone { id, fill },
    ]
}

/// What the state calls for by itself.
fn follows(desk: Desk<'_>, state: &BookState, now: UtcMs) -> Vec<BookRecord> {
    match &state.phase {
        Phase::EntryPending(entry) => entered(desk, state, entry, now),
        Phase::Open(position) if left(state, position) > Qty::ZERO => {
            guard(desk, state, position, now).into_iter().collect()
        }
        Phase::Unopened | Phase::Flat | Phase::Open(_) | Phase::Halted { .. } => Vec::new(),
    }
}

fn entered(desk: Desk<'_>, state: &BookState, entry: &Entry, now: UtcMs) -> Vec<BookRecord> {
    let of_entry = state.orders.iter().find(|o| o.order.leg == Leg::Entry);
    match of_entry.map(|o| &o.fate) {
        Some(Fate::Done(fill)) => opened(desk, state, entry, fill, now),
        Some(Fate::Gone { .. }) => vec![BookRecord::EntryDropped {
            at: now,
            reason: DropReason::NotTaken,
        }],
        Some(Fate::Intended | Fate::Unclear { .. } | Fate::Working) | None => Vec::new(),
    }
}

/// The position, and in the same message the two orders that guard it.
fn opened(
    desk: Desk<'_>,
    state: &BookState,
    entry: &Entry,
    fill: &Fill,
    now: UtcMs,
) -> Vec<BookRecord> {
    let reckoned = paper::fee(fill.price, fill.quantity, desk.config.fee_rate);
    let position = Position {
        at: desk.config.base.open_of(fill.at),
        strategy: entry.strategy,
        side: entry.side,
        quantity: fill.quantity,
        price: fill.price,
        fee: fill.costs.map_or(reckoned, |costs| costs.fee),
        stop: entry.stop,
        target: entry.target,
        funding: Decimal::ZERO,
    };
    let guards = [(Leg::Stop, entry.stop), (Leg::Target, entry.target)];
    let guards = guards.map(|(leg, price)| trigger(desk, state, entry.side, leg, price, now));
    [BookRecord::PositionOpened(position)]
        .into_iter()
        .chain(guards.into_iter().flatten())
        .collect()
}
