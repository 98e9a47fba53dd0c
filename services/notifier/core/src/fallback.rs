//! The second way to the owner, for criticals that Telegram does not take: when one goes there, and in
//! which words. Each goes there once, and again only if nobody knows whether it arrived.
//!
//! What went there is not told in Telegram as new when that is back: it is counted there in one message.

use protocol::event::Severity;
use protocol::time::UtcMs;

use crate::clock_reading::ClockReading;
use crate::decide::{Outcome, is_critical};
use crate::formatting::format_duration;
use crate::message::remarks;
use crate::record::DeliveryRecord;
use crate::send_limiter::{SendLimiter, SendLimits};
use crate::state::{ChannelOutage, DeliveryState, FallbackStatus, QueuedNotification};

/// How long a critical waits for Telegram, where waiting may help, in milliseconds.
pub const FALLBACK_DELAY_MS: u64 = 120_000;
/// Longest text of an ntfy message, in bytes: what is longer becomes an attachment there.
const NTFY_LIMIT: usize = 4_000;
const TRUNCATION_NOTE: &str = "\n… cut here";

/// As fast as a small service takes it.
pub const LIMITS: SendLimits = SendLimits {
    min_interval_ms: 1_000,
    max_per_minute: 30,
    group_wait_ms: 0,
};

/// One critical as it goes over the fallback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackMessage {
    /// Tells it from others, and is the same in a repeat.
    pub id: String,
    /// When it happened.
    pub at: UtcMs,
    /// How much it matters.
    pub severity: Severity,
    /// Its heading.
    pub title: String,
    /// That Telegram is away, then what there is to say.
    pub message: String,
}

/// The next critical to go over the fallback: once the oldest has waited too long, or at once where Telegram
/// is `channel_rejected` until a person mends something. Never while Telegram takes messages, however slowly.
pub fn next_critical(
    state: &DeliveryState,
    is_channel_rejected: bool,
    pace: &SendLimiter,
    now: ClockReading,
) -> Option<DeliveryRecord> {
    state.channel_outage.as_ref()?;
    if state.fallback_in_flight.is_some() || pace.next_send_at() > now.mono {
        return None;
    }
    let waited = oldest_critical(state).map(|since| now.utc.millis_since(since))?;
    if !is_channel_rejected && waited < FALLBACK_DELAY_MS {
        return None;
    }
    let mut waiting = state.queued.iter();
    let (letter, _) = waiting
        .find(|(_, one)| is_critical(one) && one.fallback_status == FallbackStatus::NotSent)?;
    Some(DeliveryRecord::FallbackSending {
        notification: *letter,
    })
}

/// Since when the oldest critical that Telegram has not taken is known.
pub fn oldest_critical(state: &DeliveryState) -> Option<UtcMs> {
    let under_way = state
        .in_flight
        .iter()
        .flat_map(|s| s.notifications.values());
    let unsent = state.queued.values().chain(under_way);
    unsent
        .filter(|one| is_critical(one))
        .map(|one| one.queued_at)
        .min()
}

/// The critical that is under way there by the journal: the call to make if it is not being made.
pub fn message_in_flight(state: &DeliveryState, now: UtcMs) -> Option<FallbackMessage> {
    let number = state.fallback_in_flight?;
    let waiting = state.queued.get(&number)?;
    let id = format!("notifier-notification-{number}");
    Some(FallbackMessage::from_notification(
        id,
        waiting,
        state.channel_outage.as_ref(),
        now,
    ))
}

/// What a call's end is recorded as.
pub fn outcome_record(outcome: &Outcome) -> DeliveryRecord {
    match outcome.clone() {
        Outcome::Delivered { .. } => DeliveryRecord::FallbackSent,
        Outcome::Unknown { error: why } => DeliveryRecord::FallbackOutcomeUnknown { error: why },
        Outcome::MessageRejected { error: why } => DeliveryRecord::FallbackRejected { error: why },
        Outcome::Retryable { error: why, .. } | Outcome::ChannelRejected { error: why } => {
            DeliveryRecord::FallbackFailed { error: why }
        }
        Outcome::ChatMigrated { .. } => DeliveryRecord::FallbackFailed {
            error: "bug: a fallback does not move".to_owned(),
        },
    }
}

impl FallbackMessage {
    /// A letter as it goes there: first of all it says since when and why Telegram is `away`.
    pub(crate) fn from_notification(
        id: String,
        waiting: &QueuedNotification,
        away: Option<&ChannelOutage>,
        now: UtcMs,
    ) -> Self {
        let QueuedNotification {
            notification: letter,
            repeats,
            ..
        } = waiting;
        let mut lines: Vec<String> = away
            .map(|away| describe_channel_outage(away, now))
            .into_iter()
            .collect();
        lines.extend(remarks(*repeats, letter.at, now));
        if !letter.body.is_empty() {
            lines.push(letter.body.clone());
        }
        Self {
            id,
            at: letter.at,
            severity: letter.severity,
            title: letter.title.clone(),
            message: lines.join("\n"),
        }
    }

    /// The title as a header can carry it: ASCII, one line.
    pub fn ascii_title(&self) -> String {
        let printable = |c: &char| c.is_ascii() && !c.is_ascii_control();
        let plain: String = self.title.chars().filter(printable).collect();
        match plain.trim() {
            "" => "Bearish Alpha".to_owned(),
            plain => plain.to_owned(),
        }
    }

    /// The message as ntfy shows it whole.
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

fn describe_channel_outage(away: &ChannelOutage, now: UtcMs) -> String {
    let ago = format_duration(now.millis_since(away.since));
    let ChannelOutage { since, error: why } = away;
    format!("Telegram is not reachable since {since} ({ago} ago): {why}")
}
