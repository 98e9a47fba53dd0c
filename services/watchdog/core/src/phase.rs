//! The phases of a unit. The crate documentation has the table of transitions.

use crate::container::Run;
use crate::reason::{QuarantineReason, RestartReason};

/// The phase of a unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UnitPhase {
    /// No run of the unit has been observed yet.
    #[default]
    Unknown,
    /// This run is in progress.
    Running(Run),
    /// Hung or commanded to stop, and being stopped.
    Stopping {
        /// The run to end.
        run: Run,
        /// Why the run is stopped.
        reason: RestartReason,
        /// Time between SIGTERM and SIGKILL, in milliseconds.
        grace_ms: u64,
    },
    /// Waiting for the next start.
    RestartPending {
        /// The run that ended.
        run: Run,
        /// Length of the wait, in milliseconds.
        delay_ms: u64,
    },
    /// The start is recorded and its run is not observed yet.
    Starting {
        /// The run before the start.
        run: Run,
    },
    /// Not restarted until an operator acts.
    Quarantined {
        /// Run that ended last.
        run: Run,
        /// Why the unit is quarantined.
        reason: QuarantineReason,
    },
    /// Stopped by an operator.
    Stopped {
        /// Run that ended last.
        run: Run,
    },
    /// Ended and not restarted.
    Ended {
        /// Run that ended last.
        run: Run,
    },
    /// The container was removed.
    Gone,
    /// The container exists and is not supervised, or was created and never started.
    NotSupervised {
        /// Why, in one line.
        reason: String,
    },
}

impl UnitPhase {
    /// Every name that [`Self::as_str`] gives.
    pub const NAMES: [&str; 10] = [
        "unknown",
        "running",
        "stopping",
        "restart_pending",
        "starting",
        "quarantined",
        "stopped",
        "ended",
        "gone",
        "not_supervised",
    ];

    /// The run of the phase. `None` without a container.
    pub const fn run(&self) -> Option<&Run> {
        match self {
            Self::Running(run)
            | Self::Stopping { run, .. }
            | Self::RestartPending { run, .. }
            | Self::Starting { run }
            | Self::Quarantined { run, .. }
            | Self::Stopped { run }
            | Self::Ended { run } => Some(run),
            Self::Unknown | Self::Gone | Self::NotSupervised { .. } => None,
        }
    }

    /// Length of the whole wait in milliseconds; 0 in other phases.
    pub const fn delay_ms(&self) -> u64 {
        match self {
            Self::RestartPending { delay_ms, .. } => *delay_ms,
            _ => 0,
        }
    }

    /// The name in logs, metrics and `status`.
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
            Self::NotSupervised { .. } => "not_supervised",
        }
    }
}
