//! Who holds a lease. How long it lasts is each observer's own measurement (`runtime::lease`).

use serde::{Deserialize, Serialize};

use crate::ids::SubjectToken;

/// The value of a lease's subject. A renewal writes the same holder again: the sequence moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Version of this message.
    pub v: u16,
    /// `None`: given back, free at once.
    pub holder: Option<Holder>,
}

/// The process that holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The instance's name, the same after a restart.
    pub instance: SubjectToken,
    /// This run of it.
    pub boot: SubjectToken,
}
