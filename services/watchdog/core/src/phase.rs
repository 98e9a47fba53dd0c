//! Where in its life a unit is. What leads from one phase to the next is in the table of this crate.

use crate::container::Run;
use crate::reason::{QuarantineReason, RestartReason};

/// Where in its life a unit is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UnitPhase {
    /// Never seen alive.
    #[default]
    Unknown,
    /// It runs.
    Running(Run),
    /// It hangs and is being stopped.
    Stopping {
        /// The run that hangs.
        run: Run,
        /// How that shows.
        reason: RestartReason,
        /// Time between SIGTERM and SIGKILL, in milliseconds.
        grace_ms: u64,
    },
    /// It waits for its next start.
    RestartPending {
        /// The run that ended.
        run: Run,
        /// How long, in milliseconds.
        delay_ms: u64,
    },
    /// It is being started.
    Starting {
        /// The run before.
        run: Run,
    },
    /// It stays down until a person acts.
    Quarantined {
        /// Its last run.
        run: Run,
        /// Why.
        reason: QuarantineReason,
    },
    /// A person stopped it.
    Stopped {
        /// Its last run.
        run: Run,
    },
    /// It ended and is not to be restarted.
    Ended {
        /// Its last run.
        run: Run,
    },
    /// Its container was removed.
    Gone,
}

impl UnitPhase {
    /// Every name that [`Self::as_str`] gives.
    pub const NAMES: [&str; 9] = [
        "unknown",
        "running",
        "stopping",
        "restart_pending",
        "starting",
        "quarantined",
        "stopped",
        "ended",
        "gone",
    ];

    /// The run that it is about.
    pub const fn run(&self) -> Option<&Run> {
        match self {
            Self::Running(run)
            | Self::Stopping { run, .. }
            | Self::RestartPending { run, .. }
            | Self::Starting { run }
            | Self::Quarantined { run, .. }
            | Self::Stopped { run }
            | Self::Ended { run } => Some(run),
            Self::Unknown | Self::Gone => None,
        }
    }

    /// How long it waits in all, in milliseconds.
    pub const fn delay_ms(&self) -> u64 {
        match self {
            Self::RestartPending { delay_ms, .. } => *delay_ms,
            _ => 0,
        }
    }

    /// Its name in logs and `status`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Running(_) => "running",
            Self::Stopping { .. } => "stopping",
            Self::RestartPending { .. } => "restart_pending",
            Self::Starting { .. } => "starting",
            Self::Quarantined { .. } => "quarantined",
            Self::Stopped { .. } => "stopped",
            Self::Ended { .. } => "ended",
            Self::Gone => "gone",
        }
    }
}
