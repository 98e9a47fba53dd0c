//! What a person may order, by what the unit does at present, and why an order is turned down.
//!
//! | phase | stop | start | restart |
//! | --- | --- | --- | --- |
//! | running | stop call, `Stopped` | refused | stop call, start call |
//! | running, but paused | refused | refused | refused |
//! | stopping | `Stopped` when it has ended | refused | refused |
//! | waiting | `Stopped` | start call | start call |
//! | starting | stop call once it runs | refused | refused |
//! | stopped, ended | refused | start call | start call |
//! | quarantined, held | refused: release it | refused | refused |
//! | unknown, gone | refused | refused | refused |
//!
//! A hold is possible in every phase but unknown; a release where there is a hold or a quarantine.

use protocol::command::UnitOrder;

use crate::phase::Phase;
use crate::record::{Fact, Order, Why};
use crate::unit::Unit;

/// The fact that an order becomes.
///
/// # Errors
/// Why it is turned down, in one line.
pub fn decide(
    unit: Option<&Unit>,
    paused: bool,
    order: &UnitOrder,
    by: &str,
) -> Result<Fact, String> {
    let unit = unit
        .filter(|unit| unit.phase != Phase::Unknown)
        .ok_or("no unit of this name was ever seen")?;
    match order {
        UnitOrder::Stop { .. } => act(unit, paused, Order::Stop, by),
        UnitOrder::Start { .. } => act(unit, paused, Order::Start, by),
        UnitOrder::Restart { .. } => act(unit, paused, Order::Restart, by),
        UnitOrder::Hold { why, .. } => hold(unit, by, why),
        UnitOrder::Release { total, .. } => release(unit, by, *total),
        UnitOrder::Status | UnitOrder::Explain { .. } | UnitOrder::History { .. } => {
            Err("it only asks: nothing is to be decided".to_owned())
        }
    }
}

fn act(unit: &Unit, paused: bool, order: Order, by: &str) -> Result<Fact, String> {
    if let Some(hold) = &unit.held {
        return Err(format!(
            "it is held by {} ({}): release it first",
            hold.by, hold.why
        ));
    }
    match possible(unit, paused, order) {
        Ok(()) => Ok(Fact::Ordered {
            order,
            by: by.to_owned(),
        }),
        Err(why) => Err(why.to_owned()),
    }
}

fn possible(unit: &Unit, paused: bool, order: Order) -> Result<(), &'static str> {
    let stops = unit.asked.as_ref().is_some_and(|a| a.order == Order::Stop);
    match (&unit.phase, order) {
        (Phase::Unknown | Phase::Gone, _) => {
            Err("its container was removed: `docker compose up` makes it anew")
        }
        (Phase::Quarantined { .. }, _) => Err("it is quarantined: release it"),
        (Phase::Running(_), Order::Start) => Err("it is running already"),
        (Phase::Running(_), _) if paused => Err("it is paused: unpause it first"),
        (Phase::Running(_) | Phase::Stopping { .. } | Phase::Starting { .. }, Order::Stop)
            if stops =>
        {
            Err("it is being stopped already")
        }
        (Phase::Stopping { .. }, Order::Start | Order::Restart) => Err("it is being stopped"),
        (Phase::Starting { .. }, Order::Start | Order::Restart) => {
            Err("it is being started already")
        }
        (Phase::Stopped { .. }, Order::Stop) => Err("it is stopped already"),
        (Phase::Ended { .. }, Order::Stop) => Err("it has ended already, and is not restarted"),
        (
            Phase::Running(_)
            | Phase::Stopping { .. }
            | Phase::Waiting { .. }
            | Phase::Starting { .. },
            _,
        )
        | (Phase::Stopped { .. } | Phase::Ended { .. }, Order::Start | Order::Restart) => Ok(()),
    }
}

fn hold(unit: &Unit, by: &str, why: &str) -> Result<Fact, String> {
    match &unit.held {
        Some(hold) => Err(format!("it is held already by {} ({})", hold.by, hold.why)),
        None => Ok(Fact::Held {
            by: by.to_owned(),
            why: why.to_owned(),
        }),
    }
}

/// Ends a hold or a quarantine: what ended meanwhile starts at once, its failures in a row count from
/// zero, with `total` also its restarts.
fn release(unit: &Unit, by: &str, total: bool) -> Result<Fact, String> {
    match unit.phase {
        Phase::Quarantined {
            why: Why::MaxRestarts,
            ..
        } if !total => Err(format!(
            "it had all its {} restarts: release it with --total to count from zero",
            unit.restarts
        )),
        Phase::Quarantined { .. } => Ok(()),
        _ if unit.held.is_some() => Ok(()),
        _ => Err(format!(
            "it is {}, neither quarantined nor held",
            unit.phase.as_str()
        )),
    }
    .map(|()| Fact::Released {
        by: by.to_owned(),
        total,
    })
}
