//! Dead letters: notifications that Telegram rejected for good. They are kept until the operator has them sent again.

use protocol::command::DeadLetterSelection;

use crate::record::DeliveryRecord;
use crate::state::DeliveryState;

/// Records that send the selected dead letters again, and the reply to the operator. A dead letter that was sent again
/// is no longer one: a second request for it sends nothing.
///
/// # Errors
/// One line for the operator if the selection matches no dead letter.
pub fn resend(
    state: &DeliveryState,
    selection: DeadLetterSelection,
    by: &str,
) -> Result<(Vec<DeliveryRecord>, String), String> {
    let known: Vec<u64> = state.dead_letters.iter().map(|dead| dead.number).collect();
    if known.is_empty() {
        return Err("there are no dead letters".to_owned());
    }
    let (numbers, command) = match selection {
        DeadLetterSelection::All => (known, "resend --all".to_owned()),
        DeadLetterSelection::One { number } if known.contains(&number) => {
            (vec![number], format!("resend {number}"))
        }
        DeadLetterSelection::One { number } => {
            let known = join_numbers(&known);
            return Err(format!("no dead letter {number}: expected one of {known}"));
        }
    };
    let result = describe_resent(&numbers);
    let finished = DeliveryRecord::CommandFinished {
        by: by.to_owned(),
        command,
        result: result.clone(),
    };
    Ok((
        vec![
            DeliveryRecord::ResendRequested {
                notifications: numbers,
            },
            finished,
        ],
        result,
    ))
}

fn describe_resent(numbers: &[u64]) -> String {
    let noun = if numbers.len() == 1 {
        "dead letter"
    } else {
        "dead letters"
    };
    format!("queued again: {noun} {}", join_numbers(numbers))
}

fn join_numbers(numbers: &[u64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    numbers.join(", ")
}
