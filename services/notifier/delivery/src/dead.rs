//! Dead letters: Telegram refused them for good. They are kept for people, who have them sent again once what
//! was at fault is mended.

use std::collections::{BTreeMap, VecDeque};

use protocol::command::Letters;
use protocol::time::UtcMs;

use crate::record::Record;
use crate::state::{Elsewhere, State, Waiting};

/// Dead letters that are kept.
const MOST: usize = 100;

/// A letter that Telegram refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number, by which a person names it.
    pub number: u64,
    /// It, as it waited.
    pub waiting: Waiting,
    /// Why, in Telegram's words.
    pub why: String,
}

/// What there is to record if this dead letter, or all of them, are to be sent again, and what who asks is told;
/// else why not. A letter
/// that was sent again is dead no more: asking twice sends once.
///
/// # Errors
/// One line for who asks.
pub fn resend(state: &State, wanted: Letters, who: &str) -> Result<(Vec<Record>, String), String> {
    let dead: Vec<u64> = state.dead.iter().map(|dead| dead.number).collect();
    if dead.is_empty() {
        return Err("there are no dead letters".to_owned());
    }
    let (letters, command) = match wanted {
        Letters::All => (dead, "resend --all".to_owned()),
        Letters::One { number } if dead.contains(&number) => {
            (vec![number], format!("resend {number}"))
        }
        Letters::One { number } => {
            let known = listed(&dead);
            return Err(format!(
                "there is no dead letter {number}: allowed are {known}"
            ));
        }
    };
    let outcome = said(&letters);
    let ended = Record::CommandEnded {
        who: who.to_owned(),
        command,
        outcome: outcome.clone(),
    };
    Ok((vec![Record::Resent { letters }, ended], outcome))
}

fn said(letters: &[u64]) -> String {
    let noun = if letters.len() == 1 {
        "letter"
    } else {
        "letters"
    };
    format!("sent again: {noun} {}", listed(letters))
}

fn listed(letters: &[u64]) -> String {
    let numbers: Vec<String> = letters.iter().map(u64::to_string).collect();
    numbers.join(", ")
}

/// These are refused.
pub(crate) fn bury(dead: &mut VecDeque<DeadLetter>, letters: BTreeMap<u64, Waiting>, why: &str) {
    for (number, waiting) in letters {
        if dead.len() == MOST {
            dead.pop_front();
        }
        let why = why.to_owned();
        dead.push_back(DeadLetter {
            number,
            waiting,
            why,
        });
    }
}

/// These wait again, from now on, in the order in which they once came.
pub(crate) fn raise(
    dead: &mut VecDeque<DeadLetter>,
    waiting: &mut BTreeMap<u64, Waiting>,
    letters: &[u64],
    now: UtcMs,
) {
    for letter in std::mem::take(dead) {
        if letters.contains(&letter.number) {
            let raised = Waiting {
                queued: now,
                elsewhere: Elsewhere::No,
                ..letter.waiting
            };
            waiting.insert(letter.number, raised);
        } else {
            dead.push_back(letter);
        }
    }
}
