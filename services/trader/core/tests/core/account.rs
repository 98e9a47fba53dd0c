//! The account: peaks, the two account breakers at their limits, and the end of a latch.

use std::time::Duration;

use bearish_trader_core::account::{
    AccountEvent, AccountRecord, AccountState, ClosingCheck, LatchReason, decide, operator_event,
};
use protocol::account_command::{AccountCommand, AccountCommandRecord};
use protocol::event::OpenPosition;
use protocol::ids::{AccountKey, Mode};
use protocol::time::UtcMs;

use crate::support::dec;

const DAY: i64 = 86_400_000;

fn handle_event(state: &mut AccountState, event: &AccountEvent) -> Vec<AccountRecord> {
    let records = decide(state, event.clone());
    for record in &records {
        let json = serde_json::to_string(record).unwrap();
        let read: AccountRecord = serde_json::from_str(&json).unwrap();
        assert_eq!(&read, record, "{json}");
        state.apply(&read);
    }
    state.observe(event);
    records
}

fn update_value(
    state: &mut AccountState,
    at: i64,
    capital: &str,
    equity: &str,
) -> Option<LatchReason> {
    let event = AccountEvent::Valued {
        at: UtcMs(at),
        capital: dec(capital),
        equity: dec(equity),
    };
    handle_event(state, &event)
        .iter()
        .find_map(|record| match record {
            AccountRecord::Latched(latch) => Some(latch.trigger),
            _ => None,
        })
}

fn command_received(seq: u64, order: AccountCommand) -> AccountEvent {
    let command = AccountCommandRecord {
        command: order,
        by: "operator".to_owned(),
        reason: "cause found".to_owned(),
    };
    let at = UtcMs(9);
    AccountEvent::CommandReceived { at, seq, command }
}

#[test]
fn the_daily_loss_trips_above_five_percent_of_the_days_peak() {
    let mut state = AccountState::default();
    assert_eq!(update_value(&mut state, 1, "10000", "10000"), None);
    assert_eq!(update_value(&mut state, 2, "10000", "11000"), None);
    // 5 % under 11,000 is 10,450.
    assert_eq!(update_value(&mut state, 3, "10000", "10450"), None);
    assert_eq!(
        update_value(&mut state, 4, "10000", "10449.99"),
        Some(LatchReason::DailyLoss)
    );
    assert_eq!(state.latch.unwrap().latch_id, "daily_loss-4");
}

#[test]
fn day_peak_restarts_at_the_current_equity_on_a_new_utc_day() {
    let mut state = AccountState::default();
    update_value(&mut state, DAY - 2, "10000", "10000");
    assert_eq!(update_value(&mut state, DAY - 1, "10000", "9500"), None);
    assert_eq!(update_value(&mut state, DAY, "10000", "9490"), None);
    assert_eq!(state.value.unwrap().day_peak, dec("9490"));
    // The clock of the next account leader is slightly behind: no day begins twice.
    assert_eq!(update_value(&mut state, DAY - 1, "10000", "9300"), None);
    assert_eq!(state.value.unwrap().day_peak, dec("9490"));
}

#[test]
fn the_drawdown_trips_above_fifteen_percent_of_the_peak_over_days() {
    let mut state = AccountState::default();
    for (day, equity) in [
        (0, "10000"),
        (1, "9600"),
        (2, "9200"),
        (3, "8800"),
        (4, "8500"),
    ] {
        assert_eq!(
            update_value(&mut state, day * DAY, "10000", equity),
            None,
            "{equity}"
        );
    }
    assert_eq!(
        update_value(&mut state, 5 * DAY, "10000", "8499.99"),
        Some(LatchReason::Drawdown)
    );
}

#[test]
fn daily_loss_counts_the_losses_of_all_books_together() {
    // Of 3,333.33 each: 4.9 % three times in a day are 4.9 % of the account; the next cent matters.
    let mut state = AccountState::default();
    update_value(&mut state, 1, "10000", "10000");
    assert_eq!(update_value(&mut state, 2, "10000", "9837"), None);
    assert_eq!(update_value(&mut state, 3, "10000", "9674"), None);
    assert_eq!(update_value(&mut state, 4, "10000", "9511"), None);
    assert_eq!(
        update_value(&mut state, 5, "10000", "9499"),
        Some(LatchReason::DailyLoss)
    );
}

#[test]
fn capital_changes_are_neither_profit_nor_loss() {
    let mut state = AccountState::default();
    update_value(&mut state, 1, "10000", "10500");
    assert_eq!(update_value(&mut state, 2, "5000", "5500"), None);
    assert_eq!(state.value.unwrap().peak, dec("5500"));
    assert_eq!(update_value(&mut state, 3, "20000", "20500"), None);
    let value = state.value.unwrap();
    assert_eq!((value.peak, value.day_peak), (dec("20500"), dec("20500")));
}

#[test]
fn latch_is_ended_only_by_its_id_and_the_peaks_start_over() {
    let mut state = AccountState::default();
    update_value(&mut state, 1, "10000", "10000");
    update_value(&mut state, 2, "10000", "9000");
    let command = |latch: &str| {
        let latch = latch.to_owned();
        command_received(7, AccountCommand::Unlatch { latch_id: latch })
    };
    // A recovery, a new day or another latch id does not end the latch.
    assert_eq!(update_value(&mut state, 3, "10000", "10000"), None);
    assert_eq!(update_value(&mut state, 2 * DAY, "10000", "10000"), None);
    assert!(handle_event(&mut state, &command("daily_loss-1")).is_empty());
    assert!(state.latch.is_some());
    assert_eq!(handle_event(&mut state, &command("daily_loss-2")).len(), 1);
    assert_eq!(state.latch, None);
    assert!(
        handle_event(&mut state, &command("daily_loss-2")).is_empty(),
        "ended once"
    );
    assert_eq!(update_value(&mut state, 2 * DAY + 1, "10000", "9000"), None);
    assert_eq!(state.value.unwrap().peak, dec("9000"));
}

#[test]
fn account_value_is_recorded_only_if_a_restart_must_know_it() {
    let mut state = AccountState::default();
    let mut records = |equity: &str| {
        let event = AccountEvent::Valued {
            at: UtcMs(5),
            capital: dec("10000"),
            equity: dec(equity),
        };
        handle_event(&mut state, &event).len()
    };
    assert_eq!(records("10000"), 1);
    assert_eq!(records("9999"), 0);
    assert_eq!(records("10000"), 0);
    assert_eq!(records("10009.99"), 0);
    assert_eq!(records("10010"), 1);
    assert_eq!(records("9000"), 2, "value and latch");
    assert_eq!(records("8000"), 0);
}

#[test]
fn peak_too_small_to_be_recorded_still_counts() {
    let mut state = AccountState::default();
    update_value(&mut state, 1, "10000", "10000");
    update_value(&mut state, 2, "10000", "10005");
    assert_eq!(state.recorded_value.unwrap().peak, dec("10000"));
    // 5 % under 10,005 is 9,504.75.
    assert_eq!(update_value(&mut state, 3, "10000", "9504.75"), None);
    assert_eq!(
        update_value(&mut state, 4, "10000", "9504.74"),
        Some(LatchReason::DailyLoss)
    );
    assert_eq!(state.recorded_value.unwrap().peak, dec("10005"));
}

#[test]
fn latch_makes_one_operator_event() {
    let account = AccountKey {
        mode: Mode::Paper,
        venue: "binance-usdm".parse().unwrap(),
        account: "a1b2".parse().unwrap(),
    };
    let mut state = AccountState::default();
    update_value(&mut state, 1, "10000", "10000");
    let event = AccountEvent::Valued {
        at: UtcMs(2),
        capital: dec("10000"),
        equity: dec("1"),
    };
    let records = handle_event(&mut state, &event);
    let events: Vec<_> = records
        .iter()
        .filter_map(|r| operator_event(&account, r))
        .collect();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].kind(), "account_latched");
}

#[test]
fn account_command_is_executed_once_and_recorded_only_on_a_change() {
    let one = || Some("BTCUSDT".parse().unwrap());
    let latch = "operator-9".to_owned();
    let (pause, resume) = (
        |symbol| AccountCommand::Pause { symbol },
        |symbol| AccountCommand::Resume { symbol },
    );
    let mut state = AccountState::default();
    update_value(&mut state, 1, "10000", "10000");
    // The command, whether it changes anything, and the number of pauses after it.
    for (seq, order, changes, pauses) in [
        (1, resume(None), false, 0),
        (2, pause(one()), true, 1),
        (3, pause(one()), false, 1),
        (4, pause(None), true, 2),
        (5, resume(one()), true, 1),
        (6, resume(one()), false, 1),
        (7, pause(one()), true, 2),
        (8, AccountCommand::Flatten, true, 2),
        (9, AccountCommand::Flatten, false, 2),
        (10, AccountCommand::Unlatch { latch_id: latch }, true, 2),
        (11, resume(None), true, 0),
    ] {
        let records = handle_event(&mut state, &command_received(seq, order));
        assert_eq!(records.len(), usize::from(changes), "{seq}");
        assert_eq!(state.pauses.len(), pauses, "{seq}");
        assert_eq!(state.latch.is_some(), (8..10).contains(&seq), "{seq}");
        assert_eq!(state.last_command_seq == seq, changes, "{seq}");
    }
}

#[test]
fn unlatched_record_without_command_seq_is_readable() {
    let text = r#"{"type":"unlatched","latch_id":"drawdown-1","by":"operator","reason":"a wick"}"#;
    let read: AccountRecord = serde_json::from_str(text).unwrap();
    let mut state = AccountState::default();
    state.apply(&read);
    assert_eq!((state.latch, state.last_command_seq), (None, 0));
}

fn closing_checked(open: &[&str], since_latch: u64, since_report: u64) -> AccountEvent {
    let position = |symbol: &&str| OpenPosition {
        symbol: symbol.parse().unwrap(),
        quantity: dec("0.25"),
        stop_price: Some(dec("39600")),
        note: None,
    };
    AccountEvent::ClosingChecked(ClosingCheck {
        positions: open.iter().map(position).collect(),
        trades: 2,
        pnl: dec("-12.5"),
        equity: dec("9487.5"),
        since_latch: Duration::from_secs(since_latch),
        since_report: Duration::from_secs(since_report),
    })
}

/// The kinds of the operator events that a check causes.
fn reported(state: &mut AccountState, event: &AccountEvent) -> Vec<&'static str> {
    let account = "paper.binance-usdm.a1b2".parse().unwrap();
    let records = handle_event(state, event);
    let bodies = records.iter().filter_map(|r| operator_event(&account, r));
    bodies.map(|body| body.kind()).collect()
}

#[test]
fn latched_account_is_reported_flat_once_and_open_after_each_interval() {
    let mut state = AccountState::default();
    let nothing: [&str; 0] = [];
    assert_eq!(
        reported(&mut state, &closing_checked(&[], 0, 0)),
        nothing,
        "not latched"
    );
    handle_event(&mut state, &command_received(1, AccountCommand::Flatten));
    let one = ["BTCUSDT"];
    assert_eq!(
        reported(&mut state, &closing_checked(&one, 59, 59)),
        nothing
    );
    let open = ["account_still_open"];
    assert_eq!(reported(&mut state, &closing_checked(&one, 60, 60)), open);
    assert_eq!(state.closing.reminders, 1);
    assert_eq!(
        reported(&mut state, &closing_checked(&one, 179, 119)),
        nothing
    );
    assert_eq!(reported(&mut state, &closing_checked(&one, 180, 120)), open);
    assert_eq!(
        reported(&mut state, &closing_checked(&[], 181, 1)),
        ["account_flattened"]
    );
    assert_eq!(
        reported(&mut state, &closing_checked(&[], 182, 2)),
        nothing,
        "reported once"
    );
    assert_eq!(
        reported(&mut state, &closing_checked(&one, 183, 3)),
        open,
        "at once"
    );
    let latch_id = "operator-9".to_owned();
    handle_event(
        &mut state,
        &command_received(2, AccountCommand::Unlatch { latch_id }),
    );
    assert_eq!(
        reported(&mut state, &closing_checked(&one, 9_000, 9_000)),
        nothing
    );
    handle_event(&mut state, &command_received(3, AccountCommand::Flatten));
    assert_eq!(state.closing.reminders, 0, "a new latch");
}
