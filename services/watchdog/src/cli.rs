//! The watchdog's command line.

use clap::{Args, Parser, Subcommand};
use protocol::command::UnitOrder;
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
    /// Ask the watchdog running here how it is (exit 0: well, 69: it waits for something else, 70: it hangs)
    Health,
    /// Show every unit (exit 1 while one is quarantined); works with the watchdog dead
    Status(Form),
    /// Say why a unit is as it is, and what would help; works with the watchdog dead
    Explain(Of),
    /// Show what was done about a unit, newest last; works with the watchdog dead
    History(Of),
    /// Stop a unit in good order; it stays down until it is started
    Stop(Of),
    /// Start a unit that was stopped, has ended or waits
    Start(Of),
    /// Stop a unit in good order and start it at once; costs no restart
    Restart(Of),
    /// Only watch a unit, until it is released
    Hold {
        /// Which, and how to answer.
        #[command(flatten)]
        of: Of,
        /// Why, in a few words
        #[arg(long, value_name = "WORDS")]
        why: String,
    },
    /// End a unit's hold or quarantine: it is started at once, its failures count from zero
    Release {
        /// Which, and how to answer.
        #[command(flatten)]
        of: Of,
        /// Its restarts count from zero again, too
        #[arg(long)]
        total: bool,
    },
}

/// A unit.
#[derive(Debug, Args)]
pub struct Of {
    /// The unit, e.g. trader-paper-1
    pub unit: Token,
    /// How to answer.
    #[command(flatten)]
    pub form: Form,
}

/// How to answer.
#[derive(Debug, Clone, Copy, Args)]
pub struct Form {
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

impl Command {
    /// The order it stands for; none for what is asked of the process here.
    pub fn order(self) -> Option<(UnitOrder, Form)> {
        Some(match self {
            Self::Health => return None,
            Self::Status(form) => (UnitOrder::Status, form),
            Self::Explain(Of { unit, form }) => (UnitOrder::Explain { unit }, form),
            Self::History(Of { unit, form }) => (UnitOrder::History { unit }, form),
            Self::Stop(Of { unit, form }) => (UnitOrder::Stop { unit }, form),
            Self::Start(Of { unit, form }) => (UnitOrder::Start { unit }, form),
            Self::Restart(Of { unit, form }) => (UnitOrder::Restart { unit }, form),
            Self::Hold { of, why } => (UnitOrder::Hold { unit: of.unit, why }, of.form),
            Self::Release { of, total } => {
                let unit = of.unit;
                (UnitOrder::Release { unit, total }, of.form)
            }
        })
    }
}
