//! One message out of letters: its text, and which of it is bold. Offsets and lengths are UTF-16 units,
//! as Telegram counts them.

use std::collections::BTreeMap;

use protocol::time::UtcMs;

use crate::formatting::format_duration;
use crate::notification::{MESSAGE_LIMIT, utf16_length};
use crate::state::{Button, FallbackStatus, MessageInFlight, QueuedNotification};

/// A letter that arrives later than this says when it happened.
const LATE_MS: u64 = 120_000;
const SEPARATOR: &str = "\n\n";
const REPEAT_NOTE: &str = "(possible repeat: an earlier try may have arrived)";

/// A stretch of bold text, in UTF-16 units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoldSpan {
    /// Where it begins.
    pub offset: usize,
    /// How long it is.
    pub length: usize,
}

/// A message as it goes out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Its text.
    pub text: String,
    /// Its headings.
    pub bold: Vec<BoldSpan>,
    /// Where, if not to the chat that was set.
    pub chat: Option<i64>,
    /// What can be pressed below it.
    pub buttons: Vec<Button>,
    /// It comes with the picture of what the accounts are worth.
    pub has_picture: bool,
}

impl Message {
    /// The message that these letters make.
    pub fn from_in_flight(sending: &MessageInFlight, now: UtcMs) -> Self {
        if !sending.digest
            && sending.notifications.len() == 1
            && let Some(only) = sending.notifications.values().next()
        {
            return Self::from_notification(only, now);
        }
        let mut page = MessageBuilder::default();
        if sending.digest {
            page.add_digest(&sending.notifications, now);
        } else {
            for waiting in sending.notifications.values() {
                page.add_notification(waiting, now);
            }
        }
        Self {
            text: page.text,
            bold: page.bold,
            ..Self::default()
        }
    }

    /// The message that one letter makes.
    pub(crate) fn from_notification(waiting: &QueuedNotification, now: UtcMs) -> Self {
        let mut page = MessageBuilder::default();
        page.add_notification(waiting, now);
        let reply = waiting.reply.as_ref();
        Self {
            text: page.text,
            bold: page.bold,
            chat: reply.map(|reply| reply.chat),
            buttons: reply.map_or_else(Vec::new, |reply| reply.buttons.clone()),
            has_picture: waiting.notification.has_picture,
        }
    }
}

/// How many of these letters, from the first on, fit into one message; at least one.
pub fn count_fitting<'a>(
    letters: impl Iterator<Item = &'a QueuedNotification>,
    now: UtcMs,
) -> usize {
    let mut page = MessageBuilder::default();
    let fits = letters.take_while(|waiting| {
        page.add_notification(waiting, now);
        page.length <= MESSAGE_LIMIT
    });
    fits.count().max(1)
}

/// What is said of a letter beside what it says: that it may be a repeat, and when it happened if that is
/// long ago.
pub(crate) fn remarks(repeats: u32, at: UtcMs, now: UtcMs) -> Vec<String> {
    let repeat = (repeats > 0).then(|| REPEAT_NOTE.to_owned());
    let late = now.millis_since(at);
    let late = (late > LATE_MS).then(|| format!("Happened: {} ago, {at}", format_duration(late)));
    repeat.into_iter().chain(late).collect()
}

#[derive(Default)]
struct MessageBuilder {
    text: String,
    length: usize,
    bold: Vec<BoldSpan>,
}

impl MessageBuilder {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.length += utf16_length(text);
    }

    fn add_heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.push(SEPARATOR);
        }
        self.bold.push(BoldSpan {
            offset: self.length,
            length: utf16_length(text),
        });
        self.push(text);
    }

    fn add_line(&mut self, text: &str) {
        self.push("\n");
        self.push(text);
    }

    fn add_notification(&mut self, waiting: &QueuedNotification, now: UtcMs) {
        let letter = &waiting.notification;
        self.add_heading(&letter.title);
        for remark in remarks(waiting.repeats, letter.at, now) {
            self.add_line(&remark);
        }
        if !letter.body.is_empty() {
            self.add_line(&letter.body);
        }
    }

    /// Counts by kind, oldest and newest.
    fn add_digest(&mut self, letters: &BTreeMap<u64, QueuedNotification>, now: UtcMs) {
        let times = letters.values().map(|waiting| waiting.notification.at);
        let (first, last) = (times.clone().min(), times.max());
        let elsewhere =
            |waiting: &QueuedNotification| waiting.fallback_status == FallbackStatus::Sent;
        if letters.values().all(elsewhere) {
            self.add_heading(&format!("📮 WENT OVER THE FALLBACK: {}", letters.len()));
            self.add_line("Telegram took nothing then; there you were told each of these");
        } else {
            self.add_heading(&format!("🗂 {} MESSAGES IN ONE", letters.len()));
        }
        if letters.values().any(|waiting| waiting.repeats > 0) {
            self.add_line(REPEAT_NOTE);
        }
        if let (Some(first), Some(last)) = (first, last) {
            let age = format_duration(now.millis_since(first));
            self.add_line(&format!("From {first} ({age} ago) to {last}"));
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for waiting in letters.values() {
            *counts.entry(&waiting.notification.kind).or_default() += 1;
        }
        for (kind, count) in counts {
            self.add_line(&format!("{count} × {}", kind.replace('_', " ")));
        }
    }
}
