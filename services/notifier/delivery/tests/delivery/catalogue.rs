//! Every kind of event as the owner reads it, held against a committed text.

use std::fs;
use std::path::Path;

use bearish_delivery::catalogue::News;
use bearish_delivery::letter::{MESSAGE_LIMIT, units};
use protocol::event::{Event, EventBody, Severity};
use protocol::ids::Service;

use crate::support::BEGIN;

/// The protocol's own samples: one of every kind, which its tests see to.
fn samples() -> Vec<Event> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol/tests/golden");
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("event_")
        })
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap())
        .collect()
}

fn shown(event: Event) -> String {
    let service = match event.body.kind() {
        kind if kind.starts_with("unit_") => Service::Watchdog,
        _ => Service::Trader,
    };
    let news = News::Known {
        service,
        instance: "trader-paper-1".parse().unwrap(),
        event,
    };
    let letters = news.letters();
    let text = |letter: &bearish_delivery::letter::Letter| {
        format!("{}: {}\n{}\n", letter.severity, letter.head, letter.body)
    };
    letters.iter().map(text).collect()
}

#[test]
fn every_kind_reads_as_the_committed_catalogue_says() {
    let samples = samples();
    assert!(
        samples.len() >= 17,
        "samples are missing: {}",
        samples.len()
    );
    let found: Vec<String> = samples.into_iter().map(shown).collect();
    let found = found.join("\n");
    let expected = include_str!("golden/catalogue.txt");
    assert_eq!(found, expected, "--- found:\n{found}");
}

#[test]
fn a_restart_reads_as_the_seed_shows_it() {
    let body = EventBody::RestartTriggered {
        unit: "trader-paper-1".parse().unwrap(),
        attempt: 3,
        max: 1000,
        reason: "Connection timeout".to_owned(),
        consecutive: 2,
        uptime_ms: 9_000_000,
        delay_ms: 60_000,
        exit: Some(70),
        evidence: None,
    };
    let text = shown(Event::new("x", BEGIN, body));
    let seed = "🔄 AUTO-RESTART TRIGGERED\nAttempt: 3/1000\nReason: Connection timeout\n\
                Consecutive Failures: 2\nUptime: 2.5h\nNext restart in: 60s\n";
    let text = text.strip_prefix("warning: ").unwrap();
    assert!(text.starts_with(seed), "{text}");
    assert_eq!(text.strip_prefix(seed).unwrap(), "Unit: trader-paper-1\n");
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
