//! Random faults: lost replies, rejections, and kills between any two steps. No notification is lost, and every repeat
//! is flagged.

use bearish_notifier_core::model::Outcome;
use proptest::prelude::*;

use crate::support::{SENT, TELEGRAM, World, critical_event, info_event, outcome_unknown};

#[derive(Debug, Clone)]
enum Step {
    Receive {
        number: usize,
        critical: bool,
    },
    /// Outcome of the call, and whether the message was delivered nevertheless.
    Send {
        outcome: u8,
        shown: bool,
    },
    /// Outcome of the call to the fallback, and whether it delivered nevertheless.
    SendFallback {
        outcome: u8,
        shown: bool,
    },
    Kill {
        shown: bool,
    },
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..60_usize, any::<bool>())
            .prop_map(|(number, critical)| Step::Receive { number, critical }),
        4 => (0..5_u8, any::<bool>()).prop_map(|(outcome, shown)| Step::Send { outcome, shown }),
        3 => (0..4_u8, any::<bool>()).prop_map(|(outcome, shown)| Step::SendFallback { outcome, shown }),
        1 => any::<bool>().prop_map(|shown| Step::Kill { shown }),
        2 => (0..15_000_u64).prop_map(Step::Advance),
    ]
}

fn no_connection() -> Outcome {
    Outcome::Retryable {
        error: "no connection".to_owned(),
        wait_ms: None,
    }
}

/// Texts that both channels delivered, and events that the notifier received.
#[derive(Default)]
struct DeliveredTexts {
    shown: Vec<String>,
    received: std::collections::BTreeSet<usize>,
    /// Deliveries that the notifier could not know.
    unconfirmed: usize,
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new(TELEGRAM);
    let mut chat = DeliveredTexts::default();
    for step in steps {
        match step {
            Step::Receive {
                number,
                critical: is,
            } => {
                chat.received.insert(number);
                let body = if is {
                    critical_event(number)
                } else {
                    info_event(number)
                };
                world.receive(&format!("e{number}"), body);
            }
            Step::Advance(ms) => world.advance(ms),
            Step::Kill { shown } => {
                if let Some(message) = world.send()
                    && shown
                {
                    chat.unconfirmed += 1;
                    chat.shown.push(message.text);
                }
                if let Some(message) = world.send_fallback()
                    && shown
                {
                    chat.unconfirmed += 1;
                    chat.shown.push(message.message);
                }
                world.restart();
            }
            Step::Send { outcome, shown } => {
                let Some(message) = world.send() else {
                    continue;
                };
                match outcome {
                    0 | 1 => {
                        chat.shown.push(message.text);
                        world.end_message(&SENT);
                    }
                    2 => {
                        if shown {
                            chat.unconfirmed += 1;
                            chat.shown.push(message.text);
                        }
                        world.end_message(&outcome_unknown());
                    }
                    3 => world.end_message(&no_connection()),
                    _ => world.end_message(&Outcome::ChannelRejected {
                        error: "401: Unauthorized".to_owned(),
                    }),
                }
            }
            Step::SendFallback { outcome, shown } => {
                send_fallback(&mut world, &mut chat, outcome, shown);
            }
        }
    }
    chat.shown.extend(world.drain());
    check(&chat)
}

fn send_fallback(world: &mut World, chat: &mut DeliveredTexts, outcome: u8, shown: bool) {
    let Some(message) = world.send_fallback() else {
        return;
    };
    match outcome {
        0 | 1 => {
            chat.shown.push(message.message);
            world.end_fallback(&SENT);
        }
        2 => {
            if shown {
                chat.unconfirmed += 1;
                chat.shown.push(message.message);
            }
            world.end_fallback(&outcome_unknown());
        }
        _ => world.end_fallback(&no_connection()),
    }
}

fn check(chat: &DeliveredTexts) -> Result<(), TestCaseError> {
    let mut repeats = 0;
    for number in &chat.received {
        let marks = [format!("part-{number}-"), format!("reason-{number}-")];
        let matches = |text: &&String| marks.iter().any(|mark| text.contains(mark.as_str()));
        let times: Vec<_> = chat.shown.iter().filter(matches).collect();
        // These steps cause no backlog or burst, in which notifications are only counted.
        prop_assert!(!times.is_empty(), "{number} was lost");
        for again in &times[1..] {
            repeats += 1;
            prop_assert!(
                again.contains("(possible repeat"),
                "{number} came twice unmarked"
            );
        }
        prop_assert!(times.len() <= 1 + chat.unconfirmed);
    }
    if chat.unconfirmed == 0 {
        prop_assert_eq!(repeats, 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_notification_is_lost_and_repeats_are_flagged(steps in prop::collection::vec(step(), 0..28)) {
        run(steps)?;
    }
}
