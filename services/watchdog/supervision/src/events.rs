//! What of the journal the owner hears. Derived from the records alone, so that a replay can publish
//! the same events again under the same ids.

use protocol::event::EventBody;
use protocol::ids::Token;

use crate::backoff::MOST_CONSECUTIVE;
use crate::record::{EndedWhy, Fact, Reason, Record, Restart, Why};

const BY_HAND: &str = "manual intervention required";

/// The event that this record is for the owner; none for what only the watchdog needs to know.
pub fn owner_event(record: &Record) -> Option<EventBody> {
    match record {
        Record::OwnerTookOver {
            project, version, ..
        } => Some(EventBody::WatchdogStarted {
            project: project.clone(),
            version: version.clone(),
        }),
        Record::Unit { unit, fact, .. } => about_unit(unit.clone(), fact),
    }
}

fn about_unit(unit: Token, fact: &Fact) -> Option<EventBody> {
    match fact {
        Fact::RestartScheduled(restart) => Some(scheduled(unit, restart)),
        Fact::Healthy { after_ms, .. } => {
            after_ms.map(|after_ms| EventBody::UnitRecovered { unit, after_ms })
        }
        Fact::Quarantined {
            why,
            reason,
            restarts,
            consecutive,
            ..
        } => Some(EventBody::GivenUp {
            unit,
            reason: given_up(*why, reason, *restarts, *consecutive),
            restarts: *restarts,
            consecutive: *consecutive,
            exit: code(reason),
        }),
        Fact::Stopped { exit, .. } => Some(EventBody::UnitStopped {
            unit,
            reason: format!("stopped by a person (exit {exit})"),
        }),
        Fact::Ended { exit, why, .. } => ended(unit, *exit, *why),
        Fact::HangObserved { reason, .. } => Some(EventBody::UnitObservedOnly {
            unit,
            reason: format!("{reason}; it is only observed"),
        }),
        Fact::PolicyUnreadable {
            why, observed_only, ..
        } => Some(EventBody::UnitObservedOnly {
            unit,
            reason: unreadable(why, *observed_only),
        }),
        Fact::PolicyRead(_)
        | Fact::Started { .. }
        | Fact::FailuresForgiven { .. }
        | Fact::StopIntended { .. }
        | Fact::StartIntended { .. }
        | Fact::Released { .. }
        | Fact::Gone => None,
    }
}

fn scheduled(unit: Token, restart: &Restart) -> EventBody {
    let Restart {
        attempt,
        max,
        consecutive,
        uptime_ms,
        delay_ms,
        exit,
        ..
    } = *restart;
    if restart.reason == Reason::CycleFinished {
        return EventBody::CycleFinished {
            unit,
            attempt,
            max,
            uptime_ms,
            delay_ms,
        };
    }
    EventBody::RestartTriggered {
        unit,
        attempt,
        max,
        reason: restart.reason.to_string(),
        consecutive,
        uptime_ms,
        delay_ms,
        exit,
        evidence: restart.evidence.clone(),
    }
}

fn given_up(why: Why, reason: &Reason, restarts: u32, consecutive: u32) -> String {
    match why {
        Why::MaxRestarts => {
            format!("all {restarts} restarts are used up, last: {reason}; {BY_HAND}")
        }
        Why::Consecutive => format!(
            "{consecutive} failures in a row (allowed are {MOST_CONSECUTIVE}), last: {reason}; {BY_HAND}"
        ),
        Why::CriticalHalt => format!("{reason}: a circuit breaker closed everything; {BY_HAND}"),
        Why::Misconfigured => format!("{reason}: a restart does not mend that; {BY_HAND}"),
    }
}

const fn code(reason: &Reason) -> Option<i64> {
    match reason {
        Reason::Crashed { code } | Reason::Refused { code } => Some(*code),
        Reason::OutOfMemory => Some(137),
        Reason::Interrupted => Some(0),
        Reason::CycleFinished => Some(20),
        Reason::Silent { .. }
        | Reason::Stuck { .. }
        | Reason::NeverBeat { .. }
        | Reason::NotStarted { .. } => None,
    }
}

fn ended(unit: Token, exit: i64, why: EndedWhy) -> Option<EventBody> {
    match why {
        EndedWhy::BeforeWatch => None,
        EndedWhy::Finished => Some(EventBody::UnitStopped {
            unit,
            reason: format!("its work is done (exit {exit})"),
        }),
        EndedWhy::NoAutoRestart => Some(EventBody::UnitObservedOnly {
            unit,
            reason: format!("ended with exit {exit}; not restarted without --auto-restart"),
        }),
        EndedWhy::NoPolicy => Some(EventBody::UnitObservedOnly {
            unit,
            reason: format!(
                "ended with exit {exit}; its flags are unknown, so it is not restarted"
            ),
        }),
    }
}

fn unreadable(why: &str, observed_only: bool) -> String {
    if observed_only {
        format!("its flags are not understood ({why}): it is only observed")
    } else {
        format!("its flags are not understood ({why}): the ones read last hold")
    }
}
