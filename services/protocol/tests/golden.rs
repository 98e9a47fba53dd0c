//! Compares every message with its committed JSON in `golden/`, and parses it back. A change of a golden file changes what
//! programs of different versions exchange. The golden files of journal records are with the crates that define them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use bearish_protocol::VERSION;
use bearish_protocol::command::{
    CommandReply, DeadLetterSelection, ResendRequest, UnitCommand, UnitCommandRequest,
};
use bearish_protocol::event::{Event, EventBody, PositionSide, Severity};
use bearish_protocol::event_samples::{self, AT};
use bearish_protocol::heartbeat::{
    BookSummary, ComponentState, ComponentStatus, Health, Heartbeat, LastError, LifetimeCounters,
    ProcessPhase,
};
use bearish_protocol::ids::{BookKey, Mode, Service, SubjectToken};
use bearish_protocol::journal::JournalBatch;
use bearish_protocol::lease::{Holder, LeaseRecord};
use bearish_protocol::report::{
    AccountReport, BalanceReport, BookReport, EquityPoint, LatchReport, LockReport, PauseReport,
    PositionReport,
};
use bearish_protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn parsed(golden: &str) -> Value {
    serde_json::from_str(golden).unwrap()
}

fn token(text: &str) -> SubjectToken {
    text.parse().unwrap()
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn book() -> BookKey {
    "paper.binance-usdm.exchange-sim-8080.BTCUSDT"
        .parse()
        .unwrap()
}

/// The file of each kind. A new kind does not compile without one.
fn golden_file(body: &EventBody) -> &'static str {
    match body {
        EventBody::TraderStarted { .. } => include_str!("golden/event_trader_started.json"),
        EventBody::TraderStopped { .. } => include_str!("golden/event_trader_stopped.json"),
        EventBody::BookAcquired { .. } => include_str!("golden/event_book_acquired.json"),
        EventBody::BookLost { .. } => include_str!("golden/event_book_lost.json"),
        EventBody::BookHalted { .. } => include_str!("golden/event_book_halted.json"),
        EventBody::BookUnhalted { .. } => include_str!("golden/event_book_unhalted.json"),
        EventBody::EntryDropped { .. } => include_str!("golden/event_entry_dropped.json"),
        EventBody::PositionOpened { .. } => include_str!("golden/event_position_opened.json"),
        EventBody::PositionClosed { .. } => include_str!("golden/event_position_closed.json"),
        EventBody::BreakerTripped { .. } => include_str!("golden/event_breaker_tripped.json"),
        EventBody::BreakerReset { .. } => include_str!("golden/event_breaker_reset.json"),
        EventBody::EntriesLocked { .. } => include_str!("golden/event_entries_locked.json"),
        EventBody::OrderOutcomeUnknown { .. } => {
            include_str!("golden/event_order_outcome_unknown.json")
        }
        EventBody::OrderRejected { .. } => include_str!("golden/event_order_rejected.json"),
        EventBody::PositionUnprotected { .. } => {
            include_str!("golden/event_position_unprotected.json")
        }
        EventBody::PositionProtected { .. } => include_str!("golden/event_position_protected.json"),
        EventBody::AccountLatched { .. } => include_str!("golden/event_account_latched.json"),
        EventBody::AccountFlattened { .. } => include_str!("golden/event_account_flattened.json"),
        EventBody::AccountStillOpen { .. } => include_str!("golden/event_account_still_open.json"),
        EventBody::AccountUnlatched { .. } => include_str!("golden/event_account_unlatched.json"),
        EventBody::BalanceDiffers { .. } => include_str!("golden/event_balance_differs.json"),
        EventBody::BalanceExplained { .. } => include_str!("golden/event_balance_explained.json"),
        EventBody::DifferenceAccepted { .. } => {
            include_str!("golden/event_difference_accepted.json")
        }
        EventBody::FundsTransferred { .. } => include_str!("golden/event_funds_transferred.json"),
        EventBody::EntriesPaused { .. } => include_str!("golden/event_entries_paused.json"),
        EventBody::EntriesResumed { .. } => include_str!("golden/event_entries_resumed.json"),
        EventBody::HealthChanged { .. } => include_str!("golden/event_health_changed.json"),
        EventBody::ComponentFailed { .. } => include_str!("golden/event_component_failed.json"),
        EventBody::ComponentRecovered { .. } => {
            include_str!("golden/event_component_recovered.json")
        }
        EventBody::ServiceRestartScheduled { .. } => {
            include_str!("golden/event_service_restart_scheduled.json")
        }
        EventBody::ServiceRecovered { .. } => include_str!("golden/event_service_recovered.json"),
        EventBody::ServiceStarted { .. } => include_str!("golden/event_service_started.json"),
        EventBody::ServiceQuarantined { .. } => {
            include_str!("golden/event_service_quarantined.json")
        }
        EventBody::WatchdogStarted { .. } => include_str!("golden/event_watchdog_started.json"),
        EventBody::WatchdogBlindnessEnded { .. } => {
            include_str!("golden/event_watchdog_blindness_ended.json")
        }
        EventBody::WatchdogClockStepped { .. } => {
            include_str!("golden/event_watchdog_clock_stepped.json")
        }
        EventBody::UnitRestartScheduled { .. } => {
            include_str!("golden/event_unit_restart_scheduled.json")
        }
        EventBody::UnitCycleFinished { .. } => {
            include_str!("golden/event_unit_cycle_finished.json")
        }
        EventBody::UnitRecovered { .. } => include_str!("golden/event_unit_recovered.json"),
        EventBody::UnitQuarantined { .. } => include_str!("golden/event_unit_quarantined.json"),
        EventBody::UnitStopped { .. } => include_str!("golden/event_unit_stopped.json"),
        EventBody::UnitRestartSkipped { .. } => {
            include_str!("golden/event_unit_restart_skipped.json")
        }
        EventBody::UnitHealthCritical { .. } => {
            include_str!("golden/event_unit_health_critical.json")
        }
        EventBody::UnitWarning { .. } => include_str!("golden/event_unit_warning.json"),
        EventBody::UnitStopFailed { .. } => include_str!("golden/event_unit_stop_failed.json"),
        EventBody::UnitCommandExecuted { .. } => {
            include_str!("golden/event_unit_command_executed.json")
        }
        EventBody::OperatorCommandExecuted { .. } => {
            include_str!("golden/event_operator_command_executed.json")
        }
        EventBody::UnauthorizedCommand { .. } => {
            include_str!("golden/event_unauthorized_command.json")
        }
    }
}

fn events() -> Vec<Event> {
    event_samples::events().unwrap()
}

fn full_heartbeat() -> Heartbeat {
    let part = |turns, errors, state, within_ms| ComponentStatus {
        iterations: turns,
        errors,
        state,
        deadline_ms: within_ms,
    };
    let parts = [
        (
            "book-manager",
            part(1_200, 1, ComponentState::Stopped, Some(30_000)),
        ),
        ("feed", part(180, 2, ComponentState::Retrying, Some(10_000))),
        ("BTCUSDT", part(60, 0, ComponentState::Ok, None)),
    ];
    let last_error = LastError {
        at: UtcMs(AT.0 - 900),
        component: "feed".to_owned(),
        text: "klines: no response within 5 s".to_owned(),
    };
    let trading = BookSummary {
        book: book(),
        equity: decimal("3333.33"),
        position_quantity: decimal("-0.250"),
        trades: 2,
        halt_reason: None,
    };
    let halted = BookSummary {
        book: "live.binance-usdm.a1b2c3d4.ETHUSDT".parse().unwrap(),
        equity: Decimal::ZERO,
        position_quantity: Decimal::ZERO,
        trades: 0,
        halt_reason: Some("bug: panicked".to_owned()),
    };
    Heartbeat {
        v: VERSION,
        boot: token("0c9e5b7e8a7f4d0e9f3a2b1c0d9e8f7a"),
        seq: 720,
        at: AT,
        uptime_ms: 3_600_000,
        interval_ms: 5_000,
        phase: ProcessPhase::Running,
        health: Some(Health::Degraded),
        health_reason: Some("11 errors in the last hour".to_owned()),
        components: parts
            .map(|(name, part)| (name.to_owned(), part))
            .into_iter()
            .collect(),
        candle_age_ms: Some(61_000),
        entries_decided: 3,
        errors: 14,
        errors_last_hour: 11,
        last_error: Some(last_error),
        lifetime: Some(LifetimeCounters {
            boots: 4,
            uptime_ms: 90_000_000,
            iterations: 36_000,
            entries_decided: 9,
            errors: 55,
        }),
        account: Some(book().account),
        latch_id: Some("daily_loss-1795489200000".to_owned()),
        books: vec![trading, halted],
        blindness: None,
    }
}

fn minimal_heartbeat() -> Heartbeat {
    Heartbeat {
        boot: token("b1"),
        seq: 1,
        uptime_ms: 12,
        phase: ProcessPhase::Starting,
        health: None,
        health_reason: None,
        components: std::collections::BTreeMap::new(),
        candle_age_ms: None,
        entries_decided: 0,
        errors: 0,
        errors_last_hour: 0,
        last_error: None,
        lifetime: None,
        account: None,
        latch_id: None,
        books: Vec::new(),
        blindness: None,
        ..full_heartbeat()
    }
}

fn book_report() -> BookReport {
    BookReport {
        v: VERSION,
        at: AT,
        instance: token("trader-paper-1"),
        book: book(),
        phase: "open".to_owned(),
        capital: decimal("3333.33"),
        equity: decimal("3340.1"),
        realized_pnl: decimal("2.5"),
        unrealized_pnl: decimal("4.27"),
        fees: decimal("8.1"),
        funding: decimal("-0.2"),
        trades: 4,
        winning_trades: 3,
        profit_factor: Some(decimal("1.8")),
        max_drawdown: decimal("0.012"),
        sharpe: Some(decimal("1.1")),
        position: Some(PositionReport {
            strategy: token("oversold-bounce"),
            side: PositionSide::Long,
            quantity: decimal("0.25"),
            entry_price: decimal("40008"),
            stop_price: decimal("39600"),
            target_price: decimal("40600"),
            opened_at: UtcMs(AT.0 - 60_000),
        }),
        rejected_signals: [("position_open".to_owned(), 3)].into_iter().collect(),
        rejected_entries: [(-2019, 2)].into_iter().collect(),
        tripped_breakers: vec!["volatility".to_owned()],
        locked: Some(LockReport {
            lock: "CooldownPeriod".to_owned(),
            until: UtcMs(AT.0 + 60_000),
        }),
        candle_close: Some(AT),
        price: Some(decimal("40025.1")),
        waits_for: None,
        halt_reason: Some("journal sequence 7: unreadable".to_owned()),
    }
}

fn account_report() -> AccountReport {
    AccountReport {
        v: VERSION,
        at: AT,
        instance: token("trader-paper-1"),
        seq: 41,
        equity: decimal("9499.99"),
        peak: decimal("10100"),
        day_peak: decimal("10000"),
        latch: Some(LatchReport {
            latch_id: "daily_loss-1764000000000".to_owned(),
            trigger: "daily_loss".to_owned(),
            at: AT,
            is_flat: false,
        }),
        unvalued_books: vec![token("ETHUSDT")],
        command_seq: 7,
        pauses: vec![PauseReport {
            symbol: Some(token("BTCUSDT")),
            by: "operator".to_owned(),
            reason: "central bank decision at noon".to_owned(),
        }],
        balance: Some(BalanceReport {
            at: AT,
            balance: decimal("9987.7"),
            difference: decimal("-12.3"),
        }),
        difference_id: Some("balance-1764000000000".to_owned()),
    }
}

fn equity_point() -> EquityPoint {
    EquityPoint {
        v: VERSION,
        at: AT,
        equity: decimal("3340.1"),
    }
}

fn lease(holder: Option<Holder>) -> LeaseRecord {
    LeaseRecord { v: VERSION, holder }
}

fn held_lease() -> LeaseRecord {
    lease(Some(Holder {
        instance: token("trader-paper-1"),
        boot: token("b1"),
    }))
}

fn unit_command_request() -> UnitCommandRequest {
    let unit = token("trader-paper-1");
    UnitCommandRequest {
        v: VERSION,
        by: "watchdog".to_owned(),
        command: UnitCommand::Release {
            unit,
            reset_restarts: false,
        },
    }
}

fn resend_request() -> ResendRequest {
    ResendRequest {
        v: VERSION,
        by: "notifier (command line)".to_owned(),
        selection: DeadLetterSelection::One { number: 7 },
    }
}

fn command_reply() -> CommandReply {
    CommandReply {
        v: VERSION,
        ok: false,
        text: "the unit is running, not quarantined".to_owned(),
        data: None,
    }
}

fn journal_batch() -> JournalBatch<Value> {
    JournalBatch {
        v: VERSION,
        writer: token("b1"),
        batch_id: 3,
        at: AT,
        events_published_seq: 41,
        records: vec![
            json!({"type": "anything a core writes", "amount": "1.50"}),
            json!({"type": "and another"}),
        ],
    }
}

/// Calls `$check(golden text, message)` for every message there is.
macro_rules! for_every_message {
    ($check:path) => {
        for event in events() {
            $check(golden_file(&event.body), &event);
        }
        $check(include_str!("golden/report_book.json"), &book_report());
        $check(
            include_str!("golden/report_account.json"),
            &account_report(),
        );
        $check(include_str!("golden/report_equity.json"), &equity_point());
        $check(
            include_str!("golden/heartbeat_full.json"),
            &full_heartbeat(),
        );
        $check(
            include_str!("golden/heartbeat_minimal.json"),
            &minimal_heartbeat(),
        );
        $check(include_str!("golden/lease_held.json"), &held_lease());
        $check(include_str!("golden/lease_free.json"), &lease(None));
        $check(include_str!("golden/journal_batch.json"), &journal_batch());
        $check(
            include_str!("golden/command_release.json"),
            &unit_command_request(),
        );
        $check(
            include_str!("golden/command_resend.json"),
            &resend_request(),
        );
        $check(include_str!("golden/command_reply.json"), &command_reply());
    };
}

fn is_written_as_committed_and_read_back<M>(golden: &str, message: &M)
where
    M: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let committed = parsed(golden);
    assert_eq!(serde_json::to_value(message).unwrap(), committed);
    let read: M = serde_json::from_str(golden).unwrap();
    assert_eq!(&read, message);
}

fn ignores_unknown_fields<M>(golden: &str, message: &M)
where
    M: DeserializeOwned + PartialEq + Debug,
{
    let mut value = parsed(golden);
    add_unknown_fields(&mut value);
    let read: M = serde_json::from_value(value).unwrap();
    assert_eq!(&read, message);
}

/// In every object, but not among the keys of `parts` (a map) and not in records, which are not ours.
fn add_unknown_fields(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut().filter(|(name, _)| *name != "records") {
                match field {
                    Value::Object(parts) if name == "components" => {
                        parts.values_mut().for_each(add_unknown_fields);
                    }
                    // Counters by name: any name is one.
                    Value::Object(_)
                        if matches!(
                            name.as_str(),
                            "rejected_signals" | "rejected_entries" | "unbooked"
                        ) => {}
                    _ => add_unknown_fields(field),
                }
            }
            fields.insert("added_later".to_owned(), json!({"deep": [1, null]}));
        }
        Value::Array(items) => items.iter_mut().for_each(add_unknown_fields),
        _ => {}
    }
}

/// Fields that a reader parses first, to check the version of the message.
#[derive(Deserialize)]
struct VersionHeader {
    v: u16,
}

fn shows_its_version_even_if_the_rest_is_unreadable<M>(golden: &str, _: &M)
where
    M: DeserializeOwned + Debug,
{
    let mut value = parsed(golden);
    let fields = value.as_object_mut().unwrap();
    for field in fields.values_mut() {
        *field = json!({"of": "another shape"});
    }
    fields.insert("v".to_owned(), json!(VERSION + 1));
    let text = value.to_string();
    assert!(serde_json::from_str::<M>(&text).is_err(), "{text}");
    let VersionHeader { v } = serde_json::from_str(&text).unwrap();
    assert!(v > VERSION);
}

fn is_rejected_without_each_required_field<M>(golden: &str, _: &M)
where
    M: DeserializeOwned + Debug,
{
    const OPTIONAL: [&str; 26] = [
        "lifetime",
        "account",
        "health",
        "health_reason",
        "errors_last_hour",
        "candle_age_ms",
        "last_error",
        "books",
        "holder",
        "profit_factor",
        "sharpe",
        "position",
        "rejected_signals",
        "rejected_entries",
        "tripped_breakers",
        "locked",
        "candle_close",
        "price",
        "halt_reason",
        "latch",
        "latch_id",
        "unvalued_books",
        "command_seq",
        "pauses",
        "balance",
        "difference_id",
    ];
    let whole = parsed(golden);
    let required = whole.as_object().unwrap().keys();
    for name in required.filter(|name| !OPTIONAL.contains(&name.as_str())) {
        let mut value = whole.clone();
        value.as_object_mut().unwrap().remove(name);
        let read = serde_json::from_value::<M>(value);
        assert!(read.is_err(), "without {name}: {read:?}");
    }
}

#[test]
fn every_message_is_written_as_committed_and_read_back() {
    for_every_message!(is_written_as_committed_and_read_back);
}

#[test]
fn every_message_ignores_unknown_fields() {
    for_every_message!(ignores_unknown_fields);
}

/// What programs wrote before they judged themselves.
#[test]
fn heartbeat_of_an_older_program_parses_without_health() {
    let mut value = parsed(include_str!("golden/heartbeat_full.json"));
    for added in [
        "health",
        "health_reason",
        "errors_last_hour",
        "account",
        "latch_id",
    ] {
        assert!(value.as_object_mut().unwrap().remove(added).is_some());
    }
    let read: Heartbeat = serde_json::from_value(value).unwrap();
    let expected = Heartbeat {
        health: None,
        health_reason: None,
        errors_last_hour: 0,
        account: None,
        latch_id: None,
        ..full_heartbeat()
    };
    assert_eq!(read, expected);
}

#[test]
fn health_prints_as_it_serializes() {
    for health in [Health::Healthy, Health::Degraded, Health::Critical] {
        assert_eq!(serde_json::to_value(health).unwrap(), health.as_str());
    }
}

#[test]
fn newer_message_shows_its_version_when_the_rest_is_unreadable() {
    for_every_message!(shows_its_version_even_if_the_rest_is_unreadable);
}

#[test]
fn every_message_needs_its_required_fields() {
    for_every_message!(is_rejected_without_each_required_field);
}

#[test]
fn every_golden_file_belongs_to_a_message() {
    let others = [
        "command_reply",
        "command_release",
        "command_resend",
        "report_book",
        "report_account",
        "report_equity",
        "heartbeat_full",
        "heartbeat_minimal",
        "journal_batch",
        "lease_free",
        "lease_held",
    ];
    let of_events = events()
        .into_iter()
        .map(|e| format!("event_{}", e.body.kind()));
    let expected: BTreeSet<String> = of_events.chain(others.map(str::to_owned)).collect();
    let found: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn subjects_and_messages_spell_every_enum_alike() {
    for event in events() {
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["kind"], event.body.kind());
        assert_eq!(json["severity"], event.severity.as_str());
    }
    for (name, json) in [
        (Severity::Info.as_str(), json!(Severity::Info)),
        (Severity::Warning.as_str(), json!(Severity::Warning)),
        (Severity::Critical.as_str(), json!(Severity::Critical)),
        (PositionSide::Long.as_str(), json!(PositionSide::Long)),
        (PositionSide::Short.as_str(), json!(PositionSide::Short)),
        (Mode::Paper.as_str(), json!(Mode::Paper)),
        (Mode::Live.as_str(), json!(Mode::Live)),
        (Service::Trader.as_str(), json!(Service::Trader)),
        (Service::Watchdog.as_str(), json!(Service::Watchdog)),
        (Service::Notifier.as_str(), json!(Service::Notifier)),
        (Service::ExchangeSim.as_str(), json!(Service::ExchangeSim)),
        ("starting", json!(ProcessPhase::Starting)),
        ("running", json!(ProcessPhase::Running)),
        ("draining", json!(ProcessPhase::Draining)),
        ("stopped", json!(ProcessPhase::Stopped)),
        ("ok", json!(ComponentState::Ok)),
        ("retrying", json!(ComponentState::Retrying)),
        ("stopped", json!(ComponentState::Stopped)),
    ] {
        assert_eq!(json, name);
    }
}
