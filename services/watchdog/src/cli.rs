//! Command line of the watchdog.

use clap::{Args, Parser, Subcommand};
use protocol::command::UnitCommand;
use protocol::ids::SubjectToken;
use runtime::stdout::OutputArgs;

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
    Health(OutputArgs),
    /// Show every unit (exit 1 while one is quarantined or not supervised); works while the watchdog is down
    Status(OutputArgs),
    /// Explain the state of a unit and how to fix it; works while the watchdog is down
    Explain(UnitArgs),
    /// Show what happened to a unit and what the watchdog did, newest last; works while the watchdog is down
    History(UnitArgs),
    /// Stop a unit gracefully; it stays stopped until it is started
    Stop(ChangeArgs),
    /// Start a unit that is stopped, has ended or waits for a restart
    Start(ChangeArgs),
    /// Stop a unit gracefully and start it at once; not counted as a restart
    Restart(ChangeArgs),
    /// Only watch a unit until its release
    Hold {
        /// The unit, the operator and the output format.
        #[command(flatten)]
        target: ChangeArgs,
        /// Reason for the hold
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End the hold or quarantine of a unit: it starts at once and its consecutive failures are reset
    Release {
        /// The unit, the operator and the output format.
        #[command(flatten)]
        target: ChangeArgs,
        /// Reset the unit's restarts, too
        #[arg(long)]
        reset_restarts: bool,
    },
    /// Remove a unit whose container was removed from the list of units
    Forget(ChangeArgs),
}

/// A unit and the output format.
#[derive(Debug, Args)]
pub struct UnitArgs {
    /// The unit, e.g. trader-paper-1
    pub unit: SubjectToken,
    /// Format of the reply.
    #[command(flatten)]
    pub format: OutputArgs,
}

/// A unit to change, the operator and the output format.
#[derive(Debug, Args)]
pub struct ChangeArgs {
    #[command(flatten)]
    unit: UnitArgs,
    /// Who gives the command
    #[arg(long, value_name = "NAME", default_value = "operator")]
    by: String,
}

impl Command {
    /// Who gives the command; empty for a query.
    pub fn by(&self) -> String {
        match self {
            Self::Stop(target)
            | Self::Start(target)
            | Self::Restart(target)
            | Self::Forget(target)
            | Self::Hold { target, .. }
            | Self::Release { target, .. } => target.by.clone(),
            Self::Health(_) | Self::Status(_) | Self::Explain(_) | Self::History(_) => {
                String::new()
            }
        }
    }

    /// The command for the watchdog. `None` for `health`, which the local process answers.
    pub fn unit_command(self) -> Option<(UnitCommand, OutputArgs)> {
        Some(match self {
            Self::Health(_) => return None,
            Self::Status(format) => (UnitCommand::Status, format),
            Self::Explain(UnitArgs { unit, format }) => (UnitCommand::Explain { unit }, format),
            Self::History(UnitArgs { unit, format }) => (UnitCommand::History { unit }, format),
            Self::Stop(ChangeArgs {
                unit: UnitArgs { unit, format },
                ..
            }) => (UnitCommand::Stop { unit }, format),
            Self::Start(ChangeArgs {
                unit: UnitArgs { unit, format },
                ..
            }) => (UnitCommand::Start { unit }, format),
            Self::Restart(ChangeArgs {
                unit: UnitArgs { unit, format },
                ..
            }) => (UnitCommand::Restart { unit }, format),
            Self::Forget(ChangeArgs {
                unit: UnitArgs { unit, format },
                ..
            }) => (UnitCommand::Forget { unit }, format),
            Self::Hold { target, reason } => {
                let UnitArgs { unit, format } = target.unit;
                (UnitCommand::Hold { unit, reason }, format)
            }
            Self::Release {
                target,
                reset_restarts,
            } => {
                let UnitArgs { unit, format } = target.unit;
                let release = UnitCommand::Release {
                    unit,
                    reset_restarts,
                };
                (release, format)
            }
        })
    }
}
