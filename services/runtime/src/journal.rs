//! Journal of one key: replay it, become its writer, append one batch at a time behind a fence.
//!
//! The fence is JetStream's expected last sequence of the subject: of two processes that both take themselves for the
//! writer, the append of the second is rejected, and that process stops acting for the key.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures_util::StreamExt;
use protocol::VERSION;
use protocol::ids::SubjectToken;
use protocol::journal::JournalBatch;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::bus::{Bus, DEADLINE, LatestMessage, StoreError};
use crate::{clock, streams};

const RETRY: Duration = Duration::from_millis(250);
const REPLAY_RETRY: Duration = Duration::from_secs(1);

/// Batch ids are counted over the whole process, so that a writer that lost a key and acquired it again never reuses an
/// id.
static NEXT_BATCH_ID: AtomicU64 = AtomicU64::new(1);

/// The writing end of one journal.
pub struct Journal {
    bus: Bus,
    subject: String,
    writer: SubjectToken,
    last_seq: u64,
    last_batch_id: u64,
}

/// Id of one stored batch. Identifies it also in another stream with the same sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchId {
    /// Sequence of the batch in the stream JOURNAL.
    pub seq: u64,
    /// Boot id of the writer.
    pub writer: SubjectToken,
    /// Number of the batch with that writer.
    pub batch_id: u64,
}

/// Sequence and time of one stored batch. The ids and times of its events follow from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPosition {
    /// Sequence of the batch in the stream JOURNAL.
    pub seq: u64,
    /// Time of the decision, wall clock of the writer.
    pub at: UtcMs,
}

/// A stored batch with its sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredBatch<R> {
    /// Sequence of the batch in the stream JOURNAL.
    pub seq: u64,
    /// Batch as its writer stored it.
    pub batch: JournalBatch<R>,
}

impl<R> StoredBatch<R> {
    /// Whether this batch has that id.
    pub fn matches(&self, id: &BatchId) -> bool {
        (self.seq, &self.batch.writer, self.batch.batch_id) == (id.seq, &id.writer, id.batch_id)
    }

    /// Sequence and time of the batch.
    pub const fn position(&self) -> BatchPosition {
        BatchPosition {
            seq: self.seq,
            at: self.batch.at,
        }
    }
}

/// Error of reading a journal.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The bus does not answer; a retry can help.
    #[error("journal {subject}: {reason}")]
    Unavailable {
        /// Subject of the journal.
        subject: String,
        /// Error of the bus, in one line.
        reason: String,
    },
    /// A message cannot be read by this program: the key must be halted.
    #[error("journal {subject}, sequence {seq}: {reason}")]
    Unreadable {
        /// Subject of the journal.
        subject: String,
        /// Sequence of the message.
        seq: u64,
        /// Why the message cannot be read.
        reason: String,
    },
}

/// Error of appending to a journal.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another process has appended: this process must replay before it acts for the key again.
    #[error("journal {subject}: another writer has appended")]
    Fenced {
        /// Subject of the journal.
        subject: String,
    },
    /// The batch cannot be stored as it is.
    #[error("journal {subject}: {reason}")]
    Rejected {
        /// Subject of the journal.
        subject: String,
        /// Why the batch cannot be stored.
        reason: String,
    },
}

impl Journal {
    /// Reads all batches of `subject`, oldest first, and returns the writing end behind them. The caller must not act before
    /// its first append is acknowledged, which makes it the writer.
    ///
    /// # Errors
    /// [`ReplayError`], if the bus does not answer or a message cannot be read.
    pub async fn replay<R: DeserializeOwned>(
        bus: &Bus,
        subject: &Subject,
        writer: SubjectToken,
    ) -> Result<(Self, Vec<StoredBatch<R>>), ReplayError> {
        Self::replay_from(bus, subject, writer, 0).await
    }

    /// As [`replay`](Self::replay), but only the batches from sequence `from_seq` on: the others are in a snapshot.
    ///
    /// # Errors
    /// As [`replay`](Self::replay).
    pub async fn replay_from<R: DeserializeOwned>(
        bus: &Bus,
        subject: &Subject,
        writer: SubjectToken,
        from: u64,
    ) -> Result<(Self, Vec<StoredBatch<R>>), ReplayError> {
        let subject = subject.to_string();
        let (last_seq, batches) = read_from(bus, &subject, from).await?;
        let journal = Self {
            bus: bus.clone(),
            last_seq,
            last_batch_id: 0,
            subject,
            writer,
        };
        Ok((journal, batches))
    }

    /// As [`replay_from`](Self::replay_from), with retries until the bus answers. `on_wait` is called with each error.
    ///
    /// # Errors
    /// [`ReplayError::Unreadable`], if a message cannot be read.
    pub async fn replay_with_retry<R: DeserializeOwned>(
        bus: &Bus,
        subject: &Subject,
        writer: SubjectToken,
        from: u64,
        mut on_retry: impl FnMut(&str),
    ) -> Result<(Self, Vec<StoredBatch<R>>), ReplayError> {
        loop {
            match Self::replay_from(bus, subject, writer.clone(), from).await {
                Err(error @ ReplayError::Unavailable { .. }) => {
                    tracing::warn!(%error, "journal read failed");
                    on_retry(&error.to_string());
                    tokio::time::sleep(REPLAY_RETRY).await;
                }
                ended => return ended,
            }
        }
    }

    /// The writing end behind a message that another part of this process knows as the last one. An append is rejected if it
    /// is not the last one any more.
    pub fn from_last_seq(
        bus: &Bus,
        subject: &Subject,
        writer: SubjectToken,
        last_seq: u64,
    ) -> Self {
        Self {
            bus: bus.clone(),
            subject: subject.to_string(),
            writer,
            last_seq,
            last_batch_id: 0,
        }
    }

    /// The writing end behind the newest message, without a replay. For journals of which the writer need not know the
    /// records, such as those of commands.
    ///
    /// # Errors
    /// [`ReplayError`], if the bus does not answer or the newest message cannot be read.
    pub async fn open_at_end(
        bus: &Bus,
        subject: &Subject,
        writer: SubjectToken,
    ) -> Result<Self, ReplayError> {
        let mut journal = Self::from_last_seq(bus, subject, writer, 0);
        if let Some((seq, ..)) = journal.last_stored().await? {
            journal.last_seq = seq;
        }
        Ok(journal)
    }

    /// Stores one batch and returns its position once the server has synced it to disk.
    ///
    /// Retries while the outcome is unknown or the bus is unreachable: the message, its id and its fence do not change, so
    /// a retry is safe. Drop the future to cancel. `on_retry` is called with each error.
    ///
    /// # Errors
    /// [`AppendError`]; this writing end cannot be used after it.
    pub async fn append<R: Serialize>(
        &mut self,
        records: &[R],
        confirmed: u64,
        mut on_retry: impl FnMut(&str),
    ) -> Result<BatchPosition, AppendError> {
        let id = NEXT_BATCH_ID.fetch_add(1, Ordering::Relaxed);
        let at = clock::now();
        let batch = JournalBatch {
            v: VERSION,
            writer: self.writer.clone(),
            batch_id: id,
            at,
            events_published_seq: confirmed,
            records: records.iter().collect(),
        };
        let payload: Bytes = serde_json::to_vec(&batch)
            .map_err(|error| self.rejected(error.to_string()))?
            .into();
        loop {
            let why = match self.try_append(payload.clone()).await {
                AppendAttempt::Stored(seq) => return Ok(self.advance_to(seq, id, at)),
                AppendAttempt::Rejected(reason) => return Err(self.rejected(reason)),
                AppendAttempt::Unknown(why) => why,
            };
            match self.last_stored().await {
                Ok(Some((seq, writer, last))) if writer == self.writer && last == id => {
                    return Ok(self.advance_to(seq, id, at));
                }
                Ok(last) if last.as_ref().map_or(0, |(seq, ..)| *seq) == self.last_seq => {
                    on_retry(&why);
                }
                // What cannot be read is not ours either: a newer program's.
                Ok(_) | Err(ReplayError::Unreadable { .. }) => {
                    return Err(AppendError::Fenced {
                        subject: self.subject.clone(),
                    });
                }
                Err(error @ ReplayError::Unavailable { .. }) => on_retry(&error.to_string()),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Sequence of the newest message of the key, as far as this writer knows.
    pub const fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Id of the batch that this writer stored last; `None` before its first.
    pub fn last_batch(&self) -> Option<BatchId> {
        (self.last_batch_id > 0).then(|| BatchId {
            seq: self.last_seq,
            writer: self.writer.clone(),
            batch_id: self.last_batch_id,
        })
    }

    const fn advance_to(&mut self, seq: u64, id: u64, at: UtcMs) -> BatchPosition {
        self.last_seq = seq;
        self.last_batch_id = id;
        BatchPosition { seq, at }
    }

    fn rejected(&self, reason: String) -> AppendError {
        AppendError::Rejected {
            subject: self.subject.clone(),
            reason,
        }
    }

    async fn try_append(&self, payload: Bytes) -> AppendAttempt {
        let message = PublishMessage::build()
            .payload(payload)
            .expected_stream(streams::JOURNAL)
            .expected_last_subject_sequence(self.last_seq);
        match self.bus.store(&self.subject, message).await {
            Ok(seq) => AppendAttempt::Stored(seq),
            Err(error @ StoreError::TooLarge) => AppendAttempt::Rejected(error.to_string()),
            Err(error) => AppendAttempt::Unknown(error.to_string()),
        }
    }

    async fn last_stored(&self) -> Result<Option<(u64, SubjectToken, u64)>, ReplayError> {
        let Some(LatestMessage { seq, payload, .. }) = read_last(&self.bus, &self.subject).await?
        else {
            return Ok(None);
        };
        let entry: JournalBatch<serde::de::IgnoredAny> = parse(&self.subject, seq, &payload)?;
        Ok(Some((seq, entry.writer, entry.batch_id)))
    }
}

enum AppendAttempt {
    Stored(u64),
    Unknown(String),
    Rejected(String),
}

async fn read_last(bus: &Bus, subject: &str) -> Result<Option<LatestMessage>, ReplayError> {
    bus.latest_message(streams::JOURNAL, subject)
        .await
        .map_err(|reason| ReplayError::Unavailable {
            subject: subject.to_owned(),
            reason,
        })
}

/// Reads up to the message that is the last one now, and returns its sequence too.
async fn read_from<R: DeserializeOwned>(
    bus: &Bus,
    subject: &str,
    from: u64,
) -> Result<(u64, Vec<StoredBatch<R>>), ReplayError> {
    let last = match read_last(bus, subject).await? {
        None => return Ok((0, Vec::new())),
        Some(LatestMessage { seq, .. }) if seq < from => return Ok((seq, Vec::new())),
        Some(LatestMessage { seq, .. }) => seq,
    };
    let unavailable = |reason: String| ReplayError::Unavailable {
        subject: subject.to_owned(),
        reason,
    };
    let mut messages = open_reader(bus, subject, from)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    let mut batches = Vec::new();
    loop {
        let message = match timeout(DEADLINE, messages.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return Err(unavailable(error.to_string())),
            Ok(None) => return Err(unavailable("the reader ended early".to_owned())),
            Err(_) => return Err(unavailable(format!("no message within {DEADLINE:?}"))),
        };
        let seq = message
            .info()
            .map_err(|error| unavailable(error.to_string()))?
            .stream_sequence;
        let entry = parse(subject, seq, &message.payload)?;
        batches.push(StoredBatch { seq, batch: entry });
        if seq >= last {
            return Ok((last, batches));
        }
    }
}

/// Creates an ephemeral consumer without acknowledgements; the server removes it after its reader.
async fn open_reader(
    bus: &Bus,
    subject: &str,
    from: u64,
) -> Result<pull::Stream, async_nats::Error> {
    let stream = bus.jetstream().get_stream_no_info(streams::JOURNAL).await?;
    let consumer = stream
        .create_consumer(pull::Config {
            // A name and one filter put both into the API subject, where permissions can see them.
            name: Some(format!("replay-{}", uuid::Uuid::new_v4().simple())),
            filter_subject: subject.to_owned(),
            deliver_policy: match from {
                0 => DeliverPolicy::All,
                start_sequence => DeliverPolicy::ByStartSequence { start_sequence },
            },
            ack_policy: AckPolicy::None,
            memory_storage: true,
            inactive_threshold: Duration::from_secs(30),
            ..pull::Config::default()
        })
        .await?;
    Ok(consumer
        .stream()
        .max_messages_per_batch(1000)
        .messages()
        .await?)
}

fn parse<R: DeserializeOwned>(
    subject: &str,
    seq: u64,
    payload: &[u8],
) -> Result<JournalBatch<R>, ReplayError> {
    let unreadable = |reason: String| ReplayError::Unreadable {
        subject: subject.to_owned(),
        seq,
        reason,
    };
    let version: VersionHeader =
        serde_json::from_slice(payload).map_err(|error| unreadable(error.to_string()))?;
    if version.v > VERSION {
        return Err(unreadable(format!(
            "version {} is newer than this program's {VERSION}",
            version.v
        )));
    }
    serde_json::from_slice(payload).map_err(|error| unreadable(error.to_string()))
}

#[derive(serde::Deserialize)]
struct VersionHeader {
    v: u16,
}
