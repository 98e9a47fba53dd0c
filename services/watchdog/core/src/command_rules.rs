//! Which commands a unit accepts in each phase, and why a command is rejected.
//!
//! | phase | stop | start | restart |
//! | --- | --- | --- | --- |
//! | running | stop call, `Stopped` | rejected | stop call, start call |
//! | running, paused by Docker | rejected | rejected | rejected |
//! | stopping | `Stopped` when the run has ended | rejected | rejected |
//! | restart pending | `Stopped` | start call | start call |
//! | starting | stop call once the unit runs | rejected | rejected |
//! | stopped, ended | rejected | start call | start call |
//! | quarantined, on hold | rejected: release first | rejected | rejected |
//! | unknown, gone, not supervised | rejected | rejected | rejected |
//!
//! A hold is accepted in every phase but unknown. A forget is accepted for a removed container. A release is accepted for a hold or a quarantine.

use protocol::command::UnitCommand;
use protocol::ids::SubjectToken;

use crate::model::RunCommand;
use crate::phase::UnitPhase;
use crate::reason::QuarantineReason;
use crate::record::UnitRecord;
use crate::unit::Unit;

/// The record that a command becomes. `by` names its author. A command is deferred while Docker cannot carry it out.
///
/// # Errors
/// The rejection in one line, with the next step.
pub fn evaluate(
    unit: Option<&Unit>,
    is_paused: bool,
    command: &UnitCommand,
    by: &str,
    is_deferred: bool,
) -> Result<UnitRecord, String> {
    let record = evaluate_now(unit, is_paused, command, by)?;
    Ok(match record {
        UnitRecord::Commanded { command, by, .. } => UnitRecord::Commanded {
            command,
            by,
            is_deferred,
        },
        other => other,
    })
}

fn evaluate_now(
    unit: Option<&Unit>,
    is_paused: bool,
    command: &UnitCommand,
    by: &str,
) -> Result<UnitRecord, String> {
    let unit = unit
        .filter(|unit| unit.phase != UnitPhase::Unknown)
        .ok_or("no unit of this name is known; `scripts/bearish status` lists the units")?;
    match command {
        UnitCommand::Stop { unit: name } => {
            run_command(name, unit, is_paused, RunCommand::Stop, by)
        }
        UnitCommand::Start { unit: name } => {
            run_command(name, unit, is_paused, RunCommand::Start, by)
        }
        UnitCommand::Restart { unit: name } => {
            run_command(name, unit, is_paused, RunCommand::Restart, by)
        }
        UnitCommand::Hold { reason, .. } => hold(unit, by, reason),
        UnitCommand::Release {
            unit: name,
            reset_restarts,
        } => release(name, unit, by, *reset_restarts),
        UnitCommand::Forget { unit: name } => forget(name, unit, by),
        UnitCommand::Status | UnitCommand::Explain { .. } | UnitCommand::History { .. } => {
            Err("not a state-changing command".to_owned())
        }
    }
}

fn run_command(
    name: &SubjectToken,
    unit: &Unit,
    is_paused: bool,
    command: RunCommand,
    by: &str,
) -> Result<UnitRecord, String> {
    if let Some(hold) = &unit.hold {
        return Err(format!(
            "on hold by {} ({}); to release it first: `scripts/bearish release {name}`",
            hold.by, hold.reason
        ));
    }
    match check_allowed(unit, is_paused, command) {
        Ok(()) => Ok(UnitRecord::Commanded {
            command,
            by: by.to_owned(),
            is_deferred: false,
        }),
        Err(reason) => Err(reason.replace("UNIT", name.as_str())),
    }
}

/// The rejection has `UNIT` for the name of the unit.
fn check_allowed(unit: &Unit, is_paused: bool, command: RunCommand) -> Result<(), &'static str> {
    let is_stopping = unit
        .pending_command
        .as_ref()
        .is_some_and(|a| a.command == RunCommand::Stop);
    match (&unit.phase, command) {
        (UnitPhase::Unknown | UnitPhase::Gone, _) => {
            Err("the container was removed; run scripts/up")
        }
        (UnitPhase::NotSupervised { .. }, _) => {
            Err("not supervised; `scripts/bearish explain UNIT` says why")
        }
        (UnitPhase::Quarantined { .. }, _) => {
            Err("quarantined; `scripts/bearish explain UNIT` says how to start it")
        }
        (UnitPhase::Running(_), RunCommand::Start) => Err("already running"),
        (UnitPhase::Running(_), _) if is_paused => {
            Err("paused by docker pause; unpause the container first")
        }
        (
            UnitPhase::Running(_) | UnitPhase::Stopping { .. } | UnitPhase::Starting { .. },
            RunCommand::Stop,
        ) if is_stopping => Err("already being stopped"),
        (UnitPhase::Stopping { .. }, RunCommand::Start | RunCommand::Restart) => {
            Err("being stopped; repeat the command when the unit has stopped")
        }
        (UnitPhase::Starting { .. }, RunCommand::Start | RunCommand::Restart) => {
            Err("already being started")
        }
        (UnitPhase::Stopped { .. }, RunCommand::Stop) => Err("already stopped"),
        (UnitPhase::Ended { .. }, RunCommand::Stop) => {
            Err("already ended; the watchdog does not restart it")
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

/// Removes a unit whose container was removed from the list of units.
fn forget(name: &SubjectToken, unit: &Unit, by: &str) -> Result<UnitRecord, String> {
    match unit.phase {
        UnitPhase::Gone => Ok(UnitRecord::Forgotten { by: by.to_owned() }),
        _ => Err(format!(
            "the container of {name} exists; remove the container first"
        )),
    }
}

fn hold(unit: &Unit, by: &str, reason: &str) -> Result<UnitRecord, String> {
    match &unit.hold {
        Some(hold) => Err(format!("already on hold by {} ({})", hold.by, hold.reason)),
        None => Ok(UnitRecord::HoldSet {
            by: by.to_owned(),
            reason: reason.to_owned(),
        }),
    }
}

/// Ends a hold or a quarantine: a unit that ended meanwhile starts at once and its consecutive failures are reset.
/// With `reset_restarts` its restarts are reset too.
fn release(
    name: &SubjectToken,
    unit: &Unit,
    by: &str,
    reset_restarts: bool,
) -> Result<UnitRecord, String> {
    match unit.phase {
        UnitPhase::Quarantined {
            reason: QuarantineReason::MaxRestarts,
            ..
        } if !reset_restarts => Err(format!(
            "Max restarts reached ({}); to start the unit: scripts/bearish release {name} --reset-restarts",
            unit.restarts
        )),
        UnitPhase::Quarantined { .. } => Ok(()),
        _ if unit.hold.is_some() => Ok(()),
        _ => Err(format!(
            "nothing to release: the unit is {}, neither quarantined nor on hold; {}",
            unit.phase.as_str(),
            instead_of_release(name, unit)
        )),
    }
    .map(|()| UnitRecord::Released {
        by: by.to_owned(),
        restarts_reset: reset_restarts,
    })
}

/// What the operator may do where a release has no effect.
fn instead_of_release(name: &SubjectToken, unit: &Unit) -> String {
    match &unit.phase {
        UnitPhase::Stopped { .. } | UnitPhase::Ended { .. } => {
            format!("to start it: scripts/bearish start {name}")
        }
        UnitPhase::RestartPending { .. } => {
            format!("the watchdog starts it; to start it now: scripts/bearish start {name}")
        }
        UnitPhase::Gone | UnitPhase::Unknown => "to create it: scripts/up".to_owned(),
        UnitPhase::NotSupervised { reason } => format!("not supervised: {reason}"),
        UnitPhase::Running(_)
        | UnitPhase::Stopping { .. }
        | UnitPhase::Starting { .. }
        | UnitPhase::Quarantined { .. } => "no action is needed".to_owned(),
    }
}

/// The reply to an accepted command. `unit` is the unit's state before the command.
pub fn reply_text(unit: Option<&Unit>, command: &UnitCommand) -> &'static str {
    let is_misconfigured = unit.is_some_and(|unit| {
        let reason = QuarantineReason::Misconfigured;
        matches!(&unit.phase, UnitPhase::Quarantined { reason: known, .. } if *known == reason)
    });
    match command {
        UnitCommand::Stop { .. } => "stopping; the unit stays stopped until it is started",
        UnitCommand::Start { .. } => "starting",
        UnitCommand::Restart { .. } => "restarting",
        UnitCommand::Hold { .. } => "on hold: the watchdog only watches the unit until its release",
        UnitCommand::Release { .. } if is_misconfigured => {
            "released; the container starts with its old settings: after a correction in .env run scripts/up"
        }
        UnitCommand::Release { .. } => "released",
        UnitCommand::Forget { .. } => "forgotten",
        UnitCommand::Status | UnitCommand::Explain { .. } | UnitCommand::History { .. } => "",
    }
}
