//! Receives events from the bus by a durable consumer. The dispatcher acknowledges them once they are journaled;
//! unacknowledged events are redelivered.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use notifier_core::event_intake::IncomingEvent;
use protocol::VERSION;
use protocol::event::{Event, Severity};
use protocol::ids::{Service, SubjectToken};
use protocol::subject::{Subject, filter};
use protocol::time::UtcMs;
use runtime::bus::{Bus, DEADLINE};
use runtime::{clock, streams};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Name of the durable consumer.
const CONSUMER: &str = "notifier";
/// Time after which an unacknowledged event is redelivered, for example after a crash. A second delivery is harmless.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// Most events of one batch.
const MAX_BATCH_SIZE: usize = 64;
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// Length of the payload of an unknown event in its notification.
const MAX_PAYLOAD_CHARS: usize = 1_500;

/// Batches that may be queued for the journal.
pub const QUEUE_CAPACITY: usize = 2;

/// A batch of events with their messages, for the acknowledgement.
pub struct FetchedEvents {
    /// Events in the order of the stream.
    pub events: Vec<IncomingEvent>,
    messages: Vec<Message>,
}

impl FetchedEvents {
    /// Acknowledges all events, because they are journaled. If an acknowledgement is lost, its event is redelivered and
    /// known.
    pub async fn acknowledge(self) {
        for message in self.messages {
            let sent = timeout(DEADLINE, message.ack_with(AckKind::Ack)).await;
            if !matches!(sent, Ok(Ok(()))) {
                tracing::debug!(subject = %message.subject, "acknowledgement failed; the event is redelivered");
            }
        }
    }
}

/// Receives events until `shutdown`, or until the receiver is dropped.
pub async fn consume_events(
    bus: Bus,
    batches: mpsc::Sender<FetchedEvents>,
    shutdown: CancellationToken,
) {
    let read = async {
        loop {
            match consume_until_error(&bus, &batches).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(error, "event subscription failed; retrying"),
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    };
    shutdown.run_until_cancelled(read).await;
}

/// Receives events until an error. `Ok` if the receiver is dropped.
async fn consume_until_error(
    bus: &Bus,
    batches: &mpsc::Sender<FetchedEvents>,
) -> Result<(), String> {
    let messages = timeout(DEADLINE, create_consumer(bus)).await;
    let messages = messages
        .map_err(|_| format!("no response within {DEADLINE:?}"))?
        .map_err(|error| error.to_string())?;
    let mut ready = messages.ready_chunks(MAX_BATCH_SIZE);
    while let Some(results) = ready.next().await {
        let mut batch = FetchedEvents {
            events: Vec::new(),
            messages: Vec::new(),
        };
        let mut failed = None;
        for result in results {
            match result {
                Ok(message) => {
                    batch.events.push(parse_event(&message));
                    batch.messages.push(message);
                }
                Err(error) => failed = Some(error.to_string()),
            }
        }
        if !batch.events.is_empty() && batches.send(batch).await.is_err() {
            return Ok(());
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Err("the subscription ended".to_owned())
}

async fn create_consumer(bus: &Bus) -> Result<pull::Stream, async_nats::Error> {
    let stream = bus.jetstream().get_stream_no_info(streams::EVENTS).await?;
    let config = pull::Config {
        // A name and one filter put both into the API subject, where permissions can see them.
        name: Some(CONSUMER.to_owned()),
        durable_name: Some(CONSUMER.to_owned()),
        filter_subject: filter::EVENTS.to_owned(),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_TIMEOUT,
        max_ack_pending: 1_024,
        ..pull::Config::default()
    };
    // An existing consumer is updated.
    let consumer = stream.create_consumer(config).await?;
    let messages = consumer.stream().max_messages_per_batch(MAX_BATCH_SIZE);
    Ok(messages.messages().await?)
}

/// Parses an event. One that cannot be parsed is reported as received, rather than dropped.
fn parse_event(message: &Message) -> IncomingEvent {
    let known = serde_json::from_slice::<Event>(&message.payload)
        .ok()
        .filter(|event| event.v <= VERSION)
        .and_then(|event| {
            let (service, instance) = parse_sender(&message.subject)?;
            Some(IncomingEvent::Known {
                service,
                instance,
                event,
            })
        });
    known.unwrap_or_else(|| unknown_event(message))
}

fn parse_sender(subject: &str) -> Option<(Service, SubjectToken)> {
    match Subject::parse(subject)? {
        Subject::Event { process, .. } => Some((process.role.service(), process.instance)),
        _ => None,
    }
}

fn unknown_event(message: &Message) -> IncomingEvent {
    let severity = match Subject::parse(&message.subject) {
        Some(Subject::Event { severity, .. }) => severity,
        _ => Severity::Warning,
    };
    let text = String::from_utf8_lossy(&message.payload);
    tracing::warn!(subject = %message.subject, "event of an unknown kind or version");
    IncomingEvent::Unknown {
        id: event_id(message),
        at: stored_at(message),
        severity,
        subject: message.subject.to_string(),
        payload: text.chars().take(MAX_PAYLOAD_CHARS).collect(),
    }
}

/// Id from the header, else the sequence in the stream, which is unique as well.
fn event_id(message: &Message) -> String {
    let headers = message.headers.as_ref();
    let given = headers.and_then(|headers| headers.get("Nats-Msg-Id"));
    match (given, message.info()) {
        (Some(id), _) => id.as_str().to_owned(),
        (None, Ok(info)) => format!("event:{}", info.stream_sequence),
        (None, Err(_)) => message.subject.to_string(),
    }
}

fn stored_at(message: &Message) -> UtcMs {
    let published = message.info().ok().map(|info| info.published);
    let millis = published.and_then(|at| i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok());
    millis.map_or_else(clock::now, UtcMs)
}
