//! A notification: a heading and lines for the operator. Each fits into one message; longer ones are split.
//!
//! Lengths are UTF-16 units, Telegram's measure of text.

use protocol::event::Severity;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

/// Telegram's limit for the text of a message, in UTF-16 units.
pub const MESSAGE_LIMIT: usize = 4096;
/// Longest notification; the rest is for remarks about part, repeat and age.
const NOTIFICATION_LIMIT: usize = MESSAGE_LIMIT - 160;
/// Longest notification below a picture; Telegram's limit is 1,024.
const CAPTION_LIMIT: usize = 1_024 - 160;
/// Most notifications of one event, so that a few events always fit into a journal batch.
const MAX_PARTS: usize = 4;
const TRUNCATION_NOTE: &str = "\n… truncated";

/// A heading, shown in bold, and lines below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Time of the event by the wall clock of the process that published it.
    pub at: UtcMs,
    /// Severity of the event.
    pub severity: Severity,
    /// Kind of the event.
    pub kind: String,
    /// Heading in one line.
    pub title: String,
    /// Lines below the heading; may be empty.
    pub body: String,
    /// Whether a picture of the equity curve is sent with it, drawn when it is sent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_picture: bool,
    /// Number of lines at the begin of the body whose columns must align.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub table_lines: usize,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// Length of a text in UTF-16 units.
pub fn utf16_length(text: &str) -> usize {
    text.encode_utf16().count()
}

impl Notification {
    /// Adds a picture of the equity curve: above the text if it fits as a caption, else in a second notification.
    pub fn with_picture(self) -> Vec<Self> {
        if utf16_length(&self.title) + 1 + utf16_length(&self.body) <= CAPTION_LIMIT {
            return vec![Self {
                has_picture: true,
                ..self
            }];
        }
        let picture = Self {
            title: "📈 EQUITY".to_owned(),
            body: "Equity of all books (without a picture: too few points yet)".to_owned(),
            has_picture: true,
            table_lines: 0,
            ..self.clone()
        };
        let mut notifications = self.split();
        notifications.push(picture);
        notifications
    }

    /// Splits the notification between lines into parts that each fit into one message, with `part n/m` in each
    /// heading. A line that is too long is cut. Text beyond four parts is dropped, with a note in the last one.
    pub fn split(self) -> Vec<Self> {
        if utf16_length(&self.title) + 1 + utf16_length(&self.body) <= NOTIFICATION_LIMIT {
            return vec![self];
        }
        let title: String = longest_prefix(&self.title, NOTIFICATION_LIMIT / 8).to_owned();
        let mut chunks = chunks(
            &self.body,
            NOTIFICATION_LIMIT - utf16_length(&title) - utf16_length(TRUNCATION_NOTE) - 1,
        );
        if chunks.len() > MAX_PARTS {
            chunks.truncate(MAX_PARTS);
            chunks[MAX_PARTS - 1].push_str(TRUNCATION_NOTE);
        }
        let count = chunks.len();
        let mut table_lines = self.table_lines;
        let part = |(index, body): (usize, String)| {
            let in_part = table_lines.min(body.lines().count());
            table_lines -= in_part;
            Self {
                title: format!("{title} (part {}/{count})", index + 1),
                body,
                table_lines: in_part,
                ..self.clone()
            }
        };
        chunks.into_iter().enumerate().map(part).collect()
    }
}

/// Splits a text into pieces of at most `limit` units, between lines where possible.
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

/// Longest prefix of at most `limit` units that ends at a character boundary.
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
            table_lines: 0,
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
    fn table_is_continued_in_the_next_part() {
        let rows = "a row of a long table\n".repeat(200);
        let table = Notification {
            table_lines: 200,
            ..notification(format!("{rows}below"))
        };
        let parts = table.split();
        let lines: Vec<(usize, usize)> = parts
            .iter()
            .map(|part| (part.table_lines, part.body.lines().count()))
            .collect();
        let [(first, of_first), (second, of_second)] = lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!((first, first + second), (of_first, 200));
        assert_eq!(of_second, second + 1);
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
            pieces in prop::collection::vec("[a-z🚀ä\n]{0,6}", 0..3_500)
        ) {
            let body = pieces.concat();
            let parts = notification(body.clone()).split();
            let text: String = parts.iter().map(|part| part.body.replace('\n', "")).collect();
            prop_assert_eq!(text, body.replace('\n', ""));
            for part in parts {
                prop_assert!(utf16_length(&part.title) + 1 + utf16_length(&part.body) <= NOTIFICATION_LIMIT + 32);
            }
        }
    }
}
