//! Corrects Docker's out-of-memory mark, which survives a restart of the container and is also set by the end of a child.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::time::UtcMs;
use watchdog_core::container::{Container, Status};

use crate::docker_event::DockerEvent;

/// An out-of-memory kill this long before the end of a run is its cause.
const KILL_WINDOW: Duration = Duration::from_secs(5);

/// What is known of out-of-memory kills in each container.
#[derive(Debug, Default)]
pub struct OomMarks {
    kills: BTreeMap<String, UtcMs>,
    /// Containers that were observed alive without the mark: a mark at their end is new.
    unmarked: BTreeSet<String>,
}

impl OomMarks {
    /// Notes an event.
    pub fn note(&mut self, event: &DockerEvent) {
        match event.action {
            "oom" => {
                self.kills.insert(event.container.clone(), event.at);
            }
            "destroy" => {
                self.kills.remove(&event.container);
                self.unmarked.remove(&event.container);
            }
            _ => {}
        }
    }

    /// Sets the mark of an ended container by a kill just before its end, or by a mark that is new. A mark that this
    /// process did not see appear may be left over from an earlier run.
    pub fn correct(&mut self, container: &mut Container, is_marked: bool) {
        let id = &container.run.container;
        match &mut container.status {
            Status::Exited(exit) => {
                let ended_at = container
                    .start_time
                    .plus(Duration::from_millis(exit.uptime_ms));
                let is_recent_kill = self
                    .kills
                    .get(id)
                    .is_some_and(|at| ended_at.since(*at) <= KILL_WINDOW);
                exit.oom_killed = is_recent_kill || is_marked && self.unmarked.contains(id);
            }
            Status::Running | Status::Paused if is_marked => {
                self.unmarked.remove(id);
            }
            Status::Running | Status::Paused => {
                self.unmarked.insert(id.clone());
            }
            Status::Created | Status::InTransition => {}
        }
    }
}
