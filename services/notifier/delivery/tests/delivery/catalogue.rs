//! Every kind of event as the owner reads it, held against a committed text.

use bearish_delivery::letter::{MESSAGE_LIMIT, units};
use bearish_delivery::news::News;
use bearish_delivery::preview;
use protocol::event::{Event, EventBody, Severity};

use crate::support::BEGIN;

#[test]
fn every_kind_reads_as_the_committed_catalogue_says() {
    let found = preview::catalogue().unwrap();
    let expected = include_str!("golden/catalogue.txt");
    assert_eq!(found, expected, "--- found:\n{found}");
}

fn restart(attempt: u32) -> String {
    let body = EventBody::RestartTriggered {
        unit: "trader-paper-1".parse().unwrap(),
        attempt,
        max: 1000,
        reason: "Connection timeout".to_owned(),
        consecutive: 2,
        uptime_ms: 9_000_000,
        delay_ms: 60_000,
        exit: Some(70),
        evidence: None,
    };
    preview::shown(Event::new("x", BEGIN, body)).unwrap()
}

#[test]
fn a_restart_reads_as_the_seed_shows_it() {
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
fn who_took_a_book_over_is_named_whoever_tells_it() {
    let claimed = |by: Option<&str>| {
        let body = EventBody::BookClaimed {
            book: "paper.binance-usdm.exchange-sim-8080.BTCUSDT"
                .parse()
                .unwrap(),
            by: by.map(|by| by.parse().unwrap()),
            changes: Vec::new(),
        };
        preview::shown(Event::new("x", BEGIN, body)).unwrap()
    };
    assert!(claimed(Some("trader-paper-2")).contains("\nBy: trader trader-paper-2\n"));
    assert!(claimed(None).contains("\nBy: trader trader-paper-1\n"));
}

#[test]
fn the_way_back_is_the_one_that_there_is() {
    let given_up = |exit: i64| {
        let body = EventBody::GivenUp {
            unit: "trader-paper-1".parse().unwrap(),
            reason: "critical halt".to_owned(),
            restarts: 0,
            consecutive: 0,
            exit: Some(exit),
        };
        preview::shown(Event::new("x", BEGIN, body)).unwrap()
    };
    let unlatch = "\nWhen it is understood: trader unlatch, which starts it again\n";
    let release = "\nWhen it is mended: watchdog release trader-paper-1\n";
    assert!(given_up(21).ends_with(unlatch), "{}", given_up(21));
    assert!(given_up(78).ends_with(release), "{}", given_up(78));
}

#[test]
fn what_a_newer_service_says_is_told_as_it_came_and_split_where_it_is_long() {
    let news = News::Unknown {
        id: "e9".to_owned(),
        at: BEGIN,
        severity: Severity::Critical,
        subject: "event.v1.trader.trader-paper-1.critical.moon_landed".to_owned(),
        payload: "{}\n".repeat(5_000),
    };
    let letters = news.letters();
    assert!(letters.len() > 1);
    for letter in &letters {
        assert_eq!(letter.severity, Severity::Critical);
        assert!(units(&letter.head) + units(&letter.body) < MESSAGE_LIMIT);
    }
    assert!(letters[0].body.contains("moon_landed"));
}
