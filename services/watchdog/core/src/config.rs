//! Settings that apply to every unit, beside the flags of each unit.

use std::str::FromStr;
use std::time::Duration;

/// Settings that the decisions read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupervisionConfig {
    /// Restart limit per unit in a sliding window. `None` means no such limit.
    pub restart_budget: Option<RestartBudget>,
    /// Units that may start at the same time. Further units wait.
    pub max_starting: u32,
    /// Restarts after failures within 24 hours above which each one is reported with the trend.
    pub restart_warning: u16,
}

impl Default for SupervisionConfig {
    fn default() -> Self {
        Self {
            restart_budget: None,
            max_starting: 3,
            restart_warning: 10,
        }
    }
}

/// A number of restarts within a number of hours. Finished cycles do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartBudget {
    /// Number of restarts, 1 to 1000.
    pub restarts: u16,
    /// Length of the window in hours, 1 to 720.
    pub hours: u16,
}

impl RestartBudget {
    /// Largest accepted number of restarts.
    pub const MAX_RESTARTS: u16 = 1_000;

    /// Length of the window.
    pub const fn window(self) -> Duration {
        Duration::from_hours(self.hours as u64)
    }
}

impl FromStr for RestartBudget {
    type Err = String;

    /// Parses `RESTARTS/HOURS`, such as `20/24`. The error says what is expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let read = parts.and_then(|(n, hours)| Some((n.parse().ok()?, hours.parse().ok()?)));
        match read {
            Some((restarts @ 1..=Self::MAX_RESTARTS, hours @ 1..=720)) => {
                Ok(Self { restarts, hours })
            }
            _ => Err(
                "expected RESTARTS/HOURS, 1 to 1000 restarts in 1 to 720 hours, e.g. 20/24"
                    .to_owned(),
            ),
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
