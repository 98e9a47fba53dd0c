//! Whose stop it was: signals and `docker stop` of an operator, as Docker reports them.
//!
//! `docker stop` sends the container's stop signal, waits, sends SIGKILL, and reports `stop` when the run has ended. Its
//! signal can be any. So SIGTERM, SIGINT and the container's own stop signal are requests at once, other signals only
//! when `stop` follows the end.

use protocol::time::UtcMs;

use crate::container::{Container, Run};

/// Time after the grace period for which a signal counts as a request. A process that has survived its stop signal for
/// longer has ignored it, and ends for another reason.
pub(crate) const SIGNAL_MARGIN_MS: u64 = 5_000;

/// A stop of a container that Docker reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRequest {
    /// Id of the container.
    pub container: String,
    /// Time of the request, by Docker's wall clock.
    pub at: UtcMs,
    /// What Docker reported.
    pub evidence: StopEvidence,
    /// The request is in Docker's history behind the last start of the container, so it belongs to its last run
    /// whatever the clocks say.
    pub is_of_last_run: bool,
}

/// What Docker reported of a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopEvidence {
    /// A signal was sent through Docker.
    Signal {
        /// Name of the signal without `SIG`.
        signal: String,
        /// Time from the signal to the end of the run in milliseconds, if Docker's history has both.
        ended_after_ms: Option<u64>,
    },
    /// `docker stop` was called, and the run has ended.
    Finished,
}

/// What is known of the stop of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObservedStop {
    pub(crate) run: Run,
    /// Time of the request, by the monotonic clock in milliseconds.
    requested_at: u64,
    kind: StopKind,
    /// Longest time to the end of the run, in milliseconds.
    deadline_ms: u64,
    ended_after_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StopKind {
    /// A signal that may be the beginning of `docker stop`.
    Possible,
    /// A stop signal.
    Requested,
    /// `docker stop` has ended.
    Finished,
}

/// Whether the end of a run was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopVerdict {
    /// No stop was requested.
    NotRequested,
    /// A signal was sent that may belong to `docker stop`; the next event decides.
    Undecided,
    /// An operator stopped the run.
    Requested,
}

impl ObservedStop {
    /// `None` for a signal that is never a request: SIGKILL of a container whose stop signal is another one.
    pub(crate) fn new(container: &Container, evidence: &StopEvidence, mono: u64) -> Option<Self> {
        let (kind, ended_after_ms) = match evidence {
            StopEvidence::Finished => (StopKind::Finished, None),
            StopEvidence::Signal {
                signal,
                ended_after_ms,
            } => (signal_kind(container, signal)?, *ended_after_ms),
        };
        Some(Self {
            run: container.run.clone(),
            requested_at: mono,
            kind,
            deadline_ms: container.grace_ms.saturating_add(SIGNAL_MARGIN_MS),
            ended_after_ms,
        })
    }

    /// This request after another report about the same run. A report from Docker's history confirms a request, and
    /// does not renew it.
    pub(crate) fn merge(self, newer: Self, is_live: bool) -> Self {
        if self.run != newer.run {
            return newer;
        }
        let requested_at = if is_live && newer.kind >= self.kind {
            newer.requested_at
        } else {
            self.requested_at
        };
        Self {
            requested_at,
            kind: self.kind.max(newer.kind),
            ended_after_ms: newer.ended_after_ms.or(self.ended_after_ms),
            ..newer
        }
    }

    /// Last time by the monotonic clock at which the end of the run follows from the request. `None` for a signal that may
    /// be none.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let is_request = self.kind != StopKind::Possible;
        is_request.then(|| self.requested_at.saturating_add(self.deadline_ms))
    }

    /// Whether the end of the run, observed at `ended_at` by the monotonic clock, was requested.
    pub(crate) fn verdict(&self, ended_at: u64) -> StopVerdict {
        let after_ms = self
            .ended_after_ms
            .unwrap_or_else(|| ended_at.saturating_sub(self.requested_at));
        match self.kind {
            StopKind::Finished => StopVerdict::Requested,
            StopKind::Requested if after_ms <= self.deadline_ms => StopVerdict::Requested,
            StopKind::Requested | StopKind::Possible => StopVerdict::Undecided,
        }
    }
}

fn signal_kind(container: &Container, signal: &str) -> Option<StopKind> {
    match signal {
        "TERM" | "INT" => Some(StopKind::Requested),
        "KILL" if container.stop_signal == "KILL" => Some(StopKind::Possible),
        "KILL" => None,
        own if own == container.stop_signal => Some(StopKind::Requested),
        _ => Some(StopKind::Possible),
    }
}
