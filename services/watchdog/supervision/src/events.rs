//! What of the journal the owner hears. Derived from the records alone, so that a replay can publish
//! the same events again under the same ids.

use protocol::event::EventBody;
use protocol::ids::Token;

use crate::backoff::MOST_CONSECUTIVE;
use crate::evidence::Found;
use crate::healing::{BegunBy, Healing};
use crate::history;
use crate::record::{EndedWhy, Fact, Order, Reason, Record, Restart, Why};
use crate::remedy::remedy_of;

/// Who may have fewer restarts than this needs no warning before the last.
const FEW: u32 = 10;
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
        Record::Service { service, fact, .. } => about_service(service, fact),
    }
}

fn about_service(service: &Token, fact: &Healing) -> Option<EventBody> {
    let part = service.to_string();
    match fact {
        Healing::RestartIntended { .. }
        | Healing::NotRestarted { .. }
        | Healing::Began {
            by: BegunBy::Docker,
            ..
        } => Some(EventBody::PartFailed {
            part,
            error: fact.words(),
        }),
        Healing::Began {
            by: BegunBy::Somebody,
            ..
        } => Some(EventBody::PartStarted {
            part,
            how: fact.words(),
        }),
        Healing::Recovered { after_ms } => Some(EventBody::PartRecovered {
            part,
            after_ms: *after_ms,
        }),
        // Its maker knows, and of a restart of ours is said that it is well again.
        Healing::Began {
            by: BegunBy::Maker | BegunBy::Watchdog,
            ..
        } => None,
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
            found,
            ..
        } => Some(EventBody::GivenUp {
            unit,
            reason: given_up(*why, reason, *restarts, *consecutive)
                + &helps(reason, found.as_deref()),
            restarts: *restarts,
            consecutive: *consecutive,
            exit: code(reason),
        }),
        Fact::Stopped { exit, by, .. } => {
            let by = by.as_deref().unwrap_or("a person");
            Some(EventBody::UnitStopped {
                unit,
                reason: format!("stopped by {by} (exit {exit})"),
            })
        }
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
        Fact::Ordered { order, by } if *order != Order::Stop => {
            Some(ordered(unit, order.as_str(), by, None))
        }
        Fact::Held { by, why } => Some(ordered(unit, "hold", by, Some(why.clone()))),
        Fact::Released { by, .. } => Some(ordered(unit, "release", by, None)),
        Fact::Unlatched { latch, by, why } => {
            let why = format!("{why} (latch {})", latch.id);
            Some(ordered(unit, "unlatch", by, Some(why)))
        }
        Fact::CriticalForLong { for_ms, why } => Some(EventBody::UnitCritical {
            unit,
            for_ms: *for_ms,
            reason: why.clone(),
        }),
        // Who ordered a stop is told once it has stopped.
        Fact::Ordered { .. }
        | Fact::PolicyRead(_)
        | Fact::Started { .. }
        | Fact::FailuresForgiven { .. }
        | Fact::CriticalNoMore
        | Fact::LatchKnown(_)
        | Fact::WordsFound { .. }
        | Fact::StopIntended { .. }
        | Fact::StartIntended { .. }
        | Fact::Gone => None,
    }
}

fn ordered(unit: Token, verb: &str, by: &str, why: Option<String>) -> EventBody {
    EventBody::UnitOrdered {
        unit,
        verb: verb.to_owned(),
        by: by.to_owned(),
        why,
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
        attempt: if restart.reason.is_counted() {
            attempt
        } else {
            0
        },
        max,
        reason: restart.reason.to_string() + &warning(restart),
        consecutive,
        uptime_ms,
        delay_ms,
        exit,
        evidence: restart.evidence.clone(),
    }
}

/// Said while there is still time to look: nine tenths of the restarts are used, or most of a row.
fn warning(restart: &Restart) -> String {
    let Restart {
        attempt,
        max,
        consecutive,
        ..
    } = *restart;
    if !restart.reason.is_counted() {
        return String::new();
    }
    let left = MOST_CONSECUTIVE.saturating_sub(consecutive);
    if max >= FEW && u64::from(attempt) * 10 >= u64::from(max) * 9 {
        format!("; {attempt} of its {max} restarts are used up: look into it before they end")
    } else if left < 3 {
        format!("; after {left} more failures in a row it is given up")
    } else {
        String::new()
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
        Why::Budget => format!(
            "more restarts within hours than WATCHDOG_BUDGET allows, last: {reason}; {BY_HAND}"
        ),
        Why::CriticalHalt => {
            format!("{reason}: a circuit breaker or an operator closed everything; {BY_HAND}")
        }
        Why::Misconfigured => format!("{reason}: a restart does not mend that; {BY_HAND}"),
    }
}

/// The likely cause and what helps, behind what happened.
fn helps(reason: &Reason, found: Option<&Found>) -> String {
    let error = found.and_then(Found::complaint);
    remedy_of(reason, error).map_or_else(String::new, |remedy| format!(". {}", remedy.sentence()))
}

const fn code(reason: &Reason) -> Option<i64> {
    match reason {
        Reason::Crashed { code } | Reason::Refused { code } | Reason::WithEngine { code } => {
            Some(*code)
        }
        Reason::OutOfMemory => Some(137),
        Reason::Interrupted => Some(0),
        Reason::CycleFinished => Some(20),
        Reason::Silent { .. }
        | Reason::Stuck { .. }
        | Reason::CutOff { .. }
        | Reason::NeverBeat { .. }
        | Reason::NotStarted { .. }
        | Reason::Ordered { .. } => None,
    }
}

fn ended(unit: Token, exit: i64, why: EndedWhy) -> Option<EventBody> {
    let reason = match why {
        EndedWhy::BeforeWatch => return None,
        EndedWhy::Finished => {
            let reason = format!("its work is done (exit {exit})");
            return Some(EventBody::UnitStopped { unit, reason });
        }
        EndedWhy::NotStarted => "ordered to start, but the engine did not start it".to_owned(),
        EndedWhy::NoAutoRestart | EndedWhy::NoPolicy | EndedWhy::Held => {
            format!("ended with exit {exit}; {}", history::ended(why))
        }
    };
    Some(EventBody::UnitObservedOnly { unit, reason })
}

fn unreadable(why: &str, observed_only: bool) -> String {
    if observed_only {
        format!("its flags are not understood ({why}): it is only observed")
    } else {
        format!("its flags are not understood ({why}): the ones read last hold")
    }
}
