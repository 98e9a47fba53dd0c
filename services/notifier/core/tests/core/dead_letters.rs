//! Dead letters: kept under their numbers, and sent again once when the operator requests it.

use bearish_notifier_core::dead_letters;
use bearish_notifier_core::model::Outcome;
use bearish_notifier_core::record::DeliveryRecord;
use bearish_notifier_core::send_limiter::SendLimits;
use protocol::command::DeadLetterSelection;

use crate::support::{SENT, World, critical_event, outcome_unknown};

fn message_rejected() -> Outcome {
    Outcome::MessageRejected {
        error: "400: Bad Request".to_owned(),
    }
}

/// A world with this many dead letters.
fn with_dead_letters(count: usize) -> World {
    let mut world = World::new(SendLimits::NONE);
    for number in 0..count {
        world.receive(&format!("e{number}"), critical_event(number));
        world.send().unwrap();
        world.end_message(&message_rejected());
    }
    world
}

fn resend(world: &mut World, selection: DeadLetterSelection) -> Result<(), String> {
    let (records, _) = dead_letters::resend(&world.state, selection, "the operator")?;
    world.commit(records);
    Ok(())
}

#[test]
fn resend_of_one_dead_letter_leaves_the_others() {
    let mut world = with_dead_letters(3);
    resend(&mut world, DeadLetterSelection::One { number: 1 }).unwrap();
    let texts = world.drain();
    assert!(
        texts.len() == 1 && texts[0].contains("reason-1-"),
        "{texts:?}"
    );
    assert!(
        !texts[0].contains("repeat"),
        "a rejected message did not arrive: {texts:?}"
    );
    assert_eq!(world.state.dead_letters.len(), 2);
}

#[test]
fn resend_twice_or_across_a_restart_sends_once() {
    let mut world = with_dead_letters(3);
    resend(&mut world, DeadLetterSelection::All).unwrap();
    world.restart();
    assert_eq!(
        resend(&mut world, DeadLetterSelection::All).unwrap_err(),
        "there are no dead letters"
    );
    assert_eq!(world.drain().len(), 3);
    assert!(world.drain().is_empty());
}

#[test]
fn resend_of_an_unknown_dead_letter_names_the_known_ones() {
    let mut world = with_dead_letters(2);
    let error = resend(&mut world, DeadLetterSelection::One { number: 9 }).unwrap_err();
    assert_eq!(error, "no dead letter 9: expected one of 0, 1");
    let error = resend(
        &mut with_dead_letters(0),
        DeadLetterSelection::One { number: 9 },
    )
    .unwrap_err();
    assert_eq!(error, "there are no dead letters");
}

#[test]
fn dead_letter_rejected_again_keeps_its_number() {
    let mut world = with_dead_letters(1);
    resend(&mut world, DeadLetterSelection::One { number: 0 }).unwrap();
    world.send().unwrap();
    world.end_message(&message_rejected());
    assert_eq!(world.state.dead_letters[0].number, 0);
    resend(&mut world, DeadLetterSelection::One { number: 0 }).unwrap();
    world.send().unwrap();
    world.end_message(&outcome_unknown());
    let (_, message) = world.wait_and_send().unwrap();
    assert!(
        message.text.contains("(possible repeat"),
        "{}",
        message.text
    );
    world.end_message(&SENT);
    assert!(world.state.dead_letters.is_empty());
}

#[test]
fn resend_is_published_with_its_requester() {
    let world = with_dead_letters(2);
    let (records, result) =
        dead_letters::resend(&world.state, DeadLetterSelection::All, "the operator").unwrap();
    assert_eq!(result, "queued again: dead letters 0, 1");
    assert_eq!(
        records,
        [
            DeliveryRecord::ResendRequested {
                notifications: vec![0, 1]
            },
            DeliveryRecord::CommandFinished {
                by: "the operator".to_owned(),
                command: "resend --all".to_owned(),
                result: "queued again: dead letters 0, 1".to_owned(),
            }
        ]
    );
    assert!(records[1].event_body().is_some());
}
