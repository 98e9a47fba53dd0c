//! What the notifier's journal holds. The JSON is held against `tests/golden/`.

use protocol::ids::Token;
use serde::{Deserialize, Serialize};

use crate::letter::Letter;

/// One fact of delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// A process delivers from here on.
    OwnerTookOver {
        /// This run of it.
        boot: Token,
        /// Its name.
        instance: Token,
        /// Version of the program.
        version: String,
    },
    /// The owner is to be told this. Its letters get the next numbers.
    Queued {
        /// The event's id: the same one is told once.
        event: String,
        /// What there is to tell, each part small enough for one message.
        letters: Vec<Letter>,
    },
    /// One message goes out now.
    Sending {
        /// The letters in it, by number.
        letters: Vec<u64>,
        /// They are only counted in it.
        digest: bool,
    },
    /// The message under way arrived.
    Sent {
        /// Telegram's number of it; none in the log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<i64>,
    },
    /// Nobody knows whether the message under way arrived.
    Unknown {
        /// One line.
        why: String,
    },
    /// The message under way surely did not arrive.
    Returned {
        /// One line.
        why: String,
    },
    /// The message under way is refused for what it says: its letters are not sent again.
    Dead {
        /// One line.
        why: String,
    },
    /// One critical goes over the fallback now.
    FallbackSending {
        /// The letter by number.
        letter: u64,
    },
    /// The critical under way over the fallback arrived.
    FallbackSent,
    /// Nobody knows whether it arrived there.
    FallbackUnknown {
        /// One line.
        why: String,
    },
    /// It surely did not arrive there.
    FallbackReturned {
        /// One line.
        why: String,
    },
    /// It is refused there for what it says: it is not sent there again.
    FallbackRefused {
        /// One line.
        why: String,
    },
    /// The chat became another one.
    Migrated {
        /// The chat that was set.
        from: i64,
        /// The one to write to.
        to: i64,
    },
}
