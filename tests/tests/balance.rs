//! The balance check of a live account: what is transferred, paid back or traded by the operator is booked; what nothing
//! explains stops entries, closes nothing, and ends by itself or by the command that is named.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::net::SocketAddr;
use std::time::Duration;

use bearish_tests::bus_reader;
use bearish_tests::live::{API_KEY, LiveSystem, UP};
use bearish_tests::metrics_client::scrape;
use bearish_tests::ports;
use bearish_tests::system::System;
use bearish_tests::trader::TraderSetup;
use bearish_tests::wait::eventually;
use protocol::event::EventBody;
use rust_decimal::{Decimal, dec};
use serde_json::json;
use trader_core::book::{BookPhase, BookRecord};

/// Speed of the exchange at which the entry follows the start by half a minute.
const SLOW: &str = "4";
/// Speed of the exchange: a candle lasts three seconds.
const SPEED: &str = "20";
const TIMEOUT: Duration = Duration::from_secs(90);
/// Longer than a difference must last.
const BEYOND_GRACE: Duration = Duration::from_secs(12);

/// A trader that judges a difference after six seconds.
fn trader(system: &LiveSystem, name: &str) -> TraderSetup {
    system.trader_setup(name).env("BALANCE_GRACE_SECS", "6")
}

async fn change_balance(system: &LiveSystem, amount: &str, income: Option<&str>, hidden_ms: u32) {
    let mut fault = json!({"fault": "balance-change", "account": API_KEY, "amount": amount});
    if let Some(income) = income {
        fault["income"] = json!(income);
        fault["hidden_ms"] = json!(hidden_ms);
    }
    system.arm_fault(&fault).await;
}

/// The bodies of the events of the balance, oldest first; each event once.
async fn balance_events(system: &LiveSystem) -> Vec<EventBody> {
    let events = bus_reader::stored_events(system.operator_bus()).await;
    let mut seen = Vec::new();
    for stored in events {
        let kind = stored.event.body.kind();
        let is_wanted = kind.starts_with("balance_")
            || matches!(
                kind,
                "funds_transferred" | "difference_accepted" | "account_latched"
            );
        if is_wanted && !seen.iter().any(|(id, _)| *id == stored.event.id) {
            seen.push((stored.event.id.clone(), stored.event.body));
        }
    }
    seen.into_iter().map(|(_, body)| body).collect()
}

async fn wait_for_kinds(system: &LiveSystem, expected: &[&str]) -> Vec<EventBody> {
    eventually(&format!("{expected:?}"), TIMEOUT, async || {
        let events = balance_events(system).await;
        let kinds: Vec<&str> = events.iter().map(EventBody::kind).collect();
        (kinds == expected).then_some(events)
    })
    .await
}

async fn wait_for_status(system: &LiveSystem, text: &str) -> String {
    eventually(text, TIMEOUT, async || {
        let (code, output) = system.run_command("operator", "status").await;
        (code == 0 && output.contains(text)).then_some(output)
    })
    .await
}

#[tokio::test]
async fn deposit_and_withdrawal_are_booked_and_are_neither_profit_nor_loss() {
    let system = LiveSystem::start(&[(20, UP)], SPEED).await;
    let running = trader(&system, "one").start();
    running.wait_until_running().await;
    wait_for_status(&system, "on the exchange, as expected").await;
    change_balance(&system, "5000", Some("TRANSFER"), 0).await;
    wait_for_kinds(&system, &["funds_transferred"]).await;
    system.wait_until_protected().await;
    // Nearly a third of the equity of the books, with an open position.
    change_balance(&system, "-3000", Some("INTERNAL_TRANSFER"), 0).await;
    let events = wait_for_kinds(&system, &["funds_transferred", "funds_transferred"]).await;
    let EventBody::FundsTransferred { amount, name, .. } = &events[1] else {
        panic!("{events:?}");
    };
    assert_eq!((*amount, name.as_str()), (dec!(-3000), "INTERNAL_TRANSFER"));
    system.wait_for_trades(1).await;
    tokio::time::sleep(BEYOND_GRACE).await;
    wait_for_kinds(&system, &["funds_transferred", "funds_transferred"]).await;
    wait_for_status(&system, "on the exchange, as expected").await;
}

#[tokio::test]
async fn unexplained_change_stops_entries_over_restarts_until_the_named_command_accepts_it() {
    let system = LiveSystem::start(&[], SLOW).await;
    change_balance(&system, "-12.3", None, 0).await;
    let metrics = SocketAddr::from(([127, 0, 0, 1], ports::reserve()));
    let first = trader(&system, "one").env("METRICS_ADDR", &metrics.to_string());
    let mut running = first.start();
    let events = wait_for_kinds(&system, &["balance_differs"]).await;
    let EventBody::BalanceDiffers { amount, .. } = &events[0] else {
        panic!("{events:?}");
    };
    assert_eq!(*amount, dec!(-12.3));
    eventually("the metric", TIMEOUT, async || {
        let text = scrape(metrics).await;
        (text.contains("bearish_account_balance_differs 1")
            && text.contains("bearish_account_balance_difference_usdt -12.3"))
        .then_some(())
    })
    .await;
    // Another process leads the account now.
    running.kill();
    let second = trader(&system, "two").start();
    second.wait_until_running().await;
    let rejected = |r: &BookRecord| matches!(r, BookRecord::SignalRejected { reason, .. } if reason.as_str() == "balance_differs");
    system
        .wait_for_record("the signal is rejected", rejected)
        .await;
    let output = wait_for_status(&system, "ENTRIES STOPPED").await;
    let (_, command) = output.split_once("scripts/bearish accept").unwrap();
    // The mode is for the host: it selects the container in which the program runs.
    let arguments = command.lines().next().unwrap();
    let arguments = arguments.replace("TEXT", "found").replace(" --live", "");
    let wrong = "accept --difference balance-1 --reason hope";
    let (code, output) = system.run_command("operator", wrong).await;
    assert_eq!(code, 78, "{output}");
    assert!(output.contains("-12.3 USDT"), "{output}");
    let accept = format!("accept{arguments}");
    let (code, output) = system.run_command("operator", &accept).await;
    assert_eq!(code, 0, "{accept}: {output}");
    assert!(output.contains("entries are allowed again"), "{output}");
    let kinds = ["balance_differs", "difference_accepted"];
    wait_for_kinds(&system, &kinds).await;
    tokio::time::sleep(BEYOND_GRACE).await;
    wait_for_kinds(&system, &kinds).await;
    wait_for_status(&system, "10017.70 on the exchange, as expected").await;
}

#[tokio::test]
async fn unexplained_change_closes_no_position() {
    let system = LiveSystem::start(&[(20, UP)], SPEED).await;
    let _running = trader(&system, "one").start();
    system.wait_until_protected().await;
    change_balance(&system, "-700", None, 0).await;
    wait_for_kinds(&system, &["balance_differs"]).await;
    let state = system.book_state().await;
    assert!(
        matches!(state.phase, BookPhase::Open(_)),
        "{:?}",
        state.phase
    );
    assert!(system.is_protected_on_exchange().await);
    // The position is managed to its end.
    system.wait_for_trades(1).await;
    wait_for_kinds(&system, &["balance_differs"]).await;
}

#[tokio::test]
async fn change_that_is_listed_late_explains_itself() {
    let system = LiveSystem::start(&[], SPEED).await;
    let running = trader(&system, "one").start();
    running.wait_until_running().await;
    // Listed after two seconds: nothing is reported.
    change_balance(&system, "-40", Some("TRANSFER"), 40_000).await;
    wait_for_kinds(&system, &["funds_transferred"]).await;
    // Listed after twenty seconds.
    change_balance(&system, "-50", Some("TRANSFER"), 400_000).await;
    wait_for_kinds(
        &system,
        &[
            "funds_transferred",
            "balance_differs",
            "funds_transferred",
            "balance_explained",
        ],
    )
    .await;
    wait_for_status(&system, "as expected").await;
}

#[tokio::test]
async fn fees_in_bnb_rebates_and_trades_of_the_operator_are_explained() {
    let system = LiveSystem::start(&[(20, UP)], SLOW).await;
    let in_bnb = json!({"fault": "fee-asset", "account": API_KEY, "asset": "BNB", "balance": "5"});
    system.arm_fault(&in_bnb).await;
    let running = trader(&system, "one").start();
    running.wait_until_running().await;
    for side in ["BUY", "SELL"] {
        system.place_manual_order(side, dec!(0.01)).await;
    }
    change_balance(&system, "0.75", Some("COMMISSION_REBATE"), 0).await;
    system.wait_until_protected().await;
    tokio::time::sleep(BEYOND_GRACE).await;
    assert_eq!(balance_events(&system).await, []);
    let state = system.book_state().await;
    assert!(state.fees > Decimal::ZERO && state.balance_change.is_zero());
    wait_for_status(&system, "on the exchange, as expected").await;
}

#[tokio::test]
async fn paper_account_has_no_balance_to_compare() {
    let system = System::start(&[("SIM_SPEED", "60"), ("SIM_SYMBOLS", "BTCUSDT")]).await;
    let setup = system.trader_setup("paper").env("SYMBOLS", "BTCUSDT");
    let running = setup.start();
    running.wait_until_running().await;
    let mut status = setup.clone().flags("status").start().into_process();
    assert_eq!(status.exit_within(TIMEOUT).await, 0);
    let output = status.out().join("\n");
    assert!(
        output.contains("ACCOUNT paper.") && !output.contains("Balance:"),
        "{output}"
    );
}
