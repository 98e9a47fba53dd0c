//! What the notifier's journal holds. The JSON is held against `tests/golden/`.

use protocol::event::EventBody;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::inhibition::OutageSource;
use crate::notification::Notification;
use crate::state::Button;

/// One fact of delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DeliveryRecord {
    /// A process delivers from here on.
    WriterChanged {
        /// This run of it.
        boot: SubjectToken,
        /// Its name.
        instance: SubjectToken,
        /// Version of the program.
        version: String,
    },
    /// The owner is to be told this. Its letters get the next numbers.
    Queued {
        /// The event's id: the same one is told once.
        event: String,
        /// What there is to tell, each part small enough for one message.
        notifications: Vec<Notification>,
    },
    /// One message goes out now.
    MessageSending {
        /// The letters in it, by number.
        notifications: Vec<u64>,
        /// They are only counted in it.
        digest: bool,
    },
    /// The message under way arrived.
    MessageSent {
        /// Telegram's number of it; none in the log.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<i64>,
    },
    /// Nobody knows whether the message under way arrived.
    MessageOutcomeUnknown {
        /// One line.
        error: String,
    },
    /// The message under way surely did not arrive.
    MessageFailed {
        /// One line.
        error: String,
    },
    /// The message under way is refused for what it says: its letters are not sent again.
    DeadLettered {
        /// One line.
        error: String,
    },
    /// A person wants these dead letters to be sent again.
    ResendRequested {
        /// Which, by number.
        notifications: Vec<u64>,
    },
    /// One critical goes over the fallback now.
    FallbackSending {
        /// The letter by number.
        notification: u64,
    },
    /// The critical under way over the fallback arrived.
    FallbackSent,
    /// Nobody knows whether it arrived there.
    FallbackOutcomeUnknown {
        /// One line.
        error: String,
    },
    /// It surely did not arrive there.
    FallbackFailed {
        /// One line.
        error: String,
    },
    /// It is refused there for what it says: it is not sent there again.
    FallbackRejected {
        /// One line.
        error: String,
    },
    /// An update of Telegram's was looked at: it is not looked at again.
    UpdateProcessed {
        /// Its number.
        update: i64,
    },
    /// An order of the owner's is being carried out from here on.
    CommandStarted {
        /// Who gave it.
        by: String,
        /// Where he is answered.
        chat: i64,
        /// It, in one line.
        command: String,
    },
    /// What came of an order.
    CommandFinished {
        /// Who gave it.
        by: String,
        /// It, in one line.
        command: String,
        /// In one line.
        result: String,
    },
    /// The owner is answered.
    Replied {
        /// Where.
        chat: i64,
        /// What, each part small enough for one message.
        notifications: Vec<Notification>,
        /// What can be pressed below it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        buttons: Vec<Button>,
    },
    /// Somebody gave an order who may not.
    UnauthorizedCommand {
        /// Who.
        by: String,
        /// The beginning of it.
        command: String,
    },
    /// The owner wants to hear of nothing but criticals for a while.
    SilenceStarted {
        /// Of whom; of everybody without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<SubjectToken>,
        /// Until then.
        until: UtcMs,
    },
    /// A silence is over.
    SilenceEnded {
        /// Which, by its place among them.
        silence_index: usize,
    },
    /// Something was not told because of a silence.
    SilencedNotification {
        /// The event's id: it is not told later either.
        event: String,
        /// Its kind.
        kind: String,
        /// Which silence, by its place among them.
        silence_index: usize,
    },
    /// The bus was away: known once it is back.
    BusOutage {
        /// Since then.
        since: UtcMs,
        /// Until then.
        until: UtcMs,
    },
    /// Something came of an absence: it is told with what else comes of it.
    Inhibited {
        /// The event's id: it is not told again.
        event: String,
        /// Its kind.
        kind: String,
        /// Which trader it is about.
        unit: String,
        /// Who was away.
        source: OutageSource,
        /// What would have been told, as long as it is little.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notifications: Vec<Notification>,
    },
    /// What was held because of this absence is told now.
    InhibitedSummarized {
        /// Who was away.
        source: OutageSource,
    },
    /// The chat became another one.
    ChatMigrated {
        /// The chat that was set.
        from: i64,
        /// The one to write to.
        to: i64,
    },
}

impl DeliveryRecord {
    /// What everybody is told of it on the bus.
    pub fn event_body(&self) -> Option<EventBody> {
        match self {
            Self::CommandFinished {
                by: who,
                command,
                result: outcome,
            } => Some(EventBody::OperatorCommandExecuted {
                by: who.clone(),
                command: command.clone(),
                result: outcome.clone(),
            }),
            Self::UnauthorizedCommand { by: who, command } => {
                Some(EventBody::UnauthorizedCommand {
                    by: who.clone(),
                    command: command.clone(),
                })
            }
            _ => None,
        }
    }
}
