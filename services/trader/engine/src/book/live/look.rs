//! What is to be asked of the exchange, and how its view differs from the book. Decides nothing.

use protocol::event::Side;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::closing::{is_all_listed, left};
use super::guards::{TARGETS, newest, refused};
use crate::book::{BookState, Phase};
use crate::fixed::Qty;
use crate::orders::{ClientId, Deployment, Fate, Leg, OpenOrder, Order, Tracked, View};

/// How long an entry may fill before its rest is cancelled, in milliseconds.
const ENTRY_MS: i64 = 2_000;

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

/// When the entry's last trade was.
fn opened_at(state: &BookState) -> Option<UtcMs> {
    let entry = state.orders.iter().find(|o| o.order.leg == Leg::Entry)?;
    entry.fill().map(|fill| fill.at)
}
