//! Notifications without Telegram or the bus: critical ones by the fallback, the dead man's switch, and bus outages.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::time::Duration;

use bearish_tests::endpoint::{Endpoint, SECRET};
use bearish_tests::nats::{NatsServer, Role};
use bearish_tests::notifier::{NotifierSetup, TRADER, publish_event, quarantined_event};
use bearish_tests::process::Process;
use bearish_tests::telegram::Telegram;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::heartbeat::Heartbeat;
use runtime::bus::Bus;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;

async fn wait_until_shown(telegram: &Telegram, text: &str, within: Duration) -> String {
    eventually(&format!("{text:?} is shown"), within, async || {
        let shown = telegram.shown().into_iter();
        let mut texts = shown.map(|shown| shown.text);
        texts.find(|shown| shown.contains(text))
    })
    .await
}

async fn wait_for_calls(endpoint: &Endpoint, count: usize, within: Duration) {
    eventually(&format!("{count} calls"), within, async || {
        (endpoint.calls().len() >= count).then_some(())
    })
    .await;
}

fn assert_no_secret_logged(notifier: &Process, telegram: &Telegram) {
    let token = telegram.token().split_once(':').unwrap().1;
    for line in notifier.out().iter().chain(&notifier.err()) {
        for secret in [token, SECRET, "xyzzy"] {
            assert!(!line.contains(secret), "{secret} is in {line:?}");
        }
    }
}

#[tokio::test]
async fn fallback_gets_rejected_critical_messages_once_and_telegram_counts_them_later() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let webhook = Endpoint::start().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let setup = setup.env("FALLBACK_URL", &webhook.url());
    let mut notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    telegram.revoke_token();
    publish_event(&bus, TRADER, "e1", quarantined_event(1)).await;
    wait_for_calls(&webhook, 1, Duration::from_secs(15)).await;
    let call = webhook.calls().remove(0);
    assert_eq!(call.method, "POST");
    let said: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(
        said["title"],
        "🚨 MANUAL INTERVENTION REQUIRED: PAPER trader-paper-1"
    );
    assert_eq!(said["severity"], "critical");
    assert!(said["at"].is_i64() && said["id"].is_string(), "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(
        message.starts_with("Telegram unreachable since: 20"),
        "{message}"
    );
    assert!(message.contains("reason-1-"), "{message}");

    sleep(Duration::from_secs(3)).await;
    assert_no_secret_logged(&notifier, &telegram);
    notifier.kill();
    notifier = setup.start();
    notifier
        .wait_for_log("critical notifications use the fallback until")
        .await;
    publish_event(&bus, TRADER, "e2", quarantined_event(2)).await;
    wait_for_calls(&webhook, 2, DEFAULT_TIMEOUT).await;
    telegram.restore_token();
    let text = wait_until_shown(&telegram, "SENT BY THE FALLBACK", DEFAULT_TIMEOUT * 2).await;
    assert!(text.starts_with("📮 SENT BY THE FALLBACK: 2\n"), "{text}");
    publish_event(&bus, TRADER, "e3", quarantined_event(3)).await;
    wait_until_shown(&telegram, "reason-3-", DEFAULT_TIMEOUT).await;
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());
    assert_eq!(webhook.calls().len(), 2, "{:?}", webhook.calls());
    assert_no_secret_logged(&notifier, &telegram);
}

#[tokio::test]
async fn ntfy_gets_headers_and_text_and_errors_are_logged_without_its_url() {
    let (nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let topic = Endpoint::start().await;
    let bus = nats.bus(Role::TraderPaper).await;
    let setup = NotifierSetup::new(&nats)
        .with_telegram(&telegram)
        .env("FALLBACK_URL", &topic.url())
        .env("FALLBACK_FORMAT", "ntfy");
    let notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    telegram.revoke_token();
    topic.set_status(502);
    publish_event(&bus, TRADER, "e1", quarantined_event(1)).await;
    notifier
        .wait_for_log("fallback failed for a critical notification")
        .await;
    topic.set_status(200);
    wait_for_calls(&topic, 2, DEFAULT_TIMEOUT).await;
    notifier
        .wait_for_log("critical notification sent by the fallback")
        .await;
    let calls = topic.calls();
    let last = calls.last().unwrap();
    assert_eq!(
        last.header("title"),
        "MANUAL INTERVENTION REQUIRED: PAPER trader-paper-1"
    );
    assert_eq!(last.header("priority"), "5");
    assert_eq!(last.header("tags"), "rotating_light");
    assert!(last.body.starts_with("Telegram unreachable since: "));
    assert!(!calls[0].body.contains("(possible repeat"), "{calls:?}");
    assert!(last.body.contains("(possible repeat"), "{calls:?}");
    assert_no_secret_logged(&notifier, &telegram);
}

/// Publishes the heartbeats of a watchdog until it is dropped.
fn start_watchdog_heartbeats(bus: Bus, boot: &str) -> JoinSet<()> {
    let golden = include_str!("../../services/protocol/tests/golden/heartbeat_minimal.json");
    let mut beat: Heartbeat = serde_json::from_str(golden).unwrap();
    beat.boot = boot.parse().unwrap();
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            beat.seq += 1;
            beat.at = runtime::clock::now();
            let payload = serde_json::to_vec(&beat).unwrap().into();
            let subject = "heartbeat.v1.watchdog.p.local.watchdog-1".to_owned();
            // While the bus is down, its heartbeats do not arrive, like those of a real one.
            let _ = bus.client().publish(subject, payload).await;
            sleep(Duration::from_secs(1)).await;
        }
    });
    task
}

/// How many calls more come within this time.
async fn count_new_calls(endpoint: &Endpoint, within: Duration) -> usize {
    let before = endpoint.calls().len();
    sleep(within).await;
    endpoint.calls().len() - before
}

async fn wait_until_no_calls(endpoint: &Endpoint) {
    eventually("the pings stop", DEFAULT_TIMEOUT, async || {
        (count_new_calls(endpoint, Duration::from_secs(4)).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn dead_mans_switch_is_pinged_only_while_everything_works() {
    let (mut nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let switch = Endpoint::start().await;
    let setup = NotifierSetup::new(&nats)
        .with_telegram(&telegram)
        .env("DEADMAN_URL", &switch.url())
        .env("DEADMAN_INTERVAL_SECS", "1");
    let notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    assert_eq!(
        count_new_calls(&switch, Duration::from_secs(3)).await,
        0,
        "no watchdog yet"
    );
    let first = start_watchdog_heartbeats(nats.bus(Role::Watchdog).await, "b1");
    wait_for_calls(&switch, 3, DEFAULT_TIMEOUT).await;
    assert!(switch.calls().iter().all(|call| call.method == "GET"));

    drop(first);
    wait_until_no_calls(&switch).await;
    notifier.wait_for_log("no watchdog heartbeat").await;
    let second = start_watchdog_heartbeats(nats.bus(Role::Watchdog).await, "b2");
    wait_for_calls(&switch, switch.calls().len() + 2, DEFAULT_TIMEOUT).await;

    nats.kill();
    wait_until_no_calls(&switch).await;
    notifier.wait_for_log("bus unreachable").await;
    nats.restart().await;
    wait_for_calls(&switch, switch.calls().len() + 2, DEFAULT_TIMEOUT).await;
    drop(second);
    assert_no_secret_logged(&notifier, &telegram);
}

#[tokio::test]
async fn bus_outage_is_announced_once_and_so_is_its_end() {
    let (mut nats, telegram) = (NatsServer::with_streams().await, Telegram::start().await);
    let setup = NotifierSetup::new(&nats).with_telegram(&telegram);
    let mut notifier = setup.start();
    notifier
        .wait_for_log("became leader; sending notifications")
        .await;
    nats.kill();
    let text = wait_until_shown(&telegram, "🚨 BUS DOWN", DEFAULT_TIMEOUT).await;
    assert!(text.contains("Down since: 20"), "{text}");
    assert!(text.contains("may repeat this message"), "{text}");
    sleep(Duration::from_secs(5)).await;
    nats.restart().await;
    let text = wait_until_shown(&telegram, "✅ BUS RECOVERED", DEFAULT_TIMEOUT).await;
    assert!(text.contains("Down for: "), "{text}");
    assert_eq!(telegram.shown().len(), 2, "{:?}", telegram.shown());

    // A notifier that starts without a bus reports the outage as well.
    notifier.kill();
    nats.kill();
    let notifier = setup.start();
    notifier.wait_for_log("bus unavailable").await;
    eventually(
        "the outage is reported again",
        DEFAULT_TIMEOUT,
        async || (telegram.shown().len() == 3).then_some(()),
    )
    .await;
    nats.restart().await;
    eventually("its end is reported as well", DEFAULT_TIMEOUT, async || {
        (telegram.shown().len() == 4).then_some(())
    })
    .await;
    assert!(telegram.shown()[3].text.starts_with("✅ BUS RECOVERED"));
    assert_no_secret_logged(&notifier, &telegram);
}
