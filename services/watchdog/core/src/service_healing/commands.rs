//! Commands about services, and the explanation of their state.

use protocol::command::UnitCommand;
use protocol::ids::SubjectToken;

use super::limiter::MAX_HEALS;
use crate::format::format_time;
use crate::record::ServiceRecord;
use crate::state::ServiceState;

/// The record that a command about a service becomes. `by` names its author.
///
/// # Errors
/// The rejection in one line, with the next step.
pub fn evaluate_command(
    name: &SubjectToken,
    service: &ServiceState,
    command: &UnitCommand,
    by: &str,
) -> Result<ServiceRecord, String> {
    let by = by.to_owned();
    match command {
        UnitCommand::Hold { reason, .. } => match &service.hold {
            Some(hold) => Err(format!("already on hold by {} ({})", hold.by, hold.reason)),
            None => Ok(ServiceRecord::HoldSet {
                by,
                reason: reason.clone(),
            }),
        },
        UnitCommand::Release { .. } if service.hold.is_some() || service.quarantine.is_some() => {
            Ok(ServiceRecord::Released { by })
        }
        UnitCommand::Release { .. } => Err(
            "nothing to release: the service is neither quarantined nor on hold; no action is needed"
                .to_owned(),
        ),
        UnitCommand::Forget { .. } => {
            Err("a service is not in the list of units; no action is needed".to_owned())
        }
        _ => Err(format!(
            "a service, not a unit; to {} it: docker compose {} {}",
            command.verb(),
            command.verb(),
            compose_service(name)
        )),
    }
}

/// Name of the Compose service without the number of its container.
fn compose_service(name: &SubjectToken) -> &str {
    let name = name.as_str();
    name.rsplit_once('-').map_or(name, |(service, _)| service)
}

/// The reply to an accepted command.
pub const fn reply_text(command: &UnitCommand) -> &'static str {
    match command {
        UnitCommand::Hold { .. } => {
            "on hold: the watchdog does not restart the service until its release"
        }
        _ => "released",
    }
}

/// The state of a service, its cause and the next step, one line each.
pub fn explain(name: &SubjectToken, service: &ServiceState) -> String {
    let (reason, next) = if let Some(hold) = &service.hold {
        (
            format!("on hold by {} ({})", hold.by, hold.reason),
            format!(
                "The watchdog does not restart it. To end the hold: scripts/bearish release {name}"
            ),
        )
    } else if let Some(quarantine) = &service.quarantine {
        (
            format!(
                "quarantined since {}: {} restarts in a row did not help; last: {}",
                format_time(quarantine.since),
                service.heals,
                quarantine.reason
            ),
            format!(
                "The watchdog does not restart it. After the correction: scripts/bearish release {name}"
            ),
        )
    } else {
        (
            format!("{} of {MAX_HEALS} restarts in a row", service.heals),
            "Docker restarts it when it exits, the watchdog when it hangs.".to_owned(),
        )
    };
    let last = service.last_reason.as_ref();
    let last = last.map_or_else(String::new, |reason| format!("\nLast restart: {reason}"));
    format!(
        "{name} is a service, {reason}.\n{next}{last}\nWhat happened: scripts/bearish history {name}"
    )
}
