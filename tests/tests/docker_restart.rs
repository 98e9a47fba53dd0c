//! Docker goes down gracefully, by `kill -9`, or with its whole host, and comes back: units that ran are started
//! again, units that the operator stopped are not, and no restart is counted. Uses a separate Docker daemon.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::print_stderr,
    reason = "prints skipped cells and the time of each cell"
)]

use std::time::{Duration, Instant};

use bearish_tests::docker_daemon::{self, DockerDaemon};
use bearish_tests::wait::{DEFAULT_TIMEOUT, eventually};
use bearish_tests::watchdog::{Unit, WatchdogRig};
use protocol::event::EventBody;
use watchdog_core::phase::UnitPhase;
use watchdog_core::reason::RestartReason;
use watchdog_core::record::UnitRecord;

/// Flags with a restart delay that a test would notice.
const SLOW_RESTART_FLAGS: &str = "--paper --infinite --auto-restart --restart-delay 300";
const NO_RESTART_FLAGS: &str = "--paper --infinite";
/// Long enough for a wrong decision to show: beyond three heartbeats and a stop.
const SETTLE_TIME: Duration = Duration::from_secs(6);

/// How the Docker daemon goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DaemonFault {
    /// Gracefully, as by `systemctl restart docker`.
    Stopped,
    /// SIGKILL to dockerd alone.
    Killed,
    /// Docker, containers, bus and watchdog end at once and are started again.
    PowerLoss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WatchdogFault {
    Survives,
    /// Killed, and replaced before Docker is back.
    Killed,
    /// Runs in a container of the daemon, goes down and comes back with it.
    InContainer,
}

/// The units before the fault.
struct Units {
    /// Running; expected to be started again.
    running: [Unit; 2],
    /// Stopped by the operator.
    stopped: Unit,
    /// Failed; its restart is pending.
    restart_pending: Unit,
    /// Runs without `--auto-restart`.
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

async fn inject_fault(rig: &mut WatchdogRig, fault: DaemonFault, watchdog: WatchdogFault) {
    match fault {
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
    match (fault, watchdog) {
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
            rig.watchdog.wait_for_log("docker unavailable").await;
            rig.daemon().restart().await;
        }
        (_, WatchdogFault::Killed) => {
            rig.replace_watchdog();
            rig.watchdog.wait_for_log("waiting for Docker").await;
            rig.daemon().restart().await;
        }
    }
}

/// Runs one cell: starts units, injects the fault and checks the outcome.
async fn run_cell(fault: DaemonFault, watchdog: WatchdogFault) {
    if let Some(reason) = docker_daemon::unavailable_reason() {
        eprintln!("skipped: {reason}");
        return;
    }
    let start = Instant::now();
    let what = format!("{fault:?}, watchdog {watchdog:?}");
    let mut rig = WatchdogRig::start_on_daemon(DockerDaemon::start().await).await;
    if watchdog == WatchdogFault::InContainer {
        rig.move_watchdog_into_container().await;
    }
    let units = Units::start(&rig).await;
    let before = units.running.each_ref().map(Unit::started_at);
    let event_count = rig.stored_events().await.len();
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
    assert_outcome(&what, &rig, &units, event_count).await;
    eprintln!(
        "{what}: all running {span:.1?} after Docker; passed in {:.1?}",
        start.elapsed()
    );
}

async fn wait_until_recovered(rig: &WatchdogRig, unit: &Unit) {
    eventually(&format!("event unit_recovered of {}", unit.name), DEFAULT_TIMEOUT, async || {
        let events = rig.stored_events().await;
        let recovered = |body: &EventBody| matches!(body, EventBody::UnitRecovered { unit: name, .. } if name.as_str() == unit.name);
        events.iter().any(recovered).then_some(())
    })
    .await;
}

async fn assert_outcome(what: &str, rig: &WatchdogRig, units: &Units, event_count: usize) {
    let state = rig.state().await;
    for unit in &units.running {
        let records = rig.unit_records(unit).await;
        let starts = records
            .iter()
            .filter(|record| matches!(record, UnitRecord::StartIntended { .. }));
        assert_eq!(starts.count(), 1, "{what}: {records:#?}");
        let known = &state.units[&unit.name.parse().unwrap()];
        assert_eq!(
            (known.restarts, known.consecutive_failures),
            (0, 0),
            "{what}: {records:#?}"
        );
        let reason = known.last_reason.as_ref();
        assert!(
            matches!(reason, Some(RestartReason::DockerOutage { .. })),
            "{what}: {records:#?}"
        );
        assert!(unit.is_running(), "{what}: {records:#?}");
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
    let since = &rig.stored_events().await[event_count..];
    let count = |kind: &str| since.iter().filter(|body| body.kind() == kind).count();
    let kinds = [
        "unit_restart_scheduled",
        "unit_recovered",
        "unit_restart_skipped",
    ];
    assert_eq!(kinds.map(count), [2, 2, 1], "{what}: {since:#?}");
    assert_eq!(since.len(), 5, "{what}: {since:#?}");
    let reason = |body: &EventBody| match body {
        EventBody::UnitRestartScheduled { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    for reason in since.iter().filter_map(reason) {
        assert!(
            reason.starts_with("stopped together with Docker"),
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
#[ignore = "minutes: all other faults, with the watchdog alive and killed"]
async fn docker_restart_brings_back_what_ran_whenever_the_watchdog_is_killed() {
    for fault in [DaemonFault::Stopped, DaemonFault::Killed] {
        for watchdog in [WatchdogFault::Survives, WatchdogFault::Killed] {
            run_cell(fault, watchdog).await;
        }
    }
    for fault in [
        DaemonFault::Stopped,
        DaemonFault::Killed,
        DaemonFault::PowerLoss,
    ] {
        run_cell(fault, WatchdogFault::InContainer).await;
    }
}

/// What an operator stops before the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OperatorStop {
    /// One unit. The fault follows at once.
    OneUnit,
    /// Every unit and the watchdog, as `docker compose stop` does.
    Everything,
}

/// The operator stops units, then Docker or the host goes down and comes back, or only the watchdog is started again:
/// what was stopped stays down, and what ran comes up.
async fn run_stop_cell(stop: OperatorStop, fault: Option<DaemonFault>) {
    if let Some(reason) = docker_daemon::unavailable_reason() {
        eprintln!("skipped: {reason}");
        return;
    }
    let what = format!("{stop:?}, then {fault:?}");
    let mut rig = WatchdogRig::start_on_daemon(DockerDaemon::start().await).await;
    rig.move_watchdog_into_container().await;
    let [stopped, other] = [1, 2].map(|number| rig.unit_setup(number, SLOW_RESTART_FLAGS).start());
    for unit in [&stopped, &other] {
        rig.wait_until_healthy(unit).await;
    }
    let before = [&stopped, &other].map(Unit::started_at);
    match stop {
        OperatorStop::OneUnit => stopped.run_docker_verb("stop"),
        OperatorStop::Everything => rig.stop_together_with_watchdog(&[&stopped, &other]),
    }
    match fault {
        Some(fault) => inject_fault(&mut rig, fault, WatchdogFault::InContainer).await,
        None => rig.start_watchdog_container(),
    }
    let is_stopped = |phase: &UnitPhase| matches!(phase, UnitPhase::Stopped { .. });
    rig.wait_for_phase(&stopped, "stopped", is_stopped).await;
    if stop == OperatorStop::Everything {
        rig.wait_for_phase(&other, "stopped", is_stopped).await;
    } else if fault.is_some() {
        other.wait_until_started_after(&before[1]).await;
    }
    tokio::time::sleep(SETTLE_TIME).await;
    assert_eq!(stopped.started_at(), before[0], "{what}");
    assert!(!stopped.is_running(), "{what}");
    if stop == OperatorStop::Everything {
        assert_eq!(other.started_at(), before[1], "{what}");
        // The operator starts some: the others stay down.
        stopped.run_docker_verb("start");
        rig.wait_until_healthy(&stopped).await;
        tokio::time::sleep(SETTLE_TIME).await;
        assert!(stopped.is_running() && !other.is_running(), "{what}");
    }
    eprintln!("{what}: passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_the_operator_stopped_stays_down_after_a_power_loss() {
    run_stop_cell(OperatorStop::Everything, Some(DaemonFault::PowerLoss)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: each stop with each way down"]
async fn docker_restart_brings_back_nothing_that_the_operator_stopped() {
    for stop in [OperatorStop::OneUnit, OperatorStop::Everything] {
        for fault in [
            None,
            Some(DaemonFault::Stopped),
            Some(DaemonFault::Killed),
            Some(DaemonFault::PowerLoss),
        ] {
            run_stop_cell(stop, fault).await;
        }
    }
}
