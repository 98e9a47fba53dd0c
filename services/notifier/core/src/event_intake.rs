//! Events as they arrive from the bus, and the notifications made from them.

use protocol::event::{Event, EventBody, Severity};
use protocol::ids::{Service, SubjectToken};
use protocol::time::UtcMs;

use crate::command_hints::CommandHints;
use crate::formatting::field;
use crate::message_text::event_text;
use crate::model::Sender;
use crate::notification::Notification;

/// An event from the bus.
#[derive(Debug, Clone, PartialEq)]
pub enum IncomingEvent {
    /// An event of a kind and version that this program knows.
    Known {
        /// Service of the process that published the event.
        service: Service,
        /// Instance that published the event.
        instance: SubjectToken,
        /// Event as published, with its id and severity.
        event: Event,
    },
    /// An event of a newer program.
    Unknown {
        /// Id of the event.
        id: String,
        /// Time at which the bus stored the event.
        at: UtcMs,
        /// Severity; a warning if the subject names none.
        severity: Severity,
        /// Subject of the event.
        subject: String,
        /// Payload as received, cut to a readable length.
        payload: String,
    },
}

impl IncomingEvent {
    /// Id of the event; the same for every copy.
    pub fn id(&self) -> &str {
        match self {
            Self::Known { event, .. } => &event.id,
            Self::Unknown { id, .. } => id,
        }
    }

    /// Whether the operator already gets a reply with the same content.
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

    /// Operator whose unit command the event reports; `None` for any other event.
    pub fn commanded_by(&self) -> Option<&str> {
        match self {
            Self::Known { event, .. } => match &event.body {
                EventBody::UnitCommandExecuted { by, .. } => Some(by),
                _ => None,
            },
            Self::Unknown { .. } => None,
        }
    }

    /// Names that a silence can match: the publishing instance, and the unit or service of the event.
    pub fn affected_names(&self) -> Vec<&str> {
        match self {
            Self::Known {
                instance, event, ..
            } => std::iter::once(instance.as_str())
                .chain(unit_or_service(&event.body))
                .collect(),
            Self::Unknown { .. } => Vec::new(),
        }
    }

    /// Notifications for the operator, each small enough for one message.
    pub fn notifications(&self, hints: CommandHints) -> Vec<Notification> {
        match self {
            Self::Known {
                service,
                instance,
                event,
            } => {
                let sender = Sender {
                    service: *service,
                    instance,
                };
                let (title, lines) = event_text(&sender, &event.body, hints);
                notifications(event.at, event.severity, event.body.kind(), title, &lines)
            }
            Self::Unknown {
                at,
                severity,
                subject,
                payload,
                ..
            } => {
                let title = "❔ UNKNOWN EVENT".to_owned();
                let lines = [
                    field("Subject", subject),
                    field("Content", payload),
                    "Action: update the notifier; a newer service published this event".to_owned(),
                ];
                notifications(*at, *severity, "unknown", title, &lines)
            }
        }
    }
}

fn notifications(
    at: UtcMs,
    severity: Severity,
    kind: &str,
    title: String,
    lines: &[String],
) -> Vec<Notification> {
    let notification = Notification {
        at,
        severity,
        kind: kind.to_owned(),
        title,
        body: lines.join("\n"),
        has_picture: false,
        table_lines: 0,
    };
    notification.split()
}

/// Unit, service or component that an event is about; `None` if it is about the publishing process.
fn unit_or_service(body: &EventBody) -> Option<&str> {
    match body {
        EventBody::UnitRestartScheduled { unit, .. }
        | EventBody::UnitCycleFinished { unit, .. }
        | EventBody::UnitRecovered { unit, .. }
        | EventBody::UnitQuarantined { unit, .. }
        | EventBody::UnitStopped { unit, .. }
        | EventBody::UnitRestartSkipped { unit, .. }
        | EventBody::UnitHealthCritical { unit, .. }
        | EventBody::UnitWarning { unit, .. }
        | EventBody::UnitStopFailed { unit, .. }
        | EventBody::UnitCommandExecuted { unit, .. } => Some(unit.as_str()),
        EventBody::ComponentFailed { component, .. }
        | EventBody::ComponentRecovered { component, .. } => Some(component),
        EventBody::ServiceRestartScheduled { service, .. }
        | EventBody::ServiceRecovered { service, .. }
        | EventBody::ServiceQuarantined { service, .. }
        | EventBody::ServiceStarted { service, .. } => Some(service),
        _ => None,
    }
}
