//! Storms: many traders tell much at once, or tell it when the bus is back. The real notifier between a real
//! nats-server and a strict Telegram at its true pace: criticals go first, the rest is counted, and the counts
//! are right.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails, and figures are for a person to read"
)]

use std::time::{Duration, Instant};

use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{Setup, tell, tell_of};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::telegram::{Shown, Telegram};
use protocol::event::EventBody;
use runtime::bus::Bus;
use tokio::task::JoinSet;
use tokio::time::sleep;

fn given_up(trader: &str, number: usize) -> EventBody {
    EventBody::GivenUp {
        unit: trader.parse().unwrap(),
        reason: format!("reason-{number}-"),
        restarts: 11,
        consecutive: 11,
        exit: Some(137),
    }
}

fn failed(number: usize) -> EventBody {
    EventBody::PartFailed {
        part: "account".to_owned(),
        error: format!("no answer, {number}"),
    }
}

fn recovered() -> EventBody {
    EventBody::PartRecovered {
        part: "feed".to_owned(),
        after_ms: 1_000,
    }
}

async fn shows(telegram: &Telegram, text: &str) -> Shown {
    eventually(&format!("{text:?} is shown"), SOON, async || {
        let mut shown = telegram.shown().into_iter();
        shown.find(|shown| shown.text.contains(text))
    })
    .await
}

/// How much of this kind the owner was told: in groups by its heading, in digests by the count.
fn told(shown: &[Shown], heading: &str, kind: &str) -> usize {
    let counted = |line: &str| {
        let count = line.strip_suffix(kind)?.strip_suffix(" × ")?;
        count.parse::<usize>().ok()
    };
    let lines = shown.iter().flat_map(|shown| shown.text.lines());
    lines
        .map(|line| counted(line).unwrap_or(usize::from(line == heading)))
        .sum()
}

/// So many of one trader's, evenly over this time.
async fn one_trader(bus: Bus, trader: String, events: usize, over: Duration) {
    let every = over / u32::try_from(events).unwrap();
    let mut clock = tokio::time::interval(every);
    for number in 0..events {
        clock.tick().await;
        tell(&bus, &trader, &format!("{trader}:{number}"), recovered()).await;
    }
}

/// So many events from so many traders within this time, and criticals among them: how long the slowest of
/// those took.
async fn storm(telegram: &Telegram, bus: &Bus, traders: usize, each: usize, over: Duration) {
    const CRITICALS: usize = 4;
    let began = Instant::now();
    let mut tellers = JoinSet::new();
    for number in 0..traders {
        let trader = format!("trader-paper-{number}");
        tellers.spawn(one_trader(bus.clone(), trader, each, over));
    }
    let mut slowest = Duration::ZERO;
    for number in 0..CRITICALS {
        sleep(over / 5).await;
        let asked = Instant::now();
        let trader = format!("trader-paper-{number}");
        tell(
            bus,
            &trader,
            &format!("c{number}"),
            given_up(&trader, number),
        )
        .await;
        let shown = shows(telegram, &format!("reason-{number}-")).await;
        slowest = slowest.max(shown.at.duration_since(asked));
    }
    tellers.join_all().await;
    let took = began.elapsed();
    eventually("all of it is told", SOON * 2, async || {
        (told(&telegram.shown(), "✅ WORKS AGAIN", "part recovered") >= traders * each)
            .then_some(())
    })
    .await;
    let (shown, all) = (telegram.shown(), traders * each);
    eprintln!(
        "{all} events of {traders} traders in {took:?}: told after {:?} in {} messages, slowest critical {slowest:?}",
        began.elapsed(),
        shown.len()
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert_eq!(told(&shown, "✅ WORKS AGAIN", "part recovered"), all);
    let in_a_minute = shown.iter().filter(|shown| {
        let after = shown.at.duration_since(began);
        after < Duration::from_mins(1)
    });
    assert!(in_a_minute.count() < 20, "{shown:?}");
}

#[tokio::test]
async fn a_storm_is_counted_and_criticals_overtake_it() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let notifier = Setup::new(&nats).with(&telegram).start();
    notifier.says("telling the owner").await;
    storm(&telegram, &bus, 20, 25, Duration::from_secs(4)).await;
}

#[tokio::test]
#[ignore = "its load disturbs others: `scripts/test --all`"]
async fn five_thousand_events_in_ten_seconds_from_a_hundred_traders() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let notifier = Setup::new(&nats).with(&telegram).start();
    notifier.says("telling the owner").await;
    storm(&telegram, &bus, 100, 50, Duration::from_secs(10)).await;
}

#[tokio::test]
#[ignore = "three minutes of waiting: `scripts/test --all`"]
async fn a_bus_that_is_away_for_a_minute_loses_no_critical_and_floods_nobody_when_it_is_back() {
    const TRADERS: usize = 10;
    let (mut nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let notifier = Setup::new(&nats).with(&telegram).start();
    notifier.says("telling the owner").await;
    nats.kill();
    // What it does to traders they keep, and tell once it is back.
    sleep(Duration::from_secs(20)).await;
    let at = runtime::clock::now();
    sleep(Duration::from_secs(40)).await;
    nats.restart().await;
    let back = Instant::now();
    let bus = nats.bus(Role::TraderPaper).await;
    for number in 0..TRADERS * 20 {
        let trader = format!("trader-paper-{}", number % TRADERS);
        tell_of(&bus, &trader, &format!("f{number}"), at, failed(number)).await;
    }
    for number in 0..3 {
        let trader = format!("trader-paper-{number}");
        tell_of(
            &bus,
            &trader,
            &format!("c{number}"),
            at,
            given_up(&trader, number),
        )
        .await;
    }
    for number in 0..3 {
        let shown = shows(&telegram, &format!("reason-{number}-")).await;
        eprintln!(
            "critical {number}: {:?} after the return",
            shown.at.duration_since(back)
        );
    }
    shows(&telegram, "✅ BUS BACK").await;
    let held = eventually("what came of it is told", SOON * 2, async || {
        let mut shown = telegram.shown().into_iter();
        shown.find(|shown| shown.text.contains("THE BUS WAS AWAY"))
    })
    .await;
    let first = "🔕 THE BUS WAS AWAY: 10 traders, 200 messages in one";
    assert_eq!(held.text.lines().next(), Some(first), "{}", held.text);
    // BUS AWAY, BUS BACK, three criticals, and that one.
    assert_eq!(telegram.shown().len(), 6, "{:?}", telegram.shown());
}
