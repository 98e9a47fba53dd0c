//! Measures the notifier on a real nats-server with the tests' fake Telegram and without send limits: latency of a
//! critical event, intake rate, and cost of many queued events. Then measures apprise with the same fake Telegram.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bearish_tests::docker::run_command;
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{NotifierSetup, TRADER, publish_event, quarantined_event};
use bearish_tests::telegram::{RateLimits, Telegram};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use clap::Args;
use protocol::event::EventBody;
use runtime::bus::Bus;
use runtime::streams;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::machine::{self, IdleTime};
use crate::proc::ProcessStats;
use crate::stats::{format_millis, per_second, rank};

/// Number of tasks that publish events in parallel.
const PUBLISHERS: usize = 32;
const INTAKE_TIMEOUT: Duration = Duration::from_mins(10);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of critical events, one after the other
    #[arg(long, default_value_t = 500)]
    critical_messages: usize,
    /// Number of events on the bus when the notifier starts
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// Number of events queued in the notifier while Telegram is unreachable
    #[arg(long, default_value_t = 100_000)]
    waiting: usize,
    /// Path of a Python that has apprise (bench/peers/notify installs one)
    #[arg(long, value_name = "PYTHON")]
    apprise: Option<PathBuf>,
}

pub(crate) async fn measure(options: &Options) {
    machine::print(&[]);
    let idle = IdleTime::begin();
    measure_latency(options).await;
    measure_intake(options.events).await;
    measure_backlog(options.waiting).await;
    idle.print();
}

/// Measures the time from the publication of an event until Telegram has accepted its message.
async fn measure_latency(options: &Options) {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    telegram.set_limits(RateLimits::UNLIMITED);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let setup = setup
        .env("TELEGRAM_MIN_INTERVAL_MS", "0")
        .env("LOG_LEVEL", "info");
    let notifier = setup.start();
    notifier.wait_for_log("sending notifications").await;
    let proc = ProcessStats::of_process(notifier.pid());
    let used = proc.cpu_time();
    let mut spans = Vec::with_capacity(options.critical_messages);
    for number in 0..options.critical_messages {
        let start = Instant::now();
        publish_event(
            &bus,
            TRADER,
            &format!("c{number}"),
            quarantined_event(number),
        )
        .await;
        spans.push(
            wait_for_message(&telegram, number)
                .await
                .duration_since(start),
        );
    }
    let used = proc.cpu_time().saturating_sub(used);
    spans.sort_unstable();
    println!(
        "critical event, published to accepted by Telegram: p50 {}, p99 {}, max {} of {}; processor {} each",
        format_millis(rank(&spans, 50)),
        format_millis(rank(&spans, 99)),
        format_millis(rank(&spans, 100)),
        spans.len(),
        format_micros(used, spans.len()),
    );
    if let Some(python) = &options.apprise {
        run_apprise(python, &telegram, options.critical_messages);
    }
}

/// Waits for the message with this number and returns its time of receipt. The poll interval is negligible.
async fn wait_for_message(telegram: &Telegram, number: usize) -> Instant {
    loop {
        if telegram.shown_count() > number {
            return telegram.shown_at(number);
        }
        sleep(Duration::from_micros(100)).await;
    }
}

/// Runs `apprise_send.py`, which sends the same text `count` times.
fn run_apprise(python: &Path, telegram: &Telegram, count: usize) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/apprise_send.py");
    let text = &telegram.shown()[0].text;
    let chat = telegram.private_chat().to_string();
    let mut command = Command::new(python);
    command.arg(script);
    command.args([
        &telegram.url(),
        telegram.token(),
        &chat,
        &count.to_string(),
        text,
    ]);
    print!("{}", run_command(&mut command));
}

/// Measures the time from the notifier's start until all events on the bus are consumed and journaled.
async fn measure_intake(events: usize) {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    telegram.set_limits(RateLimits::UNLIMITED);
    publish_events(&nats.bus(Role::TraderPaper).await, events).await;
    let setup = NotifierSetup::new(&nats)
        .with_telegram(&telegram)
        .env("LOG_LEVEL", "info");
    let notifier = setup.start();
    notifier.wait_for_log("sending notifications").await;
    let start = Instant::now();
    let operator = nats.bus(Role::Operator).await;
    wait_until_consumed(&operator, events).await;
    let took = start.elapsed();
    let proc = ProcessStats::of_process(notifier.pid());
    println!(
        "{events} events consumed and journaled in {took:.2?}: {:.0} per second; {} messages so far; processor {} \
         each",
        per_second(events, took),
        telegram.shown_count(),
        format_micros(proc.cpu_time(), events),
    );
}

/// Measures memory with `events` queued events while Telegram is unreachable, and the next start.
async fn measure_backlog(events: usize) {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    publish_events(&nats.bus(Role::TraderPaper).await, events).await;
    let setup = NotifierSetup::new(&nats)
        .with_telegram(&telegram)
        .env("LOG_LEVEL", "error");
    // No server listens on this port.
    let setup = setup.env("TELEGRAM_API_URL", "http://127.0.0.1:9");
    let notifier = setup.start();
    let proc = ProcessStats::of_process(notifier.pid());
    let operator = nats.bus(Role::Operator).await;
    wait_until_consumed(&operator, events).await;
    let memory = proc.memory();
    println!(
        "with {events} queued events: {} kB resident, {} kB anonymous",
        memory.resident, memory.anonymous
    );
    drop(notifier);
    let start = Instant::now();
    let again = setup.env("LOG_LEVEL", "info").start();
    again
        .wait_for_log_within("sending notifications", DEFAULT_TIMEOUT)
        .await;
    println!(
        "next start with replay of all records: {:.2?}",
        start.elapsed()
    );
}

/// Waits until the notifier's consumer has no pending event.
async fn wait_until_consumed(operator: &Bus, events: usize) {
    eventually("all events are consumed", INTAKE_TIMEOUT, async || {
        let stream = operator
            .jetstream()
            .get_stream(streams::EVENTS)
            .await
            .ok()?;
        let info = stream.consumer_info("notifier").await.ok()?;
        let done = info.ack_floor.stream_sequence >= u64::try_from(events).unwrap();
        (done && info.num_pending == 0).then_some(())
    })
    .await;
}

async fn publish_events(bus: &Bus, events: usize) {
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let bus = bus.clone();
        publishers.spawn(async move {
            for number in (publisher..events).step_by(PUBLISHERS) {
                publish_event(
                    &bus,
                    TRADER,
                    &format!("e{number}"),
                    component_recovered_event(number),
                )
                .await;
            }
        });
    }
    publishers.join_all().await;
}

fn component_recovered_event(number: usize) -> EventBody {
    EventBody::ComponentRecovered {
        component: format!("feed-{number}"),
        after_ms: 1_000,
    }
}

fn format_micros(span: Duration, count: usize) -> String {
    format!("{} µs", span.as_micros() / count.max(1) as u128)
}
