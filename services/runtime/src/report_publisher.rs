//! Publishes to REPORTS: how things are, for whoever asks.

use async_nats::jetstream::message::PublishMessage;
use protocol::subject::Subject;
use serde::Serialize;

use crate::bus::Bus;
use crate::streams;

/// What becomes of the messages before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// This one replaces them.
    Newest,
    /// They stay.
    All,
}

/// Stores one message in REPORTS; returns its sequence there.
///
/// # Errors
/// Why not, in one line; to be tried again at the next occasion.
pub async fn publish(
    bus: &Bus,
    subject: &Subject,
    message: &(impl Serialize + Sync),
    retention: Retention,
) -> Result<u64, String> {
    let payload = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let mut publish = PublishMessage::build()
        .payload(payload.into())
        .expected_stream(streams::REPORTS);
    if retention == Retention::Newest {
        publish = publish.header("Nats-Rollup", "sub");
    }
    let stored = bus.store(&subject.to_string(), publish).await;
    stored.map_err(|error| error.to_string())
}
