//! The notifier's command line.

use clap::{Args, Parser, Subcommand};
use protocol::command::DeadLetterSelection;

/// Tells the owner what happens, through Telegram or, without a token, in its log
#[derive(Debug, Parser)]
#[command(name = "notifier", version)]
pub struct Cli {
    /// What to do instead of telling.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands beside telling.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the notifier running here how it is (exit 0: well, 69: it waits for something else, 70: it hangs)
    Health,
    /// Show every kind of event as the owner would read it, with sample values; needs no bus
    Preview,
    /// Send one message with the token and chat that are set, and say what is wrong where that fails
    /// (exit 0: sent, 69: not reached, 78: a person must mend it)
    SendTest {
        /// What to send.
        text: Option<String>,
    },
    /// Show what was told, what waits, and what Telegram refused; works with the notifier dead
    Status,
    /// Have letters sent again that Telegram refused; the notifier at work does it (exit 64: there is no
    /// such letter, 69: no notifier answers)
    Resend(DeadLetterArgs),
}

/// Dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct DeadLetterArgs {
    /// The letter's number, as `status` shows it
    pub id: Option<u64>,
    /// All that `status` shows
    #[arg(long)]
    pub all: bool,
}

impl DeadLetterArgs {
    /// The same on the bus.
    pub fn selection(&self) -> DeadLetterSelection {
        self.id.map_or(DeadLetterSelection::All, |number| {
            DeadLetterSelection::One { number }
        })
    }
}
