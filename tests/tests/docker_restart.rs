//! The engine goes down and comes back, in good order, by `kill -9`, or with its whole host: what no person stopped
//! comes back, what one stopped does not, and nobody pays for it. On an engine of the test's own.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::print_stderr,
    reason = "which cells were left out, and how long they took, is worth reading"
)]

use std::time::{Duration, Instant};

use bearish_tests::docker_daemon::{self, DockerDaemon};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use bearish_tests::watchdog::{Unit, WatchdogRig};
use protocol::event::EventBody;
use watchdog_core::phase::UnitPhase;
use watchdog_core::record::{RestartReason, UnitRecord};

/// Long enough to see that nobody waits for it.
const SLOW_RESTART_FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 300";
const NO_RESTART_FLAGS: &str = "--paper --infinite";
/// Long enough for a wrong decision to show: beyond three heartbeats and a stop.
const SETTLE_TIME: Duration = Duration::from_secs(6);

/// How it goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DaemonFault {
    /// As by `systemctl restart docker`.
    Stopped,
    /// dockerd alone is killed.
    Killed,
    /// Engine, containers, bus and watchdog end in one instant, and begin again.
    PowerLoss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchdogFault {
    Survives,
    /// And there is a new one before the engine is back.
    Killed,
    /// Goes down with the engine that it is a container of, and comes back with it.
    InContainer,
}

/// What is there before.
struct Units {
    /// Run, and are to run again.
    running: [Unit; 2],
    /// A person stopped it.
    stopped: Unit,
    /// It failed and waits for its time.
    restart_pending: Unit,
    /// It has no leave to be restarted.
    observed: Unit,
}

impl Units {
    async fn start(rig: &WatchdogRig) -> Self {
        let units = Self {
            running: [1, 2].map(|number| rig.unit_setup(number, SLOW_RESTART_FLAGS).start()),
            stopped: rig.unit_setup(3, SLOW_RESTART_FLAGS).start(),
            restart_pending: rig.unit_setup(4, SLOW_RESTART_FLAGS).start(),
            observed: rig.unit_setup(5, NO_RESTART_FLAGS).start(),
        };
        for unit in units.all() {
            rig.wait_until_healthy(unit).await;
        }
        units.stopped.run_docker_verb("stop");
        units.restart_pending.signal("USR1");
        let stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
        rig.wait_for_phase(&units.stopped, "stopped", stopped).await;
        let waiting = |phase: &UnitPhase| matches!(phase, UnitPhase::RestartPending { .. });
        rig.wait_for_phase(&units.restart_pending, "waiting", waiting)
            .await;
        units
    }

    fn all(&self) -> impl Iterator<Item = &Unit> {
        let others = [&self.stopped, &self.restart_pending, &self.observed];
        self.running.iter().chain(others)
    }
}

async fn inject_fault(rig: &mut WatchdogRig, fall: DaemonFault, watchdog: WatchdogFault) {
    match fall {
        DaemonFault::Stopped => rig.daemon().stop().await,
        DaemonFault::Killed => rig.daemon().kill(),
        DaemonFault::PowerLoss => {
            rig.nats.kill();
            if watchdog != WatchdogFault::InContainer {
                rig.watchdog.kill();
            }
            rig.guard().kill();
            rig.daemon().power_off();
        }
    }
    match (fall, watchdog) {
        (DaemonFault::PowerLoss, WatchdogFault::InContainer) => {
            rig.nats.restart().await;
            rig.daemon().restart().await;
        }
        (_, WatchdogFault::InContainer) => rig.daemon().restart().await,
        (DaemonFault::PowerLoss, _) => {
            rig.daemon().restart().await;
            rig.guard().restart().await;
            rig.nats.restart().await;
            rig.watchdog = rig.start_another("watchdog-1");
        }
        (_, WatchdogFault::Survives) => {
            rig.watchdog
                .wait_for_log("the engine does not answer")
                .await;
            rig.daemon().restart().await;
        }
        (_, WatchdogFault::Killed) => {
            rig.replace_watchdog();
            rig.watchdog.wait_for_log("waiting for the engine").await;
            rig.daemon().restart().await;
        }
    }
}

/// One cell.
async fn run_cell(fault: DaemonFault, watchdog: WatchdogFault) {
    if let Some(why) = docker_daemon::unavailable_reason() {
        eprintln!("skipped: {why}");
        return;
    }
    let began = Instant::now();
    let what = format!("{fault:?}, watchdog {watchdog:?}");
    let mut rig = WatchdogRig::start_on_daemon(DockerDaemon::start().await).await;
    if watchdog == WatchdogFault::InContainer {
        rig.move_watchdog_into_container().await;
    }
    let units = Units::start(&rig).await;
    let before = units.running.each_ref().map(Unit::started_at);
    let told = rig.stored_events().await.len();
    inject_fault(&mut rig, fault, watchdog).await;
    let back = Instant::now();
    for (unit, before) in units.running.iter().zip(&before) {
        unit.wait_until_started_after(before).await;
    }
    let span = back.elapsed();
    for unit in &units.running {
        wait_until_recovered(&rig, unit).await;
    }
    tokio::time::sleep(SETTLE_TIME).await;
    assert_outcome(&what, &rig, &units, told).await;
    eprintln!(
        "{what}: all run {span:.1?} after the engine; right, {:.1?}",
        began.elapsed()
    );
}

async fn wait_until_recovered(rig: &WatchdogRig, unit: &Unit) {
    eventually(&format!("{} is told recovered", unit.name), DEFAULT_TIMEOUT, async || {
        let told = rig.stored_events().await;
        let of_it = |body: &EventBody| matches!(body, EventBody::UnitRecovered { unit: name, .. } if name.as_str() == unit.name);
        told.iter().any(of_it).then_some(())
    })
    .await;
}

async fn assert_outcome(what: &str, rig: &WatchdogRig, units: &Units, told: usize) {
    let state = rig.state().await;
    for unit in &units.running {
        let facts = rig.unit_records(unit).await;
        let starts = facts
            .iter()
            .filter(|fact| matches!(fact, UnitRecord::StartIntended { .. }));
        assert_eq!(starts.count(), 1, "{what}: {facts:#?}");
        let known = &state.units[&unit.name.parse().unwrap()];
        assert_eq!(
            (known.restarts, known.consecutive_failures),
            (0, 0),
            "{what}: {facts:#?}"
        );
        let reason = known.last_reason.as_ref();
        assert!(
            matches!(reason, Some(RestartReason::DockerOutage { .. })),
            "{what}: {facts:#?}"
        );
        assert!(unit.is_running(), "{what}: {facts:#?}");
    }
    for down in [&units.stopped, &units.restart_pending, &units.observed] {
        assert!(!down.is_running(), "{what}: {}", down.name);
    }
    let waiting = &state.units[&units.restart_pending.name.parse().unwrap()];
    assert!(
        matches!(waiting.phase, UnitPhase::RestartPending { .. }),
        "{what}: {waiting:#?}"
    );
    assert_eq!(waiting.restarts, 1, "{what}: {waiting:#?}");
    let since = &rig.stored_events().await[told..];
    let count = |kind: &str| since.iter().filter(|body| body.kind() == kind).count();
    let kinds = [
        "unit_restart_scheduled",
        "unit_recovered",
        "unit_restart_skipped",
    ];
    assert_eq!(kinds.map(count), [2, 2, 1], "{what}: {since:#?}");
    assert_eq!(since.len(), 5, "{what}: {since:#?}");
    let words = |body: &EventBody| match body {
        EventBody::UnitRestartScheduled { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    for reason in since.iter().filter_map(words) {
        assert!(
            reason.starts_with("went down with the Docker engine"),
            "{what}: {reason}"
        );
        assert!(reason.ends_with("not counted"), "{what}: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_power_loss_restarts_what_ran_without_spending_restarts() {
    run_cell(DaemonFault::PowerLoss, WatchdogFault::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: every other way down, with the watchdog alive and killed"]
async fn docker_restart_brings_back_what_ran_whenever_the_watchdog_is_killed() {
    for how in [DaemonFault::Stopped, DaemonFault::Killed] {
        for watchdog in [WatchdogFault::Survives, WatchdogFault::Killed] {
            run_cell(how, watchdog).await;
        }
    }
    for how in [
        DaemonFault::Stopped,
        DaemonFault::Killed,
        DaemonFault::PowerLoss,
    ] {
        run_cell(how, WatchdogFault::InContainer).await;
    }
}
