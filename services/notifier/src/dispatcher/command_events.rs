//! Events about commands, published for other services.

use std::sync::Arc;

use notifier_core::record::DeliveryRecord;
use runtime::journal::{BatchPosition, StoredBatch};
use runtime::outbox::{Outbox, OutboxCursor};

/// Key in the ids of the events.
const EVENT_KEY: &str = "notifier.operator";

/// Queues the events of these records; their ids follow from the position of the batch.
pub(super) fn publish_events(
    outbox: &Outbox,
    position: &BatchPosition,
    records: &[DeliveryRecord],
    cursor: &Arc<OutboxCursor>,
) {
    let bodies = records.iter().map(DeliveryRecord::event_body);
    outbox.enqueue_journaled(EVENT_KEY, position, bodies, cursor);
}

/// Queues the events of all batches after the newest confirmed one, because the last confirmation may be missing in the
/// journal.
pub(super) fn republish_events(
    outbox: &Outbox,
    batches: &[StoredBatch<DeliveryRecord>],
) -> Arc<OutboxCursor> {
    let newest = batches
        .iter()
        .map(|stored| stored.batch.events_published_seq)
        .max();
    let cursor = OutboxCursor::from_seq(newest.unwrap_or(0));
    let from = cursor.seq();
    for stored in batches.iter().filter(|stored| stored.seq > from) {
        publish_events(outbox, &stored.position(), &stored.batch.records, &cursor);
    }
    cursor
}
