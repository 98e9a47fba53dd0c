//! The watchdog's settings: all from the environment, each refused with its name, value and what is
//! allowed.

use std::path::PathBuf;

use clap::Parser;
use protocol::ids::Token;
use runtime::bus::BusSettings;
use runtime::identity::InstanceSettings;
use runtime::metrics::MetricsSettings;
use runtime::process::Stop;
use runtime::settings::unix_socket;
use runtime::telemetry::TelemetrySettings;

/// Everything but the command line.
#[derive(Debug, Clone, Parser)]
#[command(name = "watchdog")]
pub struct Settings {
    /// The bus.
    #[command(flatten)]
    pub bus: BusSettings,

    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,

    /// Numbers.
    #[command(flatten)]
    pub metrics: MetricsSettings,

    /// This process.
    #[command(flatten)]
    pub own: InstanceSettings,

    /// The compose project to supervise; else that of this process's own container
    #[arg(long, env = "COMPOSE_PROJECT", value_name = "COMPOSE_PROJECT")]
    pub project: Option<Token>,

    /// The engine's socket
    #[arg(long, env = "DOCKER_HOST", value_name = "DOCKER_HOST",
          default_value = "unix:///var/run/docker.sock", value_parser = unix_socket)]
    pub socket: PathBuf,

    /// The engine's name for this container
    #[arg(long, env = "HOSTNAME", value_name = "HOSTNAME")]
    pub hostname: Option<String>,
}

impl Settings {
    /// From the environment.
    ///
    /// # Errors
    /// Exit 78, one line.
    pub fn from_env() -> Result<Self, Stop> {
        runtime::settings::from_env()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_unix_socket_is_an_engine() {
        assert!(unix_socket("unix:///var/run/docker.sock").is_ok());
        for bad in ["tcp://host:2375", "unix://relative", "/var/run/docker.sock"] {
            assert!(unix_socket(bad).is_err(), "{bad}");
        }
    }
}
