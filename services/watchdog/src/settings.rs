//! Settings of the watchdog, read from the environment.

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

/// Settings of the watchdog, from flags and environment.
#[derive(Debug, Clone, Parser)]
#[command(name = "watchdog")]
pub struct Settings {
    /// Settings of the bus.
    #[command(flatten)]
    pub bus: BusSettings,

    /// Settings of the log.
    #[command(flatten)]
    pub telemetry: LoggingSettings,

    /// Settings of the metrics endpoint.
    #[command(flatten)]
    pub metrics: MetricsSettings,

    /// Settings of this instance.
    #[command(flatten)]
    pub own: InstanceSettings,

    /// Docker socket, as `unix:///PATH`
    #[arg(long, env = "DOCKER_HOST", value_name = "DOCKER_HOST",
          default_value = "unix:///var/run/docker.sock", value_parser = unix_socket)]
    pub docker_socket: PathBuf,

    /// Restart budget per unit in a sliding window, as RESTARTS/HOURS [default: no budget]
    #[arg(
        long,
        env = "WATCHDOG_RESTART_BUDGET",
        value_name = "WATCHDOG_RESTART_BUDGET"
    )]
    pub restart_budget: Option<RestartBudget>,

    /// Units that may start at the same time, 1 to 1000
    #[arg(long, env = "WATCHDOG_MAX_STARTING", value_name = "WATCHDOG_MAX_STARTING",
          default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub max_starting: u32,

    /// Restarts of a unit within 24 hours above which messages name the trend, 1 to 1000
    #[arg(long, env = "WATCHDOG_RESTART_WARNING", value_name = "WATCHDOG_RESTART_WARNING",
          default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub restart_warning: u16,

    /// Minimum seconds between two restarts of a hung service with the label bearish-alpha.heal, 10 to 86400
    #[arg(long, env = "WATCHDOG_HEAL_MIN_INTERVAL_SECS", value_name = "WATCHDOG_HEAL_MIN_INTERVAL_SECS",
          default_value_t = 300, value_parser = clap::value_parser!(u32).range(10..=86_400))]
    pub heal_min_interval_secs: u32,

    /// Name of this container, set by Docker
    #[arg(long, env = "HOSTNAME", value_name = "HOSTNAME")]
    pub hostname: Option<String>,
}

impl Settings {
    /// The settings that the core reads.
    pub const fn supervision_config(&self) -> SupervisionConfig {
        SupervisionConfig {
            restart_budget: self.restart_budget,
            max_starting: self.max_starting,
            restart_warning: self.restart_warning,
        }
    }

    /// Minimum time between two restarts of a hung service.
    pub const fn heal_min_interval(&self) -> Duration {
        Duration::from_secs(self.heal_min_interval_secs as u64)
    }

    /// Reads the settings from the environment.
    ///
    /// # Errors
    /// Exit 78 with one line that names the variable.
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
