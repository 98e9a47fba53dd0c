//! What supervision costs with few and with many containers: the watchdog's memory and processor time, and what it makes
//! the engine do, which is its processor time with the watchdog less that without, both in the same run. The
//! containers are the tests' tiny stand-ins: as many traders would need a larger machine.

use std::time::Duration;

use bearish_tests::watchdog::{Kennel, Unit};
use tokio::time::{Instant, sleep};

use crate::machine::{self, Leisure};
use crate::proc::{Memory, Proc};

/// Where dockerd says who it is.
const PID_FILE: &str = "/var/run/docker.pid";
const FLAGS: &str = "--paper --infinite --auto-restart";
/// After this nobody starts any more.
const CALM: Duration = Duration::from_secs(20);

/// One number of containers.
struct Cost {
    units: u32,
    memory: Memory,
    watchdog: f64,
    engine_alone: f64,
    engine: f64,
}

/// Measures and prints.
pub(crate) async fn measure(counts: &[u32], span: Duration) {
    machine::print(&[]);
    println!(
        "measured: {span:?} without and {span:?} with the watchdog, each {CALM:?} after its begin; stand-ins of a few\n\
         kB in place of traders, which beat every 5 s and have no health check; the engine reached without a guard\n"
    );
    println!(
        "{:<12}{:>12}{:>14}{:>12}{:>16}{:>12}{:>12}",
        "supervised", "RSS kB", "of it own kB", "CPU %", "dockerd alone %", "with %", "ours %"
    );
    let leisure = Leisure::begin();
    for units in counts {
        print(&cost(*units, span).await);
    }
    leisure.print();
}

async fn cost(count: u32, span: Duration) -> Cost {
    let mut kennel = Kennel::open().await;
    let units: Vec<Unit> = (1..=count)
        .map(|number| kennel.unit(number, FLAGS).env("BEAT_MS=5000").start())
        .collect();
    for unit in &units {
        kennel.healthy(unit).await;
    }
    let dockerd = std::fs::read_to_string(PID_FILE).unwrap();
    let dockerd = Proc::of_process(dockerd.trim().parse().unwrap());
    kennel.watchdog.kill();
    sleep(CALM).await;
    let (engine_alone, _) = load(&dockerd, None, span).await;
    // As it is by default, and as often as the stand-ins.
    kennel.replace_watchdog_with(("HEARTBEAT_SECS", "5"));
    kennel.watchdog.says("supervising").await;
    sleep(CALM).await;
    let watchdog = Proc::of_process(kennel.watchdog.id());
    let (engine, own) = load(&dockerd, Some(&watchdog), span).await;
    let memory = watchdog.memory();
    Cost {
        units: count,
        memory,
        watchdog: own,
        engine_alone,
        engine,
    }
}

/// Percent of a core that each takes over this time.
async fn load(engine: &Proc, other: Option<&Proc>, span: Duration) -> (f64, f64) {
    let used = || (engine.used(), other.map_or(Duration::ZERO, Proc::used));
    let (began, before) = (Instant::now(), used());
    sleep(span).await;
    let (elapsed, after) = (began.elapsed(), used());
    let percent = |from: Duration, to: Duration| {
        to.saturating_sub(from).as_secs_f64() / elapsed.as_secs_f64() * 100.0
    };
    (percent(before.0, after.0), percent(before.1, after.1))
}

fn print(cost: &Cost) {
    println!(
        "{:<12}{:>12}{:>14}{:>12.3}{:>16.3}{:>12.3}{:>12.3}",
        cost.units,
        cost.memory.resident,
        cost.memory.anonymous,
        cost.watchdog,
        cost.engine_alone,
        cost.engine,
        cost.engine - cost.engine_alone,
    );
}
