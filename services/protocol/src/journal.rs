//! The envelope of one journal message: one decision, whole. The records inside belong to a brain.

use serde::{Deserialize, Serialize};

use crate::ids::SubjectToken;
use crate::time::UtcMs;

/// All records of one decision, stored together or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalBatch<R> {
    /// Version of this envelope and of its records.
    pub v: u16,
    /// Boot id of the process that wrote it.
    pub writer: SubjectToken,
    /// Unique within the writer: tells after a time-out whether the stored message is ours.
    pub batch_id: u64,
    /// When it was decided, wall clock of the writer.
    pub at: UtcMs,
    /// Sequence in JOURNAL up to which the owner's events of this key were acknowledged when this
    /// was written. The next owner publishes again from there.
    pub events_published_seq: u64,
    /// The decision.
    pub records: Vec<R>,
}
