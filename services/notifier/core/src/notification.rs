//! A letter: one thing the owner is told. It fits into one message; what does not is split before.
//! Lengths are UTF-16 units, Telegram's measure of text.

use protocol::event::Severity;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

/// Telegram's limit for the text of a message, in UTF-16 units.
pub const MESSAGE_LIMIT: usize = 4096;
/// Most of it for one letter: room is left for what is said around it (part, repeat, lateness).
const NOTIFICATION_LIMIT: usize = MESSAGE_LIMIT - 160;
/// The same of what stands below a picture: Telegram takes 1,024.
const CAPTION_LIMIT: usize = 1_024 - 160;
/// One event makes no more letters than this, so that a few events always fit into a journal message.
const MAX_PARTS: usize = 4;
const TRUNCATION_NOTE: &str = "\n… and more, which is cut here";

/// What is said: a heading, shown in bold, and lines below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// When it happened, wall clock of who noticed.
    pub at: UtcMs,
    /// How much it matters.
    pub severity: Severity,
    /// What kind of event it tells of.
    pub kind: String,
    /// One line.
    pub title: String,
    /// Lines below it; may be empty.
    pub body: String,
    /// It comes with the picture of what the accounts are worth, drawn when it goes out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_picture: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Length of a text in UTF-16 units.
pub fn utf16_length(text: &str) -> usize {
    text.encode_utf16().count()
}

impl Notification {
    /// With the picture of what the accounts are worth: beside the text where it fits below a picture, else
    /// after it.
    pub fn with_picture(self) -> Vec<Self> {
        if utf16_length(&self.title) + 1 + utf16_length(&self.body) <= CAPTION_LIMIT {
            return vec![Self {
                has_picture: true,
                ..self
            }];
        }
        let picture = Self {
            title: "📈 EQUITY".to_owned(),
            body: "What the books were worth (no picture: too few points yet)".to_owned(),
            has_picture: true,
            ..self.clone()
        };
        let mut letters = self.split();
        letters.push(picture);
        letters
    }

    /// As many letters as it takes for each to fit into one message: split between lines, `part n/m`
    /// in each heading. A line that is too long by itself is cut; what is beyond four letters is left out,
    /// which the last one says.
    pub fn split(self) -> Vec<Self> {
        if utf16_length(&self.title) + 1 + utf16_length(&self.body) <= NOTIFICATION_LIMIT {
            return vec![self];
        }
        let head: String = longest_prefix(&self.title, NOTIFICATION_LIMIT / 8).to_owned();
        let mut chunks = chunks(
            &self.body,
            NOTIFICATION_LIMIT - utf16_length(&head) - utf16_length(TRUNCATION_NOTE) - 1,
        );
        if chunks.len() > MAX_PARTS {
            chunks.truncate(MAX_PARTS);
            chunks[MAX_PARTS - 1].push_str(TRUNCATION_NOTE);
        }
        let count = chunks.len();
        let part = |(index, body): (usize, String)| Self {
            title: format!("{head} (part {}/{count})", index + 1),
            body,
            ..self.clone()
        };
        chunks.into_iter().enumerate().map(part).collect()
    }
}

/// Pieces of at most `limit` units, cut between lines where possible.
fn chunks(text: &str, limit: usize) -> Vec<String> {
    let mut chunks: Vec<String> = Vec::new();
    let mut free = 0;
    for mut line in text.lines() {
        let needed = utf16_length(line) + 1;
        match chunks.last_mut() {
            Some(chunk) if needed <= free => {
                chunk.push('\n');
                chunk.push_str(line);
                free -= needed;
                continue;
            }
            _ => {}
        }
        loop {
            let piece = longest_prefix(line, limit);
            free = limit - utf16_length(piece);
            chunks.push(piece.to_owned());
            line = &line[piece.len()..];
            if line.is_empty() {
                break;
            }
        }
    }
    if chunks.is_empty() {
        chunks.push(String::new());
    }
    chunks
}

/// The longest beginning of at most `limit` units; never half a character.
fn longest_prefix(text: &str, limit: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += c.len_utf16();
        used > limit
    });
    end.map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn notification(body: String) -> Notification {
        Notification {
            at: UtcMs(0),
            severity: Severity::Info,
            kind: "sample".to_owned(),
            title: "🚀 HEAD".to_owned(),
            body,
            has_picture: false,
        }
    }

    #[test]
    fn long_notification_is_split_between_lines_and_its_parts_numbered() {
        let lines: Vec<String> = (0..500).map(|n| format!("line {n} of many")).collect();
        let parts = notification(lines.join("\n")).split();
        assert!(parts.len() > 1);
        assert_eq!(parts[0].title, format!("🚀 HEAD (part 1/{})", parts.len()));
        let together: Vec<&str> = parts.iter().flat_map(|part| part.body.lines()).collect();
        assert_eq!(together, lines);
    }

    #[test]
    fn notification_of_more_than_four_parts_ends_with_truncation_note() {
        let parts = notification("a line of some length\n".repeat(50_000)).split();
        assert_eq!(parts.len(), MAX_PARTS);
        assert!(parts[MAX_PARTS - 1].body.ends_with(TRUNCATION_NOTE));
        assert!(utf16_length(&parts[MAX_PARTS - 1].body) <= NOTIFICATION_LIMIT);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn notification_parts_fit_and_lose_nothing_but_line_ends(
            words in prop::collection::vec("[a-z🚀ä\n]{0,6}", 0..3_500)
        ) {
            let body = words.concat();
            let parts = notification(body.clone()).split();
            let text: String = parts.iter().map(|part| part.body.replace('\n', "")).collect();
            prop_assert_eq!(text, body.replace('\n', ""));
            for part in parts {
                prop_assert!(utf16_length(&part.title) + 1 + utf16_length(&part.body) <= NOTIFICATION_LIMIT + 32);
            }
        }
    }
}
