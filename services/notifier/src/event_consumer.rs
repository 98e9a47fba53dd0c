//! Events from the bus, through a durable consumer: what was not acknowledged comes again. They are
//! acknowledged by whoever has journaled them, not here.

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

/// The consumer's name in the stream.
const CONSUMER: &str = "notifier";
/// Unacknowledged for this long, an event comes again: what was on its way to a notifier that was killed waits
/// for so long. That one comes twice is harmless.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// Events under way to us, and in one decision.
const MAX_BATCH_SIZE: usize = 64;
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// What of an unknown event is shown.
const MAX_PAYLOAD_CHARS: usize = 1_500;

/// Events that wait to be journaled.
pub const QUEUE_CAPACITY: usize = 2;

/// Some events, each with the way to acknowledge it.
pub struct FetchedEvents {
    /// What they say.
    pub events: Vec<IncomingEvent>,
    messages: Vec<Message>,
}

impl FetchedEvents {
    /// Tells the bus that all of them are journaled. One that does not arrive brings its event again,
    /// which is then known.
    pub async fn acknowledge(self) {
        for message in self.messages {
            let sent = timeout(DEADLINE, message.ack_with(AckKind::Ack)).await;
            if !matches!(sent, Ok(Ok(()))) {
                tracing::debug!(subject = %message.subject, "not acknowledged; it comes again");
            }
        }
    }
}

/// Hands events on until `stop`, or until nobody takes them.
pub async fn consume_events(
    bus: Bus,
    batches: mpsc::Sender<FetchedEvents>,
    shutdown: CancellationToken,
) {
    let read = async {
        loop {
            match consume_until_error(&bus, &batches).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(error, "events are not heard; trying again"),
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    };
    shutdown.run_until_cancelled(read).await;
}

/// Ok: nobody takes them any more.
async fn consume_until_error(
    bus: &Bus,
    batches: &mpsc::Sender<FetchedEvents>,
) -> Result<(), String> {
    let messages = timeout(DEADLINE, create_consumer(bus)).await;
    let messages = messages
        .map_err(|_| format!("no answer within {DEADLINE:?}"))?
        .map_err(|error| error.to_string())?;
    let mut ready = messages.ready_chunks(MAX_BATCH_SIZE);
    while let Some(results) = ready.next().await {
        let mut batch = FetchedEvents {
            events: Vec::new(),
            messages: Vec::new(),
        };
        let mut broken = None;
        for result in results {
            match result {
                Ok(message) => {
                    batch.events.push(parse_event(&message));
                    batch.messages.push(message);
                }
                Err(error) => broken = Some(error.to_string()),
            }
        }
        if !batch.events.is_empty() && batches.send(batch).await.is_err() {
            return Ok(());
        }
        if let Some(error) = broken {
            return Err(error);
        }
    }
    Err("the subscription ended".to_owned())
}

async fn create_consumer(bus: &Bus) -> Result<pull::Stream, async_nats::Error> {
    let stream = bus.jetstream().get_stream_no_info(streams::EVENTS).await?;
    let wanted = pull::Config {
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
    // Where it is there, this changes nothing but what differs.
    let consumer = stream.create_consumer(wanted).await?;
    let messages = consumer.stream().max_messages_per_batch(MAX_BATCH_SIZE);
    Ok(messages.messages().await?)
}

/// What cannot be read is told as it came: an owner who hears something odd is better off than one who
/// hears nothing.
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
        Subject::Event { process, .. } => Some((process.service, process.instance)),
        _ => None,
    }
}

fn unknown_event(message: &Message) -> IncomingEvent {
    let severity = match Subject::parse(&message.subject) {
        Some(Subject::Event { severity, .. }) => severity,
        _ => Severity::Warning,
    };
    let text = String::from_utf8_lossy(&message.payload);
    tracing::warn!(subject = %message.subject, "an event that this version does not know");
    IncomingEvent::Unknown {
        id: event_id(message),
        at: stored_at(message),
        severity,
        subject: message.subject.to_string(),
        payload: text.chars().take(MAX_PAYLOAD_CHARS).collect(),
    }
}

/// Its header, else its place in the stream, which no other has.
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
