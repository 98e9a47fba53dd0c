//! Reads heartbeats and events from the bus with the operator's permissions.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::DirectGetErrorKind;
use protocol::event::Event;
use protocol::heartbeat::{Heartbeat, ProcessPhase};
use protocol::subject::{Subject, filter};
use runtime::bus::Bus;
use runtime::streams;
use tokio::time::timeout;

use crate::wait::eventually;

const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// An event as it is stored on the bus.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Subject that it is stored under.
    pub subject: String,
    /// `CloudEvents` and NATS headers.
    pub headers: HeaderMap,
    /// The event parsed from the payload.
    pub event: Event,
}

impl StoredEvent {
    /// Text of a header; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }
}

/// Every event stored so far, oldest first.
pub async fn stored_events(bus: &Bus) -> Vec<StoredEvent> {
    let reading = timeout(READ_TIMEOUT, read_events(bus)).await;
    reading.unwrap_or_else(|_| panic!("reading events: no response within {READ_TIMEOUT:?}"))
}

/// By sequence: the operator may create no consumer of the stream of events.
async fn read_events(bus: &Bus) -> Vec<StoredEvent> {
    let stream = bus.jetstream().get_stream(streams::EVENTS).await.unwrap();
    let state = &stream.cached_info().state;
    let mut events = Vec::new();
    // An empty stream begins at sequence 0, which no message has.
    for seq in state.first_sequence.max(1)..=state.last_sequence {
        let message = match stream.direct_get(seq).await {
            Ok(message) => message,
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => continue,
            Err(error) => panic!("event {seq}: {error}"),
        };
        events.push(StoredEvent {
            event: serde_json::from_slice(&message.payload).unwrap(),
            headers: message.headers,
            subject: message.subject.to_string(),
        });
    }
    events
}

/// Newest heartbeat of a trader. `None` if there is none, or while the bus is unreachable.
pub async fn latest_heartbeat(bus: &Bus, instance: &str) -> Option<Heartbeat> {
    let subjects = bus.subjects(streams::HEARTBEATS, filter::TRADER_HEARTBEATS);
    let subjects = subjects.await.ok()?;
    let is_wanted = |subject: &String| {
        matches!(Subject::parse(subject),
            Some(Subject::Heartbeat(process)) if process.instance.as_str() == instance)
    };
    let subject = subjects.into_iter().find(is_wanted)?;
    let newest = bus.latest_message(streams::HEARTBEATS, &subject).await;
    let newest = newest.ok()??;
    Some(serde_json::from_slice(&newest.payload).unwrap())
}

/// Waits for a heartbeat of a trader that `matches` accepts.
pub async fn wait_for_heartbeat(
    bus: &Bus,
    instance: &str,
    what: &str,
    within: Duration,
    matches: impl Fn(&Heartbeat) -> bool,
) -> Heartbeat {
    let what = format!("a heartbeat of {instance}: {what}");
    eventually(&what, within, async || {
        latest_heartbeat(bus, instance).await.filter(&matches)
    })
    .await
}

/// Waits for a heartbeat, sent after this call, that reports phase running and candles younger than three
/// minutes.
pub async fn wait_until_caught_up(bus: &Bus, instance: &str, within: Duration) -> Heartbeat {
    let since = runtime::clock::now();
    wait_for_heartbeat(bus, instance, "running, candles fresh", within, |h| {
        h.at > since
            && h.phase == ProcessPhase::Running
            && h.candle_age_ms.is_some_and(|age| age < 180_000)
    })
    .await
}
