//! Notifications in messages: priority, groups, digests, remarks about repeats and age, and rate.

use bearish_notifier_core::message::{StyledSpan, TextStyle};
use bearish_notifier_core::model::Outcome;
use bearish_notifier_core::notification::{MESSAGE_LIMIT, utf16_length};
use bearish_notifier_core::record::DeliveryRecord;
use bearish_notifier_core::send_limiter::SendLimits;
use protocol::event::EventBody;
use protocol::time::UtcMs;

use crate::support::{
    CHAT, SENT, TELEGRAM, World, critical_event, incoming_event, info_event, outcome_unknown,
};

#[test]
fn critical_notification_is_sent_first_alone_and_at_once() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", info_event(1));
    assert_eq!(world.send(), None, "it waits for its group");
    world.receive("b", critical_event(2));
    let message = world.send().unwrap();
    assert!(message.text.contains("reason-2-") && !message.text.contains("part-1-"));
    world.end_message(&SENT);
    let (waited, message) = world.wait_and_send().unwrap();
    assert_eq!(waited, 10_000);
    assert!(message.text.contains("part-1-"));
}

#[test]
fn non_critical_notifications_are_grouped_for_ten_seconds() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", info_event(1));
    assert_eq!(world.send(), None);
    world.advance(6_000);
    world.receive("b", info_event(2));
    let (waited, message) = world.wait_and_send().unwrap();
    assert_eq!(waited, 4_000);
    let expected = [1, 2].map(|number| {
        format!(
            "✅ COMPONENT RECOVERED: PAPER trader-paper-1 part-{number}-\nProcess: trader trader-paper-1\n\
             Component: part-{number}-\nAfter: 1s"
        )
    });
    assert_eq!(message.text, expected.join("\n\n"));
}

#[test]
fn titles_are_bold_by_utf16_offsets() {
    let mut world = World::new(SendLimits::NONE);
    world.receive_all(&[
        incoming_event("a", world.now().utc, critical_event(1)),
        incoming_event("b", world.now().utc, info_event(2)),
        incoming_event("c", world.now().utc, info_event(3)),
    ]);
    world.send();
    world.end_message(&SENT);
    let message = world.send().unwrap();
    let utf16: Vec<u16> = message.text.encode_utf16().collect();
    let text =
        |span: &StyledSpan| String::from_utf16(&utf16[span.offset..][..span.length]).unwrap();
    assert!(
        message
            .spans
            .iter()
            .all(|span| span.style == TextStyle::Bold)
    );
    let found: Vec<String> = message.spans.iter().map(text).collect();
    let title = |number| format!("✅ COMPONENT RECOVERED: PAPER trader-paper-1 part-{number}-");
    assert_eq!(found, [title(2), title(3)]);
}

#[test]
fn groups_never_exceed_telegrams_limit_and_keep_the_order() {
    let mut world = World::new(TELEGRAM);
    let long = |n: usize| EventBody::ComponentFailed {
        component: format!("part-{n}-"),
        error: "🚨".repeat(400),
    };
    let all: Vec<_> = (0..20)
        .map(|n| incoming_event(&format!("e{n}"), world.now().utc, long(n)))
        .collect();
    world.receive_all(&all);
    let texts = world.drain();
    assert!(texts.len() > 1);
    assert!(texts.iter().all(|text| utf16_length(text) <= MESSAGE_LIMIT));
    let together = texts.join("\n");
    let places: Vec<_> = (0..20)
        .map(|n| together.find(&format!("part-{n}-")).unwrap())
        .collect();
    assert!(places.is_sorted());
}

#[test]
fn backlog_is_counted_but_critical_ones_are_sent_in_full_with_their_age() {
    let mut world = World::new(TELEGRAM);
    let at = world.now().utc;
    world.advance(3_600_000);
    let mut old: Vec<_> = (0..12)
        .map(|n| incoming_event(&format!("e{n}"), at, info_event(n)))
        .collect();
    old.push(incoming_event("c", at, critical_event(99)));
    world.receive_all(&old);
    let texts = world.drain();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("reason-99-"), "{texts:?}");
    assert!(
        texts[0].contains("Time: 2026-11-24 03:00:00 UTC (1h ago)"),
        "{texts:?}"
    );
    assert_eq!(
        texts[1],
        "🗂 12 NOTIFICATIONS IN ONE\nFrom: 2026-11-24 03:00:00 UTC (1h ago) to \
         2026-11-24 03:00:00 UTC\n12 × component recovered"
    );
}

#[test]
fn burst_is_counted() {
    let mut world = World::new(TELEGRAM);
    let at = world.now().utc;
    let burst: Vec<_> = (0..5_000)
        .map(|n| incoming_event(&format!("e{n}"), at, info_event(n)))
        .collect();
    world.receive_all(&burst);
    let texts = world.drain();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("5000 × component recovered"), "{texts:?}");
}

#[test]
fn event_is_sent_once_within_seven_days() {
    let mut world = World::new(SendLimits::NONE);
    world.receive("a", info_event(1));
    world.receive("a", info_event(1));
    world.restart();
    world.receive("a", info_event(1));
    assert_eq!(world.drain().len(), 1);
    world.advance(6 * 24 * 3_600_000);
    world.receive("a", info_event(1));
    assert_eq!(world.drain().len(), 0);
    world.advance(24 * 3_600_000);
    world.receive("b", info_event(2));
    world.receive("a", info_event(1));
    assert_eq!(world.drain().len(), 1, "both in one message");
}

#[test]
fn message_of_unknown_outcome_is_repeated_and_flagged() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    world.send().unwrap();
    world.end_message(&outcome_unknown());
    let (waited, message) = world.wait_and_send().unwrap();
    assert_eq!(waited, 1_000);
    assert!(
        message.text.contains("(possible repeat"),
        "{}",
        message.text
    );
    world.restart();
    let (_, message) = world.wait_and_send().unwrap();
    assert!(
        message.text.contains("(possible repeat"),
        "killed in the call"
    );
    assert_eq!(world.state.message_counts.outcome_unknown, 2);
}

#[test]
fn failed_message_is_resent_unchanged_after_the_time_telegram_names() {
    let mut world = World::new(TELEGRAM);
    world.receive("a", critical_event(1));
    let first = world.send().unwrap();
    world.end_message(&Outcome::Retryable {
        error: "429".to_owned(),
        wait_ms: Some(35_000),
    });
    world.receive("b", critical_event(2));
    assert_eq!(world.send(), None);
    let (waited, second) = world.wait_and_send().unwrap();
    assert_eq!(waited, 35_000);
    assert_eq!(first, second);
}

#[test]
fn rejected_message_becomes_a_dead_letter_and_others_continue() {
    let mut world = World::new(SendLimits::NONE);
    world.receive("a", critical_event(1));
    world.send().unwrap();
    world.end_message(&Outcome::MessageRejected {
        error: "400: Bad Request".to_owned(),
    });
    world.receive("b", critical_event(2));
    assert_eq!(world.drain().len(), 1);
    assert_eq!(world.state.dead_letters[0].error, "400: Bad Request");
    assert!(
        world.state.dead_letters[0]
            .queued
            .notification
            .body
            .contains("reason-1-")
    );
}

#[test]
fn migrated_chat_is_followed_until_another_chat_is_configured() {
    let mut world = World::new(SendLimits::NONE);
    world.receive("a", critical_event(1));
    world.send().unwrap();
    world.end_message(&Outcome::ChatMigrated {
        from: -5,
        to: -1005,
    });
    assert_eq!(world.state.current_chat(-5), -1005);
    assert_eq!(world.state.current_chat(-7), -7);
    let texts = world.drain();
    assert!(
        texts.len() == 1 && !texts[0].contains("repeat"),
        "{texts:?}"
    );
}

#[test]
fn clock_that_jumps_back_delays_nothing() {
    let mut world = World::new(TELEGRAM);
    let future = UtcMs(world.now().utc.0 + 86_400_000);
    world.receive_all(&[incoming_event("a", future, critical_event(1))]);
    assert!(world.send().is_some());
}

#[test]
fn command_from_this_chat_makes_only_a_reply_and_any_other_a_message() {
    let mut world = World::new(SendLimits::NONE);
    world.commit(vec![DeliveryRecord::CommandStarted {
        by: "Telegram user 7".to_owned(),
        chat: CHAT,
        command: "/hold trader-paper-1 why".to_owned(),
    }]);
    world.commit(vec![DeliveryRecord::CommandStarted {
        by: "Telegram user 9".to_owned(),
        chat: 9,
        command: "/hold trader-paper-1 why".to_owned(),
    }]);
    let commanded = |by: &str| EventBody::UnitCommandExecuted {
        unit: "trader-paper-1".parse().unwrap(),
        command: "hold".to_owned(),
        by: by.to_owned(),
        reason: None,
    };
    world.receive("a", commanded("Telegram user 7"));
    assert_eq!(world.drain().len(), 0, "the reply is enough");
    for by in ["watchdog", "Telegram user 9", "Telegram user 8"] {
        world.receive(by, commanded(by));
        let texts = world.drain();
        assert!(texts[0].contains(&format!("By: {by}")), "{texts:?}");
    }
}
