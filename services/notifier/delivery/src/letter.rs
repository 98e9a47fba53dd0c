//! A letter: one thing the owner is told. It fits into one message; what does not is split before.
//! Lengths are UTF-16 units, Telegram's measure of text.

use protocol::event::Severity;
use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

/// Telegram's limit for the text of a message, in UTF-16 units.
pub const MESSAGE_LIMIT: usize = 4096;
/// Most of it for one letter: room is left for what is said around it (part, repeat, lateness).
const LETTER_LIMIT: usize = MESSAGE_LIMIT - 160;
/// The same of what stands below a picture: Telegram takes 1,024.
const CAPTION_LIMIT: usize = 1_024 - 160;
/// One event makes no more letters than this, so that a few events always fit into a journal message.
const MOST_PARTS: usize = 4;
const CUT: &str = "\n… and more, which is cut here";

/// What is said: a heading, shown in bold, and lines below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// When it happened, wall clock of who noticed.
    pub at: UtcMs,
    /// How much it matters.
    pub severity: Severity,
    /// What kind of event it tells of.
    pub kind: String,
    /// One line.
    pub head: String,
    /// Lines below it; may be empty.
    pub body: String,
    /// It comes with the picture of what the accounts are worth, drawn when it goes out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub picture: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Length of a text in UTF-16 units.
pub fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

impl Letter {
    /// With the picture of what the accounts are worth: beside the text where it fits below a picture, else
    /// after it.
    pub fn illustrated(self) -> Vec<Self> {
        if units(&self.head) + 1 + units(&self.body) <= CAPTION_LIMIT {
            return vec![Self {
                picture: true,
                ..self
            }];
        }
        let picture = Self {
            head: "📈 EQUITY".to_owned(),
            body: "What the books were worth (no picture: too few points yet)".to_owned(),
            picture: true,
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
        if units(&self.head) + 1 + units(&self.body) <= LETTER_LIMIT {
            return vec![self];
        }
        let head: String = fitting(&self.head, LETTER_LIMIT / 8).to_owned();
        let mut chunks = chunks(&self.body, LETTER_LIMIT - units(&head) - units(CUT) - 1);
        if chunks.len() > MOST_PARTS {
            chunks.truncate(MOST_PARTS);
            chunks[MOST_PARTS - 1].push_str(CUT);
        }
        let count = chunks.len();
        let part = |(index, body): (usize, String)| Self {
            head: format!("{head} (part {}/{count})", index + 1),
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
        let needed = units(line) + 1;
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
            let piece = fitting(line, limit);
            free = limit - units(piece);
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
fn fitting(text: &str, limit: usize) -> &str {
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

    fn letter(body: String) -> Letter {
        Letter {
            at: UtcMs(0),
            severity: Severity::Info,
            kind: "sample".to_owned(),
            head: "🚀 HEAD".to_owned(),
            body,
            picture: false,
        }
    }

    #[test]
    fn a_long_letter_is_split_between_lines_and_says_which_part_each_is() {
        let lines: Vec<String> = (0..500).map(|n| format!("line {n} of many")).collect();
        let parts = letter(lines.join("\n")).split();
        assert!(parts.len() > 1);
        assert_eq!(parts[0].head, format!("🚀 HEAD (part 1/{})", parts.len()));
        let together: Vec<&str> = parts.iter().flat_map(|part| part.body.lines()).collect();
        assert_eq!(together, lines);
    }

    #[test]
    fn what_is_far_too_long_ends_with_saying_so() {
        let parts = letter("a line of some length\n".repeat(50_000)).split();
        assert_eq!(parts.len(), MOST_PARTS);
        assert!(parts[MOST_PARTS - 1].body.ends_with(CUT));
        assert!(units(&parts[MOST_PARTS - 1].body) <= LETTER_LIMIT);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]
        #[test]
        fn every_part_fits_and_nothing_but_line_ends_is_lost(
            words in prop::collection::vec("[a-z🚀ä\n]{0,6}", 0..3_500)
        ) {
            let body = words.concat();
            let parts = letter(body.clone()).split();
            let text: String = parts.iter().map(|part| part.body.replace('\n', "")).collect();
            prop_assert_eq!(text, body.replace('\n', ""));
            for part in parts {
                prop_assert!(units(&part.head) + 1 + units(&part.body) <= LETTER_LIMIT + 32);
            }
        }
    }
}
