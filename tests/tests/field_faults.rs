//! Faults that operators of supervisors report, each with the watchdog alive, killed in the middle and killed after its
//! response. Docker's own events decide whether a start was wrong or missing.
//!
//! The default run plays a random fault with each kill of the watchdog; `every_fault_…` plays all cells.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a panic is how a test fails; prints which cells were played"
)]

use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use bearish_tests::docker::run_command;
use bearish_tests::ports;
use bearish_tests::wait::{DEFAULT_TIMEOUT, SeededRandom, eventually};
use bearish_tests::watchdog::{ContainerEvents, FrozenContainer, Unit, UnitSetup, WatchdogRig};
use futures_util::future::join_all;
use protocol::event::EventBody;
use watchdog_core::phase::UnitPhase;

const AT_ONCE: &str = "--paper --infinite --auto-restart --restart-delay 0";
/// A delay within which a test changes something.
const LATER: &str = "--paper --infinite --auto-restart --restart-delay 8";
/// Long enough for a wrong decision to show.
const SETTLE_TIME: Duration = Duration::from_secs(6);
/// Time after which a removed container is missed.
const REMOVAL_TIME: Duration = Duration::from_secs(32);
/// A container that cannot be killed for this time is no blindness yet.
const FREEZE_TIME: Duration = Duration::from_secs(10);
const CONCURRENT_CELLS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// `docker stop` with another signal, after which the process ends as if it had crashed.
    StopSignal,
    /// `docker stop`, and `docker start` later.
    StopAndStart,
    /// Renamed by the operator, then killed.
    RenamedAndKilled,
    /// `docker compose up --force-recreate` while a restart is pending.
    RecreatedWithinBackoff,
    /// Created again without the label that asks for supervision.
    LabelChanged,
    /// `docker compose up --scale` to zero and back.
    ScaledDownAndUp,
    /// Removed, and not created again.
    Removed,
    /// Its port is taken while it is down.
    PortTaken,
    /// Its network is removed while it is down.
    NetworkRemoved,
    /// Docker can neither kill nor describe it for a while.
    FrozenShim,
}

const FAULTS: [Fault; 10] = [
    Fault::StopSignal,
    Fault::StopAndStart,
    Fault::RenamedAndKilled,
    Fault::RecreatedWithinBackoff,
    Fault::LabelChanged,
    Fault::ScaledDownAndUp,
    Fault::Removed,
    Fault::PortTaken,
    Fault::NetworkRemoved,
    Fault::FrozenShim,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchdogKill {
    Never,
    InTheMiddle,
    After,
}

const WATCHDOG_KILLS: [WatchdogKill; 3] = [
    WatchdogKill::Never,
    WatchdogKill::InTheMiddle,
    WatchdogKill::After,
];

/// What must hold after a fault.
struct Outcome {
    is_running: bool,
    /// `start` events of Docker since the fault, by anything.
    starts: usize,
    /// Kinds of events and a part of their reason, in order. Other kinds must not occur.
    events: &'static [(&'static str, &'static str)],
}

impl Fault {
    const fn outcome(self) -> Outcome {
        let (is_running, starts, events): (bool, usize, &'static [(&'static str, &'static str)]) =
            match self {
                Self::StopSignal => (false, 0, &[("unit_stopped", "stopped by an operator")]),
                Self::StopAndStart | Self::ScaledDownAndUp => {
                    (true, 1, &[("unit_stopped", "stopped by an operator")])
                }
                Self::RenamedAndKilled => (
                    true,
                    1,
                    &[
                        ("unit_restart_scheduled", "killed by SIGKILL"),
                        ("unit_recovered", ""),
                    ],
                ),
                // The creator of a container knows about it: its start is no recovery.
                Self::RecreatedWithinBackoff => {
                    (true, 1, &[("unit_restart_scheduled", "killed by SIGKILL")])
                }
                Self::LabelChanged => (true, 1, &[("unit_warning", "no new one followed")]),
                Self::Removed => (false, 0, &[("unit_warning", "no new one followed")]),
                Self::PortTaken => (
                    true,
                    1,
                    &[
                        ("unit_restart_scheduled", "killed by SIGKILL"),
                        ("unit_restart_scheduled", "address already in use"),
                    ],
                ),
                Self::NetworkRemoved => (
                    true,
                    1,
                    &[
                        ("unit_restart_scheduled", "killed by SIGKILL"),
                        ("unit_restart_scheduled", "not found"),
                    ],
                ),
                Self::FrozenShim => (
                    true,
                    1,
                    &[
                        ("unit_restart_scheduled", "hung: no heartbeat for"),
                        ("unit_recovered", ""),
                    ],
                ),
            };
        Outcome {
            is_running,
            starts,
            events,
        }
    }

    /// Whether the unit reaches the bus. One in a network of its own does not.
    const fn sends_heartbeats(self) -> bool {
        !matches!(self, Self::PortTaken | Self::NetworkRemoved)
    }
}

/// One unit under a fault.
struct Cell {
    fault: Fault,
    killed: WatchdogKill,
    rig: WatchdogRig,
    unit: Unit,
    events: ContainerEvents,
    port: u16,
}

impl Cell {
    fn setup(rig: &WatchdogRig, fault: Fault, port: u16) -> UnitSetup {
        match fault {
            Fault::StopSignal => rig
                .unit_setup(1, AT_ONCE)
                .with_option("--stop-signal", "SIGQUIT"),
            Fault::RecreatedWithinBackoff => rig.unit_setup(1, LATER),
            Fault::PortTaken => rig
                .unit_setup(1, LATER)
                .in_network("bridge")
                .with_option("--publish", &format!("127.0.0.1:{port}:80")),
            Fault::NetworkRemoved => rig.unit_setup(1, LATER).in_network(&network(rig)),
            _ => rig.unit_setup(1, AT_ONCE),
        }
        .with_option("--stop-timeout", "1")
    }

    async fn start(fault: Fault, killed: WatchdogKill) -> Self {
        let rig = WatchdogRig::start().await;
        let port = ports::reserve();
        if fault == Fault::NetworkRemoved {
            create_network(&rig);
        }
        let unit = Self::setup(&rig, fault, port).start();
        if fault.sends_heartbeats() {
            rig.wait_until_healthy(&unit).await;
        } else {
            let running = |phase: &UnitPhase| matches!(phase, UnitPhase::Running(_));
            rig.wait_for_phase(&unit, "running", running).await;
        }
        let events = ContainerEvents::watch(&rig);
        // The stream must be open before the fault.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Self {
            fault,
            killed,
            rig,
            unit,
            events,
            port,
        }
    }

    fn again(&self) -> UnitSetup {
        Self::setup(&self.rig, self.fault, self.port)
    }

    /// The middle of the response.
    fn middle(&mut self) {
        if self.killed == WatchdogKill::InTheMiddle {
            self.rig.replace_watchdog();
        }
    }

    /// Kills the process of the unit and waits until its restart is pending.
    async fn kill_and_wait_for_backoff(&self) {
        self.unit.signal("KILL");
        let pending = |phase: &UnitPhase| matches!(phase, UnitPhase::RestartPending { .. });
        self.rig
            .wait_for_phase(&self.unit, "waiting", pending)
            .await;
    }

    async fn wait_for_rejected_start(&self) {
        eventually("a rejected start", DEFAULT_TIMEOUT, async || {
            let events = self.rig.stored_events().await;
            let mut reasons = events.iter().filter_map(reason);
            reasons.find(|reason| reason.starts_with("start failed"))
        })
        .await;
    }

    async fn inject(&mut self) {
        match self.fault {
            Fault::StopSignal => {
                self.unit.run_docker_verb("stop");
                self.middle();
            }
            Fault::StopAndStart => {
                self.unit.run_docker_verb("stop");
                self.middle();
                self.wait_until_stopped().await;
                self.unit.run_docker_verb("start");
            }
            Fault::RenamedAndKilled => {
                let (name, other) = (self.unit.container_name().to_owned(), "renamed");
                let other = format!("{name}-{other}");
                self.unit.rename(&name, &other);
                run_command(Command::new("docker").args(["kill", &other]));
                self.middle();
                tokio::time::sleep(SETTLE_TIME).await;
                self.unit.rename(&other, &name);
            }
            Fault::RecreatedWithinBackoff => {
                self.kill_and_wait_for_backoff().await;
                self.middle();
                self.unit.replace_by(self.again());
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            Fault::LabelChanged => {
                let unlabelled = self.again();
                let unlabelled = unlabelled.with_option("--label", "bearish-alpha.supervise=false");
                self.unit.replace_by(unlabelled);
                self.middle();
                tokio::time::sleep(REMOVAL_TIME).await;
            }
            Fault::ScaledDownAndUp => {
                self.unit.run_docker_verb("stop");
                self.wait_until_stopped().await;
                self.middle();
                self.unit.replace_by(self.again());
            }
            Fault::Removed => {
                self.unit
                    .run_docker(&["rm", "-f", self.unit.container_name()]);
                self.middle();
                tokio::time::sleep(REMOVAL_TIME).await;
            }
            Fault::PortTaken => self.take_the_port().await,
            Fault::NetworkRemoved => {
                self.kill_and_wait_for_backoff().await;
                run_command(Command::new("docker").args(["network", "rm", &network(&self.rig)]));
                self.wait_for_rejected_start().await;
                self.middle();
                create_network(&self.rig);
                self.unit.replace_by(self.again());
            }
            Fault::FrozenShim => {
                let frozen = FrozenContainer::new(&self.unit);
                self.rig.watchdog.wait_for_log("docker call started").await;
                self.middle();
                tokio::time::sleep(FREEZE_TIME).await;
                drop(frozen);
            }
        }
    }

    async fn take_the_port(&mut self) {
        self.kill_and_wait_for_backoff().await;
        let address = ("127.0.0.1", self.port);
        let taken = eventually("the port is free", DEFAULT_TIMEOUT, async || {
            TcpListener::bind(address).ok()
        })
        .await;
        self.wait_for_rejected_start().await;
        self.middle();
        drop(taken);
        self.events.wait_for("start", &self.unit, 1).await;
    }

    async fn wait_until_stopped(&self) {
        let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
        self.rig
            .wait_for_phase(&self.unit, "stopped", stopped)
            .await;
    }

    async fn wait_for_outcome(&self, outcome: &Outcome) {
        let starts = outcome.starts;
        self.events.wait_for("start", &self.unit, starts).await;
        let last = outcome.events.last().map_or("", |(kind, _)| *kind);
        self.rig.wait_for_event(last).await;
    }

    async fn assert_outcome(&self, what: &str, outcome: &Outcome) {
        let records = self.rig.unit_records(&self.unit).await;
        let starts = self.events.count("start", &self.unit);
        assert_eq!(starts, outcome.starts, "{what}: {records:#?}");
        if outcome.is_running {
            assert!(self.unit.is_running(), "{what}: {records:#?}");
        }
        let events = self.rig.stored_events().await;
        let mut expected = outcome.events.iter().peekable();
        for event in &events {
            let text = reason(event).unwrap_or_default();
            let is_next = |next: &&&(&str, &str)| event.kind() == next.0 && text.contains(next.1);
            let is_known = outcome.events.iter().any(|(kind, _)| *kind == event.kind());
            assert!(is_known, "{what}: {event:?}");
            if expected.peek().is_some_and(|next| is_next(&next)) {
                expected.next();
            }
        }
        assert_eq!(expected.next(), None, "{what}: {events:#?}");
    }
}

fn network(rig: &WatchdogRig) -> String {
    format!("{}_own", rig.project)
}

fn create_network(rig: &WatchdogRig) {
    let network = network(rig);
    run_command(Command::new("docker").args(["network", "create", &network]));
}

fn reason(event: &EventBody) -> Option<String> {
    match event {
        EventBody::UnitRestartScheduled { reason, .. }
        | EventBody::UnitStopped { reason, .. }
        | EventBody::UnitWarning { reason, .. } => Some(reason.clone()),
        _ => None,
    }
}

async fn run_cell(fault: Fault, killed: WatchdogKill) {
    let start = Instant::now();
    let what = format!("{fault:?}, watchdog killed: {killed:?}");
    let outcome = fault.outcome();
    let mut cell = Cell::start(fault, killed).await;
    cell.inject().await;
    cell.wait_for_outcome(&outcome).await;
    if killed == WatchdogKill::After {
        cell.rig.replace_watchdog();
    }
    tokio::time::sleep(SETTLE_TIME).await;
    cell.assert_outcome(&what, &outcome).await;
    if fault == Fault::NetworkRemoved {
        let network = network(&cell.rig);
        drop(cell);
        run_command(Command::new("docker").args(["network", "rm", &network]));
    }
    eprintln!("{what}: passed in {:.1} s", start.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn random_field_fault_is_answered_whenever_the_watchdog_is_killed() {
    let mut random = SeededRandom::new();
    let cells = WATCHDOG_KILLS.map(|killed| run_cell(*random.choose(&FAULTS), killed));
    join_all(cells).await;
}

/// Whether `BEARISH_TEST_CELLS` names this cell, by one of its parts between `|`. All cells without it.
fn is_selected(cell: &str) -> bool {
    std::env::var("BEARISH_TEST_CELLS").map_or(true, |wanted| {
        wanted.split('|').any(|part| cell.contains(part))
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: every cell of the table"]
async fn every_field_fault_is_answered_whenever_the_watchdog_is_killed() {
    let cells: Vec<(Fault, WatchdogKill)> = FAULTS
        .iter()
        .flat_map(|fault| WATCHDOG_KILLS.map(|killed| (*fault, killed)))
        .filter(|cell| is_selected(&format!("{cell:?}")))
        .collect();
    for chunk in cells.chunks(CONCURRENT_CELLS) {
        join_all(
            chunk
                .iter()
                .map(|(fault, killed)| run_cell(*fault, *killed)),
        )
        .await;
    }
    eprintln!("{} cells", cells.len());
}
