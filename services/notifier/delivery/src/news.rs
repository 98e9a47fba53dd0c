//! Something that was told on the bus: whom it is about, and the letters that it becomes. The words of each kind are in
//! the catalogue.

use protocol::event::{Event, EventBody, Severity};
use protocol::ids::{Service, Token};
use protocol::time::UtcMs;

use crate::catalogue::{field, words};
use crate::letter::Letter;

/// Something that was told on the bus.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// An event of this version.
    Known {
        /// Which service.
        service: Service,
        /// Which one of it.
        instance: Token,
        /// What happened.
        event: Event,
    },
    /// An event that this program does not know: a newer service's.
    Unknown {
        /// Its id.
        id: String,
        /// When it happened, or was heard of.
        at: UtcMs,
        /// How much it matters; a warning if that cannot be read either.
        severity: Severity,
        /// Its subject.
        subject: String,
        /// It, as it came.
        payload: String,
    },
}

impl News {
    /// Tells the same event apart from another.
    pub fn id(&self) -> &str {
        match self {
            Self::Known { event, .. } => &event.id,
            Self::Unknown { id, .. } => id,
        }
    }

    /// Whether the owner has an answer that says the same: his own order.
    pub const fn is_answered(&self) -> bool {
        matches!(
            self,
            Self::Known {
                event: Event {
                    body: EventBody::OwnerCommand { .. },
                    ..
                },
                ..
            }
        )
    }

    /// Whose order it tells of; none if it tells of something else.
    pub fn ordered_by(&self) -> Option<&str> {
        match self {
            Self::Known { event, .. } => match &event.body {
                EventBody::UnitOrdered { by, .. } => Some(by),
                _ => None,
            },
            Self::Unknown { .. } => None,
        }
    }

    /// Whom it is about: who told it, and the unit or service that it tells of.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Known {
                instance, event, ..
            } => {
                let told_by = std::iter::once(instance.as_str());
                told_by.chain(subject(&event.body)).collect()
            }
            Self::Unknown { .. } => Vec::new(),
        }
    }

    /// What there is to say, each part small enough for one message.
    pub fn letters(&self) -> Vec<Letter> {
        match self {
            Self::Known {
                service,
                instance,
                event,
            } => {
                let who = format!("{service} {instance}");
                let (head, lines) = words(&who, &event.body);
                letter(event.at, event.severity, event.body.kind(), head, &lines)
            }
            Self::Unknown {
                at,
                severity,
                subject,
                payload,
                ..
            } => {
                let head = "❔ AN EVENT THIS VERSION DOES NOT KNOW".to_owned();
                let lines = [field("Subject", subject), field("Content", payload)];
                letter(*at, *severity, "unknown", head, &lines)
            }
        }
    }
}

fn letter(
    at: UtcMs,
    severity: Severity,
    kind: &str,
    head: String,
    lines: &[String],
) -> Vec<Letter> {
    let letter = Letter {
        at,
        severity,
        kind: kind.to_owned(),
        head,
        body: lines.join("\n"),
        picture: false,
    };
    letter.split()
}

/// The unit, or the part of the system, that an event is about; none if it is about whoever tells it.
fn subject(body: &EventBody) -> Option<&str> {
    match body {
        EventBody::RestartTriggered { unit, .. }
        | EventBody::CycleFinished { unit, .. }
        | EventBody::UnitRecovered { unit, .. }
        | EventBody::GivenUp { unit, .. }
        | EventBody::UnitStopped { unit, .. }
        | EventBody::UnitObservedOnly { unit, .. }
        | EventBody::UnitCritical { unit, .. }
        | EventBody::UnitOrdered { unit, .. } => Some(unit.as_str()),
        EventBody::PartFailed { part, .. }
        | EventBody::PartRecovered { part, .. }
        | EventBody::PartStarted { part, .. } => Some(part),
        _ => None,
    }
}
