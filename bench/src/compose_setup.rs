//! One method of restarting a killed or frozen trader, in a Compose project of its own: same image and flags, with its
//! own bus and exchange. With the watchdog, the trader has restart policy `no`, as in compose.yaml. With Docker, it has
//! `always` and no watchdog. With autoheal, a poller here restarts it when its health check fails.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bearish_tests::bus_reader;
use bearish_tests::docker::{Project, docker, inspect, run_command, run_name};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use protocol::heartbeat::ProcessPhase;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::clock;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use watchdog_core::backoff::MAX_CONSECUTIVE_FAILURES;

use crate::docker_timeline::Stages;
use crate::proc::container_pid;

/// Time within which every method restarts a trader.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(10);
/// Flags of the compared traders.
pub(crate) const FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";
const HEARTBEAT_SECS: &str = "1";
const SERVICE: &str = "trader-paper";
const UNIT: &str = "trader-paper-1";
/// Defaults of autoheal: poll interval, and seconds between SIGTERM and SIGKILL.
const AUTOHEAL_POLL_INTERVAL: Duration = Duration::from_secs(5);
const AUTOHEAL_STOP_SECS: &str = "10";

/// What restarts the trader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartMethod {
    /// The watchdog of this project.
    Watchdog,
    /// Docker's restart policy `always`.
    Docker,
    /// A poller that restarts unhealthy containers, as autoheal does.
    Autoheal,
}

impl RestartMethod {
    /// Name in printed tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Watchdog => "watchdog",
            Self::Docker => "restart: always",
            Self::Autoheal => "autoheal",
        }
    }

    /// Part of the project name.
    const fn slug(self) -> &'static str {
        match self {
            Self::Watchdog => "watchdog",
            Self::Docker => "always",
            Self::Autoheal => "autoheal",
        }
    }

    const fn services(self) -> &'static [&'static str] {
        match self {
            Self::Watchdog => &[SERVICE, "watchdog"],
            Self::Docker | Self::Autoheal => &[SERVICE],
        }
    }
}

/// Networks of the trader's container, which Docker sets up at each start and removes afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Networks {
    /// Two networks, as in compose.yaml.
    Own,
    /// No network of its own: the trader uses the network namespace of its exchange.
    Shared,
}

impl Networks {
    /// Description in printed explanations.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Own => "on compose.yaml's two networks",
            Self::Shared => "in its exchange's network namespace",
        }
    }

    /// Value for `COMPOSE_FILE`: paths separated by colons.
    fn compose_files(self) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let file = |name| root.join(name).display().to_string();
        match self {
            Self::Own => file("compose.yaml"),
            Self::Shared => [file("compose.yaml"), file("bench/shared-network.yaml")].join(":"),
        }
    }
}

/// Times of one recovery, from the kill or freeze.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovery {
    /// Until the start of the next process.
    pub(crate) process_started: Duration,
    /// Until its first heartbeat with phase running.
    pub(crate) running: Duration,
    /// Stages of Docker's restart. `None` if Docker's events do not show them.
    pub(crate) stages: Option<Stages>,
}

/// A trader in its Compose project, and the method that restarts it.
pub(crate) struct RestartSetup {
    pub(crate) method: RestartMethod,
    bus: Bus,
    trader: String,
    boot: SubjectToken,
    healthy_since: Instant,
    /// Consecutive failures that the watchdog has counted.
    consecutive_failures: u32,
    project: Project,
}

impl RestartSetup {
    /// Starts the project and waits until the trader is running.
    pub(crate) async fn start(method: RestartMethod, networks: Networks) -> Self {
        let name = format!("{}-{}", run_name(), method.slug());
        let files = networks.compose_files();
        let variables = [
            ("TRADER_FLAGS", FLAGS),
            ("HEARTBEAT_SECS", HEARTBEAT_SECS),
            ("COMPOSE_FILE", &files),
        ];
        let project = Project::up(&name, &variables, method.services());
        let (bus, trader) = (
            project.operator_bus().await,
            project.container_name(SERVICE, 1),
        );
        if method == RestartMethod::Docker {
            docker(&["update", "--restart", "always", &trader]);
        }
        let first = bus_reader::wait_for_heartbeat(&bus, UNIT, "running", DEFAULT_TIMEOUT, |h| {
            h.phase == ProcessPhase::Running
        });
        Self {
            method,
            boot: first.await.boot,
            bus,
            trader,
            healthy_since: Instant::now(),
            consecutive_failures: 0,
            project,
        }
    }

    /// Waits until the trader has been running for so long that no method delays the next restart. Docker's delay is
    /// reset to 100 ms after 10 s. The watchdog quarantines the unit at the 11th consecutive failure: before that, an
    /// extra kill that is not measured and a `release` reset the count.
    pub(crate) async fn settle(&mut self, healthy: Duration) {
        if self.method == RestartMethod::Watchdog
            && self.consecutive_failures == MAX_CONSECUTIVE_FAILURES
        {
            self.send_signal("KILL");
            self.release_unit().await;
            self.wait_until_running(clock::now()).await;
            self.consecutive_failures = 0;
        }
        sleep_until(self.healthy_since + healthy).await;
    }

    /// Kills the trader and waits until the next one is running.
    pub(crate) async fn measure_kill(&mut self) -> Recovery {
        let killed = clock::now();
        self.send_signal("KILL");
        self.consecutive_failures += 1;
        self.wait_until_running(killed).await
    }

    /// Freezes the trader and waits until the next one is running. `None` if that takes longer than `limit`.
    pub(crate) async fn measure_freeze(&mut self, limit: Duration) -> Option<Recovery> {
        let frozen = clock::now();
        self.send_signal("STOP");
        self.consecutive_failures += 1;
        let (method, trader) = (self.method, self.trader.clone());
        let healing = async move {
            match method {
                RestartMethod::Autoheal => autoheal(&trader).await,
                RestartMethod::Watchdog | RestartMethod::Docker => std::future::pending().await,
            }
        };
        let recovered = timeout(limit, self.wait_until_running(frozen));
        let recovery = tokio::select! {
            recovery = recovered => recovery.ok(),
            () = healing => None,
        };
        if recovery.is_none() {
            docker(&["restart", "-t", "0", &self.trader]);
            self.wait_until_running(clock::now()).await;
        }
        recovery
    }

    /// Sends a signal without Docker: after a `docker kill`, no method would restart the trader.
    fn send_signal(&self, signal: &str) {
        let pid = container_pid(&self.trader);
        run_command(Command::new("sh").args(["-c", &format!("kill -s {signal} {pid}")]));
    }

    async fn wait_until_running(&mut self, killed: UtcMs) -> Recovery {
        let another = bus_reader::wait_for_heartbeat(
            &self.bus,
            UNIT,
            "running after a restart",
            RECOVERY_TIMEOUT,
            |h| h.phase == ProcessPhase::Running && h.boot != self.boot,
        );
        let first = another.await;
        self.boot = first.boot;
        self.healthy_since = Instant::now();
        Recovery {
            process_started: started_at(&self.trader).since(killed),
            // The time at which it was sent is more exact than that of our poll. Both use this machine's clock.
            running: first.at.since(killed),
            stages: Stages::between(&self.trader, killed, clock::now()),
        }
    }

    async fn release_unit(&self) {
        eventually(
            "the watchdog releases the trader",
            DEFAULT_TIMEOUT,
            async || {
                let release = ["exec", "-T", "watchdog", "watchdog", "release", UNIT];
                let mut command = self.project.compose();
                let output = command.args(release).output().unwrap();
                output.status.success().then_some(())
            },
        )
        .await;
    }
}

/// Does what willfarrell/autoheal does, for one container.
async fn autoheal(trader: &str) {
    let name = format!("name={trader}");
    let unhealthy = ["ps", "-q", "-f", "health=unhealthy", "-f", &name];
    loop {
        for id in docker(&unhealthy).lines() {
            docker(&["restart", "-t", AUTOHEAL_STOP_SECS, id]);
        }
        sleep(AUTOHEAL_POLL_INTERVAL).await;
    }
}

fn started_at(container: &str) -> UtcMs {
    let text = inspect(container, "{{.State.StartedAt}}");
    UtcMs(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}
