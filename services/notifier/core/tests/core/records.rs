//! JSON of every record, compared with a committed file, because a journal is read for years.

use bearish_notifier_core::model::{Button, OutageSource};
use bearish_notifier_core::notification::Notification;
use bearish_notifier_core::record::DeliveryRecord;
use protocol::event::Severity;
use serde_json::Value;

use crate::support::BEGIN;

const GOLDEN: &str = include_str!("golden/records.json");

#[allow(clippy::too_many_lines, reason = "a table with one row a record")]
fn records() -> Vec<DeliveryRecord> {
    let error = || "operation timed out".to_owned();
    vec![
        DeliveryRecord::WriterChanged {
            boot: "b1".parse().unwrap(),
            instance: "notifier-1".parse().unwrap(),
            version: "0.1.0".to_owned(),
        },
        DeliveryRecord::Queued {
            event: "watchdog.bearish-alpha:17:0".to_owned(),
            notifications: vec![Notification {
                at: BEGIN,
                severity: Severity::Warning,
                kind: "unit_restart_scheduled".to_owned(),
                title: "🔄 AUTO-RESTART TRIGGERED".to_owned(),
                body: "Attempt: 3/1000\nReason: Connection timeout".to_owned(),
                has_picture: false,
                table_lines: 0,
            }],
        },
        DeliveryRecord::MessageSending {
            notifications: vec![0, 1],
            digest: false,
        },
        DeliveryRecord::MessageSent {
            message_id: Some(42),
        },
        DeliveryRecord::MessageSent { message_id: None },
        DeliveryRecord::MessageOutcomeUnknown { error: error() },
        DeliveryRecord::MessageFailed { error: error() },
        DeliveryRecord::DeadLettered { error: error() },
        DeliveryRecord::ChatMigrated {
            from: -5,
            to: -1_001_234_567_890,
        },
        DeliveryRecord::FallbackSending { notification: 3 },
        DeliveryRecord::FallbackSent,
        DeliveryRecord::FallbackOutcomeUnknown { error: error() },
        DeliveryRecord::FallbackFailed { error: error() },
        DeliveryRecord::FallbackRejected { error: error() },
        DeliveryRecord::UpdateProcessed {
            update: 900_000_001,
        },
        DeliveryRecord::CommandStarted {
            by: "Telegram user 7".to_owned(),
            chat: 7,
            command: "/flatten (confirmed)".to_owned(),
        },
        DeliveryRecord::CommandFinished {
            by: "Telegram user 7".to_owned(),
            command: "/flatten (confirmed)".to_owned(),
            result: "stored".to_owned(),
        },
        DeliveryRecord::Replied {
            chat: 7,
            notifications: vec![Notification {
                at: BEGIN,
                severity: Severity::Info,
                kind: "reply".to_owned(),
                title: "❓ ARE YOU SURE?".to_owned(),
                body: String::new(),
                has_picture: true,
                table_lines: 0,
            }],
            buttons: vec![Button {
                text: "✅ Yes, do it".to_owned(),
                data: "confirm:900000001".to_owned(),
            }],
        },
        DeliveryRecord::UnauthorizedCommand {
            by: "Telegram user 8".to_owned(),
            command: "/flatten".to_owned(),
        },
        DeliveryRecord::SilenceStarted {
            unit: None,
            until: BEGIN,
        },
        DeliveryRecord::SilenceStarted {
            unit: Some("trader-paper-1".parse().unwrap()),
            until: BEGIN,
        },
        DeliveryRecord::SilenceEnded { silence_index: 1 },
        DeliveryRecord::SilencedNotification {
            event: "e1".to_owned(),
            kind: "component_failed".to_owned(),
            silence_index: 0,
        },
        DeliveryRecord::BusOutage {
            since: BEGIN,
            until: BEGIN,
        },
        DeliveryRecord::Inhibited {
            event: "e1".to_owned(),
            kind: "unit_restart_scheduled".to_owned(),
            unit: "trader-paper-1".to_owned(),
            source: OutageSource::Watchdog,
            notifications: Vec::new(),
        },
        DeliveryRecord::InhibitedSummarized {
            source: OutageSource::Bus,
        },
        DeliveryRecord::ResendRequested {
            notifications: vec![3, 7],
        },
    ]
}

#[test]
fn every_record_matches_its_golden_json() {
    let written: Value = serde_json::to_value(records()).unwrap();
    let committed: Value = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(
        written,
        committed,
        "--- written:\n{}",
        serde_json::to_string_pretty(&written).unwrap()
    );
    let read: Vec<DeliveryRecord> = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(read, records());
}
