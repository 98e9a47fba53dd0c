//! Tests of several traders of one account: they share its books, take over the books of a dead trader and hand
//! books to a returning one. No book ever has two writers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bearish_tests::bus_reader;
use bearish_tests::system::System;
use bearish_tests::trader::{Trader, TraderSetup};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::event::EventBody;
use runtime::lease::{POLL, TTL};
use tokio::time::sleep;

/// Time within which a lease expires and another trader acquires it.
const TAKEOVER_TIMEOUT: Duration = Duration::from_mins(1);

/// Number of books in the newest heartbeat of each trader.
async fn book_counts(system: &System, traders: &[&TraderSetup]) -> Vec<usize> {
    let mut counts = Vec::new();
    for setup in traders {
        let heartbeat = bus_reader::latest_heartbeat(system.operator_bus(), setup.instance()).await;
        counts.push(heartbeat.map_or(0, |h| h.books.len()));
    }
    counts
}

/// Waits until the traders hold these numbers of books, and checks that no book has two holders.
async fn wait_for_shares(system: &System, traders: &[&TraderSetup], expected: &[usize]) {
    let names: Vec<&str> = traders.iter().map(|t| t.instance()).collect();
    let what = format!("{names:?} hold {expected:?} books");
    eventually(&what, TAKEOVER_TIMEOUT, async || {
        let mut counts = book_counts(system, traders).await;
        counts.sort_unstable();
        (counts == expected).then_some(())
    })
    .await;
    let holders = book_holders(system, traders).await;
    let shared = holders.iter().find(|(_, names)| names.len() != 1);
    assert!(shared.is_none(), "{shared:?}");
}

async fn book_holders(system: &System, traders: &[&TraderSetup]) -> BTreeMap<String, Vec<String>> {
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for setup in traders {
        let heartbeat = bus_reader::latest_heartbeat(system.operator_bus(), setup.instance()).await;
        for book in heartbeat.unwrap().books {
            let names = holders.entry(book.book.to_string()).or_default();
            names.push(setup.instance().to_owned());
        }
    }
    holders
}

#[tokio::test]
async fn books_are_shared_taken_over_and_returned() {
    // Slow, so that books are flat when they are reassigned.
    let system = System::start(&[("SIM_SPEED", "1")]).await;
    let (a, b, c) = (
        system.trader_setup("a"),
        system.trader_setup("b"),
        system.trader_setup("c"),
    );
    let first = a.start();
    first.wait_until_running().await;
    wait_for_shares(&system, &[&a], &[3]).await;

    let mut second = b.start();
    wait_for_shares(&system, &[&a, &b], &[1, 2]).await;

    let third = c.start();
    wait_for_shares(&system, &[&a, &b, &c], &[1, 1, 1]).await;

    // The book of a killed trader is free when its lease has expired, not before.
    second.kill();
    let killed = Instant::now();
    wait_for_shares(&system, &[&a, &c], &[1, 2]).await;
    let took = killed.elapsed();
    assert!(
        took + 2 * POLL >= TTL,
        "acquired after {took:?}, while its lease was valid"
    );

    let events = bus_reader::stored_events(system.operator_bus()).await;
    let taken = events.iter().find(|stored| {
        matches!(&stored.event.body, EventBody::BookAcquired { previous: Some(previous), .. }
            if previous.as_str() == b.instance())
    });
    assert!(taken.is_some(), "no event of the book of the killed trader");

    let _returned = b.start();
    wait_for_shares(&system, &[&a, &b, &c], &[1, 1, 1]).await;
    system.audit_until(0).await;
    drop((first, third));
}

#[tokio::test]
async fn trader_that_shuts_down_relinquishes_its_books_at_once() {
    let system = System::start(&[("SIM_SPEED", "1")]).await;
    let (a, b) = (system.trader_setup("a"), system.trader_setup("b"));
    let first = a.start();
    first.wait_until_running().await;
    let mut second = b.start();
    wait_for_shares(&system, &[&a, &b], &[1, 2]).await;
    second.signal("TERM");
    assert_eq!(second.exit_within(DEFAULT_TIMEOUT).await, 0);
    let ended = Instant::now();
    wait_for_shares(&system, &[&a], &[3]).await;
    // Two polls and a heartbeat take less time than the expiry of a lease.
    let took = ended.elapsed();
    assert!(
        took + POLL < TTL,
        "it took {took:?}: the leases were not relinquished"
    );
}

#[tokio::test]
async fn trader_frozen_past_its_lease_writes_nothing_afterwards() {
    let system = System::start(&[("SIM_SPEED", "300")]).await;
    let (a, b) = (
        system.trader_setup("frozen"),
        system.trader_setup("successor"),
    );
    let frozen = a.start();
    frozen.wait_until_running().await;
    system.wait_for_trades(1, DEFAULT_TIMEOUT).await;
    let held = book_counts(&system, &[&a]).await[0];
    assert_eq!(held, 3);
    frozen.signal("STOP");
    let successor = b.start();
    wait_for_shares(&system, &[&b], &[3]).await;
    frozen.signal("CONT");
    frozen.wait_for_log("book lost").await;
    // Every action that was in flight has been tried by now.
    sleep(2 * POLL).await;
    let events = bus_reader::stored_events(system.operator_bus()).await;
    let lost = events.iter().filter(|e| {
        e.subject.contains(a.instance()) && matches!(e.event.body, EventBody::BookLost { .. })
    });
    assert!(lost.count() >= 1, "no event of the lost books");
    // The audit fails on a journal in which a former writer has written.
    assert!(system.audit(&successor).await >= 1);
    drop(frozen);
}

#[tokio::test]
async fn second_trader_of_the_same_instance_exits_71() {
    let system = System::start(&[]).await;
    let setup = system.trader_setup("twin");
    let mut first: Trader = setup.start();
    first.wait_until_running().await;
    let mut second = setup.start();
    assert_eq!(
        second.exit_within(DEFAULT_TIMEOUT).await,
        71,
        "{:?}",
        second.out()
    );
    let stderr = second.err();
    assert_eq!(stderr.len(), 1, "{stderr:?}");
    assert!(
        stderr[0].contains(&format!("INSTANCE=\"{}\"", setup.instance())),
        "{stderr:?}"
    );
    sleep(2 * POLL).await;
    assert!(first.is_running(), "the first trader ended too");
}
