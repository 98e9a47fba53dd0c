//! Faults that last until they are ended, and faults of streams, as they are armed.

use serde::{Deserialize, Serialize};

use super::keys::FaultTarget;

/// A fault that `on` begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    pub(crate) on: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClockSkew {
    pub(crate) ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Close {
    /// Code of the close frame; `None` cuts the connection.
    pub(crate) code: Option<u16>,
    /// `None` for all connections.
    pub(crate) to: Option<FaultTarget>,
}
