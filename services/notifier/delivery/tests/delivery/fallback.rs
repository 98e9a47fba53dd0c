//! Criticals over the fallback: when, how often, in which words, and what Telegram shows of it later.

use bearish_delivery::decide::Outcome;
use bearish_delivery::fallback::{PATIENCE_MS, Parcel};
use protocol::event::Severity;
use protocol::time::UtcMs;

use crate::support::{BEGIN, SENT, TELEGRAM, World, critical, info, unknown};

fn no_connection() -> Outcome {
    Outcome::Returned {
        why: "connection refused".to_owned(),
        wait_ms: None,
    }
}

fn shut() -> Outcome {
    Outcome::Closed {
        why: "401: Unauthorized".to_owned(),
    }
}

/// Telegram answers like this for so long, asked once a second; what goes over the fallback meanwhile.
fn suffer(world: &mut World, telegram: &Outcome, fallback: &Outcome, ms: u64) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    for _ in 0..ms / 1_000 {
        if world.send().is_some() {
            world.end(telegram);
        }
        if let Some(parcel) = world.fall() {
            parcels.push(parcel);
            world.landed(fallback);
        }
        world.pass(1_000);
    }
    parcels
}

#[test]
fn a_critical_that_waited_two_minutes_goes_there_once_and_then_every_new_one_at_once() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", info(9));
    world.hear("b", critical(1));
    let early = suffer(&mut world, &no_connection(), &SENT, PATIENCE_MS);
    assert!(early.is_empty(), "{early:?}");
    let parcels = suffer(&mut world, &no_connection(), &SENT, 600_000);
    assert_eq!(parcels.len(), 1, "once: {parcels:?}");
    let Parcel {
        id,
        at,
        severity,
        title,
        message,
    } = &parcels[0];
    assert_eq!((id.as_str(), *at), ("notifier-letter-1", BEGIN));
    assert_eq!(*severity, Severity::Critical);
    assert_eq!(title, "🚨 MANUAL INTERVENTION REQUIRED");
    assert_eq!(parcels[0].plain_title(), "MANUAL INTERVENTION REQUIRED");
    let first = message.lines().next().unwrap();
    let since = format!("Telegram is not reachable since {BEGIN} (");
    assert!(first.starts_with(&since), "{message}");
    assert!(first.ends_with("connection refused"), "{message}");
    assert!(message.contains("reason-1-") && !message.contains("repeat"));
    world.hear("c", critical(2));
    let parcels = suffer(&mut world, &no_connection(), &SENT, 2_000);
    assert_eq!(parcels.len(), 1, "{parcels:?}");
    assert!(parcels[0].message.contains("reason-2-"));
}

#[test]
fn where_a_person_must_mend_telegram_it_goes_there_at_once() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", critical(1));
    assert_eq!(world.fall(), None, "Telegram is asked first");
    let parcels = suffer(&mut world, &shut(), &SENT, 3_000);
    assert_eq!(parcels.len(), 1, "{parcels:?}");
    assert!(parcels[0].message.contains("401: Unauthorized"));
}

#[test]
fn when_telegram_is_back_it_counts_what_went_there_and_tells_it_no_second_time() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", critical(1));
    world.hear("b", critical(2));
    let parcels = suffer(&mut world, &shut(), &SENT, 70_000);
    assert_eq!(parcels.len(), 2, "{parcels:?}");
    let texts = world.drain();
    assert_eq!(texts.len(), 1, "{texts:?}");
    let last = UtcMs(BEGIN.0);
    assert!(
        texts[0].starts_with("📮 WENT OVER THE FALLBACK: 2\n"),
        "{texts:?}"
    );
    assert!(
        texts[0].contains(&format!("to {last}\n2 × given up")),
        "{texts:?}"
    );
    world.hear("c", critical(3));
    assert!(world.fall().is_none(), "Telegram is back");
    assert!(world.drain()[0].contains("reason-3-"));
}

#[test]
fn without_a_clear_answer_it_is_repeated_and_marked_and_refused_ones_wait_for_telegram() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", critical(1));
    let parcels = suffer(&mut world, &shut(), &unknown(), 10_000);
    assert!(parcels.len() > 1, "{parcels:?}");
    assert!(!parcels[0].message.contains("(possible repeat"));
    for again in &parcels[1..] {
        assert!(again.message.contains("(possible repeat"), "{again:?}");
        assert_eq!(again.id, parcels[0].id, "a receiver can tell");
    }
    let refused = Outcome::Refused {
        why: "the fallback answers 413".to_owned(),
    };
    world.hear("b", critical(2));
    let parcels = suffer(&mut world, &shut(), &refused, 300_000);
    assert_eq!(parcels.len(), 2, "each is refused once: {parcels:?}");
    let texts = world.drain();
    assert!(texts.iter().any(|text| text.contains("reason-1-")));
    assert!(texts.iter().any(|text| text.contains("reason-2-")));
}

#[test]
fn a_kill_between_record_and_answer_repeats_it_marked_and_one_after_it_repeats_nothing() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", critical(1));
    world.send();
    world.end(&shut());
    assert!(world.fall().is_some());
    world.restart();
    world.send();
    world.end(&shut());
    let again = world.fall().unwrap();
    assert!(again.message.contains("(possible repeat"), "{again:?}");
    world.landed(&SENT);
    world.restart();
    let parcels = suffer(&mut world, &shut(), &SENT, 300_000);
    assert!(parcels.is_empty(), "{parcels:?}");
}

#[test]
fn while_it_is_under_way_there_telegram_does_not_get_it_as_well() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", critical(1));
    world.send();
    world.end(&shut());
    assert!(world.fall().is_some());
    world.pass(120_000);
    assert_eq!(world.send(), None);
    world.landed(&no_connection());
    assert!(world.send().unwrap().text.contains("reason-1-"));
}

#[test]
fn a_slow_telegram_that_takes_messages_is_no_reason() {
    let mut world = World::new(TELEGRAM);
    for number in 0..400 {
        world.hear(&format!("e{number}"), critical(number));
    }
    let parcels = suffer(&mut world, &SENT, &SENT, 300_000);
    assert!(parcels.is_empty(), "{parcels:?}");
}

#[test]
fn what_is_too_long_for_ntfy_is_cut_and_says_so() {
    let parcel = Parcel {
        id: "x".to_owned(),
        at: BEGIN,
        severity: Severity::Critical,
        title: "🚨".to_owned(),
        message: "ä".repeat(5_000),
    };
    let short = parcel.short_message();
    assert!(short.len() <= 4_000 && short.ends_with("… cut here"));
    assert_eq!(parcel.plain_title(), "Bearish Alpha");
}
