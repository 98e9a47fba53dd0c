//! What to record: news into letters, letters into messages, outcomes into what follows. Changes
//! nothing itself; the call to make is read off the folded state ([`due`]).

use protocol::event::Severity;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;

use crate::clock_reading::ClockReading;
use crate::command_intake;
use crate::event_intake::IncomingEvent;
use crate::message::{Message, count_fitting};
use crate::record::DeliveryRecord;
use crate::send_limiter::SendLimiter;
use crate::silence;
use crate::state::{DeliveryState, FallbackStatus, QueuedNotification};

/// What is older than this when its turn comes is only counted.
const STALE_MS: u64 = 600_000;
/// More than this many at once are only counted.
const BURST_SIZE: usize = 30;

/// Most letters that one digest counts: their numbers fit into a journal message.
const MAX_DIGEST_SIZE: usize = 10_000;
/// Events whose letters go into one journal message.
const MAX_EVENTS_PER_BATCH: usize = 8;

/// What became of the call that sends a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Delivered {
        /// Telegram's number of it.
        message_id: Option<i64>,
    },
    /// Nobody knows.
    Unknown {
        /// One line.
        error: String,
    },
    /// It surely did not arrive.
    Retryable {
        /// One line.
        error: String,
        /// How long the other side said to wait, in milliseconds.
        wait_ms: Option<u64>,
    },
    /// It surely did not arrive, and none will until a person mends something: the token, the chat.
    ChannelRejected {
        /// One line.
        error: String,
    },
    /// It is refused for what it says.
    MessageRejected {
        /// One line.
        error: String,
    },
    /// The chat became another one.
    ChatMigrated {
        /// The chat it went to.
        from: i64,
        /// The one that it is now.
        to: i64,
    },
}

impl Outcome {
    /// Why the message did not arrive, as far as that is known; none if it did or its address is a new one.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Unknown { error: why }
            | Self::Retryable { error: why, .. }
            | Self::ChannelRejected { error: why }
            | Self::MessageRejected { error: why } => Some(why),
            Self::Delivered { .. } | Self::ChatMigrated { .. } => None,
        }
    }
}

/// The first records of a process: it delivers from here on, and what was under way when the one before
/// it ended may have arrived. An order that it carried out may have been done: that is told, not repeated.
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
        let why = "the notifier ended while it was under way".to_owned();
        records.push(DeliveryRecord::MessageOutcomeUnknown { error: why });
    }
    if state.fallback_in_flight.is_some() {
        let why = "the notifier ended while it was under way".to_owned();
        records.push(DeliveryRecord::FallbackOutcomeUnknown { error: why });
    }
    if let Some(under_way) = &state.running_command {
        records.extend(command_intake::interrupted_records(under_way, at));
    }
    records
}

/// What there is to tell of these, in as many decisions as journal messages need; nothing of what was
/// told before. `current_chat`: where it would be told.
pub fn enqueue_events(
    state: &DeliveryState,
    news: &[IncomingEvent],
    chat: Option<i64>,
    now: UtcMs,
) -> Vec<Vec<DeliveryRecord>> {
    let mut records: Vec<DeliveryRecord> = Vec::new();
    // An absence that one of them tells of holds the ones behind it.
    let mut outages = state.outages.clone();
    for item in news {
        let id = item.id();
        let is_of = |record: &DeliveryRecord| match record {
            DeliveryRecord::Queued { event, .. }
            | DeliveryRecord::SilencedNotification { event, .. }
            | DeliveryRecord::Inhibited { event, .. } => event == id,
            _ => false,
        };
        // Our own record of an order, or who carried it out: its answer says the same.
        if item.is_answered_by_reply()
            || is_answered_in_chat(state, item, chat)
            || state.knows_event(id)
            || records.iter().any(is_of)
        {
            continue;
        }
        let queued = DeliveryRecord::Queued {
            event: id.to_owned(),
            notifications: item.notifications(),
        };
        let heeded = silence::apply_silence(state, &item.affected_names(), queued, now);
        let record = outages.apply_inhibition(item, heeded);
        outages.apply(now, &record);
        records.push(record);
    }
    let decisions = records.chunks(MAX_EVENTS_PER_BATCH);
    decisions.map(<[DeliveryRecord]>::to_vec).collect()
}

/// Whether the order that this tells of came from the very chat that would read it.
fn is_answered_in_chat(state: &DeliveryState, item: &IncomingEvent, chat: Option<i64>) -> bool {
    let from = item.commanded_by().and_then(|who| state.command_chat(who));
    from.is_some() && from == chat
}

/// The next message, if one may go out now: a critical letter alone and before all others, then one that
/// counts what went over the fallback, then an answer to the owner, who waits for it; else a group, else, for
/// what is stale or too much, a digest.
pub fn next_message(
    state: &DeliveryState,
    pace: &SendLimiter,
    now: ClockReading,
) -> Option<DeliveryRecord> {
    if state.in_flight.is_some() || pace.next_send_at() > now.mono {
        return None;
    }
    if let Some(number) = next_critical(state) {
        return Some(DeliveryRecord::MessageSending {
            notifications: vec![number],
            digest: false,
        });
    }
    if let Some(letters) = sent_by_fallback(state) {
        return Some(DeliveryRecord::MessageSending {
            notifications: letters,
            digest: true,
        });
    }
    if let Some(number) = next_reply(state) {
        return Some(DeliveryRecord::MessageSending {
            notifications: vec![number],
            digest: false,
        });
    }
    if pace.group_due_at()? > now.mono {
        return None;
    }
    digest(state, now.utc).or_else(|| group(state, now.utc))
}

/// Everything of a storm, or else what is stale of it; a single letter is told as it is.
fn digest(state: &DeliveryState, now: UtcMs) -> Option<DeliveryRecord> {
    let is_storm = groupable(state).count() > BURST_SIZE;
    let is_counted = |waiting: &QueuedNotification| {
        is_storm || now.millis_since(waiting.notification.at) > STALE_MS
    };
    let counted = groupable(state).filter(|(_, waiting)| is_counted(waiting));
    let numbers = counted.map(|(number, _)| number);
    let letters: Vec<u64> = numbers.take(MAX_DIGEST_SIZE).collect();
    (letters.len() > 1).then_some(DeliveryRecord::MessageSending {
        notifications: letters,
        digest: true,
    })
}

/// As many as fit, oldest first. What comes with a picture comes alone.
fn group(state: &DeliveryState, now: UtcMs) -> Option<DeliveryRecord> {
    let fits = count_fitting(groupable(state).map(|(_, waiting)| waiting), now);
    let is_pictured = |waiting: &QueuedNotification| waiting.notification.has_picture;
    let plain = groupable(state).take_while(|(_, waiting)| !is_pictured(waiting));
    // None is plain before it: the first has a picture, if there is one.
    let most = plain.count().max(1).min(fits);
    let taken = groupable(state).take(most);
    let letters: Vec<u64> = taken.map(|(number, _)| number).collect();
    (!letters.is_empty()).then_some(DeliveryRecord::MessageSending {
        notifications: letters,
        digest: false,
    })
}

/// When to ask [`next`] again if nothing happens before, by the monotonic clock.
pub fn wake_at(state: &DeliveryState, pace: &SendLimiter) -> Option<u64> {
    if state.in_flight.is_some() || state.queued.is_empty() {
        return None;
    }
    let at_once = next_critical(state).is_some()
        || sent_by_fallback(state).is_some()
        || next_reply(state).is_some();
    let group = if at_once { 0 } else { pace.group_due_at()? };
    Some(pace.next_send_at().max(group))
}

/// The message that is under way by the journal: the call to make if it is not being made.
pub fn message_in_flight(state: &DeliveryState, now: UtcMs) -> Option<Message> {
    let sending = state.in_flight.as_ref()?;
    Some(Message::from_in_flight(sending, now))
}

/// What a call's end is recorded as.
pub fn outcome_record(outcome: &Outcome) -> DeliveryRecord {
    match outcome.clone() {
        Outcome::Delivered {
            message_id: message,
        } => DeliveryRecord::MessageSent {
            message_id: message,
        },
        Outcome::Unknown { error: why } => DeliveryRecord::MessageOutcomeUnknown { error: why },
        Outcome::Retryable { error: why, .. } | Outcome::ChannelRejected { error: why } => {
            DeliveryRecord::MessageFailed { error: why }
        }
        Outcome::MessageRejected { error: why } => DeliveryRecord::DeadLettered { error: why },
        Outcome::ChatMigrated { from, to } => DeliveryRecord::ChatMigrated { from, to },
    }
}

/// Whether something waits that is not critical.
pub fn has_groupable(state: &DeliveryState) -> bool {
    groupable(state).next().is_some()
}

/// Not one that is told over the fallback, nor one that is just being told there.
fn next_critical(state: &DeliveryState) -> Option<u64> {
    let is_new = |number: u64, waiting: &QueuedNotification| {
        waiting.fallback_status != FallbackStatus::Sent && state.fallback_in_flight != Some(number)
    };
    let mut all = state.queued.iter();
    all.find(|(number, waiting)| is_critical(waiting) && is_new(**number, waiting))
        .map(|(number, _)| *number)
}

/// What went over the fallback and is not yet counted in Telegram. Its message also is what finds out that
/// Telegram is back.
fn sent_by_fallback(state: &DeliveryState) -> Option<Vec<u64>> {
    let all = state.queued.iter();
    let told = all.filter(|(_, waiting)| waiting.fallback_status == FallbackStatus::Sent);
    let letters: Vec<u64> = told
        .map(|(number, _)| *number)
        .take(MAX_DIGEST_SIZE)
        .collect();
    (!letters.is_empty()).then_some(letters)
}

/// The oldest answer that waits.
fn next_reply(state: &DeliveryState) -> Option<u64> {
    let mut all = state.queued.iter();
    all.find(|(_, waiting)| waiting.reply.is_some())
        .map(|(number, _)| *number)
}

fn groupable(state: &DeliveryState) -> impl Iterator<Item = (u64, &QueuedNotification)> {
    let all = state.queued.iter();
    all.filter(|(_, waiting)| !is_critical(waiting) && waiting.reply.is_none())
        .map(|(number, waiting)| (*number, waiting))
}

pub(crate) fn is_critical(waiting: &QueuedNotification) -> bool {
    waiting.notification.severity == Severity::Critical
}
