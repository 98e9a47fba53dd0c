//! Bursts: many traders publish many events at once, or after a bus outage. The real notifier between a real nats-server
//! and a strict Telegram with its real rate: critical messages go first, the rest is counted, and the counts are right.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a panic is how a test fails, and figures are for a reader"
)]

use std::time::{Duration, Instant};

use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{NotifierSetup, publish_event, publish_event_at};
use bearish_tests::telegram::{ShownMessage, Telegram};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::event::EventBody;
use protocol::unit_remedy::UnitRemedy;
use runtime::bus::Bus;
use tokio::task::JoinSet;
use tokio::time::sleep;

fn quarantined_event(trader: &str, number: usize) -> EventBody {
    EventBody::UnitQuarantined {
        unit: trader.parse().unwrap(),
        reason: format!("reason-{number}-"),
        restarts: 11,
        consecutive_failures: 11,
        exit_code: Some(137),
        remedy: UnitRemedy::Release {
            reset_restarts: false,
        },
    }
}

fn component_failed_event(number: usize) -> EventBody {
    EventBody::ComponentFailed {
        component: "account".to_owned(),
        error: format!("no answer, {number}"),
    }
}

fn component_recovered_event() -> EventBody {
    EventBody::ComponentRecovered {
        component: "feed".to_owned(),
        after_ms: 1_000,
    }
}

async fn wait_until_shown(telegram: &Telegram, text: &str) -> ShownMessage {
    eventually(&format!("{text:?} is shown"), DEFAULT_TIMEOUT, async || {
        let mut shown = telegram.shown().into_iter();
        shown.find(|shown| shown.text.contains(text))
    })
    .await
}

/// Number of notifications of this kind: in groups by their heading, in digests by the count.
fn count_shown(shown: &[ShownMessage], heading: &str, kind: &str) -> usize {
    let counted = |line: &str| {
        let count = line.strip_suffix(kind)?.strip_suffix(" × ")?;
        count.parse::<usize>().ok()
    };
    let lines = shown.iter().flat_map(|shown| shown.text.lines());
    lines
        .map(|line| counted(line).unwrap_or(usize::from(line.starts_with(heading))))
        .sum()
}

/// So many of one trader's, evenly over this time.
async fn publish_evenly(bus: Bus, trader: String, events: usize, over: Duration) {
    let every = over / u32::try_from(events).unwrap();
    let mut clock = tokio::time::interval(every);
    for number in 0..events {
        clock.tick().await;
        publish_event(
            &bus,
            &trader,
            &format!("{trader}:{number}"),
            component_recovered_event(),
        )
        .await;
    }
}

/// So many events from so many traders within this time, and critical ones among them: how long the slowest of
/// those took.
async fn run_burst(telegram: &Telegram, bus: &Bus, traders: usize, each: usize, over: Duration) {
    const CRITICAL_COUNT: usize = 4;
    let began = Instant::now();
    let mut tellers = JoinSet::new();
    for number in 0..traders {
        let trader = format!("trader-paper-{number}");
        tellers.spawn(publish_evenly(bus.clone(), trader, each, over));
    }
    let mut slowest = Duration::ZERO;
    for number in 0..CRITICAL_COUNT {
        sleep(over / 5).await;
        let asked = Instant::now();
        let trader = format!("trader-paper-{number}");
        publish_event(
            bus,
            &trader,
            &format!("c{number}"),
            quarantined_event(&trader, number),
        )
        .await;
        let shown = wait_until_shown(telegram, &format!("reason-{number}-")).await;
        slowest = slowest.max(shown.shown_at.duration_since(asked));
    }
    tellers.join_all().await;
    let took = began.elapsed();
    eventually("everything is sent", DEFAULT_TIMEOUT * 2, async || {
        (count_shown(
            &telegram.shown(),
            "✅ COMPONENT RECOVERED",
            "component recovered",
        ) >= traders * each)
            .then_some(())
    })
    .await;
    let (shown, all) = (telegram.shown(), traders * each);
    eprintln!(
        "{all} events of {traders} traders in {took:?}: sent after {:?} in {} messages, slowest critical {slowest:?}",
        began.elapsed(),
        shown.len()
    );
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert_eq!(
        count_shown(&shown, "✅ COMPONENT RECOVERED", "component recovered"),
        all
    );
    let in_a_minute = shown.iter().filter(|shown| {
        let after = shown.shown_at.duration_since(began);
        after < Duration::from_mins(1)
    });
    assert!(in_a_minute.count() < 20, "{shown:?}");
}

#[tokio::test]
async fn burst_is_summarized_and_critical_messages_are_sent_first() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let notifier = NotifierSetup::new(&nats).with_telegram(&telegram).start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    run_burst(&telegram, &bus, 20, 25, Duration::from_secs(4)).await;
}

#[tokio::test]
#[ignore = "its load disturbs others: `scripts/test --all`"]
async fn burst_of_five_thousand_events_from_a_hundred_traders() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let bus = nats.bus(Role::TraderPaper).await;
    let notifier = NotifierSetup::new(&nats).with_telegram(&telegram).start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    run_burst(&telegram, &bus, 100, 50, Duration::from_secs(10)).await;
}

#[tokio::test]
#[ignore = "three minutes of waiting: `scripts/test --all`"]
async fn bus_outage_of_a_minute_loses_no_critical_and_causes_no_flood() {
    const TRADERS: usize = 10;
    let (mut nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let notifier = NotifierSetup::new(&nats).with_telegram(&telegram).start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    nats.kill();
    // Traders keep their events and publish them when the bus is back.
    sleep(Duration::from_secs(20)).await;
    let at = runtime::clock::now();
    sleep(Duration::from_secs(40)).await;
    nats.restart().await;
    let back = Instant::now();
    let bus = nats.bus(Role::TraderPaper).await;
    for number in 0..TRADERS * 20 {
        let trader = format!("trader-paper-{}", number % TRADERS);
        publish_event_at(
            &bus,
            &trader,
            &format!("f{number}"),
            at,
            component_failed_event(number),
        )
        .await;
    }
    for number in 0..3 {
        let trader = format!("trader-paper-{number}");
        publish_event_at(
            &bus,
            &trader,
            &format!("c{number}"),
            at,
            quarantined_event(&trader, number),
        )
        .await;
    }
    for number in 0..3 {
        let shown = wait_until_shown(&telegram, &format!("reason-{number}-")).await;
        eprintln!(
            "critical {number}: {:?} after the return",
            shown.shown_at.duration_since(back)
        );
    }
    wait_until_shown(&telegram, "✅ BUS RECOVERED").await;
    let held = eventually(
        "the outage summary is sent",
        DEFAULT_TIMEOUT * 2,
        async || {
            let mut shown = telegram.shown().into_iter();
            shown.find(|shown| shown.text.contains("BUS OUTAGE SUMMARY"))
        },
    )
    .await;
    let first = "🔕 BUS OUTAGE SUMMARY";
    assert_eq!(held.text.lines().next(), Some(first), "{}", held.text);
    for line in ["Affected traders: 10", "Notifications in this summary: 200"] {
        assert!(held.text.contains(line), "{}", held.text);
    }
    // BUS DOWN, BUS RECOVERED, three critical messages, and that one.
    assert_eq!(telegram.shown().len(), 6, "{:?}", telegram.shown());
}
