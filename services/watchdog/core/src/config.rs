//! What holds for every unit of a project, beside each one's own flags.

use std::str::FromStr;
use std::time::Duration;

/// Settings of the watchdog that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupervisionConfig {
    /// Restarts of a unit within a sliding window; no such limit without one.
    pub restart_budget: Option<RestartBudget>,
    /// Units that may be on their way up at once; the others wait for their turn.
    pub max_starting: u32,
}

impl Default for SupervisionConfig {
    fn default() -> Self {
        Self {
            restart_budget: None,
            max_starting: 3,
        }
    }
}

/// So many restarts within so many hours, finished cycles not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartBudget {
    /// Restarts: 1 to 1000.
    pub restarts: u16,
    /// Hours: 1 to 720.
    pub hours: u16,
}

impl RestartBudget {
    /// The most that can be asked for.
    pub const MAX_RESTARTS: u16 = 1_000;

    /// How far back restarts count.
    pub const fn window(self) -> Duration {
        Duration::from_hours(self.hours as u64)
    }
}

impl FromStr for RestartBudget {
    type Err = String;

    /// `N/HOURS`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let read = parts.and_then(|(n, hours)| Some((n.parse().ok()?, hours.parse().ok()?)));
        match read {
            Some((restarts @ 1..=Self::MAX_RESTARTS, hours @ 1..=720)) => {
                Ok(Self { restarts, hours })
            }
            _ => Err("allowed is RESTARTS/HOURS, 1 to 1000 in 1 to 720, e.g. 20/24".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_budget_reads_as_restarts_per_hours() {
        let budget: RestartBudget = "20/24".parse().unwrap();
        assert_eq!(
            (budget.restarts, budget.window()),
            (20, Duration::from_hours(24))
        );
        for bad in ["", "20", "0/24", "20/0", "1001/1", "5/721", "a/b", "-1/3"] {
            assert!(bad.parse::<RestartBudget>().is_err(), "{bad}");
        }
    }
}
