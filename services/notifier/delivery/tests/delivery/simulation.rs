//! Chance against the brain: replies get lost, Telegram refuses, the process is killed between any two
//! steps. Nothing is lost, and nothing arrives twice without saying so.

use bearish_delivery::decide::Outcome;
use proptest::prelude::*;

use crate::support::{SENT, TELEGRAM, World, critical, info, unknown};

#[derive(Debug, Clone)]
enum Step {
    Hear {
        number: usize,
        critical: bool,
    },
    /// The call's end, and whether the message was shown all the same.
    Send {
        outcome: u8,
        shown: bool,
    },
    /// The same over the fallback.
    Fall {
        outcome: u8,
        shown: bool,
    },
    Kill {
        shown: bool,
    },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..60_usize, any::<bool>())
            .prop_map(|(number, critical)| Step::Hear { number, critical }),
        4 => (0..5_u8, any::<bool>()).prop_map(|(outcome, shown)| Step::Send { outcome, shown }),
        3 => (0..4_u8, any::<bool>()).prop_map(|(outcome, shown)| Step::Fall { outcome, shown }),
        1 => any::<bool>().prop_map(|shown| Step::Kill { shown }),
        2 => (0..15_000_u64).prop_map(Step::Pass),
    ]
}

fn no_connection() -> Outcome {
    Outcome::Returned {
        why: "no connection".to_owned(),
        wait_ms: None,
    }
}

/// What both ways showed, and what was told to the notifier.
#[derive(Default)]
struct Chat {
    shown: Vec<String>,
    told: std::collections::BTreeSet<usize>,
    /// Calls that were shown although the notifier could not know.
    doubtful: usize,
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new(TELEGRAM);
    let mut chat = Chat::default();
    for step in steps {
        match step {
            Step::Hear {
                number,
                critical: is,
            } => {
                chat.told.insert(number);
                let body = if is { critical(number) } else { info(number) };
                world.hear(&format!("e{number}"), body);
            }
            Step::Pass(ms) => world.pass(ms),
            Step::Kill { shown } => {
                if let Some(message) = world.send()
                    && shown
                {
                    chat.doubtful += 1;
                    chat.shown.push(message.text);
                }
                if let Some(parcel) = world.fall()
                    && shown
                {
                    chat.doubtful += 1;
                    chat.shown.push(parcel.message);
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
                        world.end(&SENT);
                    }
                    2 => {
                        if shown {
                            chat.doubtful += 1;
                            chat.shown.push(message.text);
                        }
                        world.end(&unknown());
                    }
                    3 => world.end(&no_connection()),
                    _ => world.end(&Outcome::Closed {
                        why: "401: Unauthorized".to_owned(),
                    }),
                }
            }
            Step::Fall { outcome, shown } => fall(&mut world, &mut chat, outcome, shown),
        }
    }
    chat.shown.extend(world.drain());
    check(&chat)
}

fn fall(world: &mut World, chat: &mut Chat, outcome: u8, shown: bool) {
    let Some(parcel) = world.fall() else {
        return;
    };
    match outcome {
        0 | 1 => {
            chat.shown.push(parcel.message);
            world.landed(&SENT);
        }
        2 => {
            if shown {
                chat.doubtful += 1;
                chat.shown.push(parcel.message);
            }
            world.landed(&unknown());
        }
        _ => world.landed(&no_connection()),
    }
}

fn check(chat: &Chat) -> Result<(), TestCaseError> {
    let mut repeats = 0;
    for number in &chat.told {
        let marks = [format!("part-{number}-"), format!("reason-{number}-")];
        let of_it = |text: &&String| marks.iter().any(|mark| text.contains(mark.as_str()));
        let times: Vec<_> = chat.shown.iter().filter(of_it).collect();
        // Backlogs and storms, where letters are only counted, do not arise from these steps.
        prop_assert!(!times.is_empty(), "{number} was lost");
        for again in &times[1..] {
            repeats += 1;
            prop_assert!(
                again.contains("(possible repeat"),
                "{number} came twice unmarked"
            );
        }
        prop_assert!(times.len() <= 1 + chat.doubtful);
    }
    if chat.doubtful == 0 {
        prop_assert_eq!(repeats, 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn nothing_is_lost_and_what_comes_twice_says_so(steps in prop::collection::vec(step(), 0..28)) {
        run(steps)?;
    }
}
