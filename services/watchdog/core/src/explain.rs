//! Why a unit is as it is, in a sentence or two, and what would help: `describe_error`.

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use serde::Serialize;

use crate::diagnosis::{Diagnosis, diagnose};
use crate::failure_groups::FailureGroup;
use crate::history::format_duration;
use crate::phase::UnitPhase;
use crate::record::{QuarantineReason, RestartReason};
use crate::unit::Unit;

/// The answer in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Which unit.
    pub unit: SubjectToken,
    /// What it does at present.
    pub phase: &'static str,
    /// Since when.
    pub since: UtcMs,
    /// Why that is so.
    pub reason: String,
    /// What follows, and when.
    pub next: String,
    /// Until its next start, in milliseconds.
    pub next_start_ms: Option<u64>,
    /// The likely cause of its last failure, and what helps.
    #[serde(flatten)]
    pub diagnosis: Option<Diagnosis>,
    /// What it said of an error before its last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Its failures by what they look like, the most frequent first.
    pub failures: Vec<FailureGroup>,
}

impl Explanation {
    /// For people.
    pub fn text(&self) -> String {
        let since: String = self.since.to_string().chars().take(19).collect();
        let mut text = format!(
            "{} is {} since {since}: {}. {}.",
            self.unit, self.phase, self.reason, self.next
        );
        let error = self.last_error.as_ref();
        let said = error.map(|error| format!(" Its last error: {error}."));
        let helps = self
            .diagnosis
            .map(|remedy| format!(" {}", remedy.describe()));
        let kinds = self
            .failures
            .iter()
            .map(|g| format!("\n  {}", g.describe()));
        text.extend(said.into_iter().chain(helps).chain(kinds));
        text
    }
}

/// Explains a unit.
pub fn explain(name: &SubjectToken, unit: &Unit, now: UtcMs) -> Explanation {
    let troubled = !matches!(
        unit.phase,
        UnitPhase::Stopped { .. } | UnitPhase::Gone | UnitPhase::Unknown
    );
    let last = unit.last_reason.as_ref().filter(|_| troubled);
    Explanation {
        unit: name.clone(),
        phase: phase_text(unit),
        since: unit.since,
        reason: phase_reason(unit),
        next: next_step(name, unit, now),
        next_start_ms: next_start_ms(unit, now),
        last_error: last.and(unit.last_error.clone()),
        diagnosis: last.and_then(|reason| diagnose(reason, unit.last_error.as_deref())),
        failures: unit.failures.groups(now),
    }
}

/// What is left of a wait, by the wall clock; none for one that does not wait.
pub fn next_start_ms(unit: &Unit, now: UtcMs) -> Option<u64> {
    let UnitPhase::RestartPending { delay_ms, .. } = unit.phase else {
        return None;
    };
    let passed = u64::try_from(now.since(unit.since).as_millis()).unwrap_or(u64::MAX);
    Some(delay_ms.saturating_sub(passed))
}

const fn phase_text(unit: &Unit) -> &'static str {
    match (&unit.phase, &unit.hold) {
        (UnitPhase::Running(_), None) if unit.healthy_since.is_none() => "running, not heard yet",
        (UnitPhase::Running(_), None) => "running and healthy",
        (UnitPhase::Running(_), Some(_)) => "running, held",
        (phase, _) => phase.as_str(),
    }
}

fn phase_reason(unit: &Unit) -> String {
    if let Some(hold) = &unit.hold {
        return format!("{} holds it ({})", hold.by, hold.reason);
    }
    let last = unit.last_reason.as_ref().map(RestartReason::to_string);
    let last = last.as_deref().unwrap_or("nothing ever failed");
    match &unit.phase {
        UnitPhase::Running(_) if unit.consecutive_failures == 0 => {
            "its failures, if any, are forgiven".to_owned()
        }
        UnitPhase::Running(_) => format!(
            "{} in a row so far, last: {last}",
            format_failures(unit.consecutive_failures)
        ),
        UnitPhase::Stopping { reason, .. } => reason.to_string(),
        UnitPhase::RestartPending { .. } | UnitPhase::Starting { .. } => {
            format!(
                "{last}; {} in a row",
                format_failures(unit.consecutive_failures)
            )
        }
        UnitPhase::Quarantined { reason: why, .. } => {
            format!("{}, last: {last}", quarantine_text(*why, unit))
        }
        UnitPhase::Stopped { .. } => "a person stopped it".to_owned(),
        UnitPhase::Ended { .. } => "it ended and is not to be restarted".to_owned(),
        UnitPhase::Gone => "its container was removed".to_owned(),
        UnitPhase::Unknown => "it was never seen alive".to_owned(),
    }
}

fn format_failures(count: u32) -> String {
    match count {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        more => format!("{more} failures"),
    }
}

fn quarantine_text(why: QuarantineReason, unit: &Unit) -> String {
    match why {
        QuarantineReason::MaxRestarts => format!("all {} restarts are used up", unit.restarts),
        QuarantineReason::ConsecutiveFailures => {
            format!("{} in a row", format_failures(unit.consecutive_failures))
        }
        QuarantineReason::RestartBudget => {
            "more restarts within hours than WATCHDOG_RESTART_BUDGET allows".to_owned()
        }
        QuarantineReason::AccountLatched => {
            "a critical circuit breaker or an operator closed everything".to_owned()
        }
        QuarantineReason::Misconfigured => "a restart does not mend its configuration".to_owned(),
    }
}

fn next_step(name: &SubjectToken, unit: &Unit, now: UtcMs) -> String {
    if unit.hold.is_some() {
        return format!("Nothing is done until `watchdog release {name}`");
    }
    match &unit.phase {
        UnitPhase::Running(_) if unit.pending_command.is_some() => {
            "It will be stopped, as ordered".to_owned()
        }
        UnitPhase::Running(_) => "Nothing is to be done".to_owned(),
        UnitPhase::Stopping { .. } => "It is being stopped".to_owned(),
        UnitPhase::RestartPending { .. } => {
            let left = next_start_ms(unit, now).unwrap_or_default();
            format!("It is started again in {}", format_duration(left))
        }
        UnitPhase::Starting { .. } => "It is being started".to_owned(),
        UnitPhase::Quarantined {
            reason: QuarantineReason::MaxRestarts,
            ..
        } => format!("It stays down until `watchdog release {name} --reset-restarts`"),
        UnitPhase::Quarantined { .. } if unit.latch.is_some() => {
            let latch = unit.latch.as_ref().map_or("", |latch| latch.id.as_str());
            format!(
                "It stays down until `trader unlatch --latch {latch} --reason TEXT`, or `watchdog \
                 release {name}`"
            )
        }
        UnitPhase::Quarantined { .. } => format!("It stays down until `watchdog release {name}`"),
        UnitPhase::Stopped { .. } | UnitPhase::Ended { .. } => {
            format!("It stays down until `watchdog start {name}`")
        }
        UnitPhase::Gone | UnitPhase::Unknown => "`docker compose up` makes it".to_owned(),
    }
}
