//! Command line of the proxy.

use clap::{Parser, Subcommand};
use runtime::stdout::OutputArgs;

/// Passes allowed calls to Docker, for the containers of one Compose project
#[derive(Debug, Parser)]
#[command(name = "socket-guard", version)]
pub struct Cli {
    /// Command in place of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands that run in place of the proxy.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Ping Docker through the running proxy (exit 0: healthy, 69: Docker does not respond, 70: the proxy does not
    /// respond)
    Health(OutputArgs),
}
