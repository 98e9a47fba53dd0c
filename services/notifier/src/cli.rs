//! Command line of the notifier.

use clap::{Args, Parser, Subcommand};
use protocol::command::DeadLetterSelection;
use runtime::stdout::OutputArgs;

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
    Health(OutputArgs),
    /// Print the notification of every event with sample values; needs no bus
    Preview(OutputArgs),
    /// Send one message with the configured token and chat (exit 0 sent, 69 Telegram unreachable, 78 invalid
    /// configuration)
    SendTest {
        /// Text of the message.
        text: Option<String>,
        /// Format of the result.
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show counts of messages, queued notifications and dead letters; works while the notifier is down
    Status(OutputArgs),
    /// Send dead letters again: notifications that Telegram rejected (exit 64 no such dead letter, 69 no notifier
    /// answers)
    Resend {
        /// Which dead letters are sent again.
        #[command(flatten)]
        dead_letters: DeadLetterArgs,
        /// Format of the result.
        #[command(flatten)]
        output: OutputArgs,
    },
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
