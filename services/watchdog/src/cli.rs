//! The watchdog's command line.

use clap::{Parser, Subcommand};
use protocol::ids::Token;

/// Judges traders from outside and starts them again, by their own flags
#[derive(Debug, Parser)]
#[command(name = "watchdog", version)]
pub struct Cli {
    /// What to do instead of watching.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands beside watching.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the watchdog running here how it is (exit 0: well, 69: not)
    Health,
    /// Show every unit (exit 1 while one is quarantined); works with the watchdog dead
    Status,
    /// End a unit's quarantine: it is started at once, its failures count from zero
    Release {
        /// The unit, e.g. trader-paper-1
        unit: Token,
        /// Its restarts count from zero again, too
        #[arg(long)]
        total: bool,
    },
}
