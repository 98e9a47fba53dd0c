//! Records of the notifier's journal. `tests/core/golden/records.json` fixes their JSON.

use protocol::event::EventBody;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::model::{Button, OutageSource};
use crate::notification::Notification;

/// One record of the notifier's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum DeliveryRecord {
    /// A process became the writer of the journal.
    WriterChanged {
        /// Boot id of the process.
        boot: SubjectToken,
        /// Instance of the process.
        instance: SubjectToken,
        /// Version of the program.
        version: String,
    },
    /// Notifications were queued; they get the next numbers.
    Queued {
        /// Id of the event; an id that is known is not queued again.
        event: String,
        /// Notifications, each small enough for one message.
        notifications: Vec<Notification>,
    },
    /// A message is being sent; recorded before the call.
    MessageSending {
        /// Numbers of the notifications in the message.
        notifications: Vec<u64>,
        /// Whether the message only counts its notifications.
        digest: bool,
    },
    /// The message in flight was delivered.
    MessageSent {
        /// Telegram's number of the message; `None` without Telegram.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<i64>,
    },
    /// The outcome of the message in flight is unknown.
    MessageOutcomeUnknown {
        /// Error in one line.
        error: String,
    },
    /// The message in flight was not delivered.
    MessageFailed {
        /// Error in one line.
        error: String,
    },
    /// Telegram rejected the content of the message in flight; its notifications are dead letters.
    DeadLettered {
        /// Error in one line.
        error: String,
    },
    /// The operator requested that dead letters are sent again.
    ResendRequested {
        /// Numbers of the dead letters.
        notifications: Vec<u64>,
    },
    /// A critical notification is being sent by the fallback; recorded before the call.
    FallbackSending {
        /// Number of the notification.
        notification: u64,
    },
    /// The fallback delivered the notification in flight.
    FallbackSent,
    /// The outcome of the notification in flight on the fallback is unknown.
    FallbackOutcomeUnknown {
        /// Error in one line.
        error: String,
    },
    /// The fallback did not deliver the notification in flight.
    FallbackFailed {
        /// Error in one line.
        error: String,
    },
    /// The fallback rejected the content of the notification; it is not sent there again.
    FallbackRejected {
        /// Error in one line.
        error: String,
    },
    /// An update from Telegram was processed; it is not processed again.
    UpdateProcessed {
        /// Id of the update.
        update: i64,
    },
    /// Execution of an operator's command started.
    CommandStarted {
        /// Operator who gave the command.
        by: String,
        /// Chat that receives the reply.
        chat: i64,
        /// Command in one line.
        command: String,
    },
    /// An operator's command ended.
    CommandFinished {
        /// Operator who gave the command.
        by: String,
        /// Command in one line.
        command: String,
        /// Result in one line.
        result: String,
    },
    /// A reply to an operator was queued.
    Replied {
        /// Chat that receives the reply.
        chat: i64,
        /// Notifications, each small enough for one message.
        notifications: Vec<Notification>,
        /// Buttons below the last notification.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        buttons: Vec<Button>,
    },
    /// A user without permission gave a command.
    UnauthorizedCommand {
        /// User who gave the command.
        by: String,
        /// Beginning of the text.
        command: String,
    },
    /// The operator started a silence.
    SilenceStarted {
        /// Unit or service that is silenced; `None` silences everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<SubjectToken>,
        /// End of the silence.
        until: UtcMs,
    },
    /// A silence ended, by its time or by the operator.
    SilenceEnded {
        /// Index of the silence among the active ones.
        silence_index: usize,
    },
    /// A notification was dropped because of a silence.
    SilencedNotification {
        /// Id of the event; it is not queued later.
        event: String,
        /// Kind of the event.
        kind: String,
        /// Index of the silence among the active ones.
        silence_index: usize,
    },
    /// A bus outage ended.
    BusOutage {
        /// Begin of the outage.
        since: UtcMs,
        /// End of the outage.
        until: UtcMs,
    },
    /// A notification was inhibited because of an outage.
    Inhibited {
        /// Id of the event; it is not queued again.
        event: String,
        /// Kind of the event.
        kind: String,
        /// Unit that the event is about.
        unit: String,
        /// Source of the outage.
        source: OutageSource,
        /// Notifications in full, as long as they are few.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notifications: Vec<Notification>,
    },
    /// The notifications inhibited because of this outage were summarized.
    InhibitedSummarized {
        /// Source of the outage.
        source: OutageSource,
    },
    /// The chat has a new id.
    ChatMigrated {
        /// Id of the group before it became a supergroup.
        from: i64,
        /// Id of the supergroup.
        to: i64,
    },
}

impl DeliveryRecord {
    /// Event that is published for this record; `None` for records that only matter to the notifier.
    pub fn event_body(&self) -> Option<EventBody> {
        match self {
            Self::CommandFinished {
                by,
                command,
                result,
            } => Some(EventBody::OperatorCommandExecuted {
                by: by.clone(),
                command: command.clone(),
                result: result.clone(),
            }),
            Self::UnauthorizedCommand { by, command } => Some(EventBody::UnauthorizedCommand {
                by: by.clone(),
                command: command.clone(),
            }),
            _ => None,
        }
    }
}
