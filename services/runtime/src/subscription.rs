//! The newest messages of a stream, pushed by the bus as soon as they are stored. Entry point: [`Subscription`].
//!
//! A push alone is not enough: a consumer can be deleted, a message can be lost with its connection, and a consumer can
//! fall silent. A subscription that ends, misses a heartbeat or skips a message is made again, also after every
//! reconnect. Beside it, the newest messages are read every half minute.
//!
//! The consumers are pull consumers with a waiting request. The ordered consumer of `async-nats` starts again at the
//! first message of a stream if it is lost before its first message, and not at all after a restart of the server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::resume_unwind;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backoff::Backoff;
use crate::bus::{Bus, DEADLINE, LatestMessage};

/// Messages that may wait for the receiver.
const CAPACITY: usize = 64;
/// Interval of the heartbeats of an idle consumer. Two that are missed end the subscription.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Time after which a request of an idle consumer is sent again.
const REQUEST_EXPIRY: Duration = Duration::from_secs(30);
/// Time after which the server removes a consumer without requests.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(30);
const BACKOFF: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: Duration::from_secs(5),
};
/// A subscription that has lasted this long works: the next failure counts as the first.
const FAILURE_RESET: Duration = Duration::from_secs(10);
/// Wait between two reads of the newest messages: 15 to 30 s.
const READ_WAIT: Backoff = Backoff {
    first: Duration::from_secs(30),
    cap: Duration::from_secs(30),
};

/// The newest message of every subject that matches a filter, and each newer one as soon as it is stored.
///
/// A message that a newer one of its subject has replaced may be skipped; no message is received twice in a row.
pub struct Subscription {
    messages: mpsc::Receiver<LatestMessage>,
    /// The one task that fills the queue; ends with this value.
    task: JoinSet<()>,
}

impl Subscription {
    /// Subscribes to the subjects of `stream` that match `filter`; retries until the bus answers.
    pub fn start(bus: &Bus, stream: &'static str, filter: impl Into<String>) -> Self {
        let (sender, messages) = mpsc::channel(CAPACITY);
        let subscriber = Subscriber {
            bus: bus.clone(),
            stream,
            filter: filter.into(),
            messages: sender,
            sent: BTreeMap::new(),
            next_read: Instant::now() + READ_WAIT.wait(1),
        };
        let mut task = JoinSet::new();
        task.spawn(subscriber.run());
        Self { messages, task }
    }

    /// Waits for the next message. A call that is cancelled loses none.
    ///
    /// # Panics
    /// If the subscription's own task has panicked.
    pub async fn next(&mut self) -> LatestMessage {
        if let Some(message) = self.messages.recv().await {
            return message;
        }
        if let Some(Err(error)) = self.task.join_next().await
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
        // The task ends only with its receiver, or when the runtime shuts down.
        std::future::pending().await
    }
}

/// Why a subscription ended.
enum SubscriptionEnd {
    /// No receiver is left for its messages.
    ReceiverDropped,
    /// The consumer may not push everything: the connection was made again, or a read was faster.
    Outdated,
    /// The consumer is lost, or a message.
    Lost(String),
}

impl From<String> for SubscriptionEnd {
    fn from(error: String) -> Self {
        Self::Lost(error)
    }
}

struct Subscriber {
    bus: Bus,
    stream: &'static str,
    filter: String,
    messages: mpsc::Sender<LatestMessage>,
    /// Sequence of the newest message of each subject that was sent to the receiver.
    sent: BTreeMap<String, u64>,
    /// When the newest messages are read next.
    next_read: Instant,
}

impl Subscriber {
    async fn run(mut self) {
        let mut connects = self.bus.connects();
        let mut failures: u32 = 0;
        loop {
            connects.mark_unchanged();
            let began = Instant::now();
            let end = tokio::select! {
                Err(end) = self.receive() => end,
                () = wait_for_change(&mut connects) => SubscriptionEnd::Outdated,
            };
            failures = if began.elapsed() >= FAILURE_RESET {
                1
            } else {
                failures.saturating_add(1)
            };
            let retry_in = BACKOFF.wait(failures);
            let Self { stream, filter, .. } = &self;
            match end {
                SubscriptionEnd::ReceiverDropped => return,
                SubscriptionEnd::Lost(error) if failures == 1 => {
                    tracing::warn!(stream, filter, error, ?retry_in, "subscription lost");
                }
                SubscriptionEnd::Lost(error) => {
                    tracing::debug!(stream, filter, error, ?retry_in, "subscription lost");
                }
                SubscriptionEnd::Outdated => {
                    tracing::debug!(stream, filter, ?retry_in, "subscription replaced");
                }
            }
            // Messages arrive also while no consumer can be created.
            if self.next_read <= Instant::now()
                && let Err(SubscriptionEnd::ReceiverDropped) = self.read_newest().await
            {
                return;
            }
            tokio::select! {
                () = sleep(retry_in) => {}
                () = wait_for_change(&mut connects) => {}
                () = self.messages.closed() => return,
            }
        }
    }

    /// Receives messages until the subscription ends.
    async fn receive(&mut self) -> Result<Infallible, SubscriptionEnd> {
        let opened = timeout(DEADLINE, self.open()).await;
        let mut messages = opened
            .map_err(|_| format!("no answer within {DEADLINE:?}"))?
            .map_err(|error| error.to_string())?;
        let mut received = 0;
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = sleep_until(self.next_read) => {
                    self.read_missed().await?;
                    continue;
                }
                () = self.messages.closed() => return Err(SubscriptionEnd::ReceiverDropped),
            };
            let message = message
                .ok_or_else(|| "the consumer ended".to_owned())?
                .map_err(|error| error.to_string())?;
            let info = message.info().map_err(|error| error.to_string())?;
            received += 1;
            if info.consumer_sequence != received {
                return Err(format!("message {received} of the consumer is missing").into());
            }
            let seq = info.stream_sequence;
            let (subject, payload) = (message.subject.to_string(), message.payload.clone());
            self.send(LatestMessage {
                subject,
                seq,
                payload,
            })
            .await?;
        }
    }

    /// Creates a consumer that begins with the newest message of each subject.
    async fn open(&self) -> Result<pull::Stream, async_nats::Error> {
        let jetstream = self.bus.jetstream();
        let stream = jetstream.get_stream_no_info(self.stream).await?;
        let consumer = stream
            .create_consumer(pull::Config {
                // A name and one filter put both into the API subject, where permissions can see them.
                name: Some(format!("newest-{}", uuid::Uuid::new_v4().simple())),
                filter_subject: self.filter.clone(),
                deliver_policy: DeliverPolicy::LastPerSubject,
                ack_policy: AckPolicy::None,
                memory_storage: true,
                inactive_threshold: INACTIVE_THRESHOLD,
                ..pull::Config::default()
            })
            .await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(CAPACITY)
            .heartbeat(HEARTBEAT_INTERVAL)
            .expires(REQUEST_EXPIRY);
        Ok(messages.messages().await?)
    }

    /// Reads the newest messages beside the consumer. A consumer that has not pushed one of them is replaced.
    async fn read_missed(&mut self) -> Result<(), SubscriptionEnd> {
        match self.read_newest().await {
            Ok(0) => Ok(()),
            Ok(missed) => {
                let Self { stream, filter, .. } = self;
                tracing::info!(
                    stream,
                    filter,
                    missed,
                    "messages read before they were pushed"
                );
                Err(SubscriptionEnd::Outdated)
            }
            Err(SubscriptionEnd::Lost(error)) => {
                let Self { stream, filter, .. } = self;
                tracing::debug!(stream, filter, error, "newest messages not read");
                Ok(())
            }
            Err(end) => Err(end),
        }
    }

    /// Sends the newest message of every subject to the receiver, except those that it has; returns their number.
    async fn read_newest(&mut self) -> Result<usize, SubscriptionEnd> {
        self.next_read = Instant::now() + READ_WAIT.wait(1);
        let has_wildcard = self.filter.contains(['*', '>']);
        let subjects = if has_wildcard {
            self.bus.subjects(self.stream, &self.filter).await?
        } else {
            vec![self.filter.clone()]
        };
        let mut missed = 0;
        for subject in subjects {
            let newest = self.bus.latest_message(self.stream, &subject).await?;
            if let Some(message) = newest
                && self.send(message).await?
            {
                missed += 1;
            }
        }
        Ok(missed)
    }

    /// Sends a message to the receiver; false if it was the last one of its subject that was sent.
    async fn send(&mut self, message: LatestMessage) -> Result<bool, SubscriptionEnd> {
        let LatestMessage { subject, seq, .. } = &message;
        let (subject, seq) = (subject.clone(), *seq);
        if self.sent.get(&subject) == Some(&seq) {
            return Ok(false);
        }
        let sent = self.messages.send(message).await;
        sent.map_err(|_| SubscriptionEnd::ReceiverDropped)?;
        self.sent.insert(subject, seq);
        Ok(true)
    }
}

/// Returns at the next change; never if the sender is gone.
async fn wait_for_change(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
