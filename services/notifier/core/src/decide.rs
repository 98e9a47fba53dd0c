//! Decisions of delivery as records: events become notifications, notifications become messages, outcomes of calls
//! become state. The call to make follows from the folded state ([`message_in_flight`]).

use protocol::ids::SubjectToken;
use protocol::time::{ClockReading, UtcMs};

use crate::command_hints::CommandHints;
use crate::command_intake;
use crate::event_intake::IncomingEvent;
use crate::inhibition;
use crate::message::{Message, count_fitting};
use crate::model::{FallbackStatus, Outcome, QueuedNotification};
use crate::record::DeliveryRecord;
use crate::send_limiter::SendLimiter;
use crate::silence;
use crate::state::DeliveryState;

/// A notification older than this is only counted in a digest, in milliseconds.
const STALE_MS: u64 = 600_000;
/// More queued notifications than this are only counted in a digest.
const BURST_SIZE: usize = 30;

/// Most notifications of one digest: their numbers fit into a journal message.
const MAX_DIGEST_SIZE: usize = 10_000;
/// Events whose notifications go into one journal batch.
const MAX_EVENTS_PER_BATCH: usize = 8;

/// First records of a process that becomes the writer. A message that was in flight may have been delivered. A command
/// that was running may have been executed: the operator is notified, and the command is not repeated.
pub fn writer_changed(
    state: &DeliveryState,
    boot: SubjectToken,
    instance: SubjectToken,
    version: &str,
    at: UtcMs,
) -> Vec<DeliveryRecord> {
    let mut records = vec![DeliveryRecord::WriterChanged {
        boot,
        instance,
        version: version.to_owned(),
    }];
    if state.in_flight.is_some() {
        let error = "the notifier ended during the call".to_owned();
        records.push(DeliveryRecord::MessageOutcomeUnknown { error });
    }
    if state.fallback_in_flight.is_some() {
        let error = "the notifier ended during the call".to_owned();
        records.push(DeliveryRecord::FallbackOutcomeUnknown { error });
    }
    if let Some(running) = &state.running_command {
        records.extend(command_intake::interrupted_records(running, at));
    }
    records
}

/// Where notifications go, and which commands they may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audience {
    /// Chat that receives notifications; `None` without Telegram.
    pub chat: Option<i64>,
    /// Commands that notifications may name.
    pub hints: CommandHints,
}

/// Records that queue, silence or inhibit the notifications of these events, as one list for each journal batch. Known
/// events are skipped.
pub fn enqueue_events(
    state: &DeliveryState,
    events: &[IncomingEvent],
    audience: Audience,
    now: UtcMs,
) -> Vec<Vec<DeliveryRecord>> {
    let mut records: Vec<DeliveryRecord> = Vec::new();
    // An outage that one of the events reports inhibits the events behind it.
    let mut outages = state.outages.clone();
    for item in events {
        let id = item.id();
        let is_of = |record: &DeliveryRecord| match record {
            DeliveryRecord::Queued { event, .. }
            | DeliveryRecord::SilencedNotification { event, .. }
            | DeliveryRecord::Inhibited { event, .. } => event == id,
            _ => false,
        };
        // The reply to a command has the same content.
        if item.is_answered_by_reply()
            || is_answered_in_chat(state, item, audience.chat)
            || state.knows_event(id)
            || records.iter().any(is_of)
        {
            continue;
        }
        let queued = DeliveryRecord::Queued {
            event: id.to_owned(),
            notifications: item.notifications(audience.hints),
        };
        let queued = silence::apply_silence(state, &item.affected_names(), queued, now);
        let record = inhibition::apply_inhibition(&outages, item, queued);
        outages.apply(now, &record);
        records.push(record);
    }
    let decisions = records.chunks(MAX_EVENTS_PER_BATCH);
    decisions.map(<[DeliveryRecord]>::to_vec).collect()
}

/// Whether the command that the event reports came from the chat that would receive the notification.
fn is_answered_in_chat(state: &DeliveryState, item: &IncomingEvent, chat: Option<i64>) -> bool {
    let from = item.commanded_by().and_then(|by| state.command_chat(by));
    from.is_some() && from == chat
}

/// Record of the next message; `None` if no message may be sent now. Order: one critical notification, the count of
/// notifications that the fallback delivered, one reply to a command, a digest of stale or too many notifications, a
/// group.
pub fn next_message(
    state: &DeliveryState,
    limiter: &SendLimiter,
    now: ClockReading,
) -> Option<DeliveryRecord> {
    if state.in_flight.is_some() || limiter.next_send_at() > now.mono {
        return None;
    }
    if let Some(number) = next_critical(state) {
        return Some(DeliveryRecord::MessageSending {
            notifications: vec![number],
            digest: false,
        });
    }
    if let Some(numbers) = sent_by_fallback(state) {
        return Some(DeliveryRecord::MessageSending {
            notifications: numbers,
            digest: true,
        });
    }
    if let Some(number) = next_reply(state) {
        return Some(DeliveryRecord::MessageSending {
            notifications: vec![number],
            digest: false,
        });
    }
    if limiter.group_due_at()? > now.mono {
        return None;
    }
    digest(state, now.utc).or_else(|| group(state, now.utc))
}

/// Counts a burst, or only its stale notifications. A single notification is sent in full.
fn digest(state: &DeliveryState, now: UtcMs) -> Option<DeliveryRecord> {
    let is_burst = groupable(state).count() > BURST_SIZE;
    let is_counted = |queued: &QueuedNotification| {
        is_burst || now.millis_since(queued.notification.at) > STALE_MS
    };
    let counted = groupable(state).filter(|(_, queued)| is_counted(queued));
    let numbers = counted.map(|(number, _)| number);
    let numbers: Vec<u64> = numbers.take(MAX_DIGEST_SIZE).collect();
    (numbers.len() > 1).then_some(DeliveryRecord::MessageSending {
        notifications: numbers,
        digest: true,
    })
}

/// As many notifications as fit, oldest first. One with a picture is sent alone.
fn group(state: &DeliveryState, now: UtcMs) -> Option<DeliveryRecord> {
    let fits = count_fitting(groupable(state).map(|(_, queued)| queued), now);
    let without_picture =
        groupable(state).take_while(|(_, queued)| !queued.notification.has_picture);
    // If the first one has a picture, it is the whole group.
    let size = without_picture.count().max(1).min(fits);
    let taken = groupable(state).take(size);
    let numbers: Vec<u64> = taken.map(|(number, _)| number).collect();
    (!numbers.is_empty()).then_some(DeliveryRecord::MessageSending {
        notifications: numbers,
        digest: false,
    })
}

/// Time on the monotonic clock at which [`next_message`] may have a message; `None` if nothing is queued.
pub fn wake_at(state: &DeliveryState, limiter: &SendLimiter) -> Option<u64> {
    if state.in_flight.is_some() || state.queued.is_empty() {
        return None;
    }
    let is_immediate = next_critical(state).is_some()
        || sent_by_fallback(state).is_some()
        || next_reply(state).is_some();
    let group = if is_immediate {
        0
    } else {
        limiter.group_due_at()?
    };
    Some(limiter.next_send_at().max(group))
}

/// Message in flight by the journal: the call to make unless it is being made.
pub fn message_in_flight(state: &DeliveryState, now: UtcMs) -> Option<Message> {
    let message = state.in_flight.as_ref()?;
    Some(Message::from_in_flight(message, now))
}

/// Record of a call's outcome.
pub fn outcome_record(outcome: &Outcome) -> DeliveryRecord {
    match outcome.clone() {
        Outcome::Delivered { message_id } => DeliveryRecord::MessageSent { message_id },
        Outcome::Unknown { error } => DeliveryRecord::MessageOutcomeUnknown { error },
        Outcome::Retryable { error, .. } | Outcome::ChannelRejected { error } => {
            DeliveryRecord::MessageFailed { error }
        }
        Outcome::MessageRejected { error } => DeliveryRecord::DeadLettered { error },
        Outcome::ChatMigrated { from, to } => DeliveryRecord::ChatMigrated { from, to },
    }
}

/// Whether a notification is queued that may be grouped.
pub fn has_groupable(state: &DeliveryState) -> bool {
    groupable(state).next().is_some()
}

/// The oldest critical notification that the fallback neither delivered nor is sending.
fn next_critical(state: &DeliveryState) -> Option<u64> {
    let is_new = |number: u64, queued: &QueuedNotification| {
        queued.fallback_status != FallbackStatus::Sent && state.fallback_in_flight != Some(number)
    };
    let mut all = state.queued.iter();
    all.find(|(number, queued)| queued.is_critical() && is_new(**number, queued))
        .map(|(number, _)| *number)
}

/// Notifications that the fallback delivered and Telegram does not count yet. Their message also finds out that
/// Telegram works again.
fn sent_by_fallback(state: &DeliveryState) -> Option<Vec<u64>> {
    let all = state.queued.iter();
    let sent = all.filter(|(_, queued)| queued.fallback_status == FallbackStatus::Sent);
    let numbers: Vec<u64> = sent
        .map(|(number, _)| *number)
        .take(MAX_DIGEST_SIZE)
        .collect();
    (!numbers.is_empty()).then_some(numbers)
}

/// The oldest queued reply.
fn next_reply(state: &DeliveryState) -> Option<u64> {
    let mut all = state.queued.iter();
    all.find(|(_, queued)| queued.reply.is_some())
        .map(|(number, _)| *number)
}

fn groupable(state: &DeliveryState) -> impl Iterator<Item = (u64, &QueuedNotification)> {
    let all = state.queued.iter();
    all.filter(|(_, queued)| !queued.is_critical() && queued.reply.is_none())
        .map(|(number, queued)| (*number, queued))
}
