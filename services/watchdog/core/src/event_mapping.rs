//! Events for the operator, derived from journal records alone: a replay publishes the same events again under the
//! same ids. Entry point: [`operator_event`].

use protocol::duration::format_ms;
use protocol::event::EventBody;
use protocol::ids::SubjectToken;
use protocol::unit_remedy::UnitRemedy;

use crate::backoff::MAX_CONSECUTIVE_FAILURES;
use crate::diagnosis::diagnose;
use crate::evidence::Evidence;
use crate::model::{RunCommand, StartedBy};
use crate::reason::{NoRestartReason, QuarantineReason, RestartReason};
use crate::record::{Restart, ServiceRecord, SupervisionRecord, UnitRecord};
use crate::remedy;

/// Smallest `--max-restarts` for which a warning before the last restarts is useful.
const MIN_RESTARTS_FOR_WARNING: u32 = 10;
/// Remaining failures in a row from which a warning is sent.
const MIN_FAILURES_LEFT: u32 = 3;

/// The event that the operator receives for a record. `None` for records of internal interest.
pub fn operator_event(record: &SupervisionRecord) -> Option<EventBody> {
    match record {
        SupervisionRecord::WriterChanged {
            project,
            host,
            version,
            ..
        } => Some(EventBody::WatchdogStarted {
            project: project.clone(),
            host: host.clone(),
            version: version.clone(),
        }),
        // The start of a blindness is reported by the notifier, which reads it from the heartbeats.
        SupervisionRecord::BlindnessBegan { .. } => None,
        SupervisionRecord::BlindnessEnded { for_ms, missed, .. } => {
            Some(EventBody::WatchdogBlindnessEnded {
                for_ms: *for_ms,
                missed: missed.clone(),
            })
        }
        SupervisionRecord::ClockStepped { host, by_ms, .. } => {
            Some(EventBody::WatchdogClockStepped {
                host: host.clone(),
                by_ms: *by_ms,
            })
        }
        SupervisionRecord::Unit { unit, record, .. } => unit_event(unit.clone(), record),
        SupervisionRecord::Service {
            service, record, ..
        } => service_event(service, record).or_else(|| service_command_event(service, record)),
    }
}

fn service_event(service: &SubjectToken, record: &ServiceRecord) -> Option<EventBody> {
    let name = service.to_string();
    match record {
        ServiceRecord::RestartIntended { .. }
        | ServiceRecord::RestartFailed { .. }
        | ServiceRecord::Started {
            by: StartedBy::Docker,
            ..
        } => Some(EventBody::ServiceRestartScheduled {
            service: name,
            error: record.describe(),
        }),
        ServiceRecord::Started {
            by: StartedBy::Unknown | StartedBy::Operator,
            ..
        } => Some(EventBody::ServiceStarted {
            service: name,
            started_by: record.describe(),
        }),
        ServiceRecord::Recovered { after_ms } => Some(EventBody::ServiceRecovered {
            service: name,
            after_ms: *after_ms,
        }),
        ServiceRecord::Quarantined { reason, heals, .. } => Some(EventBody::ServiceQuarantined {
            service: name,
            reason: reason.clone(),
            restarts: *heals,
        }),
        // The creator of a container knows about it. The watchdog's own restart is followed by `Recovered`.
        ServiceRecord::HealsReset { .. }
        | ServiceRecord::HoldSet { .. }
        | ServiceRecord::Released { .. }
        | ServiceRecord::Started {
            by: StartedBy::NewContainer | StartedBy::Watchdog | StartedBy::AlreadyRunning,
            ..
        } => None,
    }
}

/// The event of a command about a service. `None` for other records.
fn service_command_event(service: &SubjectToken, record: &ServiceRecord) -> Option<EventBody> {
    let (command, by, reason) = match record {
        ServiceRecord::HoldSet { by, reason } => ("hold", by, Some(reason.clone())),
        ServiceRecord::Released { by } => ("release", by, None),
        _ => return None,
    };
    Some(EventBody::UnitCommandExecuted {
        unit: service.clone(),
        command: command.to_owned(),
        by: by.clone(),
        reason,
    })
}

fn unit_event(unit: SubjectToken, record: &UnitRecord) -> Option<EventBody> {
    match record {
        UnitRecord::RestartScheduled(restart) => Some(restart_event(unit, restart)),
        UnitRecord::UnitHealthy { after_ms, .. } => {
            after_ms.map(|after_ms| EventBody::UnitRecovered { unit, after_ms })
        }
        UnitRecord::Quarantined { .. } => quarantine_event(unit, record),
        UnitRecord::Stopped { exit_code, by, .. } => {
            let by = by.as_deref().unwrap_or("an operator");
            Some(EventBody::UnitStopped {
                unit,
                reason: format!("stopped by {by} (exit {exit_code})"),
            })
        }
        UnitRecord::Ended {
            exit_code, reason, ..
        } => ended_event(unit, *exit_code, *reason),
        UnitRecord::HangDetected { reason, .. } => Some(EventBody::UnitRestartSkipped {
            unit,
            reason: format!("{reason}; the watchdog only observes this unit"),
            remedy: UnitRemedy::Restart,
        }),
        UnitRecord::RestartPolicyUnreadable {
            error,
            observed_only,
            ..
        } => Some(EventBody::UnitRestartSkipped {
            unit,
            reason: policy_unreadable_text(error, *observed_only),
            remedy: UnitRemedy::Reconfigure,
        }),
        UnitRecord::HealthCritical { for_ms, reason } => Some(EventBody::UnitHealthCritical {
            unit,
            for_ms: *for_ms,
            reason: reason.clone(),
        }),
        UnitRecord::StopFailed { error, .. } => Some(EventBody::UnitStopFailed {
            unit,
            error: error.clone(),
        }),
        UnitRecord::RemovalConfirmed
        | UnitRecord::NotSupervised { .. }
        | UnitRecord::DuplicateHeartbeats { .. }
        | UnitRecord::DecisionHalted
        | UnitRecord::CommandExpired { .. } => {
            attention_text(record).map(|reason| EventBody::UnitWarning { unit, reason })
        }
        UnitRecord::Commanded { .. }
        | UnitRecord::HoldSet { .. }
        | UnitRecord::Released { .. }
        | UnitRecord::Forgotten { .. }
        | UnitRecord::Unlatched { .. } => command_event(unit, record),
        UnitRecord::RestartPolicyRead(_)
        | UnitRecord::Started { .. }
        | UnitRecord::FailuresReset { .. }
        | UnitRecord::HealthCriticalEnded
        | UnitRecord::LatchSeen(_)
        | UnitRecord::LogRead { .. }
        | UnitRecord::StopIntended { .. }
        | UnitRecord::StopRequested { .. }
        | UnitRecord::StopRequestExpired { .. }
        | UnitRecord::StartIntended { .. }
        | UnitRecord::ContainerRemoved => None,
    }
}

/// Why a unit needs attention. `None` for other records.
fn attention_text(record: &UnitRecord) -> Option<String> {
    Some(match record {
        UnitRecord::RemovalConfirmed => {
            "the container was removed, and no new one followed".to_owned()
        }
        UnitRecord::NotSupervised { reason, .. } => format!("not supervised: {reason}"),
        UnitRecord::DuplicateHeartbeats { .. } => {
            "two processes send heartbeats under this name; set a different INSTANCE for each"
                .to_owned()
        }
        UnitRecord::DecisionHalted => {
            "internal error: the decision about this unit does not come to rest; it is on hold \
             and not restarted"
                .to_owned()
        }
        UnitRecord::CommandExpired {
            command,
            by,
            after_ms,
        } => format!(
            "the command {} by {by} expired after {}: Docker could not carry it out",
            command.as_str(),
            format_ms(*after_ms)
        ),
        _ => return None,
    })
}

/// The event of a command. `None` for a stop: the operator is notified when the unit has stopped.
fn command_event(unit: SubjectToken, record: &UnitRecord) -> Option<EventBody> {
    let (command, by, reason) = match record {
        UnitRecord::Commanded { command, by, .. } if *command != RunCommand::Stop => {
            (command.as_str(), by, None)
        }
        UnitRecord::Forgotten { by } => ("forget", by, None),
        UnitRecord::HoldSet { by, reason } => ("hold", by, Some(reason.clone())),
        UnitRecord::Released { by, .. } => ("release", by, None),
        UnitRecord::Unlatched { latch, by, reason } => (
            "unlatch",
            by,
            Some(format!("{reason} (latch {})", latch.id)),
        ),
        _ => return None,
    };
    Some(EventBody::UnitCommandExecuted {
        unit,
        command: command.to_owned(),
        by: by.clone(),
        reason,
    })
}

/// A finished cycle is information. Near `--max-restarts` it becomes a restart with a warning, because the last
/// cycle ends in a quarantine.
fn restart_event(unit: SubjectToken, restart: &Restart) -> EventBody {
    let warnings = [limit_warning(restart), restart.trend.clone()];
    let warnings: Vec<String> = warnings.into_iter().flatten().collect();
    let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
    if restart.reason == RestartReason::CycleFinished && warning.is_none() {
        return EventBody::UnitCycleFinished {
            unit,
            attempt: restart.attempt,
            max_restarts: restart.max_restarts,
            uptime_ms: restart.uptime_ms,
            delay_ms: restart.delay_ms,
        };
    }
    let reason = restart.reason.to_string();
    EventBody::UnitRestartScheduled {
        unit,
        attempt: if restart.reason.is_counted() {
            restart.attempt
        } else {
            0
        },
        max_restarts: restart.max_restarts,
        reason: match warning {
            Some(warning) => format!("{reason}; {warning}"),
            None => reason,
        },
        consecutive_failures: restart.consecutive_failures,
        uptime_ms: restart.uptime_ms,
        delay_ms: restart.delay_ms,
        exit_code: restart.exit_code,
        last_error: restart.last_error.clone(),
    }
}

/// A warning while the operator still has time: nine tenths of the restarts are used, or most failures in a row.
fn limit_warning(restart: &Restart) -> Option<String> {
    let Restart {
        attempt,
        max_restarts,
        consecutive_failures,
        ..
    } = *restart;
    if !restart.reason.is_counted() {
        return None;
    }
    let is_near_max = u64::from(attempt) * 10 >= u64::from(max_restarts) * 9;
    if max_restarts >= MIN_RESTARTS_FOR_WARNING && is_near_max {
        return Some(format!(
            "approaching max restarts: {attempt} of {max_restarts} used"
        ));
    }
    let left = MAX_CONSECUTIVE_FAILURES.saturating_sub(consecutive_failures);
    (left < MIN_FAILURES_LEFT).then(|| {
        format!(
            "approaching quarantine: {consecutive_failures} of {MAX_CONSECUTIVE_FAILURES} consecutive failures"
        )
    })
}

fn quarantine_event(unit: SubjectToken, record: &UnitRecord) -> Option<EventBody> {
    let UnitRecord::Quarantined {
        quarantine_reason,
        reason,
        restarts,
        consecutive_failures,
        evidence,
        latch,
        ..
    } = record
    else {
        return None;
    };
    let evidence = evidence.as_deref();
    let text = match quarantine_reason {
        QuarantineReason::MaxRestarts => {
            format!("Max restarts reached: all {restarts} are used; last: {reason}")
        }
        QuarantineReason::ConsecutiveFailures => format!(
            "Too many consecutive failures: {consecutive_failures} (limit {MAX_CONSECUTIVE_FAILURES}); last: {reason}"
        ),
        QuarantineReason::RestartBudget => {
            format!("the unit keeps restarting: WATCHDOG_RESTART_BUDGET is used up; last: {reason}")
        }
        QuarantineReason::AccountLatched => {
            format!("{reason}: an account breaker or an operator stopped trading")
        }
        QuarantineReason::Misconfigured => match evidence.and_then(Evidence::settings_error) {
            Some(line) => format!("{reason}: {line}"),
            None => format!("{reason}: a restart does not fix the configuration"),
        },
    };
    let error = evidence.and_then(Evidence::error_line);
    let diagnosis = diagnose(&unit, reason, error).map_or_else(String::new, |diagnosis| {
        format!(". {}", diagnosis.describe())
    });
    Some(EventBody::UnitQuarantined {
        unit,
        reason: text + &diagnosis,
        restarts: *restarts,
        consecutive_failures: *consecutive_failures,
        exit_code: exit_code(reason),
        remedy: remedy::of_quarantine(*quarantine_reason, latch.as_ref()),
    })
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
        | RestartReason::StartStalled { .. }
        | RestartReason::Unhealthy { .. }
        | RestartReason::StartFailed { .. }
        | RestartReason::Commanded { .. } => None,
    }
}

fn ended_event(unit: SubjectToken, exit_code: i64, reason: NoRestartReason) -> Option<EventBody> {
    let text = reason.describe();
    let remedy = remedy::of_end(reason);
    match reason {
        NoRestartReason::BeforeSupervision => None,
        NoRestartReason::Finished => Some(EventBody::UnitStopped {
            unit,
            reason: format!("{text} (exit {exit_code})"),
        }),
        NoRestartReason::StartFailed => Some(EventBody::UnitRestartSkipped {
            unit,
            reason: text.to_owned(),
            remedy,
        }),
        NoRestartReason::NoAutoRestart | NoRestartReason::NoPolicy | NoRestartReason::OnHold => {
            Some(EventBody::UnitRestartSkipped {
                unit,
                reason: format!("exit {exit_code}; {text}"),
                remedy,
            })
        }
    }
}

fn policy_unreadable_text(error: &str, observed_only: bool) -> String {
    let consequence = if observed_only {
        "the unit is not restarted"
    } else {
        "the restart policy that was read last stays in force"
    };
    format!("invalid trader command line ({error}); {consequence}")
}
