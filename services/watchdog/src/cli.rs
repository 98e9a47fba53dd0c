//! The watchdog's command line.

use clap::{Args, Parser, Subcommand};
use protocol::command::UnitCommand;
use protocol::ids::SubjectToken;

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
    /// Ask the watchdog running here how it is (exit 0: well, 69: it waits for something else, 70: it hangs)
    Health,
    /// Show every unit (exit 1 while one is quarantined); works with the watchdog dead
    Status(OutputFormat),
    /// Say why a unit is as it is, and what would help; works with the watchdog dead
    Explain(UnitArgs),
    /// Show what was done about a unit, newest last; works with the watchdog dead
    History(UnitArgs),
    /// Stop a unit in good order; it stays down until it is started
    Stop(UnitArgs),
    /// Start a unit that was stopped, has ended or waits
    Start(UnitArgs),
    /// Stop a unit in good order and start it at once; costs no restart
    Restart(UnitArgs),
    /// Only watch a unit, until it is released
    Hold {
        /// Which, and how to answer.
        #[command(flatten)]
        target: UnitArgs,
        /// Why, in a few words
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// End a unit's hold or quarantine: it is started at once, its failures count from zero
    Release {
        /// Which, and how to answer.
        #[command(flatten)]
        target: UnitArgs,
        /// Its restarts count from zero again, too
        #[arg(long)]
        reset_restarts: bool,
    },
}

/// A unit.
#[derive(Debug, Args)]
pub struct UnitArgs {
    /// The unit, e.g. trader-paper-1
    pub unit: SubjectToken,
    /// How to answer.
    #[command(flatten)]
    pub format: OutputFormat,
}

/// How to answer.
#[derive(Debug, Clone, Copy, Args)]
pub struct OutputFormat {
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

impl Command {
    /// The order it stands for; none for what is asked of the process here.
    pub fn unit_command(self) -> Option<(UnitCommand, OutputFormat)> {
        Some(match self {
            Self::Health => return None,
            Self::Status(form) => (UnitCommand::Status, form),
            Self::Explain(UnitArgs { unit, format: form }) => (UnitCommand::Explain { unit }, form),
            Self::History(UnitArgs { unit, format: form }) => (UnitCommand::History { unit }, form),
            Self::Stop(UnitArgs { unit, format: form }) => (UnitCommand::Stop { unit }, form),
            Self::Start(UnitArgs { unit, format: form }) => (UnitCommand::Start { unit }, form),
            Self::Restart(UnitArgs { unit, format: form }) => (UnitCommand::Restart { unit }, form),
            Self::Hold {
                target: of,
                reason: why,
            } => (
                UnitCommand::Hold {
                    unit: of.unit,
                    reason: why,
                },
                of.format,
            ),
            Self::Release {
                target: of,
                reset_restarts: total,
            } => {
                let unit = of.unit;
                (
                    UnitCommand::Release {
                        unit,
                        reset_restarts: total,
                    },
                    of.format,
                )
            }
        })
    }
}
