//! Tests of subscriptions on a real nats-server: messages are pushed, and arrive also after the consumer was deleted,
//! the bus was restarted, or the consumer fell silent.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::{Duration, Instant};

use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use futures_util::TryStreamExt;
use protocol::subject::{Subject, filter};
use runtime::bus::{Bus, LatestMessage};
use runtime::report_publisher::{Retention, publish};
use runtime::streams::REPORTS;
use runtime::subscription::Subscription;
use serde_json::json;
use tokio::time::timeout;

/// Shorter than the time until a subscription reads the newest messages by itself.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);
/// Longer than that time.
const READ_TIMEOUT: Duration = Duration::from_secs(45);

fn report_of(symbol: &str) -> Subject {
    Subject::BookReport(format!("paper.venue.account.{symbol}").parse().unwrap())
}

async fn store(bus: &Bus, symbol: &str, number: u64) -> u64 {
    let stored = publish(bus, &report_of(symbol), &number, Retention::Newest).await;
    stored.unwrap()
}

fn subscribe(bus: &Bus) -> Subscription {
    let filter = filter::account_book_reports(&"paper.venue.account".parse().unwrap());
    Subscription::start(bus, REPORTS, filter)
}

async fn next(subscription: &mut Subscription, within: Duration) -> LatestMessage {
    let next = timeout(within, subscription.next()).await;
    next.unwrap_or_else(|_| panic!("no message within {within:?}"))
}

/// Waits for a message with this number.
async fn wait_for(subscription: &mut Subscription, number: u64, within: Duration) {
    let wait = async { while subscription.next().await.json() != Some(number) {} };
    let waited = timeout(within, wait).await;
    waited.unwrap_or_else(|_| panic!("message {number} not within {within:?}"));
}

/// Waits until the stream has one consumer; returns its name.
async fn wait_for_consumer(admin: &Bus) -> String {
    eventually("one consumer", DEFAULT_TIMEOUT, async || {
        let stream = admin.jetstream().get_stream(REPORTS).await.ok()?;
        let names: Vec<String> = stream.consumer_names().try_collect().await.ok()?;
        (names.len() == 1).then(|| names[0].clone())
    })
    .await
}

#[tokio::test]
async fn newest_messages_are_received_first_and_newer_ones_within_300_ms() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    for (symbol, number) in [("A", 1), ("B", 2), ("A", 3)] {
        store(&bus, symbol, number).await;
    }
    let mut subscription = subscribe(&bus);
    for (symbol, number) in [("B", 2), ("A", 3)] {
        let message = next(&mut subscription, DEFAULT_TIMEOUT).await;
        assert_eq!(message.subject, report_of(symbol).to_string());
        assert_eq!(message.json(), Some(number));
    }
    let mut latencies = Vec::new();
    for number in 0..20 {
        let seq = store(&bus, "A", number).await;
        let stored_at = Instant::now();
        let message = next(&mut subscription, PUSH_TIMEOUT).await;
        latencies.push(stored_at.elapsed());
        assert_eq!((message.seq, message.json()), (seq, Some(number)));
    }
    latencies.sort();
    eprintln!(
        "stored to received: median {:?}, all {latencies:?}",
        latencies[10]
    );
    assert!(latencies[10] < Duration::from_millis(300), "{latencies:?}");
}

#[tokio::test]
async fn subscription_without_permission_to_create_consumers_still_reads() {
    let nats = NatsServer::with_streams().await;
    store(&nats.bus(Role::TraderPaper).await, "A", 1).await;
    // The notifier may read these reports, but create no consumer for them.
    let mut subscription = subscribe(&nats.bus(Role::Notifier).await);
    wait_for(&mut subscription, 1, READ_TIMEOUT).await;
}

#[tokio::test]
async fn deleted_consumer_is_replaced_without_a_message_lost_or_repeated() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let admin = nats.bus(Role::BusInit).await;
    let mut subscription = subscribe(&bus);
    store(&bus, "A", 1).await;
    wait_for(&mut subscription, 1, DEFAULT_TIMEOUT).await;
    let consumer = wait_for_consumer(&admin).await;
    let stream = admin.jetstream().get_stream(REPORTS).await.unwrap();
    stream.delete_consumer(&consumer).await.unwrap();
    let seq = store(&bus, "B", 2).await;
    let message = next(&mut subscription, PUSH_TIMEOUT).await;
    assert_eq!((message.seq, message.json()), (seq, Some(2)));
    assert_ne!(wait_for_consumer(&admin).await, consumer);
}

#[tokio::test]
async fn subscription_survives_restarts_of_the_bus() {
    let mut nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let mut subscription = subscribe(&bus);
    for round in 0..3 {
        store(&bus, "A", round).await;
        wait_for(&mut subscription, round, PUSH_TIMEOUT).await;
        nats.kill();
        nats.restart().await;
        let another = nats.bus(Role::TraderPaper).await;
        store(&another, "B", 10 + round).await;
        wait_for(&mut subscription, 10 + round, PUSH_TIMEOUT).await;
    }
}

#[tokio::test]
async fn message_that_its_consumer_does_not_push_is_read() {
    let nats = NatsServer::with_streams().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let admin = nats.bus(Role::BusInit).await;
    let mut subscription = subscribe(&bus);
    store(&bus, "A", 1).await;
    wait_for(&mut subscription, 1, DEFAULT_TIMEOUT).await;
    // The consumer stays alive and sends its heartbeats, but matches nothing any more.
    let consumer = wait_for_consumer(&admin).await;
    let stream = admin.jetstream().get_stream(REPORTS).await.unwrap();
    let mut config = stream.consumer_info(&consumer).await.unwrap().config;
    config.filter_subject = report_of("OTHER").to_string();
    let subject = format!(
        "CONSUMER.CREATE.{REPORTS}.{consumer}.{}",
        config.filter_subject
    );
    let update = json!({"stream_name": REPORTS, "config": config, "action": "update"});
    let answer: serde_json::Value = admin.jetstream().request(subject, &update).await.unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    store(&bus, "A", 2).await;
    wait_for(&mut subscription, 2, READ_TIMEOUT).await;
    // The silent consumer was replaced.
    store(&bus, "A", 3).await;
    wait_for(&mut subscription, 3, PUSH_TIMEOUT).await;
}
