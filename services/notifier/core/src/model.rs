//! Value types that records, state and decisions share. They depend on nothing but the notification.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use protocol::event::Severity;
use protocol::ids::{Service, SubjectToken};
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::formatting::trader_label;
use crate::notification::Notification;

/// Dead letters, oldest first.
pub type DeadLetters = VecDeque<DeadLetter>;

/// A notification that waits for its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedNotification {
    /// Text, severity and event of the notification.
    pub notification: Notification,
    /// Number of earlier attempts with an unknown outcome.
    pub repeats: u32,
    /// Time at which the notification was queued.
    pub queued_at: UtcMs,
    /// State of the notification on the fallback channel.
    pub fallback_status: FallbackStatus,
    /// Address of a reply to a command; `None` for any other notification.
    pub reply: Option<Reply>,
}

impl QueuedNotification {
    /// Whether the notification has severity critical.
    pub fn is_critical(&self) -> bool {
        self.notification.severity == Severity::Critical
    }
}

/// Address and buttons of a reply to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Chat from which the command came.
    pub chat: i64,
    /// Buttons below the reply.
    pub buttons: Vec<Button>,
}

/// A button below a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// Label that the operator sees.
    pub text: String,
    /// Data that Telegram returns when the button is pressed; at most 64 bytes.
    pub data: String,
}

/// A command that is being executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningCommand {
    /// Operator who gave the command.
    pub by: String,
    /// Chat that receives the reply.
    pub chat: i64,
    /// Text of the command in one line.
    pub command: String,
}

/// State of a notification on the fallback channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackStatus {
    /// Not delivered by the fallback.
    NotSent,
    /// Delivered by the fallback; Telegram only gets a count.
    Sent,
    /// Rejected by the fallback; only Telegram is left.
    Rejected,
}

/// A time in which Telegram accepts no messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOutage {
    /// Time of the first failed call.
    pub since: UtcMs,
    /// Error of the last call in one line.
    pub error: String,
}

/// A message that is being sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageInFlight {
    /// Notifications of the message by number.
    pub notifications: BTreeMap<u64, QueuedNotification>,
    /// Whether the message only counts its notifications.
    pub digest: bool,
}

/// Counts of messages since the beginning of the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Messages that Telegram has accepted.
    pub sent: u64,
    /// Attempts with an unknown outcome.
    pub outcome_unknown: u64,
    /// Attempts that certainly failed and were retried.
    pub failed: u64,
    /// Messages that Telegram rejected for good.
    pub dead_lettered: u64,
    /// Notifications delivered by the fallback.
    pub sent_by_fallback: u64,
}

/// A notification that Telegram rejected for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Number by which `notifier resend` selects the notification.
    pub number: u64,
    /// The notification as it was queued.
    pub queued: QueuedNotification,
    /// Error that Telegram returned.
    pub error: String,
}

/// A silence that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Unit or service that is silenced; `None` silences everything.
    pub unit: Option<SubjectToken>,
    /// Time at which the silence ends by itself.
    pub until: UtcMs,
    /// Number of silenced notifications by kind.
    pub silenced_counts: BTreeMap<String, u64>,
}

/// What was unreachable in an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutageSource {
    /// The bus: traders cannot publish or journal.
    Bus,
    /// The watchdog, or its host.
    Watchdog,
}

impl fmt::Display for OutageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bus => "bus",
            Self::Watchdog => "watchdog",
        })
    }
}

/// Begin and end of a bus outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutageSpan {
    /// Begin of the outage.
    pub since: UtcMs,
    /// End of the outage; `None` while it lasts.
    pub until: Option<UtcMs>,
}

/// Outcome of the call that sends a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The message was delivered.
    Delivered {
        /// Telegram's number of the message; `None` on other channels.
        message_id: Option<i64>,
    },
    /// The message may or may not have been delivered.
    Unknown {
        /// Error in one line.
        error: String,
    },
    /// The message was not delivered; a later attempt may succeed.
    Retryable {
        /// Error in one line.
        error: String,
        /// Wait that the other side asks for, in milliseconds; `None` if it names none.
        wait_ms: Option<u64>,
    },
    /// The channel rejects every message until the operator corrects token or chat.
    ChannelRejected {
        /// Error in one line.
        error: String,
    },
    /// The message is rejected for its content.
    MessageRejected {
        /// Error in one line.
        error: String,
    },
    /// The chat has a new id.
    ChatMigrated {
        /// Id of the group before it became a supergroup.
        from: i64,
        /// Id of the supergroup.
        to: i64,
    },
}

impl Outcome {
    /// Error of the call; `None` if the message was delivered or the chat has a new id.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Unknown { error }
            | Self::Retryable { error, .. }
            | Self::ChannelRejected { error }
            | Self::MessageRejected { error } => Some(error),
            Self::Delivered { .. } | Self::ChatMigrated { .. } => None,
        }
    }
}

/// Process that published an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) service: Service,
    pub(crate) instance: &'a SubjectToken,
}

impl Sender<'_> {
    /// Instance as it stands in a heading, with the mode of a trader.
    pub(crate) fn label(&self) -> String {
        trader_label(self.instance.as_str())
    }
}

impl fmt::Display for Sender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.service, self.instance)
    }
}
