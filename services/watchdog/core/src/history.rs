//! The lines of `watchdog history`: what happened to a unit, what the watchdog did, and the evidence.

use std::time::Duration;

use crate::model::StartedBy;
use crate::record::{Restart, UnitRecord};
use protocol::duration::{format_duration, format_ms};

/// One line for a record, followed by its evidence line by line.
pub fn describe(record: &UnitRecord) -> Vec<String> {
    let line = describe_policy_or_state(record).unwrap_or_else(|| describe_command(record));
    std::iter::once(line)
        .chain(describe_evidence(record))
        .collect()
}

/// `None` for records of commands and holds.
fn describe_policy_or_state(record: &UnitRecord) -> Option<String> {
    Some(match record {
        UnitRecord::RestartPolicyRead(policy) => format!(
            "restart policy: auto-restart {}, max restarts {}, restart delay {}",
            if policy.auto_restart { "on" } else { "off" },
            policy.max_restarts,
            format_duration(Duration::from_secs(policy.restart_delay_s))
        ),
        UnitRecord::RestartPolicyUnreadable { error, .. } => {
            format!("invalid trader command line: {error}")
        }
        UnitRecord::Started { by, config, .. } => match config {
            Some(config) => format!("{} ({config})", describe_start(*by)),
            None => describe_start(*by).to_owned(),
        },
        UnitRecord::UnitHealthy { after_ms: None, .. } => "healthy".to_owned(),
        UnitRecord::UnitHealthy {
            after_ms: Some(ms), ..
        } => format!("healthy again after {}", format_ms(*ms)),
        UnitRecord::FailuresReset { healthy_ms } => format!(
            "healthy for {}: consecutive failures reset",
            format_ms(*healthy_ms)
        ),
        UnitRecord::StopIntended { reason, .. } => format!("stopping: {reason}"),
        UnitRecord::HangDetected { reason, .. } => format!("not restarted: {reason}"),
        UnitRecord::RestartScheduled(restart) => describe_restart(restart),
        UnitRecord::StartIntended { .. } => "starting".to_owned(),
        UnitRecord::Quarantined {
            reason,
            restarts,
            consecutive_failures,
            ..
        } => format!(
            "quarantined: {reason}; {restarts} restarts, {consecutive_failures} consecutive failures"
        ),
        UnitRecord::Stopped { exit_code, by, .. } => format!(
            "stopped by {} (exit {exit_code})",
            by.as_deref().unwrap_or("an operator")
        ),
        UnitRecord::Ended {
            exit_code, reason, ..
        } => format!("ended with exit {exit_code}: {}", reason.describe()),
        UnitRecord::HealthCritical { for_ms, reason } => {
            format!("health critical for {}: {reason}", format_ms(*for_ms))
        }
        UnitRecord::HealthCriticalEnded => "health no longer critical".to_owned(),
        UnitRecord::LogRead { .. } => "log of the run before".to_owned(),
        UnitRecord::ContainerRemoved => "container removed".to_owned(),
        UnitRecord::RemovalConfirmed => "no new container followed the removal".to_owned(),
        UnitRecord::NotSupervised { reason, .. } => format!("not supervised: {reason}"),
        UnitRecord::StopRequested { .. } => "stop requested by an operator".to_owned(),
        UnitRecord::StopRequestExpired { .. } => "survived the requested stop".to_owned(),
        UnitRecord::StopFailed { error, .. } => format!("cannot be stopped: {error}"),
        UnitRecord::DuplicateHeartbeats { boot, .. } => {
            format!("a second process sends heartbeats under this name (boot {boot})")
        }
        UnitRecord::DecisionHalted => {
            "on hold: internal error, the decision does not come to rest".to_owned()
        }
        UnitRecord::Commanded { .. }
        | UnitRecord::CommandExpired { .. }
        | UnitRecord::Forgotten { .. }
        | UnitRecord::HoldSet { .. }
        | UnitRecord::Released { .. }
        | UnitRecord::LatchSeen(_)
        | UnitRecord::Unlatched { .. } => return None,
    })
}

fn describe_command(record: &UnitRecord) -> String {
    match record {
        UnitRecord::Commanded {
            command,
            by,
            is_deferred,
        } => {
            let waits = if *is_deferred {
                ", waits for Docker"
            } else {
                ""
            };
            format!("command {} by {by}{waits}", command.as_str())
        }
        UnitRecord::CommandExpired {
            command,
            by,
            after_ms,
        } => format!(
            "command {} by {by} expired after {}",
            command.as_str(),
            format_ms(*after_ms)
        ),
        UnitRecord::Forgotten { by } => format!("forgotten by {by}"),
        UnitRecord::HoldSet { by, reason } => format!("on hold by {by}: {reason}"),
        UnitRecord::Released {
            by,
            restarts_reset: false,
        } => format!("released by {by}"),
        UnitRecord::Released {
            by,
            restarts_reset: true,
        } => format!("released by {by}, restarts reset"),
        UnitRecord::LatchSeen(latch) => {
            format!("account {} is latched: {}", latch.account, latch.id)
        }
        UnitRecord::Unlatched { latch, by, reason } => {
            format!("latch {} ended by {by}: {reason}", latch.id)
        }
        _ => String::new(),
    }
}

fn describe_restart(restart: &Restart) -> String {
    format!(
        "restart {}/{} in {}: {}; {} consecutive failures, ran {}",
        restart.attempt,
        restart.max_restarts,
        format_ms(restart.delay_ms),
        restart.reason,
        restart.consecutive_failures,
        format_ms(restart.uptime_ms)
    )
}

fn describe_evidence(record: &UnitRecord) -> Vec<String> {
    if let UnitRecord::LogRead { log, log_error, .. } = record {
        let error = log_error
            .iter()
            .map(|error| format!("log not read: {error}"));
        return error
            .chain(log.iter().map(|line| format!("| {line}")))
            .collect();
    }
    let (last_error, evidence) = match record {
        UnitRecord::RestartScheduled(restart) => {
            (restart.last_error.as_ref(), restart.evidence.as_ref())
        }
        UnitRecord::Quarantined { evidence, .. } => (None, evidence.as_ref()),
        _ => (None, None),
    };
    match evidence {
        Some(evidence) => evidence.describe(),
        None => last_error.into_iter().cloned().collect(),
    }
}

const fn describe_start(by: StartedBy) -> &'static str {
    match by {
        StartedBy::AlreadyRunning => "already running when supervision began",
        StartedBy::Watchdog => "started by the watchdog",
        StartedBy::Docker => "started by Docker",
        StartedBy::NewContainer => "started in a new container",
        StartedBy::Operator => "started by an operator",
        StartedBy::Unknown => "started",
    }
}
