//! Facts in words, for `past_events`: what was done about a unit, and what was found before it.

use std::time::Duration;

use crate::record::{NoRestartReason, Restart, StartedBy, UnitRecord};

/// A fact in one line; what was found before it in more.
pub fn describe(fact: &UnitRecord) -> Vec<String> {
    let line = match fact {
        UnitRecord::RestartPolicyRead(policy) => format!(
            "flags read: auto-restart {}, at most {} restarts, {} s between them",
            on_off(policy.auto_restart),
            policy.max_restarts,
            policy.restart_delay_s
        ),
        UnitRecord::RestartPolicyUnreadable { error: why, .. } => {
            format!("flags not understood: {why}")
        }
        UnitRecord::Started { by, .. } => describe_started_by(*by).to_owned(),
        UnitRecord::UnitHealthy { after_ms: None, .. } => "healthy".to_owned(),
        UnitRecord::UnitHealthy {
            after_ms: Some(ms), ..
        } => format!("healthy again after {}", format_duration(*ms)),
        UnitRecord::FailuresReset { healthy_ms } => {
            format!(
                "healthy for {}: earlier failures count no more",
                format_duration(*healthy_ms)
            )
        }
        UnitRecord::StopIntended { reason, .. } => format!("stop: {reason}"),
        UnitRecord::HangDetected { reason, .. } => format!("only observed: {reason}"),
        UnitRecord::RestartScheduled(restart) => describe_restart(restart),
        UnitRecord::StartIntended { .. } => "start".to_owned(),
        UnitRecord::Quarantined {
            reason,
            restarts,
            consecutive_failures: consecutive,
            ..
        } => format!("given up: {reason}; {restarts} restarts, {consecutive} failures in a row"),
        UnitRecord::Stopped {
            exit_code: exit,
            by,
            ..
        } => format!(
            "stopped by {} (exit {exit})",
            by.as_deref().unwrap_or("a person")
        ),
        UnitRecord::Ended {
            exit_code: exit,
            reason: why,
            ..
        } => format!(
            "ended with exit {exit}: {}",
            describe_no_restart_reason(*why)
        ),
        UnitRecord::Commanded { command: order, by } => format!("{by} ordered: {}", order.as_str()),
        UnitRecord::HoldSet { by, reason: why } => format!("held by {by}: {why}"),
        UnitRecord::Released {
            by,
            restarts_reset: false,
        } => format!("released by {by}"),
        UnitRecord::Released {
            by,
            restarts_reset: true,
        } => format!("released by {by}, restarts from zero"),
        UnitRecord::HealthCritical {
            for_ms,
            reason: why,
        } => {
            format!("critical for {}: {why}", format_duration(*for_ms))
        }
        UnitRecord::HealthCriticalEnded => "no longer critical".to_owned(),
        UnitRecord::LatchSeen(latch) => {
            format!("account {} is latched by {}", latch.account, latch.id)
        }
        UnitRecord::Unlatched {
            latch,
            by,
            reason: why,
        } => {
            format!("{by} ended latch {}: {why}; it may start", latch.id)
        }
        UnitRecord::LogRead { .. } => "what it had said before that".to_owned(),
        UnitRecord::ContainerRemoved => "its container was removed".to_owned(),
    };
    std::iter::once(line)
        .chain(describe_evidence(fact))
        .collect()
}

fn describe_restart(restart: &Restart) -> String {
    format!(
        "restart {}/{} in {}: {}; {} in a row, ran {}",
        restart.attempt,
        restart.max_restarts,
        format_duration(restart.delay_ms),
        restart.reason,
        restart.consecutive_failures,
        format_duration(restart.uptime_ms)
    )
}

fn describe_evidence(fact: &UnitRecord) -> Vec<String> {
    if let UnitRecord::LogRead {
        log,
        log_error: log_unread,
        ..
    } = fact
    {
        let unread = log_unread.iter().map(|why| format!("log not read: {why}"));
        return unread
            .chain(log.iter().map(|line| format!("| {line}")))
            .collect();
    }
    let (evidence, found) = match fact {
        UnitRecord::RestartScheduled(restart) => {
            (restart.last_error.as_ref(), restart.evidence.as_ref())
        }
        UnitRecord::Quarantined {
            evidence: found, ..
        } => (None, found.as_ref()),
        _ => (None, None),
    };
    match found {
        Some(found) => found.describe(),
        None => evidence.into_iter().cloned().collect(),
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

const fn describe_started_by(by: StartedBy) -> &'static str {
    match by {
        StartedBy::AlreadyRunning => "found running",
        StartedBy::Watchdog => "runs, started by the watchdog",
        StartedBy::Operator => "runs, started by a person",
    }
}

/// Why an end is not answered, in words.
pub const fn describe_no_restart_reason(why: NoRestartReason) -> &'static str {
    match why {
        NoRestartReason::Finished => "its work is done",
        NoRestartReason::BeforeSupervision => "before anybody watched",
        NoRestartReason::NoAutoRestart => "not restarted without --auto-restart",
        NoRestartReason::NoPolicy => "its flags are unknown, so it is not restarted",
        NoRestartReason::OnHold => "it is held, so it is not restarted before its release",
        NoRestartReason::StartFailed => "the engine did not start it",
    }
}

/// A span for people: 2.5s, 4m, 3h 20m, 2d 4h.
pub fn format_duration(ms: u64) -> String {
    let secs = Duration::from_millis(ms).as_secs();
    match secs {
        0..10 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        10..120 => format!("{secs}s"),
        120..7_200 => format!("{}m", secs / 60),
        7_200..172_800 => format!("{}h {}m", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{}d {}h", secs / 86_400, secs % 86_400 / 3_600),
    }
}
