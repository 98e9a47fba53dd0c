//! `watchdog explain`: the state of a unit, its cause, the next step and the fix, one line each.

use protocol::duration::format_ms;
use protocol::host_command;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use protocol::unit_remedy::UnitRemedy;
use serde::Serialize;

use crate::diagnosis::{Diagnosis, diagnose};
use crate::failure_groups::FailureGroup;
use crate::format::format_time;
use crate::phase::UnitPhase;
use crate::reason::{QuarantineReason, RestartReason};
use crate::remedy;
use crate::unit::Unit;

/// The explanation in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Name of the unit, such as `trader-paper-1`.
    pub unit: SubjectToken,
    /// The unit's phase, with health and hold.
    pub phase: &'static str,
    /// Start of the phase.
    pub since: UtcMs,
    /// The cause of the phase.
    pub reason: String,
    /// The next step, by the watchdog or the operator.
    pub next: String,
    /// Milliseconds until the next start. `None` if no start is scheduled.
    pub next_start_ms: Option<u64>,
    /// The likely cause of the last failure, and its fix.
    #[serde(flatten)]
    pub diagnosis: Option<Diagnosis>,
    /// The error that the unit reported before its last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Failures grouped by signature, the most frequent first.
    pub failures: Vec<FailureGroup>,
}

impl Explanation {
    /// The explanation as text, followed by the failure groups.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{} is {} since {}: {}.\n{}.",
            self.unit,
            self.phase,
            format_time(self.since),
            self.reason,
            self.next
        );
        let diagnosis = self.diagnosis.as_ref();
        text.extend(diagnosis.map(|diagnosis| format!("\n{}", diagnosis.describe())));
        let last_error = self.last_error.as_ref();
        text.extend(last_error.map(|error| format!("\nLast error: {error}")));
        if !self.failures.is_empty() {
            text.push_str("\nFailures so far:");
        }
        let groups = self.failures.iter();
        text.extend(groups.map(|group| format!("\n  {}", group.describe())));
        text
    }
}

/// Explains the state of a unit at `now`.
pub fn explain(name: &SubjectToken, unit: &Unit, now: UtcMs) -> Explanation {
    // What is over is listed with the failures, but explains nothing.
    let is_explained_by_failure = match unit.phase {
        UnitPhase::Stopped { .. }
        | UnitPhase::Gone
        | UnitPhase::NotSupervised { .. }
        | UnitPhase::Unknown => false,
        UnitPhase::Running(_) => unit.consecutive_failures > 0,
        _ => true,
    };
    let last = unit
        .last_reason
        .as_ref()
        .filter(|_| is_explained_by_failure);
    Explanation {
        unit: name.clone(),
        phase: phase_text(unit),
        since: unit.since,
        reason: phase_reason(unit),
        next: next_step(name, unit, now),
        next_start_ms: next_start_ms(unit, now),
        last_error: last.and(unit.last_error.clone()),
        diagnosis: last.and_then(|reason| diagnose(name, reason, unit.last_error.as_deref())),
        failures: unit.failures.groups(now),
    }
}

/// Milliseconds until the scheduled start, by the wall clock. `None` if no start is scheduled.
pub fn next_start_ms(unit: &Unit, now: UtcMs) -> Option<u64> {
    let UnitPhase::RestartPending { delay_ms, .. } = unit.phase else {
        return None;
    };
    Some(delay_ms.saturating_sub(now.millis_since(unit.since)))
}

const fn phase_text(unit: &Unit) -> &'static str {
    match (&unit.phase, &unit.hold) {
        (UnitPhase::Running(_), None) if unit.healthy_since.is_none() => {
            "running, no heartbeat yet"
        }
        (UnitPhase::Running(_), None) => "running and healthy",
        (UnitPhase::Running(_), Some(_)) => "running, on hold",
        (phase, _) => phase.as_str(),
    }
}

fn phase_reason(unit: &Unit) -> String {
    if let Some(hold) = &unit.hold {
        return format!("on hold by {} ({})", hold.by, hold.reason);
    }
    let last = unit.last_reason.as_ref().map(RestartReason::to_string);
    let last = last.as_deref().unwrap_or("no failure recorded");
    let failures = format_failures(unit.consecutive_failures);
    match &unit.phase {
        UnitPhase::Running(_) if unit.consecutive_failures == 0 => "no recent failures".to_owned(),
        UnitPhase::Running(_) => format!("{failures}, last: {last}"),
        UnitPhase::Stopping { reason, .. } => reason.to_string(),
        UnitPhase::RestartPending { .. } | UnitPhase::Starting { .. } => {
            format!("{last}; {failures}")
        }
        UnitPhase::Quarantined { reason, .. } => {
            format!("{}, last: {last}", quarantine_text(*reason, unit))
        }
        UnitPhase::Stopped { .. } => "stopped by an operator".to_owned(),
        UnitPhase::Ended { .. } => "the unit ended and is not restarted".to_owned(),
        UnitPhase::Gone => "the container was removed".to_owned(),
        UnitPhase::NotSupervised { reason } => reason.clone(),
        UnitPhase::Unknown => "the unit was never seen running".to_owned(),
    }
}

fn format_failures(count: u32) -> String {
    match count {
        1 => "1 failure".to_owned(),
        more => format!("{more} consecutive failures"),
    }
}

fn quarantine_text(reason: QuarantineReason, unit: &Unit) -> String {
    match reason {
        QuarantineReason::MaxRestarts => {
            format!("Max restarts reached ({})", unit.restarts)
        }
        QuarantineReason::ConsecutiveFailures => format!(
            "Too many consecutive failures ({})",
            unit.consecutive_failures
        ),
        QuarantineReason::RestartBudget => {
            "the unit keeps restarting: WATCHDOG_RESTART_BUDGET is used up".to_owned()
        }
        QuarantineReason::AccountLatched => {
            "an account breaker or an operator latched the account".to_owned()
        }
        QuarantineReason::Misconfigured => "a restart does not fix the configuration".to_owned(),
    }
}

fn next_step(name: &SubjectToken, unit: &Unit, now: UtcMs) -> String {
    let release = format!("scripts/bearish release {name}");
    if unit.hold.is_some() {
        return format!("The watchdog does not act until `{release}`");
    }
    match &unit.phase {
        UnitPhase::Running(_) if unit.pending_command.is_some() => {
            "The commanded stop follows".to_owned()
        }
        UnitPhase::Running(_) => "Nothing to do".to_owned(),
        UnitPhase::Stopping { .. } => "The unit is being stopped".to_owned(),
        UnitPhase::RestartPending { .. } => {
            let left = next_start_ms(unit, now).unwrap_or_default();
            format!("The next start is in {}", format_ms(left))
        }
        UnitPhase::Starting { .. } => "The unit is being started".to_owned(),
        UnitPhase::Quarantined { reason, .. } => {
            match remedy::of_quarantine(*reason, unit.latch.as_ref()) {
                UnitRemedy::Release {
                    reset_restarts: true,
                } => format!("To start it: `{release} --reset-restarts`"),
                UnitRemedy::Unlatch { account, latch } => {
                    let unlatch = host_command::unlatch(account.mode, latch);
                    format!("To start it: `{unlatch}`")
                }
                UnitRemedy::FindLatch => {
                    "To start it: end the latch; the command is in `scripts/bearish status`"
                        .to_owned()
                }
                UnitRemedy::Reconfigure => {
                    "To start it: correct .env, then run `scripts/up`".to_owned()
                }
                UnitRemedy::Release { .. } | UnitRemedy::Start | UnitRemedy::Restart => {
                    format!("To start it: `{release}`")
                }
            }
        }
        UnitPhase::Stopped { .. } | UnitPhase::Ended { .. } => {
            format!("To start it: `scripts/bearish start {name}`")
        }
        UnitPhase::NotSupervised { .. } => {
            "To supervise it: correct that, then run `scripts/up`".to_owned()
        }
        UnitPhase::Gone => format!(
            "To create it: `scripts/up`; to remove it from the list: `scripts/bearish forget {name}`"
        ),
        UnitPhase::Unknown => "To create it: `scripts/up`".to_owned(),
    }
}
