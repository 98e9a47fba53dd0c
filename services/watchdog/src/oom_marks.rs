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
                // The mark that follows has this cause, and is no sign of a later end.
                self.unmarked.remove(&event.container);
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

#[cfg(test)]
mod tests {
    use watchdog_core::container::{ContainerHealth, Exit, Run};
    use watchdog_core::docker_outage::DockerOutage;

    use super::*;

    const END_MS: u64 = 100_000;

    fn container(status: Status) -> Container {
        Container {
            run: Run {
                container: "c".to_owned(),
                started_at: "s".to_owned(),
            },
            start_time: UtcMs(0),
            status,
            mode: None,
            policy: Err(String::new()),
            grace_ms: 0,
            stop_signal: "TERM".to_owned(),
            config: String::new(),
            error: None,
            health: ContainerHealth::Unknown,
        }
    }

    fn exit(code: i64) -> Exit {
        Exit {
            code,
            oom_killed: false,
            uptime_ms: END_MS,
        }
    }

    fn oom_event(at_ms: u64) -> DockerEvent {
        let nanos = at_ms * 1_000_000;
        let message = format!(
            r#"{{"Type":"container","Action":"oom","timeNano":{nanos},"Actor":{{"ID":"c"}}}}"#
        );
        DockerEvent::from_message(&serde_json::from_str(&message).unwrap()).unwrap()
    }

    /// The end of a container that Docker marks, and that was seen alive with this mark before.
    fn ended(oom_at_ms: Option<u64>, was_marked: Option<bool>, code: i64) -> Container {
        let mut marks = OomMarks::default();
        if let Some(is_marked) = was_marked {
            marks.correct(&mut container(Status::Running), is_marked);
        }
        if let Some(at) = oom_at_ms {
            marks.note(&oom_event(at));
        }
        let mut ended = container(Status::Exited(exit(code)));
        marks.correct(&mut ended, true);
        ended
    }

    #[test]
    fn mark_counts_if_a_kill_just_before_or_nothing_else_explains_it() {
        for (oom_at_ms, was_marked, expected) in [
            (Some(END_MS - 1_000), None, true),
            (None, Some(false), true),
            // A child of the same run, or of an earlier one.
            (Some(END_MS - 60_000), Some(false), false),
            (None, Some(true), false),
            (None, None, false),
        ] {
            let ended = ended(oom_at_ms, was_marked, 137);
            let is_out_of_memory = ended.exit().unwrap().is_out_of_memory();
            assert_eq!(is_out_of_memory, expected, "{oom_at_ms:?} {was_marked:?}");
        }
    }

    /// The mark of a child that was killed long ago stays set while Docker stops.
    #[test]
    fn stale_mark_makes_no_failure_of_a_docker_outage() {
        let outage = DockerOutage::between(UtcMs(90_000), UtcMs(200_000));
        for was_marked in [None, Some(true), Some(false)] {
            for code in [0, 137, 143, 255] {
                let ended = ended(Some(20_000), was_marked, code);
                let exit = ended.exit().unwrap();
                assert!(
                    outage.explains_exit(&ended, exit),
                    "{was_marked:?}, exit {code}"
                );
            }
        }
    }
}
