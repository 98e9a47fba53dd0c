//! Measures the time from the freeze of a trader until it is running again: with the watchdog, which detects missing
//! heartbeats, and with autoheal, which restarts a container whose health check fails.

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::compose_setup::{FLAGS, Networks, Recovery, RestartMethod, RestartSetup};
use crate::machine::{self, IdleTime};
use crate::stats::SpanStats;

/// Step of the freeze's offset from run to run, in milliseconds: spreads freezes between two heartbeats.
const STEP_MS: u64 = 377;
const HEARTBEAT_MS: u64 = 1_000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of freezes of the watchdog's trader
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Number of freezes of autoheal's trader; each takes almost a minute
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1000))]
    autoheal_runs: u32,
    /// Seconds of running before each freeze
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(5..=600))]
    settle: u64,
    /// Seconds after which a trader counts as not recovered
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(10..=600))]
    timeout: u64,
}

pub(crate) async fn measure(options: &Options) {
    print_explanation();
    let idle = IdleTime::begin();
    println!("{:<32}{}", "in ms", SpanStats::heading());
    for (method, runs) in [
        (RestartMethod::Watchdog, options.runs),
        (RestartMethod::Autoheal, options.autoheal_runs),
    ] {
        if runs > 0 {
            measure_method(method, runs, options).await;
        }
    }
    idle.print();
}

async fn measure_method(method: RestartMethod, runs: u32, options: &Options) {
    let (settle, limit) = (
        Duration::from_secs(options.settle),
        Duration::from_secs(options.timeout),
    );
    let mut setup = RestartSetup::start(method, Networks::Own).await;
    let mut recoveries = Vec::new();
    for run in 1..=runs {
        setup.settle(settle).await;
        let offset = u64::from(run) * STEP_MS % HEARTBEAT_MS;
        sleep(Duration::from_millis(offset)).await;
        let recovery = setup.measure_freeze(limit).await;
        let ms = recovery.map(|recovery| recovery.running.as_millis());
        eprintln!("run {run} of {runs}: {} {ms:?} ms", method.name());
        recoveries.extend(recovery);
    }
    print(method, runs, limit, &recoveries);
}

fn print_explanation() {
    machine::print(&["trader", "watchdog"]);
    println!(
        "measured: SIGSTOP of a trader's process to the first heartbeat \"running\" of the next one\n\
         - {}: restart policy no, supervised; a heartbeat every second\n\
         - {}: the same image and flags, compose.yaml's health check (every 5 s, 5 times), and a poller that\n\
         \x20 lists `health=unhealthy` every 5 s and restarts those containers with a stop timeout of 10 s\n\
         both: {FLAGS}; a bus and an exchange each. A health check that does not contact the process succeeds\n\
         although it is frozen (tests/tests/docker_behaviour.rs), and `restart: always` does not detect hangs\n",
        RestartMethod::Watchdog.name(),
        RestartMethod::Autoheal.name(),
    );
}

fn print(method: RestartMethod, runs: u32, limit: Duration, recoveries: &[Recovery]) {
    for (what, span) in [
        (
            "freeze to running",
            (|r| r.running) as fn(&Recovery) -> Duration,
        ),
        ("freeze to process", |r| r.process_started),
    ] {
        let row = format!("{what}, {}", method.name());
        if !recoveries.is_empty() {
            println!(
                "{row:<32}{}",
                SpanStats::from_spans(recoveries.iter().map(span))
            );
        }
    }
    let never = runs as usize - recoveries.len();
    if never > 0 {
        println!("{}: {never} times not within {limit:?}", method.name());
    }
}
