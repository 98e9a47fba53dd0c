//! The whole system as compose.yaml has it, every service in its container: a trader is killed, comes
//! back, the watchdog is killed, and the owner reads it all on his telephone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use bearish_tests::docker::{Project, docker, image, inspect, run, run_name};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::telegram::Telegram;
use tempfile::NamedTempFile;

/// Where containers reach this machine.
fn host() -> String {
    let gateway = "{{(index .IPAM.Config 0).Gateway}}";
    let found = docker(&["network", "inspect", "--format", gateway, "bridge"]);
    found.trim().to_owned()
}

async fn shows(telegram: &Telegram, words: &[&str]) -> String {
    eventually(&format!("{words:?} are shown"), SOON, async || {
        let shown = telegram.shown().into_iter().map(|shown| shown.text);
        let mut found = shown.filter(|text| words.iter().all(|word| text.contains(word)));
        found.next()
    })
    .await
}

/// What a container's log and what is known of it hold.
fn says(container: &str) -> String {
    let both = ["-c", "docker logs \"$0\" 2>&1", container];
    run(Command::new("sh").args(both))
}

/// The system with an owner.
struct Owned {
    telegram: Telegram,
    project: Project,
    _token: NamedTempFile,
}

async fn up(name: &str, variables: &[(&str, &str)]) -> Owned {
    for name in [
        "nats",
        "bus-init",
        "exchange-sim",
        "trader",
        "socket-guard",
        "watchdog",
        "notifier",
    ] {
        image(name);
    }
    let telegram = Telegram::start_on(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await;
    let (url, chat) = (
        format!("http://{}:{}", host(), telegram.port()),
        telegram.chat().to_string(),
    );
    let token = NamedTempFile::new().unwrap();
    std::fs::write(&token, telegram.token()).unwrap();
    run(Command::new("chmod").arg("644").arg(token.path()));
    let owner = [
        ("TELEGRAM_BOT_TOKEN_FILE", token.path().to_str().unwrap()),
        ("TELEGRAM_CHAT_ID", &chat),
        ("TELEGRAM_API_URL", &url),
    ];
    let project = Project::up(
        &format!("{}-{name}", run_name()),
        &[&owner, variables].concat(),
        &[],
    );
    Owned {
        telegram,
        project,
        _token: token,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trader_that_is_killed_comes_back_and_the_owner_reads_it() {
    let flags = "--paper --infinite --auto-restart --restart-delay 1";
    let variables = [("TRADER_FLAGS", flags), ("LOG_LEVEL", "debug")];
    let owned = up("whole", &variables).await;
    let (telegram, project) = (&owned.telegram, &owned.project);
    shows(telegram, &["🚀 STARTED: trader trader-paper-1", flags]).await;
    shows(telegram, &["🐕 WATCHDOG STARTED"]).await;

    let trader = project.container("trader-paper", 1);
    docker(&["kill", "--signal", "KILL", &trader]);
    let told = [
        "🔄 AUTO-RESTART TRIGGERED\nAttempt: 1/1000\nReason: killed by SIGKILL (exit 137)\n\
         Consecutive Failures: 1\nUptime: ",
        "Next restart in: 1s\nUnit: trader-paper-1",
    ];
    shows(telegram, &told).await;
    shows(telegram, &["✅ RECOVERED\nUnit: trader-paper-1\nAfter: "]).await;

    let guard = project.container("socket-guard", 1);
    let started = format!("/start\" container=\"{trader}\" verdict=\"allowed\" status=204");
    assert!(says(&guard).contains(&started), "{}", says(&guard));
    let network = inspect(&guard, "{{.HostConfig.NetworkMode}}");
    assert_eq!(network, "none", "the guard needs none");
    let watchdog = project.container("watchdog", 1);
    let mounts = inspect(&watchdog, "{{range .Mounts}}{{.Destination}} {{end}}");
    assert_eq!(
        mounts, "/run/socket-guard",
        "the watchdog has more than its socket"
    );
    docker(&["kill", "--signal", "KILL", &watchdog]);
    shows(telegram, &["🚨 WATCHDOG SILENT\nLast heard: "]).await;
    docker(&["start", &watchdog]);
    shows(telegram, &["✅ WATCHDOG HEARD AGAIN"]).await;

    run(project.compose().args(["stop", "trader-paper"]));
    shows(telegram, &["🛑 SHUTDOWN: trader trader-paper-1", "Exit: 0"]).await;
    shows(telegram, &["🛑 STAYS STOPPED\nUnit: trader-paper-1"]).await;

    let notifier = project.container("notifier", 1);
    let (_, secret) = telegram.token().split_once(':').unwrap();
    assert!(!says(&notifier).contains(secret), "the token is in the log");
    let known = docker(&["inspect", &notifier]);
    assert!(!known.contains(secret), "docker inspect shows the token");
}

/// Five checks of eight seconds each, a look, the record that the bus does not take, its grace.
const HEALED: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_hangs_is_started_anew_and_trading_goes_on() {
    let owned = up("hung-bus", &[("WATCHDOG_HEAL_SECS", "10")]).await;
    let (telegram, project) = (&owned.telegram, &owned.project);
    shows(telegram, &["🐕 WATCHDOG STARTED"]).await;
    let [nats, trader] = ["nats", "trader-paper"].map(|service| project.container(service, 1));
    let since = |container: &str| inspect(container, "{{.State.StartedAt}}");
    let before = [since(&nats), since(&trader)];
    docker(&["kill", "--signal", "STOP", &nats]);
    eventually("the bus is started anew", HEALED, async || {
        (since(&nats) != before[0]).then_some(())
    })
    .await;
    let told = ["⚠️ WARNING\nFrom: watchdog watchdog-1\nPart: nats-1\n\
         Error: hung: its health check fails (exit 70); it is started anew"];
    shows(telegram, &told).await;
    let told = ["✅ WORKS AGAIN\nFrom: watchdog watchdog-1\nPart: nats-1\nAfter: "];
    shows(telegram, &told).await;
    let shown = telegram.shown().into_iter().map(|shown| shown.text);
    let times: usize = shown
        .map(|text| text.matches("it is started anew").count())
        .sum();
    assert_eq!(times, 1, "told more than once");
    eventually("the trader is healthy", SOON, async || {
        (inspect(&trader, "{{.State.Health.Status}}") == "healthy").then_some(())
    })
    .await;
    assert_eq!(since(&trader), before[1], "the trader was restarted");
}
