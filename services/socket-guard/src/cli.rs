//! The guard's command line.

use clap::{Parser, Subcommand};

/// Lets a few calls through to the Docker engine, for one compose project
#[derive(Debug, Parser)]
#[command(name = "socket-guard", version)]
pub struct Cli {
    /// What to do instead of guarding.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands beside guarding.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Command {
    /// Ask the engine for a sign of life through the guard running here (exit 0: well, 69: the engine
    /// does not answer, 70: the guard does not)
    Health,
}
