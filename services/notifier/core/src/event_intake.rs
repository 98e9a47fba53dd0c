//! Something that was told on the bus: whom it is about, and the letters that it becomes. The words of each kind are in
//! the catalogue.

use protocol::event::{Event, EventBody, Severity};
use protocol::ids::{Service, SubjectToken};
use protocol::time::UtcMs;

use crate::message_text::{event_text, field};
use crate::notification::Notification;

/// Something that was told on the bus.
#[derive(Debug, Clone, PartialEq)]
pub enum IncomingEvent {
    /// An event of this version.
    Known {
        /// Which service.
        service: Service,
        /// Which one of it.
        instance: SubjectToken,
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

impl IncomingEvent {
    /// Tells the same event apart from another.
    pub fn id(&self) -> &str {
        match self {
            Self::Known { event, .. } => &event.id,
            Self::Unknown { id, .. } => id,
        }
    }

    /// Whether the owner has an answer that says the same: his own order.
    pub const fn is_answered_by_reply(&self) -> bool {
        matches!(
            self,
            Self::Known {
                event: Event {
                    body: EventBody::OperatorCommandExecuted { .. },
                    ..
                },
                ..
            }
        )
    }

    /// Whose order it tells of; none if it tells of something else.
    pub fn commanded_by(&self) -> Option<&str> {
        match self {
            Self::Known { event, .. } => match &event.body {
                EventBody::UnitCommandExecuted { by, .. } => Some(by),
                _ => None,
            },
            Self::Unknown { .. } => None,
        }
    }

    /// Whom it is about: who told it, and the unit or service that it tells of.
    pub fn affected_names(&self) -> Vec<&str> {
        match self {
            Self::Known {
                instance, event, ..
            } => {
                let told_by = std::iter::once(instance.as_str());
                told_by.chain(unit_or_service(&event.body)).collect()
            }
            Self::Unknown { .. } => Vec::new(),
        }
    }

    /// What there is to say, each part small enough for one message.
    pub fn notifications(&self) -> Vec<Notification> {
        match self {
            Self::Known {
                service,
                instance,
                event,
            } => {
                let who = format!("{service} {instance}");
                let (head, lines) = event_text(&who, &event.body);
                notifications(event.at, event.severity, event.body.kind(), head, &lines)
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
                notifications(*at, *severity, "unknown", head, &lines)
            }
        }
    }
}

fn notifications(
    at: UtcMs,
    severity: Severity,
    kind: &str,
    head: String,
    lines: &[String],
) -> Vec<Notification> {
    let letter = Notification {
        at,
        severity,
        kind: kind.to_owned(),
        title: head,
        body: lines.join("\n"),
        has_picture: false,
    };
    letter.split()
}

/// The unit, or the part of the system, that an event is about; none if it is about whoever tells it.
fn unit_or_service(body: &EventBody) -> Option<&str> {
    match body {
        EventBody::UnitRestartScheduled { unit, .. }
        | EventBody::UnitCycleFinished { unit, .. }
        | EventBody::UnitRecovered { unit, .. }
        | EventBody::UnitQuarantined { unit, .. }
        | EventBody::UnitStopped { unit, .. }
        | EventBody::UnitRestartSkipped { unit, .. }
        | EventBody::UnitHealthCritical { unit, .. }
        | EventBody::UnitCommandExecuted { unit, .. } => Some(unit.as_str()),
        EventBody::ComponentFailed {
            component: part, ..
        }
        | EventBody::ComponentRecovered {
            component: part, ..
        }
        | EventBody::ServiceStarted { service: part, .. } => Some(part),
        _ => None,
    }
}
