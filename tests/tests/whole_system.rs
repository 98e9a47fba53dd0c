//! The whole system with the settings of compose.yaml, every service in its container: a trader is killed and
//! restarted, the watchdog is killed, and the operator is notified of everything by Telegram.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use bearish_tests::docker::{
    Project, bridge_gateway, docker, inspect, require_all_images, run_command, run_name,
};
use bearish_tests::telegram::Telegram;
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use tempfile::NamedTempFile;

async fn wait_until_shown(telegram: &Telegram, texts: &[&str]) -> String {
    eventually(
        &format!("{texts:?} are shown"),
        DEFAULT_TIMEOUT,
        async || {
            let shown = telegram.shown().into_iter().map(|shown| shown.text);
            let mut found = shown.filter(|text| texts.iter().all(|part| text.contains(part)));
            found.next()
        },
    )
    .await
}

/// Returns both streams of a container's log.
fn container_log(container: &str) -> String {
    let both = ["-c", "docker logs \"$0\" 2>&1", container];
    run_command(Command::new("sh").args(both))
}

/// A system that sends its notifications to a fake Telegram.
struct SystemRig {
    telegram: Telegram,
    project: Project,
    _token: NamedTempFile,
}

async fn start_system(name: &str, variables: &[(&str, &str)]) -> SystemRig {
    require_all_images();
    let telegram = Telegram::start_on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await;
    let (url, chat) = (
        format!("http://{}:{}", bridge_gateway(), telegram.port()),
        telegram.private_chat().to_string(),
    );
    let token = NamedTempFile::new().unwrap();
    std::fs::write(&token, telegram.token()).unwrap();
    run_command(Command::new("chmod").arg("644").arg(token.path()));
    let channel = [
        ("TELEGRAM_BOT_TOKEN_FILE", token.path().to_str().unwrap()),
        ("TELEGRAM_CHAT_ID", &chat),
        ("TELEGRAM_API_URL", &url),
    ];
    let project = Project::up(
        &format!("{}-{name}", run_name()),
        &[&channel, variables].concat(),
        &[],
    );
    SystemRig {
        telegram,
        project,
        _token: token,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_trader_is_restarted_and_the_operator_is_notified() {
    let flags = "--paper --infinite --auto-restart --restart-delay 1";
    let variables = [("TRADER_FLAGS", flags), ("LOG_LEVEL", "debug")];
    let system = start_system("whole", &variables).await;
    let (telegram, project) = (&system.telegram, &system.project);
    wait_until_shown(telegram, &["🚀 STARTED: PAPER trader-paper-1", flags]).await;
    wait_until_shown(telegram, &["🚀 WATCHDOG STARTED"]).await;

    let trader = project.container_name("trader-paper", 1);
    docker(&["kill", "--signal", "KILL", &trader]);
    let expected = [
        "🔄 AUTO-RESTART TRIGGERED: PAPER trader-paper-1\nAttempt: 1/1000\nReason: killed by SIGKILL (exit 137)\n\
         Consecutive Failures: 1\nUptime: ",
        "Next restart in: 1s\n",
    ];
    wait_until_shown(telegram, &expected).await;
    wait_until_shown(
        telegram,
        &["✅ TRADER RECOVERED: PAPER trader-paper-1\nAfter: "],
    )
    .await;

    let guard = project.container_name("socket-guard", 1);
    let started = format!("/start\" container=\"{trader}\" verdict=\"allowed\" status=204");
    assert!(
        container_log(&guard).contains(&started),
        "{}",
        container_log(&guard)
    );
    let network = inspect(&guard, "{{.HostConfig.NetworkMode}}");
    assert_eq!(network, "none", "socket-guard has a network");
    let watchdog = project.container_name("watchdog", 1);
    let mounts = inspect(&watchdog, "{{range .Mounts}}{{.Destination}} {{end}}");
    let mounts: BTreeSet<&str> = mounts.split_whitespace().collect();
    assert_eq!(
        mounts,
        BTreeSet::from(["/logs", "/run/socket-guard"]),
        "the watchdog has more than its socket and its log"
    );
    docker(&["kill", "--signal", "KILL", &watchdog]);
    wait_until_shown(telegram, &["🚨 WATCHDOG LOST\nLast heartbeat: "]).await;
    docker(&["start", &watchdog]);
    wait_until_shown(telegram, &["✅ WATCHDOG RECOVERED"]).await;

    run_command(project.compose().args(["stop", "trader-paper"]));
    wait_until_shown(telegram, &["🛑 SHUTDOWN: PAPER trader-paper-1", "Exit: 0"]).await;
    wait_until_shown(telegram, &["🛑 STOPPED: PAPER trader-paper-1"]).await;

    let notifier = project.container_name("notifier", 1);
    let (_, secret) = telegram.token().split_once(':').unwrap();
    assert!(
        !container_log(&notifier).contains(secret),
        "the token is in the log"
    );
    let known = docker(&["inspect", &notifier]);
    assert!(!known.contains(secret), "docker inspect shows the token");
}

/// Five health checks of eight seconds each, an inspection, an append that fails, and the grace period of the bus.
const HEAL_TIMEOUT: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn hung_bus_is_restarted_and_trading_continues() {
    let system = start_system("hung-bus", &[("WATCHDOG_HEAL_MIN_INTERVAL_SECS", "10")]).await;
    let (telegram, project) = (&system.telegram, &system.project);
    wait_until_shown(telegram, &["🚀 WATCHDOG STARTED"]).await;
    let [nats, trader] = ["nats", "trader-paper"].map(|service| project.container_name(service, 1));
    let since = |container: &str| inspect(container, "{{.State.StartedAt}}");
    let before = [since(&nats), since(&trader)];
    docker(&["kill", "--signal", "STOP", &nats]);
    eventually("the bus is restarted", HEAL_TIMEOUT, async || {
        (since(&nats) != before[0]).then_some(())
    })
    .await;
    let expected = ["⚠️ SERVICE FAILED: nats-1\n\
         Reason: hung: the health check failed (exit 70); restarting the service"];
    wait_until_shown(telegram, &expected).await;
    let expected = ["✅ SERVICE RECOVERED: nats-1\nAfter: "];
    wait_until_shown(telegram, &expected).await;
    let shown = telegram.shown().into_iter().map(|shown| shown.text);
    let times: usize = shown
        .map(|text| text.matches("restarting the service").count())
        .sum();
    assert_eq!(times, 1, "notified more than once");
    eventually("the trader is healthy", DEFAULT_TIMEOUT, async || {
        (inspect(&trader, "{{.State.Health.Status}}") == "healthy").then_some(())
    })
    .await;
    assert_eq!(since(&trader), before[1], "the trader was restarted");
}
