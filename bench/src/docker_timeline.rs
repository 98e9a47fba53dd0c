//! What the engine did between the end of a container and its next start, by the engine's own events.

use std::time::Duration;

use bearish_tests::docker::{docker, inspect};
use protocol::time::UtcMs;

const FORMAT: &str = "{{.TimeNano}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.container}}";

/// The stages, one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stages {
    /// From the kill until the engine tells of the end.
    pub(crate) end_seen: Duration,
    /// Until what the ended process had of networks is taken down: nobody's start begins before.
    pub(crate) networks_removed: Duration,
    /// Until the first network of the next process is there: somebody asked for it.
    pub(crate) next_network_added: Duration,
    /// Until it is started.
    pub(crate) started: Duration,
}

impl Stages {
    /// Those of a container that ended after `killed` and was started once before `until`; none if the engine tells of
    /// it in another way.
    pub(crate) fn between(container: &str, killed: UtcMs, until: UtcMs) -> Option<Self> {
        let id = inspect(container, "{{.Id}}");
        let told = docker(&[
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
        let mine = |line: &&str| line.contains(id.as_str());
        let told: Vec<(i64, &str)> = told.lines().filter(mine).filter_map(event).collect();
        let first = |action| told.iter().find(|(_, a)| *a == action).map(|(at, _)| *at);
        let last = |action| told.iter().rfind(|(_, a)| *a == action).map(|(at, _)| *at);
        let ended = first("die")?;
        let freed = last("disconnect")?;
        let asked = first("connect")?;
        Some(Self {
            end_seen: span(killed.0 * 1_000_000, ended),
            networks_removed: span(ended, freed),
            next_network_added: span(freed, asked),
            started: span(asked, first("start")?),
        })
    }
}

fn event(line: &str) -> Option<(i64, &str)> {
    let mut words = line.split_whitespace();
    let at = words.next()?.parse().ok()?;
    Some((at, words.next()?))
}

fn span(from: i64, to: i64) -> Duration {
    Duration::from_nanos(u64::try_from(to - from).unwrap_or(0))
}

/// Unix time as the engine reads it.
fn seconds(at: UtcMs) -> String {
    format!("{}.{:03}", at.0.div_euclid(1_000), at.0.rem_euclid(1_000))
}
