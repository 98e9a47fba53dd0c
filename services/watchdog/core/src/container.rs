//! A container as Docker reports it, reduced to what decisions need.

use protocol::ids::Mode;
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
    /// Mode by the container's arguments. `None` if they are not those of a trader.
    pub mode: Option<Mode>,
    /// Time between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// Signal of `docker stop`, without `SIG`.
    pub stop_signal: String,
    /// Identifies the configuration: image, arguments and settings. Equal for containers that differ in nothing else.
    pub config: String,
    /// Docker's error of the last start, in one line. `None` if there was none.
    pub error: Option<String>,
    /// Health by the container's health check.
    pub health: ContainerHealth,
}

/// Health of a container by its health check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ContainerHealth {
    /// The last health check succeeded.
    Healthy,
    /// Docker reports unhealthy. The last checks since the last success, oldest first.
    Unhealthy(Vec<FailedCheck>),
    /// Not running, paused, just started, or without a health check.
    #[default]
    Unknown,
}

/// A health check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCheck {
    /// Exit code; -1 for a check that timed out or could not be run.
    pub exit_code: i64,
    /// Docker's own error for exit code -1, in one line. `None` for an exit of the check itself.
    pub docker_error: Option<String>,
}

impl FailedCheck {
    /// The check in one clause, with Docker's text where Docker could not run it.
    pub fn describe(&self) -> String {
        match (&self.docker_error, self.exit_code) {
            (Some(error), _) if !error.starts_with(TIMED_OUT) => {
                format!("the health check cannot be run: {error}")
            }
            (Some(_), _) | (None, -1) => "the health check timed out".to_owned(),
            (None, code) => format!("the health check failed (exit {code})"),
        }
    }
}

/// Docker's text for a health check that took too long.
const TIMED_OUT: &str = "Health check exceeded timeout";

/// The name of a signal without `SIG`, in capitals: Docker's events have numbers, a container's settings names.
pub fn normalize_signal(text: &str) -> String {
    let name = match text.trim() {
        "1" => "HUP",
        "2" => "INT",
        "3" => "QUIT",
        "6" => "ABRT",
        "9" => "KILL",
        "10" => "USR1",
        "12" => "USR2",
        "14" => "ALRM",
        "15" => "TERM",
        other => other,
    };
    let name = name.to_ascii_uppercase();
    name.strip_prefix("SIG").unwrap_or(&name).to_owned()
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

impl Exit {
    /// Whether the kernel ended the process for lack of memory. With another exit code it ended a child.
    pub const fn is_out_of_memory(self) -> bool {
        self.oom_killed && self.code == 137
    }
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
