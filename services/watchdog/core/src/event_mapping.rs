//! What of the journal the owner hears. Derived from the records alone, so that a replay can publish
//! the same events again under the same ids.

use protocol::event::EventBody;
use protocol::ids::SubjectToken;

use crate::backoff::MAX_CONSECUTIVE_FAILURES;
use crate::diagnosis::diagnose;
use crate::evidence::Evidence;
use crate::history;
use crate::record::{
    NoRestartReason, QuarantineReason, Restart, RestartReason, RunCommand, SupervisionRecord,
    UnitRecord,
};
use crate::service_healing::{ServiceRecord, ServiceStartedBy};

/// Who may have fewer restarts than this needs no warning before the last.
const MIN_RESTARTS_FOR_WARNING: u32 = 10;
const MANUAL_INTERVENTION: &str = "manual intervention required";

/// The event that this record is for the owner; none for what only the watchdog needs to know.
pub fn operator_event(record: &SupervisionRecord) -> Option<EventBody> {
    match record {
        SupervisionRecord::WriterChanged {
            project, version, ..
        } => Some(EventBody::WatchdogStarted {
            project: project.clone(),
            version: version.clone(),
        }),
        SupervisionRecord::Unit {
            unit, record: fact, ..
        } => unit_event(unit.clone(), fact),
        SupervisionRecord::Service {
            service,
            record: fact,
            ..
        } => service_event(service, fact),
    }
}

fn service_event(service: &SubjectToken, fact: &ServiceRecord) -> Option<EventBody> {
    let part = service.to_string();
    match fact {
        ServiceRecord::RestartIntended { .. }
        | ServiceRecord::RestartFailed { .. }
        | ServiceRecord::Started {
            by: ServiceStartedBy::Docker,
            ..
        } => Some(EventBody::ComponentFailed {
            component: part,
            error: fact.describe(),
        }),
        ServiceRecord::Started {
            by: ServiceStartedBy::Unknown,
            ..
        } => Some(EventBody::ServiceStarted {
            service: part,
            started_by: fact.describe(),
        }),
        ServiceRecord::Recovered { after_ms } => Some(EventBody::ComponentRecovered {
            component: part,
            after_ms: *after_ms,
        }),
        // Its maker knows, and of a restart of ours is said that it is well again.
        ServiceRecord::Started {
            by: ServiceStartedBy::NewContainer | ServiceStartedBy::Watchdog,
            ..
        } => None,
    }
}

fn unit_event(unit: SubjectToken, fact: &UnitRecord) -> Option<EventBody> {
    match fact {
        UnitRecord::RestartScheduled(restart) => Some(restart_event(unit, restart)),
        UnitRecord::UnitHealthy { after_ms, .. } => {
            after_ms.map(|after_ms| EventBody::UnitRecovered { unit, after_ms })
        }
        UnitRecord::Quarantined {
            quarantine_reason: why,
            reason,
            restarts,
            consecutive_failures: consecutive,
            evidence: found,
            ..
        } => Some(EventBody::UnitQuarantined {
            unit,
            reason: quarantine_text(*why, reason, *restarts, *consecutive)
                + &diagnosis_text(reason, found.as_deref()),
            restarts: *restarts,
            consecutive_failures: *consecutive,
            exit_code: exit_code(reason),
        }),
        UnitRecord::Stopped {
            exit_code: exit,
            by,
            ..
        } => {
            let by = by.as_deref().unwrap_or("a person");
            Some(EventBody::UnitStopped {
                unit,
                reason: format!("stopped by {by} (exit {exit})"),
            })
        }
        UnitRecord::Ended {
            exit_code: exit,
            reason: why,
            ..
        } => ended_event(unit, *exit, *why),
        UnitRecord::HangDetected { reason, .. } => Some(EventBody::UnitRestartSkipped {
            unit,
            reason: format!("{reason}; it is only observed"),
        }),
        UnitRecord::RestartPolicyUnreadable {
            error: why,
            observed_only,
            ..
        } => Some(EventBody::UnitRestartSkipped {
            unit,
            reason: policy_unreadable_text(why, *observed_only),
        }),
        UnitRecord::Commanded { command: order, by } if *order != RunCommand::Stop => {
            Some(command_event(unit, order.as_str(), by, None))
        }
        UnitRecord::HoldSet { by, reason: why } => {
            Some(command_event(unit, "hold", by, Some(why.clone())))
        }
        UnitRecord::Released { by, .. } => Some(command_event(unit, "release", by, None)),
        UnitRecord::Unlatched {
            latch,
            by,
            reason: why,
        } => {
            let why = format!("{why} (latch {})", latch.id);
            Some(command_event(unit, "unlatch", by, Some(why)))
        }
        UnitRecord::HealthCritical {
            for_ms,
            reason: why,
        } => Some(EventBody::UnitHealthCritical {
            unit,
            for_ms: *for_ms,
            reason: why.clone(),
        }),
        // Who ordered a stop is told once it has stopped.
        UnitRecord::Commanded { .. }
        | UnitRecord::RestartPolicyRead(_)
        | UnitRecord::Started { .. }
        | UnitRecord::FailuresReset { .. }
        | UnitRecord::HealthCriticalEnded
        | UnitRecord::LatchSeen(_)
        | UnitRecord::LogRead { .. }
        | UnitRecord::StopIntended { .. }
        | UnitRecord::StartIntended { .. }
        | UnitRecord::ContainerRemoved => None,
    }
}

fn command_event(unit: SubjectToken, command: &str, by: &str, why: Option<String>) -> EventBody {
    EventBody::UnitCommandExecuted {
        unit,
        command: command.to_owned(),
        by: by.to_owned(),
        reason: why,
    }
}

fn restart_event(unit: SubjectToken, restart: &Restart) -> EventBody {
    let Restart {
        attempt,
        max_restarts: max,
        consecutive_failures: consecutive,
        uptime_ms,
        delay_ms,
        exit_code: exit,
        ..
    } = *restart;
    if restart.reason == RestartReason::CycleFinished {
        return EventBody::UnitCycleFinished {
            unit,
            attempt,
            max_restarts: max,
            uptime_ms,
            delay_ms,
        };
    }
    EventBody::UnitRestartScheduled {
        unit,
        attempt: if restart.reason.is_counted() {
            attempt
        } else {
            0
        },
        max_restarts: max,
        reason: restart.reason.to_string() + &limit_warning(restart),
        consecutive_failures: consecutive,
        uptime_ms,
        delay_ms,
        exit_code: exit,
        last_error: restart.last_error.clone(),
    }
}

/// Said while there is still time to look: nine tenths of the restarts are used, or most of a row.
fn limit_warning(restart: &Restart) -> String {
    let Restart {
        attempt,
        max_restarts: max,
        consecutive_failures: consecutive,
        ..
    } = *restart;
    if !restart.reason.is_counted() {
        return String::new();
    }
    let left = MAX_CONSECUTIVE_FAILURES.saturating_sub(consecutive);
    if max >= MIN_RESTARTS_FOR_WARNING && u64::from(attempt) * 10 >= u64::from(max) * 9 {
        format!("; {attempt} of its {max} restarts are used up: look into it before they end")
    } else if left < 3 {
        format!("; after {left} more failures in a row it is given up")
    } else {
        String::new()
    }
}

fn quarantine_text(
    why: QuarantineReason,
    reason: &RestartReason,
    restarts: u32,
    consecutive: u32,
) -> String {
    match why {
        QuarantineReason::MaxRestarts => {
            format!("all {restarts} restarts are used up, last: {reason}; {MANUAL_INTERVENTION}")
        }
        QuarantineReason::ConsecutiveFailures => format!(
            "{consecutive} failures in a row (allowed are {MAX_CONSECUTIVE_FAILURES}), last: {reason}; {MANUAL_INTERVENTION}"
        ),
        QuarantineReason::RestartBudget => format!(
            "more restarts within hours than WATCHDOG_RESTART_BUDGET allows, last: {reason}; {MANUAL_INTERVENTION}"
        ),
        QuarantineReason::AccountLatched => {
            format!(
                "{reason}: a circuit breaker or an operator closed everything; {MANUAL_INTERVENTION}"
            )
        }
        QuarantineReason::Misconfigured => {
            format!("{reason}: a restart does not mend that; {MANUAL_INTERVENTION}")
        }
    }
}

/// The likely cause and what helps, behind what happened.
fn diagnosis_text(reason: &RestartReason, found: Option<&Evidence>) -> String {
    let error = found.and_then(Evidence::error_line);
    diagnose(reason, error).map_or_else(String::new, |remedy| format!(". {}", remedy.describe()))
}

const fn exit_code(reason: &RestartReason) -> Option<i64> {
    match reason {
        RestartReason::Crashed { code }
        | RestartReason::ExitNotRestartable { code }
        | RestartReason::DockerOutage { code } => Some(*code),
        RestartReason::OutOfMemory => Some(137),
        RestartReason::UnexpectedExit0 => Some(0),
        RestartReason::CycleFinished => Some(20),
        RestartReason::HeartbeatLost { .. }
        | RestartReason::ComponentStalled { .. }
        | RestartReason::MarketDataLost { .. }
        | RestartReason::NoFirstHeartbeat { .. }
        | RestartReason::StartFailed { .. }
        | RestartReason::Commanded { .. } => None,
    }
}

fn ended_event(unit: SubjectToken, exit: i64, why: NoRestartReason) -> Option<EventBody> {
    let reason = match why {
        NoRestartReason::BeforeSupervision => return None,
        NoRestartReason::Finished => {
            let reason = format!("its work is done (exit {exit})");
            return Some(EventBody::UnitStopped { unit, reason });
        }
        NoRestartReason::StartFailed => {
            "ordered to start, but the engine did not start it".to_owned()
        }
        NoRestartReason::NoAutoRestart | NoRestartReason::NoPolicy | NoRestartReason::OnHold => {
            format!(
                "ended with exit {exit}; {}",
                history::describe_no_restart_reason(why)
            )
        }
    };
    Some(EventBody::UnitRestartSkipped { unit, reason })
}

fn policy_unreadable_text(why: &str, observed_only: bool) -> String {
    if observed_only {
        format!("its flags are not understood ({why}): it is only observed")
    } else {
        format!("its flags are not understood ({why}): the ones read last hold")
    }
}
