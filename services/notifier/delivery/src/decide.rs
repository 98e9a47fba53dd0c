//! What to record: news into letters, letters into messages, outcomes into what follows. Changes
//! nothing itself; the call to make is read off the folded state ([`due`]).

use protocol::event::Severity;
use protocol::ids::Token;
use protocol::time::UtcMs;

use crate::compose::{Message, fitting};
use crate::hear;
use crate::moment::Moment;
use crate::news::News;
use crate::pace::Pace;
use crate::record::Record;
use crate::silence;
use crate::state::{Elsewhere, State, Waiting};

/// What is older than this when its turn comes is only counted.
const STALE_MS: u64 = 600_000;
/// More than this many at once are only counted.
const STORM: usize = 30;

/// Most letters that one digest counts: their numbers fit into a journal message.
const LARGEST_DIGEST: usize = 10_000;
/// Events whose letters go into one journal message.
const QUEUED_AT_ONCE: usize = 8;

/// What became of the call that sends a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Sent {
        /// Telegram's number of it.
        message: Option<i64>,
    },
    /// Nobody knows.
    Unknown {
        /// One line.
        why: String,
    },
    /// It surely did not arrive.
    Returned {
        /// One line.
        why: String,
        /// How long the other side said to wait, in milliseconds.
        wait_ms: Option<u64>,
    },
    /// It surely did not arrive, and none will until a person mends something: the token, the chat.
    Closed {
        /// One line.
        why: String,
    },
    /// It is refused for what it says.
    Refused {
        /// One line.
        why: String,
    },
    /// The chat became another one.
    Migrated {
        /// The chat it went to.
        from: i64,
        /// The one that it is now.
        to: i64,
    },
}

impl Outcome {
    /// Why the message did not arrive, as far as that is known; none if it did or its address is a new one.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Unknown { why }
            | Self::Returned { why, .. }
            | Self::Closed { why }
            | Self::Refused { why } => Some(why),
            Self::Sent { .. } | Self::Migrated { .. } => None,
        }
    }
}

/// The first records of a process: it delivers from here on, and what was under way when the one before
/// it ended may have arrived. An order that it carried out may have been done: that is told, not repeated.
pub fn take_over(
    state: &State,
    boot: Token,
    instance: Token,
    version: &str,
    at: UtcMs,
) -> Vec<Record> {
    let mut records = vec![Record::OwnerTookOver {
        boot,
        instance,
        version: version.to_owned(),
    }];
    if state.sending.is_some() {
        let why = "the notifier ended while it was under way".to_owned();
        records.push(Record::Unknown { why });
    }
    if state.falling.is_some() {
        let why = "the notifier ended while it was under way".to_owned();
        records.push(Record::FallbackUnknown { why });
    }
    if let Some(under_way) = &state.under_way {
        records.extend(hear::interrupted(under_way, at));
    }
    records
}

/// What there is to tell of these, in as many decisions as journal messages need; nothing of what was
/// told before. `chat`: where it would be told.
pub fn take_in(state: &State, news: &[News], chat: Option<i64>, now: UtcMs) -> Vec<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    // An absence that one of them tells of holds the ones behind it.
    let mut outages = state.outages.clone();
    for item in news {
        let id = item.id();
        let is_of = |record: &Record| match record {
            Record::Queued { event, .. }
            | Record::Hushed { event, .. }
            | Record::Held { event, .. } => event == id,
            _ => false,
        };
        // Our own record of an order, or who carried it out: its answer says the same.
        if item.is_answered()
            || was_answered(state, item, chat)
            || state.knows(id)
            || records.iter().any(is_of)
        {
            continue;
        }
        let queued = Record::Queued {
            event: id.to_owned(),
            letters: item.letters(),
        };
        let heeded = silence::heed(state, &item.names(), queued, now);
        let record = outages.heed(item, heeded);
        outages.apply(now, &record);
        records.push(record);
    }
    let decisions = records.chunks(QUEUED_AT_ONCE);
    decisions.map(<[Record]>::to_vec).collect()
}

/// Whether the order that this tells of came from the very chat that would read it.
fn was_answered(state: &State, item: &News, chat: Option<i64>) -> bool {
    let from = item.ordered_by().and_then(|who| state.ordered_from(who));
    from.is_some() && from == chat
}

/// The next message, if one may go out now: a critical letter alone and before all others, then one that
/// counts what went over the fallback, then an answer to the owner, who waits for it; else a group, else, for
/// what is stale or too much, a digest.
pub fn next(state: &State, pace: &Pace, now: Moment) -> Option<Record> {
    if state.sending.is_some() || pace.open_at() > now.mono {
        return None;
    }
    if let Some(number) = critical(state) {
        return Some(Record::Sending {
            letters: vec![number],
            digest: false,
        });
    }
    if let Some(letters) = told_elsewhere(state) {
        return Some(Record::Sending {
            letters,
            digest: true,
        });
    }
    if let Some(number) = reply(state) {
        return Some(Record::Sending {
            letters: vec![number],
            digest: false,
        });
    }
    if pace.group_at()? > now.mono {
        return None;
    }
    digest(state, now.utc).or_else(|| group(state, now.utc))
}

/// Everything of a storm, or else what is stale of it; a single letter is told as it is.
fn digest(state: &State, now: UtcMs) -> Option<Record> {
    let is_storm = others(state).count() > STORM;
    let is_counted = |waiting: &Waiting| is_storm || now.millis_since(waiting.letter.at) > STALE_MS;
    let counted = others(state).filter(|(_, waiting)| is_counted(waiting));
    let numbers = counted.map(|(number, _)| number);
    let letters: Vec<u64> = numbers.take(LARGEST_DIGEST).collect();
    (letters.len() > 1).then_some(Record::Sending {
        letters,
        digest: true,
    })
}

/// As many as fit, oldest first. What comes with a picture comes alone.
fn group(state: &State, now: UtcMs) -> Option<Record> {
    let fits = fitting(others(state).map(|(_, waiting)| waiting), now);
    let is_pictured = |waiting: &Waiting| waiting.letter.picture;
    let plain = others(state).take_while(|(_, waiting)| !is_pictured(waiting));
    // None is plain before it: the first has a picture, if there is one.
    let most = plain.count().max(1).min(fits);
    let taken = others(state).take(most);
    let letters: Vec<u64> = taken.map(|(number, _)| number).collect();
    (!letters.is_empty()).then_some(Record::Sending {
        letters,
        digest: false,
    })
}

/// When to ask [`next`] again if nothing happens before, by the monotonic clock.
pub fn wake_at(state: &State, pace: &Pace) -> Option<u64> {
    if state.sending.is_some() || state.waiting.is_empty() {
        return None;
    }
    let at_once =
        critical(state).is_some() || told_elsewhere(state).is_some() || reply(state).is_some();
    let group = if at_once { 0 } else { pace.group_at()? };
    Some(pace.open_at().max(group))
}

/// The message that is under way by the journal: the call to make if it is not being made.
pub fn due(state: &State, now: UtcMs) -> Option<Message> {
    let sending = state.sending.as_ref()?;
    Some(Message::of(sending, now))
}

/// What a call's end is recorded as.
pub fn ended(outcome: &Outcome) -> Record {
    match outcome.clone() {
        Outcome::Sent { message } => Record::Sent { message },
        Outcome::Unknown { why } => Record::Unknown { why },
        Outcome::Returned { why, .. } | Outcome::Closed { why } => Record::Returned { why },
        Outcome::Refused { why } => Record::Dead { why },
        Outcome::Migrated { from, to } => Record::Migrated { from, to },
    }
}

/// Whether something waits that is not critical.
pub fn others_wait(state: &State) -> bool {
    others(state).next().is_some()
}

/// Not one that is told over the fallback, nor one that is just being told there.
fn critical(state: &State) -> Option<u64> {
    let is_new = |number: u64, waiting: &Waiting| {
        waiting.elsewhere != Elsewhere::Told && state.falling != Some(number)
    };
    let mut all = state.waiting.iter();
    all.find(|(number, waiting)| is_critical(waiting) && is_new(**number, waiting))
        .map(|(number, _)| *number)
}

/// What went over the fallback and is not yet counted in Telegram. Its message also is what finds out that
/// Telegram is back.
fn told_elsewhere(state: &State) -> Option<Vec<u64>> {
    let all = state.waiting.iter();
    let told = all.filter(|(_, waiting)| waiting.elsewhere == Elsewhere::Told);
    let letters: Vec<u64> = told
        .map(|(number, _)| *number)
        .take(LARGEST_DIGEST)
        .collect();
    (!letters.is_empty()).then_some(letters)
}

/// The oldest answer that waits.
fn reply(state: &State) -> Option<u64> {
    let mut all = state.waiting.iter();
    all.find(|(_, waiting)| waiting.reply.is_some())
        .map(|(number, _)| *number)
}

fn others(state: &State) -> impl Iterator<Item = (u64, &Waiting)> {
    let all = state.waiting.iter();
    all.filter(|(_, waiting)| !is_critical(waiting) && waiting.reply.is_none())
        .map(|(number, waiting)| (*number, waiting))
}

pub(crate) fn is_critical(waiting: &Waiting) -> bool {
    waiting.letter.severity == Severity::Critical
}
