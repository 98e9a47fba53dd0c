//! How soon a frozen trader is at work again: our watchdog, which misses its heartbeats, beside autoheal's way, which
//! restarts what fails its health check. By turns on the same machine at the same time.

use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::compose_setup::{FLAGS, Networks, Recovery, RestartMethod, RestartSetup};
use crate::machine::{self, IdleTime};
use crate::stats::SpanStats;

/// From one run to the next, in milliseconds: freezes fall everywhere between two heartbeats.
const STEP_MS: u64 = 377;
const HEARTBEAT_MS: u64 = 1_000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Freezes of our watchdog's trader
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Freezes of autoheal's trader: each takes the better part of a minute
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1000))]
    autoheal_runs: u32,
    /// Seconds at work before a freeze
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(5..=600))]
    settle: u64,
    /// Seconds after which it counts as never
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(10..=600))]
    timeout: u64,
}

/// Measures and prints.
pub(crate) async fn measure(options: &Options) {
    print_explanation();
    let leisure = IdleTime::begin();
    println!("{:<32}{}", "in ms", SpanStats::heading());
    for (way, runs) in [
        (RestartMethod::Watchdog, options.runs),
        (RestartMethod::Autoheal, options.autoheal_runs),
    ] {
        if runs > 0 {
            measure_method(way, runs, options).await;
        }
    }
    leisure.print();
}

async fn measure_method(way: RestartMethod, runs: u32, options: &Options) {
    let (settle, patience) = (
        Duration::from_secs(options.settle),
        Duration::from_secs(options.timeout),
    );
    let mut side = RestartSetup::start(way, Networks::Own).await;
    let mut recoveries = Vec::new();
    for run in 1..=runs {
        side.settle(settle).await;
        let offset = u64::from(run) * STEP_MS % HEARTBEAT_MS;
        sleep(Duration::from_millis(offset)).await;
        let recovery = side.measure_freeze(patience).await;
        let ms = recovery.map(|recovery| recovery.running.as_millis());
        eprintln!("run {run} of {runs}: {} {ms:?} ms", way.name());
        recoveries.extend(recovery);
    }
    print(way, runs, patience, &recoveries);
}

fn print_explanation() {
    machine::print(&["trader", "watchdog"]);
    println!(
        "compared: SIGSTOP of a trader's process to the first heartbeat \"running\" of the next one\n\
         - {}: restart policy no, supervised; it beats every second\n\
         - {}: the same image and flags, compose.yaml's health check (every 5 s, 5 times), and who\n\
         \x20 asks for `health=unhealthy` every 5 s and restarts that with 10 s of grace\n\
         both: {FLAGS}; a bus and an exchange each. A check that does not touch the process is content with\n\
         a frozen one for ever (tests/tests/docker_facts.rs), and `restart: always` never looks\n",
        RestartMethod::Watchdog.name(),
        RestartMethod::Autoheal.name(),
    );
}

fn print(way: RestartMethod, runs: u32, patience: Duration, recoveries: &[Recovery]) {
    for (what, span) in [
        (
            "freeze to work",
            (|r| r.running) as fn(&Recovery) -> Duration,
        ),
        ("freeze to process", |r| r.process_started),
    ] {
        let row = format!("{what}, {}", way.name());
        if !recoveries.is_empty() {
            println!(
                "{row:<32}{}",
                SpanStats::from_spans(recoveries.iter().map(span))
            );
        }
    }
    let never = runs as usize - recoveries.len();
    if never > 0 {
        println!("{}: {never} times never within {patience:?}", way.name());
    }
}
