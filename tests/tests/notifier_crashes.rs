//! Repeated `kill -9` of the real notifier on a real bus, with a Telegram that loses responses: no message is lost, and
//! every repeat is flagged and explained by a call without a clear response.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails, and figures are for a reader"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{NotifierSetup, TRADER, publish_event, quarantined_event};
use bearish_tests::process::Process;
use bearish_tests::telegram::{RateLimits, Telegram, TelegramFault};
use bearish_tests::wait::{DEFAULT_TIMEOUT, SeededRandom, eventually};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::journal::Journal;
use serde_json::Value;
use tokio::time::sleep;

fn event_number(text: &str) -> usize {
    let from = text.find("reason-").unwrap() + "reason-".len();
    text[from..].split('-').next().unwrap().parse().unwrap()
}

/// What the notifier's journal says: how many messages had no clear answer, and after which records its
/// processes were killed.
async fn read_journal(bus: &Bus) -> (usize, BTreeMap<String, usize>) {
    let reader = "audit".parse().unwrap();
    let replayed = Journal::replay::<Value>(bus, &Subject::NotifierJournal, reader).await;
    let entries = replayed.unwrap().1.into_iter();
    let records = entries.flat_map(|stored| stored.batch.records);
    let (mut unknown, mut edges, mut before) = (0, BTreeMap::new(), "nothing".to_owned());
    for record in records {
        let kind = record["type"].as_str().unwrap().to_owned();
        unknown += usize::from(kind == "message_outcome_unknown");
        if kind == "writer_changed" {
            *edges.entry(before).or_default() += 1;
        }
        before = kind;
    }
    (unknown, edges)
}

/// Publishes `events` events in rounds of `round`; kills the notifier in each round.
async fn kill_again_and_again(events: usize, round: usize) -> BTreeMap<String, usize> {
    let began = Instant::now();
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    telegram.set_limits(RateLimits::UNLIMITED);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let setup = setup.env("TELEGRAM_MIN_INTERVAL_MS", "0");
    let mut dice = SeededRandom::new();
    let mut notifier = setup.start();
    let mut kills = 0;
    for number in 0..events {
        publish_event(
            &bus,
            TRADER,
            &format!("e{number}"),
            quarantined_event(number),
        )
        .await;
        if (number + 1) % round == 0 {
            maybe_prepare_fault(&telegram, &mut dice);
            wait_for_random_moment(&telegram, &notifier, &mut dice).await;
            notifier.kill();
            kills += 1;
            notifier = setup.start();
        }
    }
    let patience = DEFAULT_TIMEOUT * 2 + Duration::from_millis(20) * u32::try_from(events).unwrap();
    eventually("everything is shown", patience, async || {
        let shown = telegram.shown();
        let numbers: BTreeSet<usize> = shown.iter().map(|s| event_number(&s.text)).collect();
        (numbers.len() == events).then_some(())
    })
    .await;
    let (unknown, edges) = wait_until_journal_rests(&nats).await;
    let mut seen = BTreeSet::new();
    let mut repeats = 0;
    for shown in telegram.shown() {
        if !seen.insert(event_number(&shown.text)) {
            repeats += 1;
            let marked = shown.text.contains("(possible repeat");
            assert!(marked, "twice, unmarked: {}", shown.text);
        }
    }
    eprintln!(
        "{events} events, {kills} kills in {:?}: 0 lost, {repeats} repeats, {unknown} unknown outcomes; \
         killed after {edges:?}",
        began.elapsed()
    );
    assert!(repeats <= unknown, "{repeats} repeats, {unknown} unknown");
    edges
}

/// One at a time: of many in a row each makes the pause after it longer.
fn maybe_prepare_fault(telegram: &Telegram, dice: &mut SeededRandom) {
    let troubles = [
        TelegramFault::DropReply,
        TelegramFault::DropReply,
        TelegramFault::ServerError(502),
        TelegramFault::RefuseConnection,
    ];
    if telegram.pending_faults() == 0 && *dice.choose(&[true, false]) {
        telegram.prepare_fault(dice.choose(&troubles).clone());
    }
}

/// At any moment, or in the midst of sending: so often as calls come and go.
async fn wait_for_random_moment(telegram: &Telegram, notifier: &Process, dice: &mut SeededRandom) {
    if *dice.choose(&[true, false, false]) {
        sleep(dice.duration_ms(0..600)).await;
        return;
    }
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    let enough = telegram.request_count() + *dice.choose(&[1, 2, 5, 10]);
    let within = Instant::now() + Duration::from_millis(500);
    while telegram.request_count() < enough && Instant::now() < within {
        sleep(Duration::from_micros(100)).await;
    }
    sleep(Duration::from_micros(
        *dice.choose(&[0, 300, 700, 1_500, 4_000]),
    ))
    .await;
}

/// The journal once nothing is under way any more.
async fn wait_until_journal_rests(nats: &NatsServer) -> (usize, BTreeMap<String, usize>) {
    let operator = nats.bus(Role::Operator).await;
    let mut before = (usize::MAX, BTreeMap::new());
    eventually("the journal rests", DEFAULT_TIMEOUT, async || {
        sleep(Duration::from_millis(500)).await;
        let now = read_journal(&operator).await;
        let rests = now == before;
        before = now.clone();
        rests.then_some(now)
    })
    .await
}

#[tokio::test]
async fn kill_9_of_the_notifier_loses_nothing_and_marks_repeats() {
    kill_again_and_again(300, 20).await;
}

#[tokio::test]
#[ignore = "minutes: `scripts/test --all`"]
async fn notifier_survives_kills_at_every_edge_over_ten_thousand_events() {
    let edges = kill_again_and_again(10_000, 40).await;
    // Before anything was begun, with letters that wait, with a message under way, after its end.
    for edge in [
        "writer_changed",
        "queued",
        "message_sending",
        "message_sent",
    ] {
        assert!(
            edges.contains_key(edge),
            "never killed after {edge}: {edges:?}"
        );
    }
}
