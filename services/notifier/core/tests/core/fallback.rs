//! Critical notifications on the fallback: when, how often, with which text, and their count in Telegram afterwards.

use bearish_notifier_core::fallback::{FALLBACK_DELAY_MS, FallbackMessage};
use bearish_notifier_core::model::Outcome;
use protocol::event::Severity;

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

/// Runs for `ms` with these outcomes, one step a second; the messages sent by the fallback.
fn run_for(
    world: &mut World,
    telegram: &Outcome,
    fallback: &Outcome,
    ms: u64,
) -> Vec<FallbackMessage> {
    let mut messages = Vec::new();
    for _ in 0..ms / 1_000 {
        if world.send().is_some() {
            world.end_message(telegram);
        }
        if let Some(message) = world.send_fallback() {
            messages.push(message);
            world.end_fallback(fallback);
        }
        world.advance(1_000);
    }
    messages
}

#[test]
fn fallback_takes_a_critical_after_two_minutes_and_later_ones_at_once() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", info_event(9));
    world.receive("b", critical_event(1));
    let early = run_for(&mut world, &no_connection(), &SENT, FALLBACK_DELAY_MS);
    assert!(early.is_empty(), "{early:?}");
    let messages = run_for(&mut world, &no_connection(), &SENT, 600_000);
    assert_eq!(messages.len(), 1, "once: {messages:?}");
    let FallbackMessage {
        id,
        at,
        severity,
        title,
        message,
    } = &messages[0];
    assert_eq!((id.as_str(), *at), ("notifier-notification-1", BEGIN));
    assert_eq!(*severity, Severity::Critical);
    assert_eq!(
        title,
        "🚨 MANUAL INTERVENTION REQUIRED: PAPER trader-paper-1"
    );
    assert_eq!(
        messages[0].ascii_title(),
        "MANUAL INTERVENTION REQUIRED: PAPER trader-paper-1"
    );
    let first = message.lines().next().unwrap();
    let since = "Telegram unreachable since: 2026-11-24 03:00:00 UTC (".to_owned();
    assert!(first.starts_with(&since), "{message}");
    assert!(first.ends_with("connection refused"), "{message}");
    assert!(message.contains("reason-1-") && !message.contains("repeat"));
    world.receive("c", critical_event(2));
    let messages = run_for(&mut world, &no_connection(), &SENT, 2_000);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].message.contains("reason-2-"));
}

#[test]
fn fallback_takes_a_critical_at_once_if_telegram_rejects_the_chat() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    assert_eq!(world.send_fallback(), None, "Telegram is tried first");
    let messages = run_for(&mut world, &channel_rejected(), &SENT, 3_000);
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].message.contains("401: Unauthorized"));
}

#[test]
fn telegram_counts_after_its_outage_what_the_fallback_delivered() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    world.receive("b", critical_event(2));
    let messages = run_for(&mut world, &channel_rejected(), &SENT, 70_000);
    assert_eq!(messages.len(), 2, "{messages:?}");
    let texts = world.drain();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(
        texts[0].starts_with("📮 SENT BY THE FALLBACK: 2\n"),
        "{texts:?}"
    );
    assert!(
        texts[0].contains("to 2026-11-24 03:00:00 UTC\n2 × unit quarantined"),
        "{texts:?}"
    );
    world.receive("c", critical_event(3));
    assert!(world.send_fallback().is_none(), "Telegram works again");
    assert!(world.drain()[0].contains("reason-3-"));
}

#[test]
fn fallback_repeats_unknown_outcomes_and_leaves_rejected_to_telegram() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    let messages = run_for(&mut world, &channel_rejected(), &outcome_unknown(), 10_000);
    assert!(messages.len() > 1, "{messages:?}");
    assert!(!messages[0].message.contains("(possible repeat"));
    for again in &messages[1..] {
        assert!(again.message.contains("(possible repeat"), "{again:?}");
        assert_eq!(
            again.id, messages[0].id,
            "a receiver can recognize the repeat"
        );
    }
    let refused = Outcome::MessageRejected {
        error: "the fallback answers 413".to_owned(),
    };
    world.receive("b", critical_event(2));
    let messages = run_for(&mut world, &channel_rejected(), &refused, 300_000);
    assert_eq!(messages.len(), 2, "each is rejected once: {messages:?}");
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
    let messages = run_for(&mut world, &channel_rejected(), &SENT, 300_000);
    assert!(messages.is_empty(), "{messages:?}");
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
    let messages = run_for(&mut world, &SENT, &SENT, 300_000);
    assert!(messages.is_empty(), "{messages:?}");
}

#[test]
fn ntfy_message_that_is_too_long_is_truncated_with_a_note() {
    let message = FallbackMessage {
        id: "x".to_owned(),
        at: BEGIN,
        severity: Severity::Critical,
        title: "🚨".to_owned(),
        message: "ä".repeat(5_000),
    };
    let short = message.truncated_message();
    assert!(short.len() <= 4_000 && short.ends_with("… truncated"));
    assert_eq!(message.ascii_title(), "Bearish Alpha");
}
