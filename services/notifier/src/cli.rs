//! Command line of the notifier.

use clap::{Args, Parser, Subcommand};
use protocol::command::DeadLetterSelection;

/// Sends notifications to the operator and receives commands, by Telegram; without a token, notifications go to the log
#[derive(Debug, Parser)]
#[command(name = "notifier", version)]
pub struct Cli {
    /// Command to run instead of the service.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Commands of the notifier.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the local notifier's health (exit 0 healthy, 69 waiting for a dependency, 70 hung)
    Health,
    /// Print the notification of every event with sample values; needs no bus
    Preview,
    /// Send one message with the configured token and chat (exit 0 sent, 69 Telegram unreachable, 78 invalid
    /// configuration)
    SendTest {
        /// Text of the message.
        text: Option<String>,
    },
    /// Show counts of messages, queued notifications and dead letters; works while the notifier is down
    Status(StatusArgs),
    /// Send dead letters again: notifications that Telegram rejected (exit 64 no such dead letter, 69 no notifier
    /// answers)
    Resend(DeadLetterArgs),
}

/// Output of `notifier status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Selection of dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct DeadLetterArgs {
    /// Number of the dead letter, as `status` shows it
    pub id: Option<u64>,
    /// Send every dead letter
    #[arg(long)]
    pub all: bool,
}

impl DeadLetterArgs {
    /// The selection as a request on the bus.
    pub fn selection(&self) -> DeadLetterSelection {
        self.id.map_or(DeadLetterSelection::All, |number| {
            DeadLetterSelection::One { number }
        })
    }
}
