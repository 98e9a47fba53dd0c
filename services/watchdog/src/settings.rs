//! The watchdog's settings: all from the environment, each refused with its name, value and what is
//! allowed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use runtime::bus::BusSettings;
use runtime::identity::InstanceSettings;
use runtime::logging::LoggingSettings;
use runtime::metrics::MetricsSettings;
use runtime::process::ExitError;
use runtime::settings::unix_socket;
use watchdog_core::config::{RestartBudget, SupervisionConfig};

/// Everything but the command line.
#[derive(Debug, Clone, Parser)]
#[command(name = "watchdog")]
pub struct Settings {
    /// The bus.
    #[command(flatten)]
    pub bus: BusSettings,

    /// Logs.
    #[command(flatten)]
    pub telemetry: LoggingSettings,

    /// Numbers.
    #[command(flatten)]
    pub metrics: MetricsSettings,

    /// This process.
    #[command(flatten)]
    pub own: InstanceSettings,

    /// The engine's socket
    #[arg(long, env = "DOCKER_HOST", value_name = "DOCKER_HOST",
          default_value = "unix:///var/run/docker.sock", value_parser = unix_socket)]
    pub docker_socket: PathBuf,

    /// Restarts of a unit within a sliding window, as RESTARTS/HOURS; no such limit without it
    #[arg(
        long,
        env = "WATCHDOG_RESTART_BUDGET",
        value_name = "WATCHDOG_RESTART_BUDGET"
    )]
    pub restart_budget: Option<RestartBudget>,

    /// Units that may be on their way up at once, 1 to 1000
    #[arg(long, env = "WATCHDOG_MAX_STARTING", value_name = "WATCHDOG_MAX_STARTING",
          default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_starting: u32,

    /// A service with the label bearish-alpha.heal that hangs is restarted at most once in so many seconds, 10 to 86400
    #[arg(long, env = "WATCHDOG_HEAL_MIN_INTERVAL_SECS", value_name = "WATCHDOG_HEAL_MIN_INTERVAL_SECS",
          default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub heal_min_interval_secs: u32,

    /// The engine's name for this container
    #[arg(long, env = "HOSTNAME", value_name = "HOSTNAME")]
    pub hostname: Option<String>,
}

impl Settings {
    /// What holds for every unit.
    pub const fn supervision_config(&self) -> SupervisionConfig {
        SupervisionConfig {
            restart_budget: self.restart_budget,
            max_starting: self.max_starting,
        }
    }

    /// How seldom a service is started anew.
    pub const fn heal_min_interval(&self) -> Duration {
        Duration::from_secs(self.heal_min_interval_secs as u64)
    }

    /// From the environment.
    ///
    /// # Errors
    /// Exit 78, one line.
    pub fn from_env() -> Result<Self, ExitError> {
        runtime::settings::from_env()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_socket_must_be_a_unix_socket() {
        assert!(unix_socket("unix:///var/run/docker.sock").is_ok());
        for bad in ["tcp://host:2375", "unix://relative", "/var/run/docker.sock"] {
            assert!(unix_socket(bad).is_err(), "{bad}");
        }
    }
}
