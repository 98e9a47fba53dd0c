//! Settings of the proxy, all from the environment.

use std::path::PathBuf;

use clap::Parser;
use protocol::ids::SubjectToken;
use runtime::logging::LoggingSettings;
use runtime::process::ExitError;
use runtime::settings::unix_socket;

/// Settings of one run of the proxy.
#[derive(Debug, Clone, Parser)]
#[command(name = "socket-guard")]
pub struct Settings {
    /// Level and file of the log.
    #[command(flatten)]
    pub logging: LoggingSettings,

    /// Compose project whose containers are shown [default: that of the own container]
    #[arg(long, env = "BEARISH_PROJECT", value_name = "BEARISH_PROJECT")]
    pub project: Option<SubjectToken>,

    /// Unix socket on which Docker serves
    #[arg(long, env = "DOCKER_HOST", value_name = "DOCKER_HOST",
          default_value = "unix:///var/run/docker.sock", value_parser = unix_socket)]
    pub docker_socket: PathBuf,

    /// Socket on which the proxy serves
    #[arg(long, env = "SOCKET_GUARD_LISTEN", value_name = "SOCKET_GUARD_LISTEN",
          default_value = "unix:///run/socket-guard/docker.sock", value_parser = unix_socket)]
    pub listen_socket: PathBuf,

    /// Docker's name of this container
    #[arg(long, env = "HOSTNAME", value_name = "HOSTNAME")]
    pub hostname: Option<String>,
}

impl Settings {
    /// Parses the settings from the environment.
    ///
    /// # Errors
    /// Exit 78 with the variable, its value and what is expected.
    pub fn from_env() -> Result<Self, ExitError> {
        runtime::settings::from_env()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_accept_only_unix_sockets() {
        assert!(unix_socket("unix:///run/socket-guard/docker.sock").is_ok());
        for bad in ["tcp://0.0.0.0:2375", "unix://relative", "/run/docker.sock"] {
            assert!(unix_socket(bad).is_err(), "{bad}");
        }
    }
}
