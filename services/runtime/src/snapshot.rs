//! Snapshots: folded state of a journal on its own subject, which shortens recovery. A snapshot that is missing,
//! unreadable, of another schema or not at a batch of the journal is ignored.

use async_nats::jetstream::message::PublishMessage;
use protocol::VERSION;
use protocol::subject::Subject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bus::Bus;
use crate::journal::BatchId;
use crate::streams;

/// A folded state with its position in the journal.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot<S> {
    /// Version of the envelope.
    pub v: u16,
    /// Version of the state; a state of another version is not read.
    pub schema: u16,
    /// Newest batch that is folded into the state.
    pub batch: BatchId,
    /// Sequence in JOURNAL up to which the events of the key were published.
    pub events_published_seq: u64,
    /// Folded state of the key.
    pub state: S,
}

#[derive(Deserialize)]
struct SnapshotHeader {
    v: u16,
    schema: u16,
}

/// Newest snapshot of this schema; `None` if there is no readable one. The caller replays the journal from its batch on
/// and compares the batch with the one in the journal.
pub async fn load<S: DeserializeOwned>(
    bus: &Bus,
    subject: &Subject,
    schema: u16,
) -> Option<Snapshot<S>> {
    let subject = subject.to_string();
    let newest = match bus.latest_message(streams::SNAPSHOTS, &subject).await {
        Ok(newest) => newest?,
        Err(error) => {
            tracing::warn!(
                subject,
                error,
                "snapshot not read; reading the whole journal"
            );
            return None;
        }
    };
    match parse(&newest.payload, schema) {
        Ok(snapshot) => Some(snapshot),
        Err(error) => {
            tracing::warn!(
                subject,
                error,
                "snapshot not usable; reading the whole journal"
            );
            None
        }
    }
}

fn parse<S: DeserializeOwned>(payload: &[u8], schema: u16) -> Result<Snapshot<S>, String> {
    let head: SnapshotHeader =
        serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    if head.v > VERSION || head.schema != schema {
        return Err(format!(
            "version {} and schema {}: this program reads {VERSION} and {schema}",
            head.v, head.schema
        ));
    }
    serde_json::from_slice(payload).map_err(|error| error.to_string())
}

/// Stores a snapshot. A failed attempt is repeated with the next snapshot.
///
/// # Errors
/// One line, if the snapshot was not stored.
pub async fn store<S: Serialize>(
    bus: &Bus,
    subject: &Subject,
    snapshot: &Snapshot<S>,
) -> Result<(), String> {
    let payload = serde_json::to_vec(snapshot).map_err(|error| error.to_string())?;
    let message = PublishMessage::build()
        .payload(payload.into())
        .expected_stream(streams::SNAPSHOTS);
    let stored = bus.store(&subject.to_string(), message).await;
    stored.map(|_| ()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_of_another_schema_or_newer_version_is_not_read() {
        let of = |v: u16, schema: u16| {
            let mark = BatchId {
                seq: 7,
                writer: "boot".parse().unwrap(),
                batch_id: 3,
            };
            let snapshot = Snapshot {
                v,
                schema,
                batch: mark,
                events_published_seq: 6,
                state: 1.1_f64,
            };
            serde_json::to_vec(&snapshot).unwrap()
        };
        let read = parse::<f64>(&of(VERSION, 4), 4).unwrap();
        assert_eq!(
            (read.batch.seq, read.state.to_bits()),
            (7, 1.1_f64.to_bits())
        );
        for payload in [
            of(VERSION, 3),
            of(VERSION + 1, 4),
            b"{}".to_vec(),
            b"no".to_vec(),
        ] {
            assert!(parse::<f64>(&payload, 4).is_err());
        }
    }
}
