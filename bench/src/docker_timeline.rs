//! Stages between the exit of a container and its next start, from Docker's events.

use std::time::Duration;

use bearish_tests::docker::{docker, inspect};
use protocol::time::UtcMs;

const FORMAT: &str = "{{.TimeNano}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.container}}";

/// Durations of the consecutive stages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stages {
    /// From the kill until Docker's event of the exit.
    pub(crate) end_seen: Duration,
    /// Until the networks of the ended process are removed; a start cannot begin earlier.
    pub(crate) networks_removed: Duration,
    /// Until the first network of the next process is connected, after the start was requested.
    pub(crate) next_network_added: Duration,
    /// Until the next process is started.
    pub(crate) started: Duration,
}

impl Stages {
    /// Stages of a container that exited after `killed` and was started once before `until`. `None` if one of the
    /// expected events is missing.
    pub(crate) fn between(container: &str, killed: UtcMs, until: UtcMs) -> Option<Self> {
        let id = inspect(container, "{{.Id}}");
        let text = docker(&[
            "events",
            "--since",
            &seconds(killed),
            "--until",
            &seconds(until),
            "--filter",
            "type=container",
            "--filter",
            "type=network",
            "--format",
            FORMAT,
        ]);
        let names_container = |line: &&str| line.contains(id.as_str());
        let events: Vec<(i64, &str)> = text
            .lines()
            .filter(names_container)
            .filter_map(event)
            .collect();
        let first = |action| events.iter().find(|(_, a)| *a == action).map(|(at, _)| *at);
        let last = |action| {
            events
                .iter()
                .rfind(|(_, a)| *a == action)
                .map(|(at, _)| *at)
        };
        let ended = first("die")?;
        let disconnected = last("disconnect")?;
        let connected = first("connect")?;
        Some(Self {
            end_seen: span(killed.0 * 1_000_000, ended),
            networks_removed: span(ended, disconnected),
            next_network_added: span(disconnected, connected),
            started: span(connected, first("start")?),
        })
    }
}

fn event(line: &str) -> Option<(i64, &str)> {
    let mut columns = line.split_whitespace();
    let at = columns.next()?.parse().ok()?;
    Some((at, columns.next()?))
}

fn span(from: i64, to: i64) -> Duration {
    Duration::from_nanos(u64::try_from(to - from).unwrap_or(0))
}

/// Unix time in the format of `docker events`.
fn seconds(at: UtcMs) -> String {
    format!("{}.{:03}", at.0.div_euclid(1_000), at.0.rem_euclid(1_000))
}
