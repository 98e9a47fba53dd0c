//! A container as Docker reports it, reduced to what decisions need.

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::restart_policy::RestartPolicy;

/// One run of one container. Docker gives every start a different time, so two runs are never equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    /// Id of the container.
    pub container: String,
    /// Docker's `StartedAt`, verbatim: distinguishes the runs of a container.
    pub started_at: String,
}

/// The container of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The current run, or the last one.
    pub run: Run,
    /// Start of the run by Docker's wall clock.
    pub start_time: UtcMs,
    /// State of the container.
    pub status: Status,
    /// The restart policy in the container's arguments, or the parse error in one line.
    pub policy: Result<RestartPolicy, String>,
    /// Time between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
}

/// State of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Created and never started.
    Created,
    /// The process of the container runs.
    Running,
    /// Frozen by `docker pause`.
    Paused,
    /// The process of the container has ended.
    Exited(Exit),
    /// Being removed or restarted by Docker.
    InTransition,
}

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + n after signal n.
    pub code: i64,
    /// Killed by the kernel for lack of memory.
    pub oom_killed: bool,
    /// Length of the run in milliseconds, by Docker's wall clock.
    pub uptime_ms: u64,
}

impl Container {
    /// Whether the process exists, frozen or not.
    pub const fn is_alive(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    /// The end of the process. `None` unless it has ended.
    pub const fn exit(&self) -> Option<Exit> {
        match self.status {
            Status::Exited(exit) => Some(exit),
            Status::Created | Status::Running | Status::Paused | Status::InTransition => None,
        }
    }
}
