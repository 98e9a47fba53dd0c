//! `kill -9` of the real notifier, again and again, on a real bus and with a Telegram that loses answers: nothing
//! is lost, what comes twice says so, and there is no more of it than calls without a clear answer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails, and figures are for a person to read"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{Setup, TRADER, given_up, tell};
use bearish_tests::patience::{Dice, SOON, eventually};
use bearish_tests::process::Process;
use bearish_tests::telegram::{Limits, Telegram, Trouble};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::journal::Journal;
use serde_json::Value;
use tokio::time::sleep;

fn number_of(text: &str) -> usize {
    let from = text.find("reason-").unwrap() + "reason-".len();
    text[from..].split('-').next().unwrap().parse().unwrap()
}

/// What the notifier's journal says: how many messages had no clear answer, and after which records its
/// processes were killed.
async fn journal(bus: &Bus) -> (usize, BTreeMap<String, usize>) {
    let reader = "audit".parse().unwrap();
    let replayed = Journal::replay::<Value>(bus, &Subject::NotifierJournal, reader).await;
    let entries = replayed.unwrap().1.into_iter();
    let records = entries.flat_map(|stored| stored.entry.records);
    let (mut unknown, mut edges, mut before) = (0, BTreeMap::new(), "nothing".to_owned());
    for record in records {
        let kind = record["type"].as_str().unwrap().to_owned();
        unknown += usize::from(kind == "unknown");
        if kind == "owner_took_over" {
            *edges.entry(before).or_default() += 1;
        }
        before = kind;
    }
    (unknown, edges)
}

/// Tells so many events in rounds of so many; kills the notifier in each.
async fn kill_again_and_again(events: usize, round: usize) -> BTreeMap<String, usize> {
    let began = Instant::now();
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    telegram.set_limits(Limits::OFF);
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = Setup::new(&nats).with(&telegram);
    let setup = setup.env("TELEGRAM_GAP_MS", "0");
    let mut dice = Dice::new();
    let mut notifier = setup.start();
    let mut kills = 0;
    for told in 0..events {
        tell(&bus, TRADER, &format!("e{told}"), given_up(told)).await;
        if (told + 1) % round == 0 {
            trouble(&telegram, &mut dice);
            die_somewhere(&telegram, &notifier, &mut dice).await;
            notifier.kill();
            kills += 1;
            notifier = setup.start();
        }
    }
    let patience = SOON * 2 + Duration::from_millis(20) * u32::try_from(events).unwrap();
    eventually("everything is shown", patience, async || {
        let shown = telegram.shown();
        let numbers: BTreeSet<usize> = shown.iter().map(|s| number_of(&s.text)).collect();
        (numbers.len() == events).then_some(())
    })
    .await;
    let (unknown, edges) = settled(&nats).await;
    let mut seen = BTreeSet::new();
    let mut repeats = 0;
    for shown in telegram.shown() {
        if !seen.insert(number_of(&shown.text)) {
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
fn trouble(telegram: &Telegram, dice: &mut Dice) {
    let troubles = [
        Trouble::DropReply,
        Trouble::DropReply,
        Trouble::ServerError(502),
        Trouble::RefuseConnection,
    ];
    if telegram.troubles() == 0 && *dice.one_of(&[true, false]) {
        telegram.next(dice.one_of(&troubles).clone());
    }
}

/// At any moment, or in the midst of sending: so often as calls come and go.
async fn die_somewhere(telegram: &Telegram, notifier: &Process, dice: &mut Dice) {
    if *dice.one_of(&[true, false, false]) {
        sleep(dice.millis(0..600)).await;
        return;
    }
    notifier.says("telling the owner").await;
    let enough = telegram.requests() + *dice.one_of(&[1, 2, 5, 10]);
    let within = Instant::now() + Duration::from_millis(500);
    while telegram.requests() < enough && Instant::now() < within {
        sleep(Duration::from_micros(100)).await;
    }
    sleep(Duration::from_micros(
        *dice.one_of(&[0, 300, 700, 1_500, 4_000]),
    ))
    .await;
}

/// The journal once nothing is under way any more.
async fn settled(nats: &NatsServer) -> (usize, BTreeMap<String, usize>) {
    let operator = nats.bus(Role::Operator).await;
    let mut before = (usize::MAX, BTreeMap::new());
    eventually("the journal rests", SOON, async || {
        sleep(Duration::from_millis(500)).await;
        let now = journal(&operator).await;
        let rests = now == before;
        before = now.clone();
        rests.then_some(now)
    })
    .await
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_nothing_and_what_comes_twice_says_so() {
    kill_again_and_again(300, 20).await;
}

#[tokio::test]
#[ignore = "minutes: `scripts/test --all`"]
async fn ten_thousand_events_and_kills_at_every_edge_of_the_delivery_states() {
    let edges = kill_again_and_again(10_000, 40).await;
    // Before anything was begun, with letters that wait, with a message under way, after its end.
    for edge in ["owner_took_over", "queued", "sending", "sent"] {
        assert!(
            edges.contains_key(edge),
            "never killed after {edge}: {edges:?}"
        );
    }
}
