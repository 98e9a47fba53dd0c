//! One of the two ways to bring a killed trader back, in a Compose project of its own: same image, same
//! flags, its own bus and exchange. The watchdog's trader has restart policy `no`, as compose.yaml says;
//! Docker's has `always`, and no watchdog.

use std::process::Command;
use std::time::Duration;

use bearish_tests::docker::{Project, docker, inspect, run, run_name};
use bearish_tests::patience::{SOON, eventually};
use bearish_tests::told;
use protocol::heartbeat::Phase;
use protocol::ids::Token;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::clock;
use supervision::backoff::MOST_CONSECUTIVE;
use tokio::time::{Instant, sleep_until};

use crate::proc::pid;

/// What both traders run with.
pub(crate) const FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 0";
const HEARTBEAT_SECS: &str = "1";
const SERVICE: &str = "trader-paper";
const UNIT: &str = "trader-paper-1";

/// Who starts the trader again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Our watchdog.
    Watchdog,
    /// The engine.
    Docker,
}

impl Way {
    /// For people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Watchdog => "our watchdog",
            Self::Docker => "restart: always",
        }
    }

    /// Part of the project's name.
    const fn word(self) -> &'static str {
        match self {
            Self::Watchdog => "watchdog",
            Self::Docker => "always",
        }
    }

    const fn services(self) -> &'static [&'static str] {
        match self {
            Self::Watchdog => &[SERVICE, "watchdog"],
            Self::Docker => &[SERVICE],
        }
    }
}

/// One kill and what followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovery {
    /// Until the next process began.
    pub(crate) process: Duration,
    /// Until its first good heartbeat.
    pub(crate) work: Duration,
}

/// A trader, and who looks after it.
pub(crate) struct Side {
    pub(crate) way: Way,
    bus: Bus,
    trader: String,
    boot: Token,
    healthy_since: Instant,
    /// Failures since the watchdog last forgave.
    in_a_row: u32,
    project: Project,
}

impl Side {
    /// Started, and at work.
    pub(crate) async fn up(way: Way) -> Self {
        let name = format!("{}-{}", run_name(), way.word());
        let variables = [("TRADER_FLAGS", FLAGS), ("HEARTBEAT_SECS", HEARTBEAT_SECS)];
        let project = Project::up(&name, &variables, way.services());
        let (bus, trader) = (project.operator().await, project.container(SERVICE, 1));
        if way == Way::Docker {
            docker(&["update", "--restart", "always", &trader]);
        }
        let first =
            told::heartbeat_with(&bus, UNIT, "running", SOON, |h| h.phase == Phase::Running);
        Self {
            way,
            boot: first.await.boot,
            bus,
            trader,
            healthy_since: Instant::now(),
            in_a_row: 0,
            project,
        }
    }

    /// Waits until the trader has been at work for so long that neither way still holds the last
    /// failure against it. Docker's delay begins again at 100 ms after 10 s. The watchdog gives up at
    /// the 11th failure in a row: before that there is one that does not count, and its `release`.
    pub(crate) async fn settle(&mut self, healthy: Duration) {
        if self.way == Way::Watchdog && self.in_a_row == MOST_CONSECUTIVE {
            self.kill();
            self.release().await;
            self.recovered(clock::now()).await;
            self.in_a_row = 0;
        }
        sleep_until(self.healthy_since + healthy).await;
    }

    /// Kills the trader, and waits until the next one is at work.
    pub(crate) async fn recovery(&mut self) -> Recovery {
        let killed = clock::now();
        self.kill();
        self.in_a_row += 1;
        self.recovered(killed).await
    }

    /// By the kernel, past the engine: a `docker kill` would be a person's wish, which both ways respect.
    fn kill(&self) {
        let pid = pid(&self.trader);
        run(Command::new("sh").args(["-c", &format!("kill -KILL {pid}")]));
    }

    async fn recovered(&mut self, killed: UtcMs) -> Recovery {
        let another = told::heartbeat_with(&self.bus, UNIT, "running anew", SOON, |h| {
            h.phase == Phase::Running && h.boot != self.boot
        });
        let first = another.await;
        self.boot = first.boot;
        self.healthy_since = Instant::now();
        Recovery {
            process: started_at(&self.trader).since(killed),
            // When it was sent: that is more exact than when we looked. One machine, one clock.
            work: first.at.since(killed),
        }
    }

    async fn release(&self) {
        eventually("the watchdog releases the trader", SOON, async || {
            let release = ["exec", "-T", "watchdog", "watchdog", "release", UNIT];
            let mut command = self.project.compose();
            let asked = command.args(release).output().unwrap();
            asked.status.success().then_some(())
        })
        .await;
    }
}

fn started_at(container: &str) -> UtcMs {
    let text = inspect(container, "{{.State.StartedAt}}");
    UtcMs(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}
