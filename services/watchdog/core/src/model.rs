//! Values that records, state and decisions share.

use protocol::ids::{AccountKey, SubjectToken};
use serde::{Deserialize, Serialize};

use crate::container::Run;

/// A latch that closes an account until an operator ends it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Latch {
    /// Whose account.
    pub account: AccountKey,
    /// Its name.
    pub id: String,
}

/// What a person may order to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunCommand {
    /// Stop it in good order and leave it so.
    Stop,
    /// Start what is down, now.
    Start,
    /// Stop it in good order and start it at once.
    Restart,
}

impl RunCommand {
    /// The word on command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Restart => "restart",
        }
    }
}

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartedBy {
    /// The run existed before supervision began.
    AlreadyRunning,
    /// The container was not known before: somebody created it.
    NewContainer,
    /// A watchdog of this project.
    Watchdog,
    /// Docker's restart policy, after the run before had ended.
    Docker,
    /// A client of Docker other than the watchdog.
    Operator,
    /// Not observed: an operator, Docker or the host at its own start, or a watchdog that ended before it could record
    /// the start.
    Unknown,
}

impl StartedBy {
    /// The name in logs and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyRunning => "already_running",
            Self::NewContainer => "new_container",
            Self::Watchdog => "watchdog",
            Self::Docker => "docker",
            Self::Operator => "operator",
            Self::Unknown => "unknown",
        }
    }
}

/// Since when a process is healthy, by its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthySince {
    /// The process.
    pub boot: SubjectToken,
    /// Its age at the first good heartbeat, in milliseconds.
    pub uptime_ms: u64,
    /// Time between two heartbeats, in milliseconds.
    pub interval_ms: u64,
    /// Earlier failures are forgiven.
    pub has_reset_failures: bool,
}

/// A call to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// End this run: SIGTERM, and SIGKILL after the grace.
    Stop {
        /// Which run.
        run: Run,
        /// In milliseconds.
        grace_ms: u64,
    },
    /// Start this container again; its last run tells a start that was made from one that was not.
    Start {
        /// Its last run.
        run: Run,
    },
}

impl Action {
    /// Its name in logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop",
            Self::Start { .. } => "start",
        }
    }
}
