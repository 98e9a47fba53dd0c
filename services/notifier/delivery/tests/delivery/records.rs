//! The JSON of every record, held against committed files: a journal is read for years.

use bearish_delivery::inhibition::Cause;
use bearish_delivery::letter::Letter;
use bearish_delivery::record::Record;
use bearish_delivery::state::Button;
use protocol::event::Severity;
use serde_json::Value;

use crate::support::BEGIN;

const GOLDEN: &str = include_str!("golden/records.json");

#[allow(clippy::too_many_lines, reason = "a table with one row a record")]
fn records() -> Vec<Record> {
    let why = || "operation timed out".to_owned();
    vec![
        Record::OwnerTookOver {
            boot: "b1".parse().unwrap(),
            instance: "notifier-1".parse().unwrap(),
            version: "0.1.0".to_owned(),
        },
        Record::Queued {
            event: "watchdog.bearish-alpha:17:0".to_owned(),
            letters: vec![Letter {
                at: BEGIN,
                severity: Severity::Warning,
                kind: "restart_triggered".to_owned(),
                head: "🔄 AUTO-RESTART TRIGGERED".to_owned(),
                body: "Attempt: 3/1000\nReason: Connection timeout".to_owned(),
                picture: false,
            }],
        },
        Record::Sending {
            letters: vec![0, 1],
            digest: false,
        },
        Record::Sent { message: Some(42) },
        Record::Sent { message: None },
        Record::Unknown { why: why() },
        Record::Returned { why: why() },
        Record::Dead { why: why() },
        Record::Migrated {
            from: -5,
            to: -1_001_234_567_890,
        },
        Record::FallbackSending { letter: 3 },
        Record::FallbackSent,
        Record::FallbackUnknown { why: why() },
        Record::FallbackReturned { why: why() },
        Record::FallbackRefused { why: why() },
        Record::UpdateTaken {
            update: 900_000_001,
        },
        Record::CommandBegun {
            who: "Telegram user 7".to_owned(),
            chat: 7,
            command: "/flatten (confirmed)".to_owned(),
        },
        Record::CommandEnded {
            who: "Telegram user 7".to_owned(),
            command: "/flatten (confirmed)".to_owned(),
            outcome: "stored".to_owned(),
        },
        Record::Replied {
            chat: 7,
            letters: vec![Letter {
                at: BEGIN,
                severity: Severity::Info,
                kind: "reply".to_owned(),
                head: "❓ ARE YOU SURE?".to_owned(),
                body: String::new(),
                picture: true,
            }],
            buttons: vec![Button {
                text: "✅ Yes, do it".to_owned(),
                data: "yes:900000001".to_owned(),
            }],
        },
        Record::StrangerIgnored {
            who: "Telegram user 8".to_owned(),
            command: "/flatten".to_owned(),
        },
        Record::Silenced {
            name: None,
            until: BEGIN,
        },
        Record::Silenced {
            name: Some("trader-paper-1".parse().unwrap()),
            until: BEGIN,
        },
        Record::SilenceEnded { silence: 1 },
        Record::Hushed {
            event: "e1".to_owned(),
            kind: "part_failed".to_owned(),
            silence: 0,
        },
        Record::BusWasAway {
            since: BEGIN,
            until: BEGIN,
        },
        Record::Held {
            event: "e1".to_owned(),
            kind: "restart_triggered".to_owned(),
            name: "trader-paper-1".to_owned(),
            cause: Cause::Watchdog,
            letters: Vec::new(),
        },
        Record::HeldTold { cause: Cause::Bus },
        Record::Resent {
            letters: vec![3, 7],
        },
    ]
}

#[test]
fn every_record_is_written_and_read_as_committed() {
    let written: Value = serde_json::to_value(records()).unwrap();
    let committed: Value = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(
        written,
        committed,
        "--- written:\n{}",
        serde_json::to_string_pretty(&written).unwrap()
    );
    let read: Vec<Record> = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(read, records());
}
