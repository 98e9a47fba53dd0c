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

use protocol::command::UnitCommand;

use crate::phase::UnitPhase;
use crate::record::{QuarantineReason, RunCommand, UnitRecord};
use crate::unit::Unit;

/// The fact that an order becomes.
///
/// # Errors
/// Why it is turned down, in one line.
pub fn evaluate(
    unit: Option<&Unit>,
    is_paused: bool,
    command: &UnitCommand,
    by: &str,
) -> Result<UnitRecord, String> {
    let unit = unit
        .filter(|unit| unit.phase != UnitPhase::Unknown)
        .ok_or("no unit of this name was ever seen")?;
    match command {
        UnitCommand::Stop { .. } => run_command(unit, is_paused, RunCommand::Stop, by),
        UnitCommand::Start { .. } => run_command(unit, is_paused, RunCommand::Start, by),
        UnitCommand::Restart { .. } => run_command(unit, is_paused, RunCommand::Restart, by),
        UnitCommand::Hold { reason: why, .. } => hold(unit, by, why),
        UnitCommand::Release {
            reset_restarts: total,
            ..
        } => release(unit, by, *total),
        UnitCommand::Status | UnitCommand::Explain { .. } | UnitCommand::History { .. } => {
            Err("it only asks: nothing is to be decided".to_owned())
        }
    }
}

fn run_command(
    unit: &Unit,
    is_paused: bool,
    order: RunCommand,
    by: &str,
) -> Result<UnitRecord, String> {
    if let Some(hold) = &unit.hold {
        return Err(format!(
            "it is held by {} ({}): release it first",
            hold.by, hold.reason
        ));
    }
    match check_allowed(unit, is_paused, order) {
        Ok(()) => Ok(UnitRecord::Commanded {
            command: order,
            by: by.to_owned(),
        }),
        Err(why) => Err(why.to_owned()),
    }
}

fn check_allowed(unit: &Unit, is_paused: bool, command: RunCommand) -> Result<(), &'static str> {
    let stops = unit
        .pending_command
        .as_ref()
        .is_some_and(|a| a.command == RunCommand::Stop);
    match (&unit.phase, command) {
        (UnitPhase::Unknown | UnitPhase::Gone, _) => {
            Err("its container was removed: `docker compose up` makes it anew")
        }
        (UnitPhase::Quarantined { .. }, _) => Err("it is quarantined: release it"),
        (UnitPhase::Running(_), RunCommand::Start) => Err("it is running already"),
        (UnitPhase::Running(_), _) if is_paused => Err("it is paused: unpause it first"),
        (
            UnitPhase::Running(_) | UnitPhase::Stopping { .. } | UnitPhase::Starting { .. },
            RunCommand::Stop,
        ) if stops => Err("it is being stopped already"),
        (UnitPhase::Stopping { .. }, RunCommand::Start | RunCommand::Restart) => {
            Err("it is being stopped")
        }
        (UnitPhase::Starting { .. }, RunCommand::Start | RunCommand::Restart) => {
            Err("it is being started already")
        }
        (UnitPhase::Stopped { .. }, RunCommand::Stop) => Err("it is stopped already"),
        (UnitPhase::Ended { .. }, RunCommand::Stop) => {
            Err("it has ended already, and is not restarted")
        }
        (
            UnitPhase::Running(_)
            | UnitPhase::Stopping { .. }
            | UnitPhase::RestartPending { .. }
            | UnitPhase::Starting { .. },
            _,
        )
        | (
            UnitPhase::Stopped { .. } | UnitPhase::Ended { .. },
            RunCommand::Start | RunCommand::Restart,
        ) => Ok(()),
    }
}

fn hold(unit: &Unit, by: &str, reason: &str) -> Result<UnitRecord, String> {
    match &unit.hold {
        Some(hold) => Err(format!(
            "it is held already by {} ({})",
            hold.by, hold.reason
        )),
        None => Ok(UnitRecord::HoldSet {
            by: by.to_owned(),
            reason: reason.to_owned(),
        }),
    }
}

/// Ends a hold or a quarantine: what ended meanwhile starts at once, its failures in a row count from
/// zero, with `total` also its restarts.
fn release(unit: &Unit, by: &str, total: bool) -> Result<UnitRecord, String> {
    match unit.phase {
        UnitPhase::Quarantined {
            reason: QuarantineReason::MaxRestarts,
            ..
        } if !total => Err(format!(
            "it had all its {} restarts: release it with --reset-restarts to count from zero",
            unit.restarts
        )),
        UnitPhase::Quarantined { .. } => Ok(()),
        _ if unit.hold.is_some() => Ok(()),
        _ => Err(format!(
            "it is {}, neither quarantined nor held",
            unit.phase.as_str()
        )),
    }
    .map(|()| UnitRecord::Released {
        by: by.to_owned(),
        restarts_reset: total,
    })
}
