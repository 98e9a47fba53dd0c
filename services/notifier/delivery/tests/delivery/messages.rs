//! Letters into messages: lanes, groups, digests, what is said around a letter, and pace.

use bearish_delivery::compose::Bold;
use bearish_delivery::decide::Outcome;
use bearish_delivery::letter::{MESSAGE_LIMIT, units};
use bearish_delivery::pace::Limits;
use bearish_delivery::record::Record;
use protocol::event::EventBody;
use protocol::time::UtcMs;

use crate::support::{CHAT, SENT, TELEGRAM, World, critical, info, news, unknown};

#[test]
fn a_critical_letter_overtakes_alone_and_at_once() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", info(1));
    assert_eq!(world.send(), None, "it waits for company");
    world.hear("b", critical(2));
    let message = world.send().unwrap();
    assert!(message.text.contains("reason-2-") && !message.text.contains("part-1-"));
    world.end(&SENT);
    let (waited, message) = world.wait_and_send().unwrap();
    assert_eq!(waited, 10_000);
    assert!(message.text.contains("part-1-"));
}

#[test]
fn what_is_not_critical_waits_ten_seconds_for_company() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", info(1));
    assert_eq!(world.send(), None);
    world.pass(6_000);
    world.hear("b", info(2));
    let (waited, message) = world.wait_and_send().unwrap();
    assert_eq!(waited, 4_000);
    let expected = "✅ WORKS AGAIN\nFrom: trader trader-paper-1\nPart: part-1-\nAfter: 1.0s\n\n\
                    ✅ WORKS AGAIN\nFrom: trader trader-paper-1\nPart: part-2-\nAfter: 1.0s";
    assert_eq!(message.text, expected);
}

#[test]
fn headings_are_bold_by_utf16_offsets() {
    let mut world = World::new(Limits::NONE);
    world.hear_all(&[
        news("a", world.now().utc, critical(1)),
        news("b", world.now().utc, info(2)),
        news("c", world.now().utc, info(3)),
    ]);
    world.send();
    world.end(&SENT);
    let message = world.send().unwrap();
    let utf16: Vec<u16> = message.text.encode_utf16().collect();
    let bold = |bold: &Bold| String::from_utf16(&utf16[bold.offset..][..bold.length]).unwrap();
    let found: Vec<String> = message.bold.iter().map(bold).collect();
    assert_eq!(found, ["✅ WORKS AGAIN", "✅ WORKS AGAIN"]);
}

#[test]
fn groups_never_exceed_telegrams_limit_and_keep_the_order() {
    let mut world = World::new(TELEGRAM);
    let long = |n: usize| EventBody::PartFailed {
        part: format!("part-{n}-"),
        error: "🚨".repeat(400),
    };
    let all: Vec<_> = (0..20)
        .map(|n| news(&format!("e{n}"), world.now().utc, long(n)))
        .collect();
    world.hear_all(&all);
    let texts = world.drain();
    assert!(texts.len() > 1);
    assert!(texts.iter().all(|text| units(text) <= MESSAGE_LIMIT));
    let together = texts.join("\n");
    let places: Vec<_> = (0..20)
        .map(|n| together.find(&format!("part-{n}-")).unwrap())
        .collect();
    assert!(places.is_sorted());
}

#[test]
fn a_backlog_is_counted_but_criticals_are_told_in_full_with_their_age() {
    let mut world = World::new(TELEGRAM);
    let at = world.now().utc;
    world.pass(3_600_000);
    let mut old: Vec<_> = (0..12)
        .map(|n| news(&format!("e{n}"), at, info(n)))
        .collect();
    old.push(news("c", at, critical(99)));
    world.hear_all(&old);
    let texts = world.drain();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("reason-99-"), "{texts:?}");
    assert!(
        texts[0].contains("Happened: 1.0h ago, 2026-11-24T03:00:00.000Z"),
        "{texts:?}"
    );
    assert_eq!(
        texts[1],
        "🗂 12 MESSAGES IN ONE\nFrom 2026-11-24T03:00:00.000Z (1.0h ago) to \
         2026-11-24T03:00:00.000Z\n12 × part recovered"
    );
}

#[test]
fn a_storm_is_counted() {
    let mut world = World::new(TELEGRAM);
    let at = world.now().utc;
    let storm: Vec<_> = (0..5_000)
        .map(|n| news(&format!("e{n}"), at, info(n)))
        .collect();
    world.hear_all(&storm);
    let texts = world.drain();
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("5000 × part recovered"), "{texts:?}");
}

#[test]
fn the_same_event_is_told_once_for_seven_days() {
    let mut world = World::new(Limits::NONE);
    world.hear("a", info(1));
    world.hear("a", info(1));
    world.restart();
    world.hear("a", info(1));
    assert_eq!(world.drain().len(), 1);
    world.pass(6 * 24 * 3_600_000);
    world.hear("a", info(1));
    assert_eq!(world.drain().len(), 0);
    world.pass(24 * 3_600_000);
    world.hear("b", info(2));
    world.hear("a", info(1));
    assert_eq!(world.drain().len(), 1, "both in one message");
}

#[test]
fn an_unknown_outcome_is_repeated_and_says_so() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", critical(1));
    world.send().unwrap();
    world.end(&unknown());
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
    assert_eq!(world.state.totals.unknown, 2);
}

#[test]
fn what_surely_did_not_arrive_is_sent_again_as_it_was_and_not_before_telegram_says() {
    let mut world = World::new(TELEGRAM);
    world.hear("a", critical(1));
    let first = world.send().unwrap();
    world.end(&Outcome::Returned {
        why: "429".to_owned(),
        wait_ms: Some(35_000),
    });
    world.hear("b", critical(2));
    assert_eq!(world.send(), None);
    let (waited, second) = world.wait_and_send().unwrap();
    assert_eq!(waited, 35_000);
    assert_eq!(first, second);
}

#[test]
fn a_refused_text_is_kept_for_people_and_the_rest_goes_on() {
    let mut world = World::new(Limits::NONE);
    world.hear("a", critical(1));
    world.send().unwrap();
    world.end(&Outcome::Refused {
        why: "400: Bad Request".to_owned(),
    });
    world.hear("b", critical(2));
    assert_eq!(world.drain().len(), 1);
    assert_eq!(world.state.dead[0].why, "400: Bad Request");
    assert!(
        world.state.dead[0]
            .waiting
            .letter
            .body
            .contains("reason-1-")
    );
}

#[test]
fn a_chat_that_moved_is_followed_until_another_one_is_set() {
    let mut world = World::new(Limits::NONE);
    world.hear("a", critical(1));
    world.send().unwrap();
    world.end(&Outcome::Migrated {
        from: -5,
        to: -1005,
    });
    assert_eq!(world.state.chat(-5), -1005);
    assert_eq!(world.state.chat(-7), -7);
    let texts = world.drain();
    assert!(
        texts.len() == 1 && !texts[0].contains("repeat"),
        "{texts:?}"
    );
}

#[test]
fn a_clock_that_jumps_back_delays_nothing() {
    let mut world = World::new(TELEGRAM);
    let future = UtcMs(world.now().utc.0 + 86_400_000);
    world.hear_all(&[news("a", future, critical(1))]);
    assert!(world.send().is_some());
}

#[test]
fn an_order_from_this_chat_is_told_by_its_answer_alone_and_any_other_on_its_own() {
    let mut world = World::new(Limits::NONE);
    world.commit(vec![Record::CommandBegun {
        who: "Telegram user 7".to_owned(),
        chat: CHAT,
        command: "/hold trader-paper-1 why".to_owned(),
    }]);
    world.commit(vec![Record::CommandBegun {
        who: "Telegram user 9".to_owned(),
        chat: 9,
        command: "/hold trader-paper-1 why".to_owned(),
    }]);
    let ordered = |by: &str| EventBody::UnitOrdered {
        unit: "trader-paper-1".parse().unwrap(),
        verb: "hold".to_owned(),
        by: by.to_owned(),
        why: None,
    };
    world.hear("a", ordered("Telegram user 7"));
    assert_eq!(world.drain().len(), 0, "answered where it was given");
    for by in ["watchdog", "Telegram user 9", "Telegram user 8"] {
        world.hear(by, ordered(by));
        let texts = world.drain();
        assert!(texts[0].contains(&format!("By: {by}")), "{texts:?}");
    }
}
