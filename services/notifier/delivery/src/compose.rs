//! One message out of letters: its text, and which of it is bold. Offsets and lengths are UTF-16 units,
//! as Telegram counts them.

use std::collections::BTreeMap;

use protocol::time::UtcMs;

use crate::letter::{MESSAGE_LIMIT, units};
use crate::state::{Button, Elsewhere, Sending, Waiting};
use crate::words::span;

/// A letter that arrives later than this says when it happened.
const LATE_MS: u64 = 120_000;
const GAP: &str = "\n\n";
const REPEAT: &str = "(possible repeat: an earlier try may have arrived)";

/// A stretch of bold text, in UTF-16 units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bold {
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
    pub bold: Vec<Bold>,
    /// Where, if not to the chat that was set.
    pub chat: Option<i64>,
    /// What can be pressed below it.
    pub buttons: Vec<Button>,
    /// It comes with the picture of what the accounts are worth.
    pub picture: bool,
}

impl Message {
    /// The message that these letters make.
    pub fn of(sending: &Sending, now: UtcMs) -> Self {
        if !sending.digest
            && sending.letters.len() == 1
            && let Some(only) = sending.letters.values().next()
        {
            return Self::of_one(only, now);
        }
        let mut page = Page::default();
        if sending.digest {
            page.digest(&sending.letters, now);
        } else {
            for waiting in sending.letters.values() {
                page.letter(waiting, now);
            }
        }
        Self {
            text: page.text,
            bold: page.bold,
            ..Self::default()
        }
    }

    /// The message that one letter makes.
    pub(crate) fn of_one(waiting: &Waiting, now: UtcMs) -> Self {
        let mut page = Page::default();
        page.letter(waiting, now);
        let reply = waiting.reply.as_ref();
        Self {
            text: page.text,
            bold: page.bold,
            chat: reply.map(|reply| reply.chat),
            buttons: reply.map_or_else(Vec::new, |reply| reply.buttons.clone()),
            picture: waiting.letter.picture,
        }
    }
}

/// How many of these letters, from the first on, fit into one message; at least one.
pub fn fitting<'a>(letters: impl Iterator<Item = &'a Waiting>, now: UtcMs) -> usize {
    let mut page = Page::default();
    let fits = letters.take_while(|waiting| {
        page.letter(waiting, now);
        page.length <= MESSAGE_LIMIT
    });
    fits.count().max(1)
}

/// What is said of a letter beside what it says: that it may be a repeat, and when it happened if that is
/// long ago.
pub(crate) fn remarks(repeats: u32, at: UtcMs, now: UtcMs) -> Vec<String> {
    let repeat = (repeats > 0).then(|| REPEAT.to_owned());
    let late = now.millis_since(at);
    let late = (late > LATE_MS).then(|| format!("Happened: {} ago, {at}", span(late)));
    repeat.into_iter().chain(late).collect()
}

#[derive(Default)]
struct Page {
    text: String,
    length: usize,
    bold: Vec<Bold>,
}

impl Page {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.length += units(text);
    }

    fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.push(GAP);
        }
        self.bold.push(Bold {
            offset: self.length,
            length: units(text),
        });
        self.push(text);
    }

    fn line(&mut self, text: &str) {
        self.push("\n");
        self.push(text);
    }

    fn letter(&mut self, waiting: &Waiting, now: UtcMs) {
        let letter = &waiting.letter;
        self.heading(&letter.head);
        for remark in remarks(waiting.repeats, letter.at, now) {
            self.line(&remark);
        }
        if !letter.body.is_empty() {
            self.line(&letter.body);
        }
    }

    /// Counts by kind, oldest and newest.
    fn digest(&mut self, letters: &BTreeMap<u64, Waiting>, now: UtcMs) {
        let times = letters.values().map(|waiting| waiting.letter.at);
        let (first, last) = (times.clone().min(), times.max());
        let elsewhere = |waiting: &Waiting| waiting.elsewhere == Elsewhere::Told;
        if letters.values().all(elsewhere) {
            self.heading(&format!("📮 WENT OVER THE FALLBACK: {}", letters.len()));
            self.line("Telegram took nothing then; there you were told each of these");
        } else {
            self.heading(&format!("🗂 {} MESSAGES IN ONE", letters.len()));
        }
        if letters.values().any(|waiting| waiting.repeats > 0) {
            self.line(REPEAT);
        }
        if let (Some(first), Some(last)) = (first, last) {
            let age = span(now.millis_since(first));
            self.line(&format!("From {first} ({age} ago) to {last}"));
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for waiting in letters.values() {
            *counts.entry(&waiting.letter.kind).or_default() += 1;
        }
        for (kind, count) in counts {
            self.line(&format!("{count} × {}", kind.replace('_', " ")));
        }
    }
}
