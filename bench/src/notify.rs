//! The notifier alone, on a real nats-server, with the strict Telegram of the tests at the other end and no pace
//! to keep: how long a critical takes, how fast events are taken in, what many that wait cost; and beside it, by
//! turns, what a script's way to the same Telegram takes: `apprise`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bearish_tests::docker::run;
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{Setup, TRADER, given_up, tell};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::telegram::{Limits, Telegram};
use clap::Args;
use protocol::event::EventBody;
use runtime::bus::Bus;
use runtime::streams;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::figures::{millis, per_second, rank};
use crate::machine::{self, Leisure};
use crate::proc::Proc;

/// Who stores many events shares them among so many.
const TELLERS: usize = 32;
const MINUTES: Duration = Duration::from_mins(10);

/// How much
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Criticals, one after the other
    #[arg(long, default_value_t = 500)]
    criticals: usize,
    /// Events that wait on the bus when the notifier starts
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// Events that wait in the notifier while Telegram is away
    #[arg(long, default_value_t = 100_000)]
    waiting: usize,
    /// A Python that has apprise (bench/peers/notify makes one)
    #[arg(long, value_name = "PYTHON")]
    apprise: Option<PathBuf>,
}

/// Measures and prints.
pub(crate) async fn measure(options: &Options) {
    machine::print(&[]);
    let leisure = Leisure::begin();
    lane(options).await;
    intake(options.events).await;
    backlog(options.waiting).await;
    leisure.print();
}

/// From before an event is stored to when Telegram has taken its message.
async fn lane(options: &Options) {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    telegram.set_limits(Limits::OFF);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = Setup::new(&nats).with(&telegram);
    let setup = setup.env("TELEGRAM_GAP_MS", "0").env("LOG_LEVEL", "info");
    let notifier = setup.start();
    notifier.says("telling the owner").await;
    let proc = Proc::of_process(notifier.id());
    let used = proc.used();
    let mut spans = Vec::with_capacity(options.criticals);
    for number in 0..options.criticals {
        let began = Instant::now();
        tell(&bus, TRADER, &format!("c{number}"), given_up(number)).await;
        spans.push(arrives(&telegram, number).await.duration_since(began));
    }
    let used = proc.used().saturating_sub(used);
    spans.sort_unstable();
    println!(
        "a critical, stored to taken by Telegram: p50 {}, p99 {}, max {} of {}; processor {} each",
        millis(rank(&spans, 50)),
        millis(rank(&spans, 99)),
        millis(rank(&spans, 100)),
        spans.len(),
        micros(used, spans.len()),
    );
    if let Some(python) = &options.apprise {
        apprise(python, &telegram, options.criticals);
    }
}

/// When the message with this number came, looked for often enough not to matter.
async fn arrives(telegram: &Telegram, number: usize) -> Instant {
    loop {
        if telegram.shown_count() > number {
            return telegram.shown_at(number);
        }
        sleep(Duration::from_micros(100)).await;
    }
}

/// The same text, again and again, by the library and by one process each.
fn apprise(python: &Path, telegram: &Telegram, count: usize) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/apprise_send.py");
    let text = &telegram.shown()[0].text;
    let chat = telegram.chat().to_string();
    let mut command = Command::new(python);
    command.arg(script);
    command.args([
        &telegram.url(),
        telegram.token(),
        &chat,
        &count.to_string(),
        text,
    ]);
    print!("{}", run(&mut command));
}

/// Taken from the bus, journaled and grouped: from the notifier's turn on until nothing is left on the bus.
async fn intake(events: usize) {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    telegram.set_limits(Limits::OFF);
    store(&nats.bus(Role::TraderPaper).await, events).await;
    let setup = Setup::new(&nats).with(&telegram).env("LOG_LEVEL", "info");
    let notifier = setup.start();
    notifier.says("telling the owner").await;
    let began = Instant::now();
    let operator = nats.bus(Role::Operator).await;
    taken_in(&operator, events).await;
    let took = began.elapsed();
    let proc = Proc::of_process(notifier.id());
    println!(
        "{events} events taken in and journaled in {took:.2?}: {:.0} a second; {} messages so far; processor {} \
         each",
        per_second(events, took),
        telegram.shown_count(),
        micros(proc.used(), events),
    );
}

/// So many letters that wait because Telegram is away.
async fn backlog(events: usize) {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    store(&nats.bus(Role::TraderPaper).await, events).await;
    let setup = Setup::new(&nats).with(&telegram).env("LOG_LEVEL", "error");
    // Nobody listens there.
    let setup = setup.env("TELEGRAM_API_URL", "http://127.0.0.1:9");
    let notifier = setup.start();
    let proc = Proc::of_process(notifier.id());
    let operator = nats.bus(Role::Operator).await;
    taken_in(&operator, events).await;
    let memory = proc.memory();
    println!(
        "with {events} events waiting: {} kB resident, {} of them its own",
        memory.resident, memory.anonymous
    );
    drop(notifier);
    let began = Instant::now();
    let again = setup.env("LOG_LEVEL", "info").start();
    again.says_within("telling the owner", SOON).await;
    println!(
        "its next start, all of it replayed: {:.2?}",
        began.elapsed()
    );
}

/// Until the consumer has nothing left to bring.
async fn taken_in(operator: &Bus, events: usize) {
    eventually("all events are taken in", MINUTES, async || {
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

async fn store(bus: &Bus, events: usize) {
    let mut tellers = JoinSet::new();
    for teller in 0..TELLERS {
        let bus = bus.clone();
        tellers.spawn(async move {
            for number in (teller..events).step_by(TELLERS) {
                tell(&bus, TRADER, &format!("e{number}"), recovered(number)).await;
            }
        });
    }
    tellers.join_all().await;
}

fn recovered(number: usize) -> EventBody {
    EventBody::PartRecovered {
        part: format!("feed-{number}"),
        after_ms: 1_000,
    }
}

fn micros(span: Duration, count: usize) -> String {
    format!("{} µs", span.as_micros() / count.max(1) as u128)
}
