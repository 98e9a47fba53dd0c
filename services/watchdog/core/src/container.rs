//! A container as the engine shows it, reduced to what a verdict needs.

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::policy::RestartPolicy;

/// One run of one container. The engine gives every start another time, so two runs never look
/// alike: a start that was made shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    /// The container's id.
    pub container: String,
    /// The engine's `StartedAt`, letter by letter.
    pub started_at: String,
}

/// A container of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its present or last run.
    pub run: Run,
    /// When that run began, by the engine's wall clock.
    pub start_time: UtcMs,
    /// What it does.
    pub status: Status,
    /// What its arguments ask for, or why they are not understood.
    pub policy: Result<RestartPolicy, String>,
    /// How long it may take to end after SIGTERM, in milliseconds.
    pub grace_ms: u64,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Made, never started.
    Created,
    /// Its process lives.
    Running,
    /// Its process is frozen because a person said so.
    Paused,
    /// Its process has ended.
    Exited(Exit),
    /// The engine is taking it away.
    InTransition,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Its code; 128 + n after signal n.
    pub code: i64,
    /// The kernel killed it for lack of memory.
    pub oom_killed: bool,
    /// How long it ran, in milliseconds of the engine's wall clock.
    pub uptime_ms: u64,
}

impl Container {
    /// Whether its process lives, frozen or not.
    pub const fn is_alive(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    /// Its exit, if it has ended.
    pub const fn exit(&self) -> Option<Exit> {
        match self.status {
            Status::Exited(exit) => Some(exit),
            Status::Created | Status::Running | Status::Paused | Status::InTransition => None,
        }
    }
}
