//! The fallback: a second channel for critical notifications that Telegram does not accept. Each is sent there once, and
//! again only if the outcome is unknown.
//!
//! When Telegram works again, notifications that the fallback delivered are counted there in one message.

use protocol::duration::format_ms;
use protocol::event::Severity;
use protocol::time::{ClockReading, UtcMs};

use crate::formatting::format_time;
use crate::message::remarks;
use crate::model::{ChannelOutage, FallbackStatus, Outcome, QueuedNotification};
use crate::record::DeliveryRecord;
use crate::send_limiter::{SendLimiter, SendLimits};
use crate::state::DeliveryState;

/// Time for which a critical notification waits for Telegram, in milliseconds.
pub const FALLBACK_DELAY_MS: u64 = 120_000;
/// Longest text of an ntfy message in bytes; ntfy turns a longer one into an attachment.
const NTFY_LIMIT: usize = 4_000;
const TRUNCATION_NOTE: &str = "\n… truncated";

/// Rate that a small service accepts.
pub const LIMITS: SendLimits = SendLimits {
    min_interval_ms: 1_000,
    max_per_minute: 30,
    group_wait_ms: 0,
};

/// A critical notification as the fallback sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackMessage {
    /// Id of the notification; the same in a repeat.
    pub id: String,
    /// Time of the event.
    pub at: UtcMs,
    /// Severity of the notification.
    pub severity: Severity,
    /// First line of the notification.
    pub title: String,
    /// Outage of Telegram, then the lines of the notification.
    pub message: String,
}

/// Record of the next critical notification for the fallback: once the oldest has waited too long, or at once if
/// Telegram rejects the channel. `None` while Telegram accepts messages, however slowly.
pub fn next_critical(
    state: &DeliveryState,
    is_channel_rejected: bool,
    limiter: &SendLimiter,
    now: ClockReading,
) -> Option<DeliveryRecord> {
    state.channel_outage.as_ref()?;
    if state.fallback_in_flight.is_some() || limiter.next_send_at() > now.mono {
        return None;
    }
    let waited = oldest_critical(state).map(|since| now.utc.millis_since(since))?;
    if !is_channel_rejected && waited < FALLBACK_DELAY_MS {
        return None;
    }
    let mut queued = state.queued.iter();
    let (number, _) = queued.find(|(_, queued)| {
        queued.is_critical() && queued.fallback_status == FallbackStatus::NotSent
    })?;
    Some(DeliveryRecord::FallbackSending {
        notification: *number,
    })
}

/// Time at which the oldest critical notification was queued that Telegram has not accepted; `None` without one.
pub fn oldest_critical(state: &DeliveryState) -> Option<UtcMs> {
    let in_flight = state
        .in_flight
        .iter()
        .flat_map(|message| message.notifications.values());
    let unsent = state.queued.values().chain(in_flight);
    unsent
        .filter(|queued| queued.is_critical())
        .map(|queued| queued.queued_at)
        .min()
}

/// Notification in flight on the fallback by the journal: the call to make unless it is being made.
pub fn message_in_flight(state: &DeliveryState, now: UtcMs) -> Option<FallbackMessage> {
    let number = state.fallback_in_flight?;
    let queued = state.queued.get(&number)?;
    let id = format!("notifier-notification-{number}");
    Some(FallbackMessage::from_notification(
        id,
        queued,
        state.channel_outage.as_ref(),
        now,
    ))
}

/// Record of a call's outcome.
pub fn outcome_record(outcome: &Outcome) -> DeliveryRecord {
    match outcome.clone() {
        Outcome::Delivered { .. } => DeliveryRecord::FallbackSent,
        Outcome::Unknown { error } => DeliveryRecord::FallbackOutcomeUnknown { error },
        Outcome::MessageRejected { error } => DeliveryRecord::FallbackRejected { error },
        Outcome::Retryable { error, .. } | Outcome::ChannelRejected { error } => {
            DeliveryRecord::FallbackFailed { error }
        }
        Outcome::ChatMigrated { .. } => DeliveryRecord::FallbackFailed {
            error: "internal error: a fallback has no chat".to_owned(),
        },
    }
}

impl FallbackMessage {
    /// Message of a notification. Its first line names the outage of Telegram, if there is one.
    pub(crate) fn from_notification(
        id: String,
        queued: &QueuedNotification,
        outage: Option<&ChannelOutage>,
        now: UtcMs,
    ) -> Self {
        let notification = &queued.notification;
        let mut lines: Vec<String> = outage
            .map(|outage| describe_channel_outage(outage, now))
            .into_iter()
            .collect();
        lines.extend(remarks(queued.repeats, notification.at, now));
        if !notification.body.is_empty() {
            lines.push(notification.body.clone());
        }
        Self {
            id,
            at: notification.at,
            severity: notification.severity,
            title: notification.title.clone(),
            message: lines.join("\n"),
        }
    }

    /// Title for an HTTP header: ASCII, one line.
    pub fn ascii_title(&self) -> String {
        let printable = |c: &char| c.is_ascii() && !c.is_ascii_control();
        let plain: String = self.title.chars().filter(printable).collect();
        match plain.trim() {
            "" => "Bearish Alpha".to_owned(),
            plain => plain.to_owned(),
        }
    }

    /// Message, truncated to the length that ntfy shows.
    pub fn truncated_message(&self) -> String {
        if self.message.len() <= NTFY_LIMIT {
            return self.message.clone();
        }
        let end = self
            .message
            .floor_char_boundary(NTFY_LIMIT - TRUNCATION_NOTE.len());
        format!("{}{TRUNCATION_NOTE}", &self.message[..end])
    }
}

fn describe_channel_outage(outage: &ChannelOutage, now: UtcMs) -> String {
    format!(
        "Telegram unreachable since: {} ({} ago): {}",
        format_time(outage.since),
        format_ms(now.millis_since(outage.since)),
        outage.error
    )
}
