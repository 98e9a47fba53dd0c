//! Why a unit is as it is, in a sentence or two, and what would help: `explain`.

use protocol::ids::Token;
use protocol::time::UtcMs;
use serde::Serialize;

use crate::failures::Group;
use crate::history::span;
use crate::phase::Phase;
use crate::record::{Reason, Why};
use crate::remedy::{Remedy, remedy_of};
use crate::unit::Unit;

/// The answer in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Which unit.
    pub unit: Token,
    /// What it does at present.
    pub verdict: &'static str,
    /// Since when.
    pub since: UtcMs,
    /// Why that is so.
    pub why: String,
    /// What follows, and when.
    pub next: String,
    /// Until its next start, in milliseconds.
    pub next_start_ms: Option<u64>,
    /// The likely cause of its last failure, and what helps.
    #[serde(flatten)]
    pub remedy: Option<Remedy>,
    /// What it said of an error before its last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Its failures by what they look like, the most frequent first.
    pub failures: Vec<Group>,
}

impl Explanation {
    /// For people.
    pub fn text(&self) -> String {
        let since: String = self.since.to_string().chars().take(19).collect();
        let mut text = format!(
            "{} is {} since {since}: {}. {}.",
            self.unit, self.verdict, self.why, self.next
        );
        let error = self.last_error.as_ref();
        let said = error.map(|error| format!(" Its last error: {error}."));
        let helps = self.remedy.map(|remedy| format!(" {}", remedy.sentence()));
        let kinds = self.failures.iter().map(|g| format!("\n  {}", g.words()));
        text.extend(said.into_iter().chain(helps).chain(kinds));
        text
    }
}

/// Explains a unit.
pub fn explain(name: &Token, unit: &Unit, now: UtcMs) -> Explanation {
    let troubled = !matches!(
        unit.phase,
        Phase::Stopped { .. } | Phase::Gone | Phase::Unknown
    );
    let last = unit.last_reason.as_ref().filter(|_| troubled);
    Explanation {
        unit: name.clone(),
        verdict: verdict(unit),
        since: unit.since,
        why: why(unit),
        next: next(name, unit, now),
        next_start_ms: next_start_ms(unit, now),
        last_error: last.and(unit.last_error.clone()),
        remedy: last.and_then(|reason| remedy_of(reason, unit.last_error.as_deref())),
        failures: unit.failures.groups(now),
    }
}

/// What is left of a wait, by the wall clock; none for one that does not wait.
pub fn next_start_ms(unit: &Unit, now: UtcMs) -> Option<u64> {
    let Phase::Waiting { delay_ms, .. } = unit.phase else {
        return None;
    };
    let passed = u64::try_from(now.since(unit.since).as_millis()).unwrap_or(u64::MAX);
    Some(delay_ms.saturating_sub(passed))
}

const fn verdict(unit: &Unit) -> &'static str {
    match (&unit.phase, &unit.held) {
        (Phase::Running(_), None) if unit.healthy.is_none() => "running, not heard yet",
        (Phase::Running(_), None) => "running and healthy",
        (Phase::Running(_), Some(_)) => "running, held",
        (phase, _) => phase.as_str(),
    }
}

fn why(unit: &Unit) -> String {
    if let Some(hold) = &unit.held {
        return format!("{} holds it ({})", hold.by, hold.why);
    }
    let last = unit.last_reason.as_ref().map(Reason::to_string);
    let last = last.as_deref().unwrap_or("nothing ever failed");
    match &unit.phase {
        Phase::Running(_) if unit.consecutive == 0 => {
            "its failures, if any, are forgiven".to_owned()
        }
        Phase::Running(_) => format!(
            "{} in a row so far, last: {last}",
            failures(unit.consecutive)
        ),
        Phase::Stopping { reason, .. } => reason.to_string(),
        Phase::Waiting { .. } | Phase::Starting { .. } => {
            format!("{last}; {} in a row", failures(unit.consecutive))
        }
        Phase::Quarantined { why, .. } => format!("{}, last: {last}", given_up(*why, unit)),
        Phase::Stopped { .. } => "a person stopped it".to_owned(),
        Phase::Ended { .. } => "it ended and is not to be restarted".to_owned(),
        Phase::Gone => "its container was removed".to_owned(),
        Phase::Unknown => "it was never seen alive".to_owned(),
    }
}

fn failures(count: u32) -> String {
    match count {
        0 => "no failure".to_owned(),
        1 => "1 failure".to_owned(),
        more => format!("{more} failures"),
    }
}

fn given_up(why: Why, unit: &Unit) -> String {
    match why {
        Why::MaxRestarts => format!("all {} restarts are used up", unit.restarts),
        Why::Consecutive => format!("{} in a row", failures(unit.consecutive)),
        Why::Budget => "more restarts within hours than WATCHDOG_BUDGET allows".to_owned(),
        Why::CriticalHalt => {
            "a critical circuit breaker or an operator closed everything".to_owned()
        }
        Why::Misconfigured => "a restart does not mend its configuration".to_owned(),
    }
}

fn next(name: &Token, unit: &Unit, now: UtcMs) -> String {
    if unit.held.is_some() {
        return format!("Nothing is done until `watchdog release {name}`");
    }
    match &unit.phase {
        Phase::Running(_) if unit.asked.is_some() => "It will be stopped, as ordered".to_owned(),
        Phase::Running(_) => "Nothing is to be done".to_owned(),
        Phase::Stopping { .. } => "It is being stopped".to_owned(),
        Phase::Waiting { .. } => {
            let left = next_start_ms(unit, now).unwrap_or_default();
            format!("It is started again in {}", span(left))
        }
        Phase::Starting { .. } => "It is being started".to_owned(),
        Phase::Quarantined {
            why: Why::MaxRestarts,
            ..
        } => format!("It stays down until `watchdog release {name} --total`"),
        Phase::Quarantined { .. } if unit.latch.is_some() => {
            let latch = unit.latch.as_ref().map_or("", |latch| latch.id.as_str());
            format!(
                "It stays down until `trader unlatch --latch {latch} --why REASON`, or `watchdog \
                 release {name}`"
            )
        }
        Phase::Quarantined { .. } => format!("It stays down until `watchdog release {name}`"),
        Phase::Stopped { .. } | Phase::Ended { .. } => {
            format!("It stays down until `watchdog start {name}`")
        }
        Phase::Gone | Phase::Unknown => "`docker compose up` makes it".to_owned(),
    }
}
