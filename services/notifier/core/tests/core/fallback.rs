//! Criticals over the fallback: when, how often, in which words, and what Telegram shows of it later.

use bearish_notifier_core::decide::Outcome;
use bearish_notifier_core::fallback::{FALLBACK_DELAY_MS, FallbackMessage};
use protocol::event::Severity;
use protocol::time::UtcMs;

use crate::support::{BEGIN, SENT, TELEGRAM, World, critical_event, info_event, outcome_unknown};

fn no_connection() -> Outcome {
    Outcome::Retryable {
        error: "connection refused".to_owned(),
        wait_ms: None,
    }
}

fn channel_rejected() -> Outcome {
    Outcome::ChannelRejected {
        error: "401: Unauthorized".to_owned(),
    }
}

/// Telegram answers like this for so long, asked once a second; what goes over the fallback meanwhile.
fn run_for(
    world: &mut World,
    telegram: &Outcome,
    fallback: &Outcome,
    ms: u64,
) -> Vec<FallbackMessage> {
    let mut parcels = Vec::new();
    for _ in 0..ms / 1_000 {
        if world.send().is_some() {
            world.end_message(telegram);
        }
        if let Some(parcel) = world.send_fallback() {
            parcels.push(parcel);
            world.end_fallback(fallback);
        }
        world.advance(1_000);
    }
    parcels
}

#[test]
fn fallback_takes_a_critical_after_two_minutes_and_later_ones_at_once() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", info_event(9));
    world.receive("b", critical_event(1));
    let early = run_for(&mut world, &no_connection(), &SENT, FALLBACK_DELAY_MS);
    assert!(early.is_empty(), "{early:?}");
    let parcels = run_for(&mut world, &no_connection(), &SENT, 600_000);
    assert_eq!(parcels.len(), 1, "once: {parcels:?}");
    let FallbackMessage {
        id,
        at,
        severity,
        title,
        message,
    } = &parcels[0];
    assert_eq!((id.as_str(), *at), ("notifier-notification-1", BEGIN));
    assert_eq!(*severity, Severity::Critical);
    assert_eq!(title, "🚨 MANUAL INTERVENTION REQUIRED");
    assert_eq!(parcels[0].ascii_title(), "MANUAL INTERVENTION REQUIRED");
    let first = message.lines().next().unwrap();
    let since = format!("Telegram is not reachable since {BEGIN} (");
    assert!(first.starts_with(&since), "{message}");
    assert!(first.ends_with("connection refused"), "{message}");
    assert!(message.contains("reason-1-") && !message.contains("repeat"));
    world.receive("c", critical_event(2));
    let parcels = run_for(&mut world, &no_connection(), &SENT, 2_000);
    assert_eq!(parcels.len(), 1, "{parcels:?}");
    assert!(parcels[0].message.contains("reason-2-"));
}

#[test]
fn fallback_takes_a_critical_at_once_if_telegram_rejects_the_chat() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    assert_eq!(world.send_fallback(), None, "Telegram is asked first");
    let parcels = run_for(&mut world, &channel_rejected(), &SENT, 3_000);
    assert_eq!(parcels.len(), 1, "{parcels:?}");
    assert!(parcels[0].message.contains("401: Unauthorized"));
}

#[test]
fn telegram_counts_after_its_outage_what_the_fallback_delivered() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    world.receive("b", critical_event(2));
    let parcels = run_for(&mut world, &channel_rejected(), &SENT, 70_000);
    assert_eq!(parcels.len(), 2, "{parcels:?}");
    let texts = world.drain();
    assert_eq!(texts.len(), 1, "{texts:?}");
    let last = UtcMs(BEGIN.0);
    assert!(
        texts[0].starts_with("📮 WENT OVER THE FALLBACK: 2\n"),
        "{texts:?}"
    );
    assert!(
        texts[0].contains(&format!("to {last}\n2 × unit quarantined")),
        "{texts:?}"
    );
    world.receive("c", critical_event(3));
    assert!(world.send_fallback().is_none(), "Telegram is back");
    assert!(world.drain()[0].contains("reason-3-"));
}

#[test]
fn fallback_repeats_unknown_outcomes_and_leaves_rejected_to_telegram() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    let parcels = run_for(&mut world, &channel_rejected(), &outcome_unknown(), 10_000);
    assert!(parcels.len() > 1, "{parcels:?}");
    assert!(!parcels[0].message.contains("(possible repeat"));
    for again in &parcels[1..] {
        assert!(again.message.contains("(possible repeat"), "{again:?}");
        assert_eq!(again.id, parcels[0].id, "a receiver can tell");
    }
    let refused = Outcome::MessageRejected {
        error: "the fallback answers 413".to_owned(),
    };
    world.receive("b", critical_event(2));
    let parcels = run_for(&mut world, &channel_rejected(), &refused, 300_000);
    assert_eq!(parcels.len(), 2, "each is refused once: {parcels:?}");
    let texts = world.drain();
    assert!(texts.iter().any(|text| text.contains("reason-1-")));
    assert!(texts.iter().any(|text| text.contains("reason-2-")));
}

#[test]
fn fallback_message_is_repeated_and_flagged_only_if_killed_in_flight() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    world.send();
    world.end_message(&channel_rejected());
    assert!(world.send_fallback().is_some());
    world.restart();
    world.send();
    world.end_message(&channel_rejected());
    let again = world.send_fallback().unwrap();
    assert!(again.message.contains("(possible repeat"), "{again:?}");
    world.end_fallback(&SENT);
    world.restart();
    let parcels = run_for(&mut world, &channel_rejected(), &SENT, 300_000);
    assert!(parcels.is_empty(), "{parcels:?}");
}

#[test]
fn telegram_does_not_get_a_critical_in_flight_over_the_fallback() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    world.send();
    world.end_message(&channel_rejected());
    assert!(world.send_fallback().is_some());
    world.advance(120_000);
    assert_eq!(world.send(), None);
    world.end_fallback(&no_connection());
    assert!(world.send().unwrap().text.contains("reason-1-"));
}

#[test]
fn fallback_is_not_used_while_telegram_delivers_slowly() {
    let mut world = World::new(TELEGRAM);
    for number in 0..400 {
        world.receive(&format!("e{number}"), critical_event(number));
    }
    let parcels = run_for(&mut world, &SENT, &SENT, 300_000);
    assert!(parcels.is_empty(), "{parcels:?}");
}

#[test]
fn ntfy_message_that_is_too_long_is_truncated_with_a_note() {
    let parcel = FallbackMessage {
        id: "x".to_owned(),
        at: BEGIN,
        severity: Severity::Critical,
        title: "🚨".to_owned(),
        message: "ä".repeat(5_000),
    };
    let short = parcel.truncated_message();
    assert!(short.len() <= 4_000 && short.ends_with("… cut here"));
    assert_eq!(parcel.ascii_title(), "Bearish Alpha");
}
