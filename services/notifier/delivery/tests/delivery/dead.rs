//! Dead letters: kept under their numbers, sent again when a person wants it, once.

use bearish_delivery::dead;
use bearish_delivery::decide::Outcome;
use bearish_delivery::pace::Limits;
use bearish_delivery::record::Record;
use protocol::command::Letters;

use crate::support::{SENT, World, critical, unknown};

fn refused() -> Outcome {
    Outcome::Refused {
        why: "400: Bad Request".to_owned(),
    }
}

/// So many criticals, each refused.
fn with_dead(count: usize) -> World {
    let mut world = World::new(Limits::NONE);
    for number in 0..count {
        world.hear(&format!("e{number}"), critical(number));
        world.send().unwrap();
        world.end(&refused());
    }
    world
}

fn resend(world: &mut World, wanted: Letters) -> Result<(), String> {
    let (records, _) = dead::resend(&world.state, wanted, "a person")?;
    world.commit(records);
    Ok(())
}

#[test]
fn the_named_one_is_sent_again_and_the_others_stay_dead() {
    let mut world = with_dead(3);
    resend(&mut world, Letters::One { number: 1 }).unwrap();
    let texts = world.drain();
    assert!(
        texts.len() == 1 && texts[0].contains("reason-1-"),
        "{texts:?}"
    );
    assert!(
        !texts[0].contains("repeat"),
        "it surely did not arrive: {texts:?}"
    );
    assert_eq!(world.state.dead.len(), 2);
}

#[test]
fn asking_twice_or_dying_in_between_sends_once() {
    let mut world = with_dead(3);
    resend(&mut world, Letters::All).unwrap();
    world.restart();
    assert_eq!(
        resend(&mut world, Letters::All).unwrap_err(),
        "there are no dead letters"
    );
    assert_eq!(world.drain().len(), 3);
    assert!(world.drain().is_empty());
}

#[test]
fn one_that_nobody_knows_of_is_an_error_that_names_those_there_are() {
    let mut world = with_dead(2);
    let why = resend(&mut world, Letters::One { number: 9 }).unwrap_err();
    assert_eq!(why, "there is no dead letter 9: allowed are 0, 1");
    let why = resend(&mut with_dead(0), Letters::One { number: 9 }).unwrap_err();
    assert_eq!(why, "there are no dead letters");
}

#[test]
fn one_that_is_refused_again_is_dead_again_under_its_number() {
    let mut world = with_dead(1);
    resend(&mut world, Letters::One { number: 0 }).unwrap();
    world.send().unwrap();
    world.end(&refused());
    assert_eq!(world.state.dead[0].number, 0);
    resend(&mut world, Letters::One { number: 0 }).unwrap();
    world.send().unwrap();
    world.end(&unknown());
    let (_, message) = world.wait_and_send().unwrap();
    assert!(
        message.text.contains("(possible repeat"),
        "{}",
        message.text
    );
    world.end(&SENT);
    assert!(world.state.dead.is_empty());
}

#[test]
fn who_wanted_it_is_on_the_bus() {
    let world = with_dead(2);
    let (records, said) = dead::resend(&world.state, Letters::All, "a person").unwrap();
    assert_eq!(said, "sent again: letters 0, 1");
    assert_eq!(
        records,
        [
            Record::Resent {
                letters: vec![0, 1]
            },
            Record::CommandEnded {
                who: "a person".to_owned(),
                command: "resend --all".to_owned(),
                outcome: "sent again: letters 0, 1".to_owned(),
            }
        ]
    );
    assert!(records[1].event().is_some());
}
