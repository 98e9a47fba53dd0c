//! One message out of letters: its text, and which of it is bold. Offsets and lengths are UTF-16 units,
//! as Telegram counts them.

use std::collections::BTreeMap;

use protocol::time::UtcMs;

use crate::letter::{MESSAGE_LIMIT, units};
use crate::state::{Sending, Waiting};
use crate::words::span;

/// A letter that arrives later than this says when it happened.
const LATE_MS: u64 = 120_000;
const GAP: &str = "\n\n";

/// A stretch of bold text, in UTF-16 units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bold {
    /// Where it begins.
    pub offset: usize,
    /// How long it is.
    pub length: usize,
}

/// A message as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its text.
    pub text: String,
    /// Its headings.
    pub bold: Vec<Bold>,
}

impl Message {
    /// The message that these letters make.
    pub fn of(sending: &Sending, now: UtcMs) -> Self {
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
        self.repeat(waiting.repeats);
        let late = now.millis_since(letter.at);
        if late > LATE_MS {
            self.line(&format!("Happened: {} ago, {}", span(late), letter.at));
        }
        if !letter.body.is_empty() {
            self.line(&letter.body);
        }
    }

    fn repeat(&mut self, repeats: u32) {
        if repeats > 0 {
            self.line("(possible repeat: an earlier try may have arrived)");
        }
    }

    /// Counts by kind, oldest and newest.
    fn digest(&mut self, letters: &BTreeMap<u64, Waiting>, now: UtcMs) {
        let times = letters.values().map(|waiting| waiting.letter.at);
        let (first, last) = (times.clone().min(), times.max());
        self.heading(&format!("🗂 {} MESSAGES IN ONE", letters.len()));
        let repeats = letters.values().map(|waiting| waiting.repeats);
        self.repeat(repeats.max().unwrap_or(0));
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
