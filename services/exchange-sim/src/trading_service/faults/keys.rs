//! What the filters of faults know about calls and frames, and the terms of a filter.

use serde::{Deserialize, Serialize};

/// Target connections of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FaultTarget {
    /// Connections with a user stream.
    User,
    /// All other connections.
    Market,
    /// All connections.
    All,
}

impl FaultTarget {
    /// Whether a connection is a target; `is_user` says whether it has a user stream.
    pub(crate) const fn includes(self, is_user: bool) -> bool {
        match self {
            Self::User => is_user,
            Self::Market => !is_user,
            Self::All => true,
        }
    }
}

/// How often a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    AtMost(u64),
    Unlimited,
}

/// What a filter knows about a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CallKey {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Symbol among the parameters; `None` without one.
    pub(crate) symbol: Option<String>,
    /// Whether the call is a new order that can only reduce a position.
    pub(crate) is_reducing: bool,
}

/// What a filter knows about a frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FrameKey {
    pub(crate) is_user: bool,
    pub(crate) event: Option<String>,
    pub(crate) symbol: Option<String>,
}
