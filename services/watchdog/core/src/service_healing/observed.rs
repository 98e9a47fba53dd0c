//! A Compose service as Docker reports it, and whether it hangs.

use std::time::Duration;

use protocol::exit_code::ExitCode;
use protocol::ids::SubjectToken;

use crate::container::{ContainerHealth, Run};

/// A Compose service beside the units, as Docker reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedService {
    /// Name of the service with its number, such as `nats-1`.
    pub name: SubjectToken,
    /// Run that is in progress, or the last one.
    pub run: Run,
    /// Age of the run at its last health check: both times are Docker's. Zero without a check.
    pub checked_age: Duration,
    /// Restarts by Docker's restart policy since the last start by anything else.
    pub restarts: u64,
    /// Time between SIGTERM and SIGKILL, in milliseconds.
    pub grace_ms: u64,
    /// Health by the container's health check.
    pub health: ContainerHealth,
}

impl ObservedService {
    /// Why the service is hung. `None` if it is not. A service that waits for a dependency (exit 69) is not hung: a
    /// restart would not help.
    pub fn hang_reason(&self) -> Option<String> {
        let waits = i64::from(ExitCode::Unavailable.number());
        match &self.health {
            ContainerHealth::Unhealthy(checks)
                if !checks.iter().any(|check| check.exit_code == waits) =>
            {
                Some(format!("hung: {}", checks.last()?.describe()))
            }
            ContainerHealth::Unhealthy(_) | ContainerHealth::Healthy | ContainerHealth::Unknown => {
                None
            }
        }
    }
}
