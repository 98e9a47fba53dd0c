//! Every notification with sample values, for `notifier preview` and for tests.

use protocol::event::{Event, EventBody};
use protocol::event_samples;
use protocol::ids::{InvalidSubjectToken, Service};
use protocol::time::UtcMs;

use crate::command_hints::CommandHints;
use crate::decide::Audience;
use crate::event_intake::IncomingEvent;
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::state::DeliveryState;
use crate::{decide, inhibition};

const MINUTE_MS: i64 = 60_000;
/// Notifications of a notifier whose bot accepts commands.
const HINTS: CommandHints = CommandHints { telegram: true };

/// Notification of every kind of event with its severity, sorted by kind, then the summaries of outages.
///
/// # Errors
/// As [`event_samples::events`].
pub fn catalogue() -> Result<String, InvalidSubjectToken> {
    let texts: Vec<String> = samples()?.iter().map(|sample| render(sample)).collect();
    Ok(texts.join("\n"))
}

/// The notifications of [`catalogue`], those of one event or summary together.
///
/// # Errors
/// As [`event_samples::events`].
pub fn samples() -> Result<Vec<Vec<Notification>>, InvalidSubjectToken> {
    let mut events = event_samples::events()?;
    events.sort_by_key(|event| event.body.kind());
    let samples: Result<Vec<_>, _> = events.into_iter().map(notifications_of).collect();
    let mut samples = samples?;
    samples.extend(inhibited_messages()?);
    Ok(samples)
}

/// Summaries of a bus outage and of a watchdog outage with two traders each.
fn inhibited_messages() -> Result<Vec<Vec<Notification>>, InvalidSubjectToken> {
    let at = event_samples::AT;
    let since = UtcMs(at.0 - MINUTE_MS);
    let audience = Audience {
        chat: None,
        hints: HINTS,
    };
    let mut summaries = Vec::new();
    for is_bus_outage in [true, false] {
        let mut state = DeliveryState::default();
        if is_bus_outage {
            state.apply(at, &DeliveryRecord::BusOutage { since, until: at });
        }
        for records in decide::enqueue_events(&state, &events_after_outage(at)?, audience, at) {
            for record in records {
                state.apply(at, &record);
            }
        }
        let due = inhibition::due_records(&state, UtcMs(at.0 + 2 * MINUTE_MS));
        summaries.extend(due.into_iter().flatten().filter_map(|record| match record {
            DeliveryRecord::Queued { notifications, .. } => Some(notifications),
            _ => None,
        }));
    }
    Ok(summaries)
}

/// Events of a watchdog that starts and finds two stopped traders.
fn events_after_outage(at: UtcMs) -> Result<Vec<IncomingEvent>, InvalidSubjectToken> {
    let mut events = Vec::new();
    for mut event in event_samples::events()? {
        let units: &[&str] = match &event.body {
            EventBody::WatchdogStarted { .. } => &[""],
            EventBody::UnitRestartScheduled { .. } => &["trader-paper-1", "trader-paper-2"],
            _ => &[],
        };
        for name in units {
            if let EventBody::UnitRestartScheduled { unit, .. } = &mut event.body {
                *unit = name.parse()?;
            }
            event.id = format!("{}:{name}", event.body.kind());
            event.at = at;
            events.push(IncomingEvent::Known {
                service: Service::Watchdog,
                instance: "watchdog-1".parse()?,
                event: event.clone(),
            });
        }
    }
    Ok(events)
}

fn render(notifications: &[Notification]) -> String {
    let line = |n: &Notification| format!("{}: {}\n{}\n", n.severity, n.title, n.body);
    notifications.iter().map(line).collect()
}

/// Text of the notifications of one event, published by the service that publishes its kind.
///
/// # Errors
/// As [`event_samples::events`].
pub fn render_event(event: Event) -> Result<String, InvalidSubjectToken> {
    notifications_of(event).map(|notifications| render(&notifications))
}

fn notifications_of(event: Event) -> Result<Vec<Notification>, InvalidSubjectToken> {
    let (service, instance) = match event.body.kind() {
        kind if ["unit_", "service_", "watchdog_"]
            .iter()
            .any(|prefix| kind.starts_with(prefix)) =>
        {
            (Service::Watchdog, "watchdog-1")
        }
        "operator_command_executed" | "unauthorized_command" => (Service::Notifier, "notifier-1"),
        _ => (Service::Trader, "trader-paper-1"),
    };
    let incoming = IncomingEvent::Known {
        service,
        instance: instance.parse()?,
        event,
    };
    Ok(incoming.notifications(HINTS))
}
