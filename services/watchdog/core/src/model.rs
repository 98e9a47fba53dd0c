//! Values that records, state and decisions share.

use protocol::ids::{AccountKey, SubjectToken};
use serde::{Deserialize, Serialize};

use crate::container::Run;

/// A latch of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Latch {
    /// Account that is latched.
    pub account: AccountKey,
    /// Id of the latch.
    pub id: String,
}

/// A command that stops or starts a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunCommand {
    /// Stops the unit gracefully. It stays stopped.
    Stop,
    /// Starts a unit that is not running, at once.
    Start,
    /// Stops the unit gracefully and starts it at once.
    Restart,
}

impl RunCommand {
    /// The name on the command line.
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
    /// The container was not known before.
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

/// The process that is healthy, and since when by its own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthySince {
    /// Boot id of the process.
    pub boot: SubjectToken,
    /// Age of the process at its first heartbeat in phase running, in milliseconds.
    pub uptime_ms: u64,
    /// Heartbeat interval, in milliseconds.
    pub interval_ms: u64,
    /// The unit was healthy for long enough: its consecutive failures are reset.
    pub has_reset_failures: bool,
}

/// What the journal says about the healing of one service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JournaledHealing {
    /// Restarts of the hung service without a lasting health between them.
    pub heals: u32,
    /// Number of resets so far: another number means that the restarts in a row count from the journal again.
    pub resets: u32,
    /// The service is not restarted until an operator releases it.
    pub is_quarantined: bool,
    /// An operator holds the service.
    pub is_held: bool,
}

/// A call to Docker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ends a run: SIGTERM, and SIGKILL after the grace.
    Stop {
        /// The run to end.
        run: Run,
        /// Time between SIGTERM and SIGKILL, in milliseconds.
        grace_ms: u64,
    },
    /// Starts a container. A run other than the one given means that it was started already.
    Start {
        /// The last run of the container.
        run: Run,
    },
}

impl Action {
    /// The name in logs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Stop { .. } => "stop",
            Self::Start { .. } => "start",
        }
    }
}
