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

use protocol::event::Side;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::book::decide::{Desk, lost_too_much};
use crate::book::{
    BookRecord, BookState, DropReason, Entry, ExitReason, Now, Phase, Position, Trade,
};
use crate::breaker::{Breaker, POSITION_LOSS};
use crate::candle::Candle;
use crate::fixed::{Price, Qty};
use crate::orders::{
    Answer, ClientId, Costs, Deployment, Fate, Fill, Kind, LAST_ATTEMPT, Leg, OpenOrder, Order,
    Payment, Report, Tracked, View, Way,
};
use crate::paper;
use crate::strategy::Signal;

/// Binance's code for a trigger that is reached already.
const WOULD_TRIGGER: i64 = -2021;
/// Its codes for what passes: too many requests, too many orders, too late. What is not even sent because of the
/// first has it too.
const PASSING: [i64; 3] = [-1003, -1015, -1021];
/// Stops that are tried before the position is closed.
const STOPS: usize = 3;
/// Targets that the exchange refuses before no more is asked for; without one the position is left by its stop
/// or by a breaker.
const TARGETS: usize = 3;
/// Longest pause between two exits, in seconds.
const LONGEST_PAUSE: i64 = 30;
/// How long an entry may fill before its rest is cancelled, in milliseconds.
const ENTRY_MS: i64 = 2_000;
/// Decisions that can follow from one another at most.
const CHAIN: usize = 4;
/// Funding is paid at a full hour, on whatever is held then.
const HOUR_MS: i64 = 3_600_000;
/// So long after it a payment may still be missing in the exchange's list.
const LISTED_MS: i64 = 60_000;

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

/// What is to be asked of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// What became of this order.
    LookUp(Order),
    /// End this order; what became of it is looked up then.
    Cancel(Order),
    /// Which funding was paid in this time.
    Payments {
        /// From then on.
        from: UtcMs,
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
    let known = state.funded.max(opened_at(state));
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

/// Whether what was paid until the last exit is in the exchange's list by now.
fn is_all_listed(state: &BookState, now: UtcMs) -> bool {
    let last = exits(state).map(|(_, fill)| fill.at.0).max();
    last.is_none_or(|last| {
        let behind = last.rem_euclid(HOUR_MS);
        behind >= LISTED_MS || now.0 >= last - behind + LISTED_MS
    })
}

/// When the entry's last trade was.
fn opened_at(state: &BookState) -> Option<UtcMs> {
    let entry = state.orders.iter().find(|o| o.order.leg == Leg::Entry)?;
    entry.fill().map(|fill| fill.at)
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

/// What an open position lacks: its stop first.
fn guard(desk: Desk<'_>, state: &BookState, position: &Position, now: UtcMs) -> Option<BookRecord> {
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
fn refused(state: &BookState, leg: Leg) -> usize {
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

fn trigger(
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

fn exit(
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

fn ask(desk: Desk<'_>, side: Side, id: ClientId, leg: Leg, attempt: u32, at: UtcMs) -> Order {
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

fn newest(state: &BookState, leg: Leg) -> Option<&Tracked> {
    let of_leg = |o: &&Tracked| o.order.leg == leg && o.order.why != Some(ExitReason::Elsewhere);
    state.orders.iter().rev().find(of_leg)
}

/// Fills that made the position smaller.
fn exits(state: &BookState) -> impl Iterator<Item = (&Tracked, &Fill)> {
    let leaving = state.orders.iter().filter(|o| o.order.leg != Leg::Entry);
    leaving.filter_map(|o| o.fill().map(|fill| (o, fill)))
}

/// What of the position is still open.
fn left(state: &BookState, position: &Position) -> Qty {
    let closed: i64 = exits(state).map(|(_, fill)| fill.quantity.units()).sum();
    Qty::from_units((position.quantity.units() - closed).max(0))
}

fn reason(tracked: &Tracked) -> ExitReason {
    match tracked.order.leg {
        Leg::Target => ExitReason::Target,
        Leg::Exit => tracked.order.why.unwrap_or(ExitReason::Elsewhere),
        Leg::Stop | Leg::Entry => ExitReason::Stop,
    }
}

/// The trade, once nothing of it can change: all is closed, every order is over, every cost is known.
fn closed(state: &BookState) -> Option<BookRecord> {
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

/// What is to be asked of the exchange now, in this order. Nothing while all is as it should be.
pub fn tasks(state: &BookState, now: UtcMs) -> Vec<Task> {
    let closed = match &state.phase {
        Phase::Open(position) => left(state, position) == Qty::ZERO,
        Phase::EntryPending(_) => false,
        Phase::Unopened | Phase::Flat | Phase::Halted { .. } => return Vec::new(),
    };
    let refused = newest(state, Leg::Exit).is_some_and(|o| matches!(o.fate, Fate::Gone { .. }));
    let of_order = |o: &Tracked| {
        let order = o.order.clone();
        match &o.fate {
            Fate::Unclear { .. } => Some(Task::LookUp(order)),
            Fate::Done(fill) if fill.costs.is_none() => Some(Task::LookUp(order)),
            Fate::Working if order.leg.is_conditional() && closed => Some(Task::Cancel(order)),
            // The exit was refused: it may be one of these that has closed the position.
            Fate::Working if order.leg.is_conditional() && refused => Some(Task::LookUp(order)),
            Fate::Working if order.leg == Leg::Entry && now.0 - order.at.0 > ENTRY_MS => {
                Some(Task::Cancel(order))
            }
            Fate::Working if !order.leg.is_conditional() => Some(Task::LookUp(order)),
            Fate::Working | Fate::Intended | Fate::Done(_) | Fate::Gone { .. } => None,
        }
    };
    let mut tasks: Vec<Task> = state.orders.iter().filter_map(of_order).collect();
    if tasks.is_empty() && closed && is_all_listed(state, now) {
        tasks.extend(payments_from(state).map(|from| Task::Payments { from }));
    }
    tasks
}

/// From when on funding of the open position is not known.
pub fn payments_from(state: &BookState) -> Option<UtcMs> {
    match state.phase {
        Phase::Open(_) => state.funded.max(opened_at(state)),
        Phase::Unopened | Phase::Flat | Phase::EntryPending(_) | Phase::Halted { .. } => None,
    }
}

/// Orders that rest on the exchange as they should. They are looked up when there is a hint, and now and
/// then.
pub fn resting(state: &BookState) -> impl Iterator<Item = &Order> {
    let resting = |o: &&Tracked| o.fate == Fate::Working && o.order.leg.is_conditional();
    state.orders.iter().filter(resting).map(|o| &o.order)
}

/// Whether an open position's newest stop, exit, or target came to nothing, so that time alone brings the next
/// one.
pub fn is_unguarded(state: &BookState) -> bool {
    let Phase::Open(position) = &state.phase else {
        return false;
    };
    let came_to_nothing =
        |leg| newest(state, leg).is_some_and(|o| matches!(o.fate, Fate::Gone { .. }));
    let no_target = || came_to_nothing(Leg::Target) && refused(state, Leg::Target) < TARGETS;
    let lacks = || came_to_nothing(Leg::Stop) || came_to_nothing(Leg::Exit) || no_target();
    left(state, position) > Qty::ZERO && lacks()
}

/// How many guards and exits of the open position came to nothing. Each is a reason to hold the book against
/// the exchange: the position may be gone.
pub fn failures(state: &BookState) -> usize {
    let failed = |o: &&Tracked| {
        matches!(o.fate, Fate::Gone { .. }) && matches!(o.order.leg, Leg::Stop | Leg::Exit)
    };
    state.orders.iter().filter(failed).count()
}

/// How the exchange's view of a symbol differs from the book.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Orders of ours that the book does not want: to be cancelled.
    pub orphans: Vec<OpenOrder>,
    /// Another installation's id under our prefix.
    pub foreign: Option<Deployment>,
    /// Orders that are nobody's of ours: left alone.
    pub strangers: usize,
    /// What the book believes to rest there, and does not: to be looked up.
    pub missing: Vec<Order>,
    /// What the exchange holds beyond what the book does: signed base units. None while an order is on its way
    /// or missing, which says nothing about that.
    pub surplus: Option<Decimal>,
}

/// Compares the book with what the exchange shows. Changes nothing.
pub fn compare(state: &BookState, ours: &Deployment, view: &View) -> Findings {
    let mut findings = Findings::default();
    for open in &view.open {
        match ClientId::deployment_in(&open.client_id) {
            None => findings.strangers += 1,
            Some(deployment) if deployment != *ours => findings.foreign = Some(deployment),
            Some(_) if is_wanted(state, &open.client_id) => {}
            Some(_) => findings.orphans.push(open.clone()),
        }
    }
    let is_open = |order: &&Order| view.open.iter().any(|o| o.client_id == order.id.as_str());
    let missing = resting(state).filter(|order| !is_open(order));
    findings.missing = missing.cloned().collect();
    if findings.missing.is_empty()
        && let Some(expected) = expected(state)
    {
        findings.surplus = Some(view.position - expected);
    }
    findings
}

fn is_wanted(state: &BookState, client_id: &str) -> bool {
    let known = state.order(&ClientId::told(client_id));
    known.is_some_and(|o| !o.is_over())
}

/// What the exchange should hold for us; none while an order is on its way.
fn expected(state: &BookState) -> Option<Decimal> {
    let on_its_way = |o: &Tracked| match o.fate {
        Fate::Intended | Fate::Unclear { .. } => true,
        Fate::Working => !o.order.leg.is_conditional(),
        Fate::Done(_) | Fate::Gone { .. } => false,
    };
    if state.orders.iter().any(on_its_way) {
        return None;
    }
    match &state.phase {
        Phase::Open(position) => Some(signed(position.side, left(state, position))),
        Phase::Halted { .. } | Phase::EntryPending(_) => None,
        Phase::Unopened | Phase::Flat => Some(Decimal::ZERO),
    }
}

fn signed(side: Side, quantity: Qty) -> Decimal {
    match side {
        Side::Long => quantity.to_decimal(),
        Side::Short => -quantity.to_decimal(),
    }
}
