//! What reaches the owner when the usual way is cut: criticals over the fallback, the dead man's switch,
//! and word of a bus that is away.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::endpoint::{Endpoint, SECRET};
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{Setup, TRADER, given_up, tell};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::process::Process;
use bearish_tests::telegram::Telegram;
use protocol::heartbeat::Heartbeat;
use runtime::bus::Bus;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

async fn shows(telegram: &Telegram, text: &str, within: Duration) -> String {
    eventually(&format!("{text:?} is shown"), within, async || {
        let shown = telegram.shown().into_iter();
        let mut texts = shown.map(|shown| shown.text);
        texts.find(|shown| shown.contains(text))
    })
    .await
}

async fn has_calls(endpoint: &Endpoint, count: usize, within: Duration) {
    eventually(&format!("{count} calls"), within, async || {
        (endpoint.calls().len() >= count).then_some(())
    })
    .await;
}

fn says_no_secret(notifier: &Process, telegram: &Telegram) {
    let token = telegram.token().split_once(':').unwrap().1;
    for line in notifier.out().iter().chain(&notifier.err()) {
        for secret in [token, SECRET, "xyzzy"] {
            assert!(!line.contains(secret), "{secret} is in {line:?}");
        }
    }
}

#[tokio::test]
async fn what_telegram_refuses_goes_over_the_fallback_once_and_is_counted_when_telegram_is_back() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let webhook = Endpoint::start().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = Setup::new(&nats).with(&telegram);
    let setup = setup.env("FALLBACK_URL", &webhook.url());
    let mut notifier = setup.start();
    notifier.says("telling the owner").await;
    telegram.revoke_token();
    tell(&bus, TRADER, "e1", given_up(1)).await;
    has_calls(&webhook, 1, Duration::from_secs(15)).await;
    let call = webhook.calls().remove(0);
    assert_eq!(call.method, "POST");
    let said: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(said["title"], "🚨 MANUAL INTERVENTION REQUIRED");
    assert_eq!(said["severity"], "critical");
    assert!(said["at"].is_i64() && said["id"].is_string(), "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(
        message.starts_with("Telegram is not reachable since 20"),
        "{message}"
    );
    assert!(message.contains("reason-1-"), "{message}");

    sleep(Duration::from_secs(3)).await;
    says_no_secret(&notifier, &telegram);
    notifier.kill();
    notifier = setup.start();
    notifier.says("criticals go over the fallback until").await;
    tell(&bus, TRADER, "e2", given_up(2)).await;
    has_calls(&webhook, 2, SOON).await;
    telegram.restore_token();
    let text = shows(&telegram, "WENT OVER THE FALLBACK", SOON * 2).await;
    assert!(text.starts_with("📮 WENT OVER THE FALLBACK: 2\n"), "{text}");
    tell(&bus, TRADER, "e3", given_up(3)).await;
    shows(&telegram, "reason-3-", SOON).await;
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());
    assert_eq!(webhook.calls().len(), 2, "{:?}", webhook.calls());
    says_no_secret(&notifier, &telegram);
}

#[tokio::test]
async fn ntfy_gets_headers_and_text_and_its_trouble_is_logged_without_its_address() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let topic = Endpoint::start().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = Setup::new(&nats)
        .with(&telegram)
        .env("FALLBACK_URL", &topic.url())
        .env("FALLBACK_FORMAT", "ntfy");
    let notifier = setup.start();
    notifier.says("telling the owner").await;
    telegram.revoke_token();
    topic.answer(502);
    tell(&bus, TRADER, "e1", given_up(1)).await;
    notifier.says("did not go over the fallback").await;
    topic.answer(200);
    has_calls(&topic, 2, SOON).await;
    notifier.says("a critical went over the fallback").await;
    let calls = topic.calls();
    let last = calls.last().unwrap();
    assert_eq!(last.header("title"), "MANUAL INTERVENTION REQUIRED");
    assert_eq!(last.header("priority"), "5");
    assert_eq!(last.header("tags"), "rotating_light");
    assert!(last.body.starts_with("Telegram is not reachable since"));
    assert!(!calls[0].body.contains("(possible repeat"), "{calls:?}");
    assert!(last.body.contains("(possible repeat"), "{calls:?}");
    says_no_secret(&notifier, &telegram);
}

/// A watchdog as the bus hears it, until it is dropped.
fn watchdog(bus: Bus, boot: &str) -> JoinSet<()> {
    let golden = include_str!("../../services/protocol/tests/golden/heartbeat_minimal.json");
    let mut beat: Heartbeat = serde_json::from_str(golden).unwrap();
    beat.boot = boot.parse().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            beat.seq += 1;
            beat.at = runtime::clock::now();
            let payload = serde_json::to_vec(&beat).unwrap().into();
            let subject = "heartbeat.v1.watchdog.watchdog-1".to_owned();
            // While the bus is away it is not heard, like a real one.
            let _ = bus.client().publish(subject, payload).await;
            sleep(Duration::from_secs(1)).await;
        }
    });
    task
}

/// How many calls more come within this time.
async fn more(endpoint: &Endpoint, within: Duration) -> usize {
    let before = endpoint.calls().len();
    sleep(within).await;
    endpoint.calls().len() - before
}

async fn falls_silent(endpoint: &Endpoint) {
    eventually("the switch is let go", SOON, async || {
        (more(endpoint, Duration::from_secs(4)).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_dead_mans_switch_is_held_while_all_is_well_and_only_then() {
    let (mut nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let switch = Endpoint::start().await;
    let setup = Setup::new(&nats)
        .with(&telegram)
        .env("DEADMAN_URL", &switch.url())
        .env("DEADMAN_SECS", "1");
    let notifier = setup.start();
    notifier.says("telling the owner").await;
    assert_eq!(
        more(&switch, Duration::from_secs(3)).await,
        0,
        "no watchdog yet"
    );
    let first = watchdog(nats.bus(Role::Watchdog).await, "b1");
    has_calls(&switch, 3, SOON).await;
    assert!(switch.calls().iter().all(|call| call.method == "GET"));

    drop(first);
    falls_silent(&switch).await;
    notifier.says("the watchdog is not heard").await;
    let second = watchdog(nats.bus(Role::Watchdog).await, "b2");
    has_calls(&switch, switch.calls().len() + 2, SOON).await;

    nats.kill();
    falls_silent(&switch).await;
    notifier.says("the bus is away").await;
    nats.restart().await;
    has_calls(&switch, switch.calls().len() + 2, SOON).await;
    drop(second);
    says_no_secret(&notifier, &telegram);
}

#[tokio::test]
async fn a_bus_that_stays_away_is_told_once_and_so_is_its_return() {
    let (mut nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let setup = Setup::new(&nats).with(&telegram);
    let mut notifier = setup.start();
    notifier.says("telling the owner").await;
    nats.kill();
    let text = shows(&telegram, "🚨 BUS AWAY", SOON).await;
    assert!(text.contains("The bus is away since 20"), "{text}");
    assert!(text.contains("may repeat it"), "{text}");
    sleep(Duration::from_secs(5)).await;
    nats.restart().await;
    let text = shows(&telegram, "✅ BUS BACK", SOON).await;
    assert!(text.contains("It was away for "), "{text}");
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());

    // One that starts without a bus says so as well.
    notifier.kill();
    nats.kill();
    let notifier = setup.start();
    notifier.says("waiting for the bus").await;
    eventually("it is told again", SOON, async || {
        (telegram.shown().len() == 3).then_some(())
    })
    .await;
    nats.restart().await;
    eventually("its return as well", SOON, async || {
        (telegram.shown().len() == 4).then_some(())
    })
    .await;
    assert!(telegram.shown()[3].text.starts_with("✅ BUS BACK"));
    says_no_secret(&notifier, &telegram);
}
