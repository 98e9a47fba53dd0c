//! Measures the cost of supervision with few and with many containers: memory and processor time of the watchdog, and
//! the processor time that it causes in dockerd (with the watchdog minus without it, in the same run). The containers
//! are the tests' small fake units, because as many traders would need a larger machine.

use std::process::Command;
use std::time::Duration;

use bearish_tests::watchdog::{Unit, WatchdogRig};
use tokio::time::{Instant, sleep};
use watchdog_core::record::{SupervisionRecord, UnitRecord};

use crate::machine::{self, IdleTime};
use crate::proc::{Memory, ProcessStats};
use crate::stats::rank;

/// File with the process id of dockerd.
const PID_FILE: &str = "/var/run/docker.pid";
const FLAGS: &str = "--paper --infinite --auto-restart";
/// Time after which every container has started.
const SETTLE_TIME: Duration = Duration::from_secs(20);

/// Cost of supervising `units` containers. Processor times are percent of a core.
struct SupervisionCost {
    units: u32,
    memory: Memory,
    watchdog: f64,
    docker_alone: f64,
    docker: f64,
    /// Times from the freeze of a fifth of the units, all at once, to the decision that each hangs.
    detections: Vec<Duration>,
}

pub(crate) async fn measure(counts: &[u32], span: Duration) {
    machine::print(&[]);
    println!(
        "measured: {span:?} without and {span:?} with the watchdog, each after {SETTLE_TIME:?} of settling; small fake\n\
         units instead of traders, with a heartbeat every 5 s and no health check; Docker without a socket-guard\n"
    );
    println!(
        "{:<12}{:>12}{:>14}{:>12}{:>16}{:>12}{:>12}",
        "supervised", "RSS kB", "anonymous kB", "CPU %", "dockerd alone %", "with %", "caused %"
    );
    let idle = IdleTime::begin();
    for units in counts {
        print(&measure_cost(*units, span).await);
    }
    idle.print();
}

async fn measure_cost(count: u32, span: Duration) -> SupervisionCost {
    let mut rig = WatchdogRig::start().await;
    let units: Vec<Unit> = (1..=count)
        .map(|number| {
            rig.unit_setup(number, FLAGS)
                .env("HEARTBEAT_MS=5000")
                .start()
        })
        .collect();
    for unit in &units {
        rig.wait_until_healthy(unit).await;
    }
    let dockerd = std::fs::read_to_string(PID_FILE).unwrap();
    let dockerd = ProcessStats::of_process(dockerd.trim().parse().unwrap());
    rig.watchdog.kill();
    sleep(SETTLE_TIME).await;
    let (docker_alone, _) = cpu_percent(&dockerd, None, span).await;
    // The default interval, which the fake units use too.
    rig.replace_watchdog_with_env(("HEARTBEAT_SECS", "5"));
    rig.watchdog.wait_for_log("supervising").await;
    sleep(SETTLE_TIME).await;
    let watchdog = ProcessStats::of_process(rig.watchdog.pid());
    let (docker, own) = cpu_percent(&dockerd, Some(&watchdog), span).await;
    let memory = watchdog.memory();
    let frozen = &units[..units.len().div_ceil(5)];
    SupervisionCost {
        detections: freeze_at_once(&rig, frozen).await,
        units: count,
        memory,
        watchdog: own,
        docker_alone,
        docker,
    }
}

/// Freezes units at once; returns the time until the watchdog has decided that each one hangs, in ascending order.
async fn freeze_at_once(rig: &WatchdogRig, units: &[Unit]) -> Vec<Duration> {
    let pids: Vec<String> = units.iter().map(|unit| unit.pids()[0].clone()).collect();
    let frozen_at = runtime::clock::now();
    let mut freeze = Command::new("kill");
    bearish_tests::docker::run_command(freeze.arg("-STOP").args(&pids));
    let detections = || async {
        let records = rig.records().await.into_iter();
        let detections = records.filter_map(|record| match record {
            SupervisionRecord::Unit {
                at,
                record: UnitRecord::StopIntended { .. },
                ..
            } => Some(at.since(frozen_at)),
            _ => None,
        });
        detections.collect::<Vec<Duration>>()
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut found = detections().await;
    while found.len() < units.len() && Instant::now() < deadline {
        sleep(Duration::from_secs(1)).await;
        found = detections().await;
    }
    found.sort();
    found
}

/// Percent of a core that dockerd and the other process use during `span`; 0 without another process.
async fn cpu_percent(
    docker: &ProcessStats,
    other: Option<&ProcessStats>,
    span: Duration,
) -> (f64, f64) {
    let used = || {
        (
            docker.cpu_time(),
            other.map_or(Duration::ZERO, ProcessStats::cpu_time),
        )
    };
    let (start, before) = (Instant::now(), used());
    sleep(span).await;
    let (elapsed, after) = (start.elapsed(), used());
    let percent = |from: Duration, to: Duration| {
        to.saturating_sub(from).as_secs_f64() / elapsed.as_secs_f64() * 100.0
    };
    (percent(before.0, after.0), percent(before.1, after.1))
}

fn print(cost: &SupervisionCost) {
    println!(
        "{:<12}{:>12}{:>14}{:>12.3}{:>16.3}{:>12.3}{:>12.3}",
        cost.units,
        cost.memory.resident,
        cost.memory.anonymous,
        cost.watchdog,
        cost.docker_alone,
        cost.docker,
        cost.docker - cost.docker_alone,
    );
    if !cost.detections.is_empty() {
        println!(
            "  SIGSTOP of {} at once to the decision: p50 {:.1?}, p99 {:.1?}",
            cost.detections.len(),
            rank(&cost.detections, 50),
            rank(&cost.detections, 99)
        );
    }
}
