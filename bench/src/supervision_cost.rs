//! What supervision costs with few and with many containers: the watchdog's memory and processor time, and what it makes
//! the engine do, which is its processor time with the watchdog less that without, both in the same run. The
//! containers are the tests' tiny fake-units: as many traders would need a larger machine.

use std::time::Duration;

use bearish_tests::watchdog::{Unit, WatchdogRig};
use tokio::time::{Instant, sleep};

use crate::machine::{self, IdleTime};
use crate::proc::{Memory, ProcessStats};

/// Where dockerd says who it is.
const PID_FILE: &str = "/var/run/docker.pid";
const FLAGS: &str = "--paper --infinite --auto-restart";
/// After this nobody starts any more.
const SETTLE_TIME: Duration = Duration::from_secs(20);

/// One number of containers.
struct SupervisionCost {
    units: u32,
    memory: Memory,
    watchdog: f64,
    docker_alone: f64,
    docker: f64,
}

/// Measures and prints.
pub(crate) async fn measure(counts: &[u32], span: Duration) {
    machine::print(&[]);
    println!(
        "measured: {span:?} without and {span:?} with the watchdog, each {SETTLE_TIME:?} after its begin; fake-units of a few\n\
         kB in place of traders, which beat every 5 s and have no health check; the engine reached without a guard\n"
    );
    println!(
        "{:<12}{:>12}{:>14}{:>12}{:>16}{:>12}{:>12}",
        "supervised", "RSS kB", "of it own kB", "CPU %", "dockerd alone %", "with %", "ours %"
    );
    let leisure = IdleTime::begin();
    for units in counts {
        print(&measure_cost(*units, span).await);
    }
    leisure.print();
}

async fn measure_cost(count: u32, span: Duration) -> SupervisionCost {
    let mut rig = WatchdogRig::start().await;
    let units: Vec<Unit> = (1..=count)
        .map(|number| rig.unit_setup(number, FLAGS).env("HEARTBEAT_MS=5000").start())
        .collect();
    for unit in &units {
        rig.wait_until_healthy(unit).await;
    }
    let dockerd = std::fs::read_to_string(PID_FILE).unwrap();
    let dockerd = ProcessStats::of_process(dockerd.trim().parse().unwrap());
    rig.watchdog.kill();
    sleep(SETTLE_TIME).await;
    let (engine_alone, _) = cpu_percent(&dockerd, None, span).await;
    // As it is by default, and as often as the fake-units.
    rig.replace_watchdog_with_env(("HEARTBEAT_SECS", "5"));
    rig.watchdog.wait_for_log("supervising").await;
    sleep(SETTLE_TIME).await;
    let watchdog = ProcessStats::of_process(rig.watchdog.pid());
    let (engine, own) = cpu_percent(&dockerd, Some(&watchdog), span).await;
    let memory = watchdog.memory();
    SupervisionCost {
        units: count,
        memory,
        watchdog: own,
        docker_alone: engine_alone,
        docker: engine,
    }
}

/// Percent of a core that each takes over this time.
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
    let (began, before) = (Instant::now(), used());
    sleep(span).await;
    let (elapsed, after) = (began.elapsed(), used());
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
}
