//! The second way to the owner, for criticals that Telegram does not take: when one goes there, and in
//! which words. Each goes there once, and again only if nobody knows whether it arrived.
//!
//! What went there is not told in Telegram as new when that is back: it is counted there in one message.

use protocol::event::Severity;
use protocol::time::UtcMs;

use crate::compose::remarks;
use crate::decide::{Outcome, is_critical};
use crate::moment::Moment;
use crate::pace::{Limits, Pace};
use crate::record::Record;
use crate::state::{Away, Elsewhere, State, Waiting};
use crate::words::span;

/// How long a critical waits for Telegram, where waiting may help, in milliseconds.
pub const PATIENCE_MS: u64 = 120_000;
/// Longest text of an ntfy message, in bytes: what is longer becomes an attachment there.
const NTFY_LIMIT: usize = 4_000;
const CUT: &str = "\n… cut here";

/// As fast as a small service takes it.
pub const LIMITS: Limits = Limits {
    gap_ms: 1_000,
    per_minute: 30,
    group_ms: 0,
};

/// One critical as it goes over the fallback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
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
/// is `shut` until a person mends something. Never while Telegram takes messages, however slowly.
pub fn next(state: &State, shut: bool, pace: &Pace, now: Moment) -> Option<Record> {
    state.away.as_ref()?;
    if state.falling.is_some() || pace.open_at() > now.mono {
        return None;
    }
    let waited = oldest(state).map(|since| now.utc.millis_since(since))?;
    if !shut && waited < PATIENCE_MS {
        return None;
    }
    let mut waiting = state.waiting.iter();
    let (letter, _) =
        waiting.find(|(_, one)| is_critical(one) && one.elsewhere == Elsewhere::No)?;
    Some(Record::FallbackSending { letter: *letter })
}

/// Since when the oldest critical that Telegram has not taken is known.
pub fn oldest(state: &State) -> Option<UtcMs> {
    let under_way = state.sending.iter().flat_map(|s| s.letters.values());
    let unsent = state.waiting.values().chain(under_way);
    unsent
        .filter(|one| is_critical(one))
        .map(|one| one.queued)
        .min()
}

/// The critical that is under way there by the journal: the call to make if it is not being made.
pub fn due(state: &State, now: UtcMs) -> Option<Parcel> {
    let number = state.falling?;
    let waiting = state.waiting.get(&number)?;
    let id = format!("notifier-letter-{number}");
    Some(Parcel::of(id, waiting, state.away.as_ref(), now))
}

/// What a call's end is recorded as.
pub fn ended(outcome: &Outcome) -> Record {
    match outcome.clone() {
        Outcome::Sent { .. } => Record::FallbackSent,
        Outcome::Unknown { why } => Record::FallbackUnknown { why },
        Outcome::Refused { why } => Record::FallbackRefused { why },
        Outcome::Returned { why, .. } | Outcome::Closed { why } => Record::FallbackReturned { why },
        Outcome::Migrated { .. } => Record::FallbackReturned {
            why: "bug: a fallback does not move".to_owned(),
        },
    }
}

impl Parcel {
    /// A letter as it goes there: first of all it says since when and why Telegram is `away`.
    pub(crate) fn of(id: String, waiting: &Waiting, away: Option<&Away>, now: UtcMs) -> Self {
        let Waiting {
            letter, repeats, ..
        } = waiting;
        let mut lines: Vec<String> = away.map(|away| first_line(away, now)).into_iter().collect();
        lines.extend(remarks(*repeats, letter.at, now));
        if !letter.body.is_empty() {
            lines.push(letter.body.clone());
        }
        Self {
            id,
            at: letter.at,
            severity: letter.severity,
            title: letter.head.clone(),
            message: lines.join("\n"),
        }
    }

    /// The title as a header can carry it: ASCII, one line.
    pub fn plain_title(&self) -> String {
        let printable = |c: &char| c.is_ascii() && !c.is_ascii_control();
        let plain: String = self.title.chars().filter(printable).collect();
        match plain.trim() {
            "" => "Bearish Alpha".to_owned(),
            plain => plain.to_owned(),
        }
    }

    /// The message as ntfy shows it whole.
    pub fn short_message(&self) -> String {
        if self.message.len() <= NTFY_LIMIT {
            return self.message.clone();
        }
        let end = self.message.floor_char_boundary(NTFY_LIMIT - CUT.len());
        format!("{}{CUT}", &self.message[..end])
    }
}

fn first_line(away: &Away, now: UtcMs) -> String {
    let ago = span(now.millis_since(away.since));
    let Away { since, why } = away;
    format!("Telegram is not reachable since {since} ({ago} ago): {why}")
}
