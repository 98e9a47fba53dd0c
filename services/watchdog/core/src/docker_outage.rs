//! Runs that ended because Docker or its host stopped. Such an end is no failure of the unit.

use std::time::Duration;

use protocol::time::UtcMs;

use crate::container::{Container, Exit};

/// Exit code that Docker reports for a run that was gone when the daemon came back.
pub const LOST_CONTAINER_EXIT: i64 = 255;
/// Exit codes of runs that Docker ends: cleanly, by SIGKILL after the grace, by SIGTERM, or lost.
const OUTAGE_EXIT_CODES: [i64; 4] = [0, 137, 143, LOST_CONTAINER_EXIT];

/// A time in which Docker was down, by its wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DockerOutage {
    /// Last time at which Docker was known to be up.
    pub from: UtcMs,
    /// First time at which Docker was up again.
    pub until: UtcMs,
}

impl DockerOutage {
    /// The outage between two readings of the wall clock. If the clock was set back in between, nothing is known of the
    /// end, and every later time counts.
    pub fn between(from: UtcMs, until: UtcMs) -> Self {
        if until < from {
            let (from, until) = (until, UtcMs(i64::MAX));
            return Self { from, until };
        }
        Self { from, until }
    }

    /// Whether the outage explains this end. An exit code of the unit's own is never explained by an outage.
    pub fn explains_exit(&self, container: &Container, exit: Exit) -> bool {
        let ended = container
            .start_time
            .plus(Duration::from_millis(exit.uptime_ms));
        let is_within_outage = self.from <= ended && ended <= self.until;
        is_within_outage && !exit.is_out_of_memory() && OUTAGE_EXIT_CODES.contains(&exit.code)
    }
}
