//! Envelope of a journal message. The records in it are defined by the core that folds them.

use serde::{Deserialize, Serialize};

use crate::ids::SubjectToken;
use crate::time::UtcMs;

/// All records of one decision, stored completely or not at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalBatch<R> {
    /// Version of the envelope and its records.
    pub v: u16,
    /// Boot id of the process that appended the batch.
    pub writer: SubjectToken,
    /// Number of the batch, unique within the writer; shows after a timeout whether the stored message is the own one.
    pub batch_id: u64,
    /// Time of the decision, wall clock of the writer.
    pub at: UtcMs,
    /// Sequence in JOURNAL up to which the events of this key were published when the batch was written. The next writer
    /// publishes the events after it again.
    pub events_published_seq: u64,
    /// Records of the decision.
    pub records: Vec<R>,
}
