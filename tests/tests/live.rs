//! Tests of a live trader with real orders on the simulated exchange: a position from entry to exit, with kills,
//! outages and faults at the moments where an order could be lost or doubled.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use bearish_tests::bus_reader::{self, StoredEvent};
use bearish_tests::gateway::{Gateway, HoldPoint, ReleaseAction};
use bearish_tests::journals;
use bearish_tests::live::scenario::LiveScenario;
use bearish_tests::live::step::{Initiator, STEPS, TraderEnd};
use bearish_tests::live::{API_KEY, DOWN, LiveSystem, SYMBOL, UP, is_protected};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::event::EventBody;
use rust_decimal::dec;
use serde_json::json;
use trader_core::book::{BookPhase, BookRecord, ExitReason};

/// Speed of the exchange: a candle lasts three seconds, and the exchange accepts an order for three seconds.
const SPEED: &str = "20";

fn closed_by(reason: ExitReason) -> impl Fn(&BookRecord) -> bool {
    move |record| matches!(record, BookRecord::PositionClosed(trade) if trade.reason == reason)
}

#[tokio::test]
async fn position_reaches_its_target_and_journal_and_exchange_agree() {
    let system = LiveSystem::start(&[(4, UP)], SPEED).await;
    let trader = system.trader_setup("one").start();
    trader.wait_until_running().await;
    system.wait_until_protected().await;
    system.audit().await;
    let (code, output) = system.run_command("operator", "status").await;
    assert_eq!(code, 0, "{output}");
    assert!(
        output.contains("ACCOUNT live.") && output.contains("long 0.25 from"),
        "{output}"
    );
    let target = closed_by(ExitReason::Target);
    system.wait_for_record("the target is filled", target).await;
    system.wait_for_trades(1).await;
    system.audit().await;
    assert_logged_as_journaled_before_sent(&trader.out());
}

/// The log shows the order of the journal, also for protective orders, which are sent while their batch is appended.
fn assert_logged_as_journaled_before_sent(log: &[String]) {
    let order = |line: &str| {
        let id = line.split_once(" order=")?.1;
        Some(id.split(' ').next()?.to_owned())
    };
    let mut journaled = BTreeSet::new();
    let mut sent = 0;
    for line in log {
        if line.contains("order journaled") {
            journaled.extend(order(line));
        } else if line.contains("order sent") {
            let id = order(line).unwrap_or_else(|| panic!("no order in {line}"));
            assert!(
                journaled.contains(&id),
                "sent before it was journaled: {line}"
            );
            sent += 1;
        }
    }
    assert!(sent >= 3, "entry, stop and target are logged: {log:#?}");
}

#[tokio::test]
async fn position_stopped_out_while_the_trader_is_down_is_adopted() {
    let system = LiveSystem::start(&[(4, DOWN)], SPEED).await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    trader.kill();
    tokio::time::sleep(Duration::from_secs(12)).await;
    let _again = system.trader_setup("one").start();
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is adopted", stop).await;
    system.wait_for_trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn flatten_closes_everything_on_the_exchange() {
    let system = LiveSystem::start(&[], SPEED).await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let (code, output) = system
        .run_command("operator", "flatten --confirm --reason tried")
        .await;
    assert_eq!(code, 0, "{output}");
    assert_eq!(trader.exit_within(DEFAULT_TIMEOUT).await, 21);
    let closed = closed_by(ExitReason::AccountLatched);
    system
        .wait_for_record("the open position is closed", closed)
        .await;
    system.audit().await;
}

/// The bodies of the events that an account's latch has caused, oldest first; each event once.
async fn latch_events(system: &LiveSystem) -> Vec<EventBody> {
    let events = bus_reader::stored_events(system.operator_bus()).await;
    let mut ids = BTreeSet::new();
    let new = events
        .into_iter()
        .filter(|stored| ids.insert(stored.event.id.clone()));
    let bodies = new.map(|stored| stored.event.body);
    bodies
        .filter(|body| body.kind().starts_with("account_"))
        .collect()
}

#[tokio::test]
async fn emergency_stop_reports_what_is_still_open_until_the_account_is_flat() {
    let system = LiveSystem::start(&[], SPEED).await;
    let setup = system.trader_setup("one");
    let mut trader = setup.start();
    system.wait_until_protected().await;
    system
        .arm_fault(
            &json!({"fault": "fail-before", "status": 503, "code": -1016, "method": "POST",
            "path": "/fapi/v1/order", "for_ms": 75_000}),
        )
        .await;
    let (code, output) = system
        .run_command("operator", "flatten --confirm --reason tried")
        .await;
    assert_eq!(code, 0, "{output}");
    let latched = eventually("an event of the latch", DEFAULT_TIMEOUT, async || {
        latch_events(&system).await.pop()
    })
    .await;
    let EventBody::AccountLatched { positions, .. } = latched else {
        panic!("{latched:?}");
    };
    let [position] = &positions[..] else {
        panic!("{positions:?}");
    };
    assert_eq!(position.quantity, dec!(0.25));
    assert!(position.stop_price.is_some(), "{position:?}");
    // The leader dies while it closes; the next one continues from the journal.
    tokio::time::sleep(Duration::from_secs(3)).await;
    trader.kill();
    let mut again = setup.start();
    let what = "an event of what is still open";
    let still_open = eventually(what, Duration::from_secs(90), async || {
        latch_events(&system).await.into_iter().nth(1)
    })
    .await;
    let EventBody::AccountStillOpen {
        after_ms,
        positions,
        ..
    } = still_open
    else {
        panic!("{still_open:?}");
    };
    assert!((60_000..75_000).contains(&after_ms), "{after_ms}");
    assert_eq!(positions[0].quantity, dec!(0.25), "{positions:?}");
    assert!(positions[0].stop_price.is_some(), "{positions:?}");
    assert_eq!(again.exit_within(Duration::from_mins(1)).await, 21);
    let events = latch_events(&system).await;
    let kinds: Vec<&str> = events.iter().map(EventBody::kind).collect();
    assert_eq!(
        kinds,
        ["account_latched", "account_still_open", "account_flattened"]
    );
    let book = system.book_state().await;
    let EventBody::AccountFlattened { trades, pnl, .. } = &events[2] else {
        panic!("{events:?}");
    };
    assert_eq!((*trades, *pnl), (1, book.equity - book.capital));
    system.audit().await;
    // A flat account stays flat; the events that may be missing are published again under their ids.
    let mut third = setup.start();
    assert_eq!(third.exit_within(DEFAULT_TIMEOUT).await, 21);
    assert_eq!(latch_events(&system).await.len(), 3);
}

/// Flattens the account and kills the trader before the exchange receives the exit order.
async fn kill_while_closing() -> LiveScenario {
    let mut run = LiveScenario::prepare(&[], SPEED).await;
    let exit = STEPS
        .iter()
        .find(|step| step.initiator == Initiator::Operator)
        .unwrap();
    let held = run.run_until(exit, HoldPoint::BeforeExchange).await;
    run.end_trader(TraderEnd::Killed).await;
    held.release(ReleaseAction::Discard);
    run
}

#[tokio::test]
async fn trader_killed_during_flatten_finishes_it_after_restart() {
    let mut run = kill_while_closing().await;
    run.finish(Initiator::Operator).await;
    let closed = closed_by(ExitReason::AccountLatched);
    run.system
        .wait_for_record("the open position is closed", closed)
        .await;
}

#[tokio::test]
async fn new_trader_on_a_latched_account_closes_the_books_of_a_killed_one() {
    let run = kill_while_closing().await;
    // The account is latched, and its only book is leased to the killed trader.
    let mut another = run.start_another("two");
    assert_eq!(another.exit_within(DEFAULT_TIMEOUT).await, 21);
    let book = run.system.book_state().await;
    assert_eq!(
        book.phase,
        BookPhase::Flat,
        "the trader exited before the position was closed"
    );
    run.system.audit().await;
}

#[tokio::test]
async fn shutdown_replaces_a_lost_stop_order_first() {
    // At this speed the exchange accepts an order for four seconds.
    let mut run = LiveScenario::prepare(&[], "15").await;
    let stop = STEPS.iter().find(|step| step.name == "stop").unwrap();
    let held = run.run_until(stop, HoldPoint::BeforeExchange).await;
    let lost = json!({"fault": "fail-before", "status": 503, "code": -1007, "method": stop.method,
        "path": stop.path, "times": 1});
    run.system.arm_fault(&lost).await;
    held.release(ReleaseAction::Forward);
    let unknown = |r: &BookRecord| matches!(r, BookRecord::OrderOutcomeUnknown { .. });
    run.system
        .wait_for_record("the outcome of the order is unknown", unknown)
        .await;
    run.end_trader(TraderEnd::Stopped).await;
    let book = run.system.book_state().await;
    assert!(is_protected(&book), "{:?} {:?}", book.phase, book.orders);
    assert!(run.system.is_protected_on_exchange().await);
}

#[tokio::test]
async fn shutdown_with_unknown_entry_leaves_no_unprotected_position() {
    let mut run = LiveScenario::prepare(&[], SPEED).await;
    let held = run.run_until(&STEPS[0], HoldPoint::AfterExchange).await;
    held.release(ReleaseAction::Discard);
    run.end_trader(TraderEnd::Stopped).await;
    let book = run.system.book_state().await;
    assert!(is_protected(&book), "{:?} {:?}", book.phase, book.orders);
    assert!(run.system.is_protected_on_exchange().await);
}

#[tokio::test]
async fn direct_flatten_without_the_bus_is_adopted_by_the_book() {
    let mut system = LiveSystem::start(&[], SPEED).await;
    let _trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    system.nats.kill();
    let arguments = "flatten --confirm --direct --reason tried";
    let (code, output) = system.run_command("operator", arguments).await;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("BTCUSDT: flat"), "{output}");
    assert!(output.contains("not latched"), "{output}");
    system.nats.restart().await;
    let adopted = closed_by(ExitReason::External);
    system.wait_for_record("the exit is adopted", adopted).await;
    system.audit().await;
}

/// Answers that are odd, and one that is valid but wrong: a list without the position.
#[tokio::test]
async fn direct_flatten_is_not_ended_by_odd_answers_and_cancels_no_stop_of_an_open_position() {
    let system = LiveSystem::start(&[], SPEED).await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    trader.kill();
    for fault in [
        json!({"fault": "empty-answer", "path": "/fapi/v3/positionRisk", "times": 2}),
        json!({"fault": "fail-before", "status": 401, "code": -2015, "path": "/fapi/v1/openOrders", "times": 1}),
        json!({"fault": "html-page", "status": 404, "path": "/fapi/v1/openAlgoOrders", "times": 1}),
        json!({"fault": "filter", "symbol": SYMBOL, "max_quantity": "0.1"}),
    ] {
        system.arm_fault(&fault).await;
    }
    let arguments = "flatten --confirm --direct --reason tried";
    let (code, output) = system.run_command("operator", arguments).await;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("waiting for BTCUSDT: "), "{output}");
    assert!(
        output.contains("BTCUSDT: flat; 2 orders canceled, 0.25 closed"),
        "{output}"
    );
    let unprotected = system.longest_unprotected().await;
    let limit = Duration::from_secs(1);
    assert!(
        unprotected < limit,
        "a stop was canceled too early: {unprotected:?}"
    );
}

#[tokio::test]
async fn trader_frozen_while_sending_executes_nothing_after_losing_its_book() {
    let system = LiveSystem::start_without_account(&[], SPEED).await;
    let gateway = Gateway::start(system.exchange.address()).await;
    let trader = |name: &str| {
        system
            .trader_setup(name)
            .env("BINANCE_REST_URL", &gateway.url())
    };
    let (code, output) = system
        .run_command_with(&trader("init"), "init --account")
        .await;
    assert_eq!(code, 0, "{output}");
    let mut held = gateway.hold_call("POST", "/fapi/v1/order", 0, HoldPoint::BeforeExchange);
    let first = trader("first").start();
    held.wait_until_held(DEFAULT_TIMEOUT).await;
    first.signal("STOP");
    let second = trader("second").start();
    let dropped = |r: &BookRecord| matches!(r, BookRecord::EntryDropped { .. });
    system
        .wait_for_record("the second trader drops the entry", dropped)
        .await;
    held.release(ReleaseAction::Forward);
    first.signal("CONT");
    first.wait_for_log("book lost").await;
    second.wait_until_running().await;
    let book = system.book_state().await;
    assert_eq!((book.trades, &book.phase), (0, &BookPhase::Flat));
    system.audit().await;
}

#[tokio::test]
async fn muted_user_stream_is_compensated_by_reconciliation() {
    let system = LiveSystem::start(&[(4, DOWN)], SPEED).await;
    let _trader = system.trader_setup("one").start();
    system
        .arm_fault(&json!({"fault": "mute", "on": true, "to": "user"}))
        .await;
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is found", stop).await;
    system.audit().await;
}

#[tokio::test]
async fn unexplained_position_halts_the_book_until_the_operator_unhalts_it() {
    let system = LiveSystem::start(&[], SPEED).await;
    let trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    // The exchange states a position that no trade explains, for longer than an odd answer lasts.
    let odd = json!({"fault": "other-value", "field": "positionAmt", "value": "0.4",
        "path": "/fapi/v3/positionRisk", "times": "unlimited"});
    system.arm_fault(&odd).await;
    trader.wait_for_log("book halted").await;
    let halted = system.book_state().await;
    assert!(
        matches!(&halted.phase, BookPhase::Halted { reason, position: Some(_), .. }
        if reason.contains("no trade explains it"))
    );

    // An unhalt that does not explain the position leads to the same halt.
    let (code, output) = system
        .run_command("operator", "unhalt --symbol BTCUSDT --reason tried")
        .await;
    assert_eq!(code, 0, "{output}");
    trader
        .wait_for_log("book unhalted; restarting its task")
        .await;
    let halts = async || {
        let journal = system.read_journal().await;
        let halted = |r: &&BookRecord| matches!(r, BookRecord::BookHalted { .. });
        let halts = journals::records([&journal]).filter(halted).count();
        (halts == 2).then_some(())
    };
    eventually("halted again", DEFAULT_TIMEOUT, halts).await;

    system.exchange.clear_faults().await;
    system.place_manual_order("SELL", dec!(0.25)).await;
    let arguments = "unhalt --symbol BTCUSDT --closed-at 40100 --reason sold-it-all";
    let (code, output) = system.run_command("operator", arguments).await;
    assert_eq!(code, 0, "{output}");
    assert!(
        output.contains("booked as closed at 40100, profit"),
        "{output}"
    );
    let restarted = async || {
        let book = system.book_state().await;
        let journal = system.read_journal().await;
        let has_writer = matches!(
            journals::records([&journal]).last(),
            Some(BookRecord::WriterChanged { .. })
        );
        (has_writer && book.phase == BookPhase::Flat).then_some(book)
    };
    let book = eventually(
        "the book has a writer again and is flat",
        DEFAULT_TIMEOUT,
        restarted,
    )
    .await;
    assert_eq!(book.trades, 1);
    system.wait_until_nothing_rests().await;
}

#[tokio::test]
async fn missing_candles_are_a_gap_and_the_position_is_still_managed() {
    let system = LiveSystem::start(&[(6, DOWN)], SPEED).await;
    let trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let gap = json!({"fault": "missing-candle", "symbol": SYMBOL, "interval": "1m", "count": 2});
    system.arm_fault(&gap).await;
    trader
        .wait_for_log("exchange has no candles for this period")
        .await;
    let stop = closed_by(ExitReason::Stop);
    system
        .wait_for_record("the stop fill is journaled", stop)
        .await;
    system.wait_for_trades(1).await;
    system.audit().await;
}

#[tokio::test]
async fn revoked_key_is_published_once_retried_slowly_and_used_again() {
    let system = LiveSystem::start(&[(4, DOWN)], SPEED).await;
    let trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let key = |on| json!({"fault": "revoke-key", "key": API_KEY, "on": on});
    system.arm_fault(&key(true)).await;
    let stalled = "book is stalled";
    // The stop fills on the exchange, and the trader cannot query the result.
    trader.wait_for_log(stalled).await;
    // Candles that arrive do not end the error state.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let tries = trader.count_logs(stalled);
    assert!(tries <= 3, "{tries} tries in 12 s");
    let events = bus_reader::stored_events(system.operator_bus()).await;
    let failed = |t: &&StoredEvent| matches!(&t.event.body, EventBody::ComponentFailed { component, .. } if component == SYMBOL);
    let failures: Vec<&StoredEvent> = events.iter().filter(failed).collect();
    assert_eq!(failures.len(), 1, "{failures:?}");
    system.arm_fault(&key(false)).await;
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is found", stop).await;
    system.wait_for_trades(1).await;
    system.audit().await;
    eventually("an event of the recovery", DEFAULT_TIMEOUT, async || {
        let events = bus_reader::stored_events(system.operator_bus()).await;
        let recovered =
            |t: &StoredEvent| matches!(t.event.body, EventBody::ComponentRecovered { .. });
        events.iter().any(recovered).then_some(())
    })
    .await;
}

#[tokio::test]
async fn liquidation_is_adopted_published_and_accounted() {
    let system = LiveSystem::start(&[], SPEED).await;
    let _trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    let end = json!({"fault": "liquidate", "account": API_KEY, "symbol": SYMBOL});
    system.arm_fault(&end).await;
    let closed = closed_by(ExitReason::External);
    system
        .wait_for_record("the liquidation is adopted", closed)
        .await;
    system.audit().await;
    eventually("an event of the liquidation", DEFAULT_TIMEOUT, async || {
        let events = bus_reader::stored_events(system.operator_bus()).await;
        let closed = |t: &StoredEvent| matches!(t.event.body, EventBody::PositionClosed { .. });
        events.iter().any(closed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn account_is_initialized_once_and_by_the_operator() {
    let system = LiveSystem::start_without_account(&[], SPEED).await;
    let mut early = system.trader_setup("early").start();
    assert_eq!(early.exit_within(DEFAULT_TIMEOUT).await, 78);
    let stderr = early.err().join("\n");
    assert!(
        stderr.contains("scripts/bearish init --account"),
        "{stderr}"
    );
    // The dry run fails where the start would.
    let (code, output) = system.run_command("dry", "--dry-run").await;
    assert_eq!(code, 78, "{output}");
    assert!(output.contains("was never opened on this bus"), "{output}");
    system.init_account().await;
    let (code, output) = system.run_command("again", "init --account").await;
    assert_eq!(code, 78, "{output}");
    assert!(output.contains("is already open on this bus"), "{output}");
    let (code, output) = system.run_command("dry", "--dry-run").await;
    assert!(output.contains("SIMULATOR"), "{output}");
    assert!(output.contains("may not withdraw"), "{output}");
    assert_eq!(code, 0, "{output}");
}

#[tokio::test]
async fn funding_paid_while_the_trader_was_down_is_in_the_profit() {
    // Entry half an hour before funding is due, stop a few minutes after it.
    let system = LiveSystem::start_with_entry_at(&[(34, DOWN)], "40", 450).await;
    system.init_account().await;
    let mut trader = system.trader_setup("one").start();
    system.wait_until_protected().await;
    trader.kill();
    tokio::time::sleep(std::time::Duration::from_secs(48)).await;
    let _again = system.trader_setup("one").start();
    let funded = |r: &BookRecord| matches!(r, BookRecord::FundingPaid { .. });
    system.wait_for_record("the funding is found", funded).await;
    let stop = closed_by(ExitReason::Stop);
    system.wait_for_record("the stop is adopted", stop).await;
    system.wait_for_trades(1).await;
    system.audit().await;
}
