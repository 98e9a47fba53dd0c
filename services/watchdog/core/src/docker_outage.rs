//! What went down together with the engine: that was stopped or died, or its host, and took along what ran on
//! it. For the unit it is no failure.

use std::time::Duration;

use protocol::time::UtcMs;

use crate::container::{Container, Exit};

/// The engine's own word for what was gone when it came back.
pub const LOST_CONTAINER_EXIT: i64 = 255;
/// How a run ends that the engine takes along: in good order, by SIGKILL after its grace, by SIGTERM, or before it.
const OUTAGE_EXIT_CODES: [i64; 4] = [0, 137, 143, LOST_CONTAINER_EXIT];

/// A time in which the engine went down and came back, by its wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DockerOutage {
    /// It was there until then.
    pub from: UtcMs,
    /// It was there again from then on.
    pub until: UtcMs,
}

impl DockerOutage {
    /// Whether this end is the engine's doing. What a unit says with a code of its own stays its word.
    pub fn explains_exit(&self, container: &Container, exit: Exit) -> bool {
        let ended = container
            .start_time
            .plus(Duration::from_millis(exit.uptime_ms));
        let is_within_outage = self.from <= ended && ended <= self.until;
        is_within_outage && !exit.oom_killed && OUTAGE_EXIT_CODES.contains(&exit.code)
    }
}
