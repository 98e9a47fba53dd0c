//! The corpus of redaction: one JSON object a line with a text and its redacted form; without one the text is kept.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bearish_protocol::redact::redact;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Row {
    kind: String,
    text: String,
    redacted: Option<String>,
}

fn corpus() -> Vec<Row> {
    let lines = include_str!("redaction.jsonl").lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn secrets_are_redacted_and_everything_else_is_kept() {
    let mut failed = Vec::new();
    for row in corpus() {
        let expected = row.redacted.as_ref().unwrap_or(&row.text);
        let found = redact(&row.text);
        if found != *expected {
            failed.push(format!(
                "{}: {:?}\n  found    {found:?}\n  expected {expected:?}",
                row.kind, row.text
            ));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn redacted_text_stays_as_it_is_when_it_is_redacted_again() {
    for row in corpus() {
        let once = redact(&row.text);
        assert_eq!(redact(&once), once, "{}", row.kind);
    }
}

#[test]
fn json_stays_json() {
    for row in corpus() {
        if serde_json::from_str::<Value>(&row.text).is_ok() {
            let shown = redact(&row.text);
            assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{shown}");
        }
        // As a log line in JSON has it.
        let line = serde_json::json!({"level": "ERROR", "message": row.text}).to_string();
        let shown = redact(&line);
        let parsed: Result<Value, _> = serde_json::from_str(&shown);
        assert!(parsed.is_ok(), "{}: {shown}", row.kind);
        assert_eq!(parsed.unwrap()["level"], "ERROR");
    }
}
