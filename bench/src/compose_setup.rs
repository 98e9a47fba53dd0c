//! One of the ways to bring a killed or frozen trader back, in a Compose project of its own: same image, same
//! flags, its own bus and exchange. The watchdog's trader has restart policy `no`, as compose.yaml says;
//! Docker's has `always`, and no watchdog; autoheal's is restarted when its health check fails, by a poller here.

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

/// Nobody needs longer.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(10);
/// What both traders run with.
pub(crate) const FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";
const HEARTBEAT_SECS: &str = "1";
const SERVICE: &str = "trader-paper";
const UNIT: &str = "trader-paper-1";
/// As autoheal does by default: how often it looks, and the seconds between SIGTERM and SIGKILL.
const AUTOHEAL_POLL_INTERVAL: Duration = Duration::from_secs(5);
const AUTOHEAL_STOP_SECS: &str = "10";

/// Who starts the trader again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartMethod {
    /// Our watchdog.
    Watchdog,
    /// The engine.
    Docker,
    /// Whoever restarts what the engine calls unhealthy.
    Autoheal,
}

impl RestartMethod {
    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Watchdog => "our watchdog",
            Self::Docker => "restart: always",
            Self::Autoheal => "autoheal's way",
        }
    }

    /// Part of the project's name.
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

/// What the engine sets up around each process of a trader, and takes down after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Networks {
    /// Two, as compose.yaml says.
    Own,
    /// None: the trader is in its exchange's network namespace.
    Shared,
}

impl Networks {
    /// For people.
    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::Own => "on compose.yaml's two networks",
            Self::Shared => "in its exchange's network namespace",
        }
    }

    /// As Compose reads `COMPOSE_FILE`.
    fn compose_files(self) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let file = |name| root.join(name).display().to_string();
        match self {
            Self::Own => file("compose.yaml"),
            Self::Shared => [file("compose.yaml"), file("bench/shared-network.yaml")].join(":"),
        }
    }
}

/// One kill and what followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovery {
    /// Until the next process began.
    pub(crate) process_started: Duration,
    /// Until its first good heartbeat.
    pub(crate) running: Duration,
    /// What the engine did until then, if it tells.
    pub(crate) stages: Option<Stages>,
}

/// A trader, and who looks after it.
pub(crate) struct RestartSetup {
    pub(crate) method: RestartMethod,
    bus: Bus,
    trader: String,
    boot: SubjectToken,
    healthy_since: Instant,
    /// Failures since the watchdog last forgave.
    consecutive_failures: u32,
    project: Project,
}

impl RestartSetup {
    /// Started, and at work.
    pub(crate) async fn start(way: RestartMethod, networks: Networks) -> Self {
        let name = format!("{}-{}", run_name(), way.slug());
        let files = networks.compose_files();
        let variables = [
            ("TRADER_FLAGS", FLAGS),
            ("HEARTBEAT_SECS", HEARTBEAT_SECS),
            ("COMPOSE_FILE", &files),
        ];
        let project = Project::up(&name, &variables, way.services());
        let (bus, trader) = (
            project.operator_bus().await,
            project.container_name(SERVICE, 1),
        );
        if way == RestartMethod::Docker {
            docker(&["update", "--restart", "always", &trader]);
        }
        let first = bus_reader::wait_for_heartbeat(&bus, UNIT, "running", DEFAULT_TIMEOUT, |h| {
            h.phase == ProcessPhase::Running
        });
        Self {
            method: way,
            boot: first.await.boot,
            bus,
            trader,
            healthy_since: Instant::now(),
            consecutive_failures: 0,
            project,
        }
    }

    /// Waits until the trader has been at work for so long that neither way still holds the last
    /// failure against it. Docker's delay begins again at 100 ms after 10 s. The watchdog gives up at
    /// the 11th failure in a row: before that there is one that does not count, and its `release`.
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

    /// Kills the trader, and waits until the next one is at work.
    pub(crate) async fn measure_kill(&mut self) -> Recovery {
        let killed = clock::now();
        self.send_signal("KILL");
        self.consecutive_failures += 1;
        self.wait_until_running(killed).await
    }

    /// Freezes the trader, and waits until the next one is at work; none if that is not within `patience`.
    pub(crate) async fn measure_freeze(&mut self, limit: Duration) -> Option<Recovery> {
        let frozen = clock::now();
        self.send_signal("STOP");
        self.consecutive_failures += 1;
        let (way, trader) = (self.method, self.trader.clone());
        let healing = async move {
            match way {
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

    /// By the kernel, past the engine: a `docker kill` would be a person's wish, which both ways respect.
    fn send_signal(&self, signal: &str) {
        let pid = container_pid(&self.trader);
        run_command(Command::new("sh").args(["-c", &format!("kill -s {signal} {pid}")]));
    }

    async fn wait_until_running(&mut self, killed: UtcMs) -> Recovery {
        let another = bus_reader::wait_for_heartbeat(
            &self.bus,
            UNIT,
            "running anew",
            RECOVERY_TIMEOUT,
            |h| h.phase == ProcessPhase::Running && h.boot != self.boot,
        );
        let first = another.await;
        self.boot = first.boot;
        self.healthy_since = Instant::now();
        Recovery {
            process_started: started_at(&self.trader).since(killed),
            // When it was sent: that is more exact than when we looked. One machine, one clock.
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
                let asked = command.args(release).output().unwrap();
                asked.status.success().then_some(())
            },
        )
        .await;
    }
}

/// What willfarrell/autoheal does, for one container.
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
