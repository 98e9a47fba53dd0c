//! Command line of the watchdog.

use clap::{Args, Parser, Subcommand};
use protocol::command::UnitCommand;
use protocol::ids::SubjectToken;

/// Supervises trader containers and restarts them according to their own flags
#[derive(Debug, Parser)]
#[command(name = "watchdog", version)]
pub struct Cli {
    /// The command. `None` runs the watchdog.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands that an operator gives to the running watchdog.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the local watchdog's health (exit 0 healthy, 69 waiting for a dependency, 70 hung)
    Health,
    /// Show every unit (exit 1 while one is quarantined); works while the watchdog is down
    Status(OutputFormat),
    /// Explain the state of a unit and how to fix it; works while the watchdog is down
    Explain(UnitArgs),
    /// Show what happened to a unit and what the watchdog did, newest last; works while the watchdog is down
    History(UnitArgs),
    /// Stop a unit gracefully; it stays stopped until it is started
    Stop(UnitArgs),
    /// Start a unit that is stopped, has ended or waits for a restart
    Start(UnitArgs),
    /// Stop a unit gracefully and start it at once; not counted as a restart
    Restart(UnitArgs),
    /// Only watch a unit until its release
    Hold {
        /// The unit and the output format.
        #[command(flatten)]
        target: UnitArgs,
        /// Reason for the hold
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End the hold or quarantine of a unit: it starts at once and its consecutive failures are reset
    Release {
        /// The unit and the output format.
        #[command(flatten)]
        target: UnitArgs,
        /// Reset the unit's restarts, too
        #[arg(long)]
        reset_restarts: bool,
    },
}

/// A unit and the output format.
#[derive(Debug, Args)]
pub struct UnitArgs {
    /// The unit, e.g. trader-paper-1
    pub unit: SubjectToken,
    #[command(flatten)]
    pub format: OutputFormat,
}

/// Format in which a command prints its result.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputFormat {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl Command {
    /// The command for the watchdog. `None` for `health`, which the local process answers.
    pub fn unit_command(self) -> Option<(UnitCommand, OutputFormat)> {
        Some(match self {
            Self::Health => return None,
            Self::Status(format) => (UnitCommand::Status, format),
            Self::Explain(UnitArgs { unit, format }) => (UnitCommand::Explain { unit }, format),
            Self::History(UnitArgs { unit, format }) => (UnitCommand::History { unit }, format),
            Self::Stop(UnitArgs { unit, format }) => (UnitCommand::Stop { unit }, format),
            Self::Start(UnitArgs { unit, format }) => (UnitCommand::Start { unit }, format),
            Self::Restart(UnitArgs { unit, format }) => (UnitCommand::Restart { unit }, format),
            Self::Hold { target, reason } => (
                UnitCommand::Hold {
                    unit: target.unit,
                    reason,
                },
                target.format,
            ),
            Self::Release {
                target,
                reset_restarts,
            } => {
                let unit = target.unit;
                (
                    UnitCommand::Release {
                        unit,
                        reset_restarts,
                    },
                    target.format,
                )
            }
        })
    }
}
