//! Several traders of one account: they share the books out, take over from the dead and give back to
//! the returned, and no book ever has two writers.

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

/// A lease runs out, is looked at, is taken.
const TAKEOVER_TIMEOUT: Duration = Duration::from_mins(1);

/// How many books each of these says that it owns.
async fn book_counts(system: &System, traders: &[&TraderSetup]) -> Vec<usize> {
    let mut counts = Vec::new();
    for setup in traders {
        let heartbeat = bus_reader::latest_heartbeat(system.operator_bus(), setup.instance()).await;
        counts.push(heartbeat.map_or(0, |h| h.books.len()));
    }
    counts
}

/// Waits until each of these owns so many books, and no book has two owners.
async fn wait_for_shares(system: &System, traders: &[&TraderSetup], wanted: &[usize]) {
    let names: Vec<&str> = traders.iter().map(|t| t.instance()).collect();
    let what = format!("{names:?} own {wanted:?} books");
    eventually(&what, TAKEOVER_TIMEOUT, async || {
        let mut counts = book_counts(system, traders).await;
        counts.sort_unstable();
        (counts == wanted).then_some(())
    })
    .await;
    let owners = book_holders(system, traders).await;
    let two = owners.iter().find(|(_, owners)| owners.len() != 1);
    assert!(two.is_none(), "{two:?}");
}

async fn book_holders(system: &System, traders: &[&TraderSetup]) -> BTreeMap<String, Vec<String>> {
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for setup in traders {
        let heartbeat = bus_reader::latest_heartbeat(system.operator_bus(), setup.instance()).await;
        for book in heartbeat.unwrap().books {
            let of = owners.entry(book.book.to_string()).or_default();
            of.push(setup.instance().to_owned());
        }
    }
    owners
}

#[tokio::test]
async fn books_are_shared_taken_over_and_returned() {
    // Slow, so that books are flat when they shall change hands.
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

    // Dead for good: its book is free when its lease has run out, not before.
    second.kill();
    let died = Instant::now();
    wait_for_shares(&system, &[&a, &c], &[1, 2]).await;
    let took = died.elapsed();
    assert!(
        took + 2 * POLL >= TTL,
        "taken after {took:?}: its lease still ran"
    );

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
    // Two looks and the next heartbeat; a lease that has to run out takes longer.
    let took = ended.elapsed();
    assert!(
        took + POLL < TTL,
        "it took {took:?}: the leases were not freed"
    );
}

#[tokio::test]
async fn trader_frozen_past_its_lease_writes_nothing_afterwards() {
    let system = System::start(&[("SIM_SPEED", "300")]).await;
    let (a, b) = (system.trader_setup("sleeper"), system.trader_setup("heir"));
    let sleeper = a.start();
    sleeper.wait_until_running().await;
    system.wait_for_trades(1, DEFAULT_TIMEOUT).await;
    let owned = book_counts(&system, &[&a]).await[0];
    assert_eq!(owned, 3);
    sleeper.signal("STOP");
    let heir = b.start();
    wait_for_shares(&system, &[&b], &[3]).await;
    sleeper.signal("CONT");
    sleeper.wait_for_log("book lost").await;
    // Whatever it still had in hand, it has tried by now.
    sleep(2 * POLL).await;
    let told = bus_reader::stored_events(system.operator_bus()).await;
    let lost = told.iter().filter(|t| {
        t.subject.contains(a.instance()) && matches!(t.event.body, EventBody::BookLost { .. })
    });
    assert!(lost.count() >= 1, "nobody was told that books were lost");
    // The audit refuses a journal in which a past owner wrote.
    assert!(system.audit(&heir).await >= 1);
    drop(sleeper);
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
    let said = second.err();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains(&format!("INSTANCE={}", setup.instance())),
        "{said:?}"
    );
    sleep(2 * POLL).await;
    assert!(first.is_running(), "the first one ended too");
}
