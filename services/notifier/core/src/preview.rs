//! The whole catalogue with sample values: what the owner can read before anything happens.

use protocol::event::{Event, EventBody};
use protocol::event_samples;
use protocol::ids::{InvalidSubjectToken, Service};
use protocol::time::UtcMs;

use crate::event_intake::IncomingEvent;
use crate::notification::Notification;
use crate::record::DeliveryRecord;
use crate::state::DeliveryState;
use crate::{decide, inhibition};

const MINUTE_MS: i64 = 60_000;

/// Every kind of event as the owner reads it, severity first, sorted by kind; then what an absence of the bus
/// or the watchdog makes of many.
///
/// # Errors
/// As [`event_samples::outbox`].
pub fn catalogue() -> Result<String, InvalidSubjectToken> {
    let mut events = event_samples::events()?;
    events.sort_by_key(|event| event.body.kind());
    let shown: Result<Vec<String>, InvalidSubjectToken> =
        events.into_iter().map(render_event).collect();
    let mut shown = shown?;
    shown.extend(inhibited_messages()?);
    Ok(shown.join("\n"))
}

/// What an absence of the bus, and one of the watchdog, did to two traders.
fn inhibited_messages() -> Result<Vec<String>, InvalidSubjectToken> {
    let at = event_samples::AT;
    let since = UtcMs(at.0 - MINUTE_MS);
    let mut texts = Vec::new();
    for bus_was_away in [true, false] {
        let mut state = DeliveryState::default();
        if bus_was_away {
            state.apply(at, &DeliveryRecord::BusOutage { since, until: at });
        }
        for records in decide::enqueue_events(&state, &events_after_outage(at)?, None, at) {
            for record in records {
                state.apply(at, &record);
            }
        }
        let told = inhibition::due_records(&state, UtcMs(at.0 + 2 * MINUTE_MS));
        texts.extend(
            told.into_iter()
                .flatten()
                .filter_map(|record| match record {
                    DeliveryRecord::Queued {
                        notifications: letters,
                        ..
                    } => Some(letters.iter().map(render_notification).collect::<String>()),
                    _ => None,
                }),
        );
    }
    Ok(texts)
}

/// A watchdog starts and finds two traders dead.
fn events_after_outage(at: UtcMs) -> Result<Vec<IncomingEvent>, InvalidSubjectToken> {
    let mut news = Vec::new();
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
            news.push(IncomingEvent::Known {
                service: Service::Watchdog,
                instance: "watchdog-1".parse()?,
                event: event.clone(),
            });
        }
    }
    Ok(news)
}

fn render_notification(letter: &Notification) -> String {
    let (severity, head, body) = (letter.severity, &letter.title, &letter.body);
    format!("{severity}: {head}\n{body}\n")
}

/// One event of a trader, or of a watchdog where only that one tells of it.
///
/// # Errors
/// As [`event_samples::outbox`].
pub fn render_event(event: Event) -> Result<String, InvalidSubjectToken> {
    let service = match event.body.kind() {
        kind if kind.starts_with("unit_") => Service::Watchdog,
        "operator_command_executed" | "unauthorized_command" => Service::Notifier,
        _ => Service::Trader,
    };
    let news = IncomingEvent::Known {
        service,
        instance: "trader-paper-1".parse()?,
        event,
    };
    Ok(news
        .notifications()
        .iter()
        .map(render_notification)
        .collect())
}
