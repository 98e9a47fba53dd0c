//! Dead letters: Telegram refused them for good. They are kept for people, who have them sent again once what
//! was at fault is mended.

use std::collections::{BTreeMap, VecDeque};

use protocol::command::DeadLetterSelection;
use protocol::time::UtcMs;

use crate::record::DeliveryRecord;
use crate::state::{DeliveryState, FallbackStatus, QueuedNotification};

/// Dead letters that are kept.
const MAX_DEAD_LETTERS: usize = 100;

/// A letter that Telegram refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number, by which a person names it.
    pub number: u64,
    /// It, as it waited.
    pub queued: QueuedNotification,
    /// Why, in Telegram's words.
    pub error: String,
}

/// What there is to record if this dead letter, or all of them, are to be sent again, and what who asks is told;
/// else why not. A letter
/// that was sent again is dead no more: asking twice sends once.
///
/// # Errors
/// One line for who asks.
pub fn resend(
    state: &DeliveryState,
    selection: DeadLetterSelection,
    by: &str,
) -> Result<(Vec<DeliveryRecord>, String), String> {
    let dead: Vec<u64> = state.dead_letters.iter().map(|dead| dead.number).collect();
    if dead.is_empty() {
        return Err("there are no dead letters".to_owned());
    }
    let (letters, command) = match selection {
        DeadLetterSelection::All => (dead, "resend --all".to_owned()),
        DeadLetterSelection::One { number } if dead.contains(&number) => {
            (vec![number], format!("resend {number}"))
        }
        DeadLetterSelection::One { number } => {
            let known = join_numbers(&dead);
            return Err(format!(
                "there is no dead letter {number}: allowed are {known}"
            ));
        }
    };
    let outcome = describe_resent(&letters);
    let ended = DeliveryRecord::CommandFinished {
        by: by.to_owned(),
        command,
        result: outcome.clone(),
    };
    Ok((
        vec![
            DeliveryRecord::ResendRequested {
                notifications: letters,
            },
            ended,
        ],
        outcome,
    ))
}

fn describe_resent(letters: &[u64]) -> String {
    let noun = if letters.len() == 1 {
        "letter"
    } else {
        "letters"
    };
    format!("sent again: {noun} {}", join_numbers(letters))
}

fn join_numbers(letters: &[u64]) -> String {
    let numbers: Vec<String> = letters.iter().map(u64::to_string).collect();
    numbers.join(", ")
}

/// These are refused.
pub(crate) fn add_dead_letters(
    dead: &mut VecDeque<DeadLetter>,
    letters: BTreeMap<u64, QueuedNotification>,
    why: &str,
) {
    for (number, waiting) in letters {
        if dead.len() == MAX_DEAD_LETTERS {
            dead.pop_front();
        }
        let why = why.to_owned();
        dead.push_back(DeadLetter {
            number,
            queued: waiting,
            error: why,
        });
    }
}

/// These wait again, from now on, in the order in which they once came.
pub(crate) fn requeue_dead_letters(
    dead: &mut VecDeque<DeadLetter>,
    waiting: &mut BTreeMap<u64, QueuedNotification>,
    letters: &[u64],
    now: UtcMs,
) {
    for letter in std::mem::take(dead) {
        if letters.contains(&letter.number) {
            let raised = QueuedNotification {
                queued_at: now,
                fallback_status: FallbackStatus::NotSent,
                ..letter.queued
            };
            waiting.insert(letter.number, raised);
        } else {
            dead.push_back(letter);
        }
    }
}
