//! Blindness: units that cannot be judged, since when and why.

use protocol::ids::SubjectToken;

use super::{ObservedState, ObservedUnit};

/// Time after which the watchdog counts as blind, in milliseconds. A restart of Docker or of the socket guard takes less.
const BLIND_AFTER_MS: u64 = 15_000;

/// A time in which units cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blindness {
    /// Length so far, in milliseconds.
    pub for_ms: u64,
    /// What is missing, in one line.
    pub reason: String,
    /// Units that cannot be judged. Empty for all.
    pub units: Vec<SubjectToken>,
}

/// What keeps the watchdog from acting on a unit now, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle(pub String);

impl ObservedState {
    /// The blindness at `mono`. `None` if every unit can be judged, or could be judged a moment ago.
    pub fn blindness(&self, mono: u64) -> Option<Blindness> {
        if !self.is_docker_reachable {
            let (since, error) = self.docker_failure();
            let for_ms = mono.saturating_sub(since);
            return (for_ms >= BLIND_AFTER_MS).then(|| Blindness {
                for_ms,
                reason: format!("Docker cannot be reached: {error}"),
                units: Vec::new(),
            });
        }
        let age = |unit: &ObservedUnit| {
            let since = unit.unjudged_since()?;
            let for_ms = mono.saturating_sub(since);
            (for_ms >= BLIND_AFTER_MS).then_some(for_ms)
        };
        let blind = self.units.iter().filter_map(|(name, unit)| {
            let (for_ms, error) = (age(unit)?, unit.obstacle()?);
            Some((for_ms, name, error))
        });
        let blind: Vec<(u64, &SubjectToken, &str)> = blind.collect();
        let (for_ms, _, error) = blind.iter().max_by_key(|(for_ms, ..)| *for_ms)?;
        Some(Blindness {
            for_ms: *for_ms,
            reason: format!("Docker cannot describe the container: {error}"),
            units: blind.iter().map(|(_, name, _)| (*name).clone()).collect(),
        })
    }

    /// Length of the recorded blindness in milliseconds. `None` if an earlier process recorded its start.
    pub fn blind_for(&self, mono: u64) -> Option<u64> {
        self.blind_since.map(|since| mono.saturating_sub(since))
    }

    /// What keeps a command about this unit from being carried out now. `None` if nothing does.
    pub fn obstacle(&self, unit: &SubjectToken) -> Option<Obstacle> {
        if !self.is_docker_reachable {
            let (_, error) = self.docker_failure();
            return Some(Obstacle(format!("Docker cannot be reached: {error}")));
        }
        let error = self.unit(unit)?.obstacle()?;
        Some(Obstacle(format!(
            "Docker cannot describe the container: {error}"
        )))
    }

    /// Whether Docker or the container of any unit cannot be asked now.
    pub fn has_obstacle(&self) -> bool {
        let mut units = self.units.values();
        !self.is_docker_reachable || units.any(|unit| unit.obstacle().is_some())
    }

    fn docker_failure(&self) -> (u64, &str) {
        match &self.docker_lost {
            Some((since, error)) => (*since, error),
            None => (0, "no answer yet"),
        }
    }
}
