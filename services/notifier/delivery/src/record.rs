//! What the notifier's journal holds. The JSON is held against `tests/golden/`.

use protocol::event::EventBody;
use protocol::ids::Token;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::inhibition::Cause;
use crate::letter::Letter;
use crate::state::Button;

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
    /// A person wants these dead letters to be sent again.
    Resent {
        /// Which, by number.
        letters: Vec<u64>,
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
    /// An update of Telegram's was looked at: it is not looked at again.
    UpdateTaken {
        /// Its number.
        update: i64,
    },
    /// An order of the owner's is being carried out from here on.
    CommandBegun {
        /// Who gave it.
        who: String,
        /// Where he is answered.
        chat: i64,
        /// It, in one line.
        command: String,
    },
    /// What came of an order.
    CommandEnded {
        /// Who gave it.
        who: String,
        /// It, in one line.
        command: String,
        /// In one line.
        outcome: String,
    },
    /// The owner is answered.
    Replied {
        /// Where.
        chat: i64,
        /// What, each part small enough for one message.
        letters: Vec<Letter>,
        /// What can be pressed below it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        buttons: Vec<Button>,
    },
    /// Somebody gave an order who may not.
    StrangerIgnored {
        /// Who.
        who: String,
        /// The beginning of it.
        command: String,
    },
    /// The owner wants to hear of nothing but criticals for a while.
    Silenced {
        /// Of whom; of everybody without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<Token>,
        /// Until then.
        until: UtcMs,
    },
    /// A silence is over.
    SilenceEnded {
        /// Which, by its place among them.
        silence: usize,
    },
    /// Something was not told because of a silence.
    Hushed {
        /// The event's id: it is not told later either.
        event: String,
        /// Its kind.
        kind: String,
        /// Which silence, by its place among them.
        silence: usize,
    },
    /// The bus was away: known once it is back.
    BusWasAway {
        /// Since then.
        since: UtcMs,
        /// Until then.
        until: UtcMs,
    },
    /// Something came of an absence: it is told with what else comes of it.
    Held {
        /// The event's id: it is not told again.
        event: String,
        /// Its kind.
        kind: String,
        /// Which trader it is about.
        name: String,
        /// Who was away.
        cause: Cause,
        /// What would have been told, as long as it is little.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        letters: Vec<Letter>,
    },
    /// What was held because of this absence is told now.
    HeldTold {
        /// Who was away.
        cause: Cause,
    },
    /// The chat became another one.
    Migrated {
        /// The chat that was set.
        from: i64,
        /// The one to write to.
        to: i64,
    },
}

impl Record {
    /// What everybody is told of it on the bus.
    pub fn event(&self) -> Option<EventBody> {
        match self {
            Self::CommandEnded {
                who,
                command,
                outcome,
            } => Some(EventBody::OwnerCommand {
                who: who.clone(),
                command: command.clone(),
                outcome: outcome.clone(),
            }),
            Self::StrangerIgnored { who, command } => Some(EventBody::StrangerIgnored {
                who: who.clone(),
                command: command.clone(),
            }),
            _ => None,
        }
    }
}
