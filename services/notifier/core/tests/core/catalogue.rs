//! Every kind of event as the owner reads it, held against a committed text.

use bearish_notifier_core::event_intake::IncomingEvent;
use bearish_notifier_core::notification::{MESSAGE_LIMIT, utf16_length};
use bearish_notifier_core::preview;
use protocol::event::{Event, EventBody, Severity};

use crate::support::BEGIN;

#[test]
fn message_text_of_every_kind_matches_the_golden_catalogue() {
    let found = preview::catalogue().unwrap();
    let expected = include_str!("golden/catalogue.txt");
    assert_eq!(found, expected, "--- found:\n{found}");
}

fn restart(attempt: u32) -> String {
    let body = EventBody::UnitRestartScheduled {
        unit: "trader-paper-1".parse().unwrap(),
        attempt,
        max_restarts: 1000,
        reason: "Connection timeout".to_owned(),
        consecutive_failures: 2,
        uptime_ms: 9_000_000,
        delay_ms: 60_000,
        exit_code: Some(70),
        last_error: None,
    };
    preview::render_event(Event::new("x", BEGIN, body)).unwrap()
}

#[test]
fn restart_message_has_the_specified_fields() {
    let text = restart(3);
    let seed = "🔄 AUTO-RESTART TRIGGERED\nAttempt: 3/1000\nReason: Connection timeout\n\
                Consecutive Failures: 2\nUptime: 2.5h\nNext restart in: 60s\n";
    let text = text.strip_prefix("warning: ").unwrap();
    assert!(text.starts_with(seed), "{text}");
    assert_eq!(text.strip_prefix(seed).unwrap(), "Unit: trader-paper-1\n");
    let costs_nothing = restart(0);
    assert!(
        costs_nothing.contains("\nAttempt: not counted\n"),
        "{costs_nothing}"
    );
}

#[test]
fn book_acquired_message_names_the_instance_whoever_reports_it() {
    let claimed = |by: Option<&str>| {
        let body = EventBody::BookAcquired {
            book: "paper.binance-usdm.exchange-sim-8080.BTCUSDT"
                .parse()
                .unwrap(),
            instance: by.map(|by| by.parse().unwrap()),
            config_changes: Vec::new(),
        };
        preview::render_event(Event::new("x", BEGIN, body)).unwrap()
    };
    assert!(claimed(Some("trader-paper-2")).contains("\nBy: trader trader-paper-2\n"));
    assert!(claimed(None).contains("\nBy: trader trader-paper-1\n"));
}

#[test]
fn quarantine_message_names_the_command_that_ends_it() {
    let given_up = |exit: i64| {
        let body = EventBody::UnitQuarantined {
            unit: "trader-paper-1".parse().unwrap(),
            reason: "account latched".to_owned(),
            restarts: 0,
            consecutive_failures: 0,
            exit_code: Some(exit),
        };
        preview::render_event(Event::new("x", BEGIN, body)).unwrap()
    };
    let unlatch = "\nWhen it is understood: trader unlatch, which starts it again\n";
    let release = "\nWhen it is mended: watchdog release trader-paper-1\n";
    assert!(given_up(21).ends_with(unlatch), "{}", given_up(21));
    assert!(given_up(78).ends_with(release), "{}", given_up(78));
}

#[test]
fn unknown_event_is_sent_as_received_and_split_if_long() {
    let news = IncomingEvent::Unknown {
        id: "e9".to_owned(),
        at: BEGIN,
        severity: Severity::Critical,
        subject: "event.v1.trader.trader-paper-1.critical.moon_landed".to_owned(),
        payload: "{}\n".repeat(5_000),
    };
    let letters = news.notifications();
    assert!(letters.len() > 1);
    for letter in &letters {
        assert_eq!(letter.severity, Severity::Critical);
        assert!(utf16_length(&letter.title) + utf16_length(&letter.body) < MESSAGE_LIMIT);
    }
    assert!(letters[0].body.contains("moon_landed"));
}
