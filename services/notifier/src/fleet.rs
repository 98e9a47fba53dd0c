//! The newest heartbeat of every trader, for the owner's hourly one.

use protocol::heartbeat::Heartbeat;
use protocol::ids::Token;
use protocol::subject::filter;
use runtime::bus::Bus;
use runtime::streams;

/// All that the bus remembers, by name.
///
/// # Errors
/// Why the bus did not answer, in one line.
pub async fn heartbeats(bus: &Bus) -> Result<Vec<(Token, Heartbeat)>, String> {
    let mut subjects = bus
        .subjects(streams::HEARTBEATS, filter::TRADER_HEARTBEATS)
        .await?;
    subjects.sort();
    let mut beats = Vec::new();
    for subject in subjects {
        let newest = bus.newest(streams::HEARTBEATS, &subject).await?;
        let name = subject
            .rsplit('.')
            .next()
            .and_then(|name| name.parse().ok());
        let (Some(newest), Some(name)) = (newest, name) else {
            continue;
        };
        match serde_json::from_slice(&newest.payload) {
            Ok(beat) => beats.push((name, beat)),
            Err(error) => tracing::warn!(subject, %error, "a heartbeat that cannot be read"),
        }
    }
    Ok(beats)
}
