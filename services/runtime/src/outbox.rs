//! Transactional outbox: publishes events to EVENTS in order, until each is acknowledged. An event id makes a repeat
//! harmless: the stream removes duplicates for an hour, the notifier for longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use protocol::event::{Event, EventBody};
use protocol::ids::ProcessKey;
use protocol::redact::redact_json;
use protocol::subject::Subject;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::journal::BatchPosition;
use crate::streams;

/// Events that wait while the bus is unreachable. Events of a journal are derived from it again at the next start, so a
/// full queue loses none of them for good.
const QUEUE_CAPACITY: usize = 1024;
const RETRY: Duration = Duration::from_millis(500);

/// Journal sequence up to which the events of a key are stored.
#[derive(Debug, Default)]
pub struct OutboxCursor {
    seq: AtomicU64,
    gap: AtomicBool,
}

impl OutboxCursor {
    /// Cursor at the sequence that the journal names.
    pub fn from_seq(seq: u64) -> Arc<Self> {
        Arc::new(Self {
            seq: AtomicU64::new(seq),
            gap: AtomicBool::new(false),
        })
    }

    /// Newest sequence before which no event is missing.
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    fn advance_to(&self, seq: u64) {
        if !self.gap.load(Ordering::Acquire) {
            self.seq.fetch_max(seq, Ordering::AcqRel);
        }
    }

    fn mark_gap(&self) {
        self.gap.store(true, Ordering::Release);
    }
}

struct OutboxEvent {
    event: Event,
    cursor: Option<(Arc<OutboxCursor>, u64)>,
}

/// The queueing end; cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    queue: mpsc::Sender<OutboxEvent>,
}

/// The publishing end, which runs as one task.
pub struct OutboxPublisher {
    bus: Bus,
    process: ProcessKey,
    queue: mpsc::Receiver<OutboxEvent>,
}

/// Creates both ends for one process.
pub fn channel(bus: Bus, process: ProcessKey) -> (Outbox, OutboxPublisher) {
    let (queue, receiver) = mpsc::channel(QUEUE_CAPACITY);
    let sender = OutboxPublisher {
        bus,
        process,
        queue: receiver,
    };
    (Outbox { queue }, sender)
}

impl Outbox {
    /// Queues an event that is in no journal. If the queue is full, the event is dropped with a log line.
    pub fn enqueue(&self, event: Event) {
        self.push(OutboxEvent {
            event,
            cursor: None,
        });
    }

    /// Queues the events of one journal batch, for the first time or again: their ids follow from its position. `bodies` has
    /// one element for each record, `None` for a record without an event. The acknowledgement of the last event advances
    /// the cursor, so that no event counts as published too early.
    pub fn enqueue_journaled(
        &self,
        key: &str,
        position: &BatchPosition,
        bodies: impl Iterator<Item = Option<EventBody>>,
        cursor: &Arc<OutboxCursor>,
    ) {
        let to_event = |(index, body): (usize, Option<EventBody>)| {
            let id = format!("{key}:{}:{index}", position.seq);
            body.map(|body| Event::new(id, position.at, body))
        };
        let mut events = bodies.enumerate().filter_map(to_event).peekable();
        while let Some(event) = events.next() {
            let published_seq = if events.peek().is_some() {
                position.seq.saturating_sub(1)
            } else {
                position.seq
            };
            let mark = Some((Arc::clone(cursor), published_seq));
            self.push(OutboxEvent {
                event,
                cursor: mark,
            });
        }
    }

    fn push(&self, outgoing: OutboxEvent) {
        if let Err(error) = self.queue.try_send(outgoing) {
            let outgoing = error.into_inner();
            if let Some((confirmed, _)) = &outgoing.cursor {
                confirmed.mark_gap();
            }
            tracing::error!(
                id = outgoing.event.id,
                kind = outgoing.event.body.kind(),
                "event queue full: event is published at the next start if the journal holds the record"
            );
        }
    }
}

impl OutboxPublisher {
    /// Publishes until `shutdown`, then empties the queue for at most `grace`.
    pub async fn run(mut self, shutdown: CancellationToken, grace: Duration) {
        loop {
            let outgoing = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                next = self.queue.recv() => match next {
                    Some(outgoing) => outgoing,
                    None => return,
                },
            };
            self.deliver(&outgoing, &shutdown).await;
        }
        self.queue.close();
        let rest = async {
            while let Some(outgoing) = self.queue.recv().await {
                self.deliver(&outgoing, &CancellationToken::new()).await;
            }
        };
        if timeout(grace, rest).await.is_err() {
            tracing::warn!(
                "events not published before the exit; those of a journal are published at the next start"
            );
        }
    }

    /// Publishes one event until it is stored. After a shutdown request it is tried once more.
    async fn deliver(&self, outgoing: &OutboxEvent, shutdown: &CancellationToken) {
        loop {
            match self.publish(&outgoing.event).await {
                Ok(()) => {
                    if let Some((confirmed, seq)) = &outgoing.cursor {
                        confirmed.advance_to(*seq);
                    }
                    return;
                }
                Err(error) => tracing::warn!(%error, id = outgoing.event.id, "event not stored"),
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    if let Some((confirmed, _)) = &outgoing.cursor {
                        confirmed.mark_gap();
                    }
                    return;
                }
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn publish(&self, event: &Event) -> Result<(), String> {
        let subject = Subject::Event {
            process: self.process.clone(),
            severity: event.severity,
            kind: event.body.kind().into(),
        };
        let payload = event_payload(event).map_err(|error| error.to_string())?;
        let message = PublishMessage::build()
            .payload(payload.into())
            .message_id(&event.id)
            .header("ce-specversion", "1.0")
            .header("ce-id", event.id.as_str())
            .header("ce-type", event.body.kind())
            .header("ce-time", event.at.to_string())
            .header("ce-source", self.process.to_string().as_str())
            .header("content-type", "application/json")
            .expected_stream(streams::EVENTS);
        self.bus
            .store(&subject.to_string(), message)
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}

/// An event as it is stored: its texts may quote an error, and hold no secret.
fn event_payload(event: &Event) -> serde_json::Result<Vec<u8>> {
    let mut value = serde_json::to_value(event)?;
    redact_json(&mut value);
    serde_json::to_vec(&value)
}

#[cfg(test)]
mod tests {
    use protocol::event_samples;

    use super::*;

    #[test]
    fn event_is_stored_without_secrets_and_otherwise_as_it_is() {
        for event in event_samples::events().unwrap() {
            let stored: Event = serde_json::from_slice(&event_payload(&event).unwrap()).unwrap();
            assert_eq!(stored, event);
        }
        let body = EventBody::ComponentFailed {
            component: "feed".to_owned(),
            error: "GET /x?signature=s3cret: 401".to_owned(),
        };
        let event = Event::new("e1", event_samples::AT, body);
        let text = String::from_utf8(event_payload(&event).unwrap()).unwrap();
        assert!(
            text.contains("signature=***") && !text.contains("s3cret"),
            "{text}"
        );
    }
}
