//! Value of a lease. Each observer measures the age of a lease itself, see `runtime::lease`.

use serde::{Deserialize, Serialize};

use crate::ids::SubjectToken;

/// Value of a lease. A renewal stores the same holder again, with a new sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Version of the message.
    pub v: u16,
    /// Holder of the lease; `None` after the holder relinquished it.
    pub holder: Option<Holder>,
}

/// Process that holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// Instance of the process.
    pub instance: SubjectToken,
    /// Boot id of the process.
    pub boot: SubjectToken,
}
