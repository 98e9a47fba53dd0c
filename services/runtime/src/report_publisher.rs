//! Publishes reports to the streams REPORTS and EQUITY.

use async_nats::jetstream::message::PublishMessage;
use protocol::subject::Subject;
use serde::Serialize;

use crate::bus::Bus;
use crate::streams;

/// What happens to earlier messages of the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// The message replaces earlier messages.
    Newest,
    /// Earlier messages stay in the stream.
    All,
}

/// Stores one message in the stream of its retention and returns its sequence.
///
/// # Errors
/// One line, if the message was not stored; the next report repeats the attempt.
pub async fn publish(
    bus: &Bus,
    subject: &Subject,
    message: &(impl Serialize + Sync),
    retention: Retention,
) -> Result<u64, String> {
    let payload = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let stream = match retention {
        Retention::Newest => streams::REPORTS,
        Retention::All => streams::EQUITY,
    };
    let publish = PublishMessage::build()
        .payload(payload.into())
        .expected_stream(stream);
    let stored = bus.store(&subject.to_string(), publish).await;
    stored.map_err(|error| error.to_string())
}
