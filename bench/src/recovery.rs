//! How soon a killed trader is at work again: our watchdog beside Docker's own `restart: always`, by
//! turns on the same machine at the same time; and behind them supervisors of plain processes, where they are.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::compose_setup::{FLAGS, Networks, Recovery, RestartMethod, RestartSetup};
use crate::docker_timeline::Stages;
use crate::machine::{self, IdleTime};
use crate::process_supervisors::{ProcessSupervisor, SupervisedProcess};
use crate::stats::SpanStats;

/// Letters before the figures.
const LABEL_WIDTH: usize = 58;

type RecoverySpan = fn(&Recovery) -> Duration;
type StageSpan = fn(&Stages) -> Duration;

/// What is told of a recovery.
const RECOVERY_SPANS: [(&str, RecoverySpan); 3] = [
    ("kill to work", |r| r.running),
    ("kill to process", |r| r.process_started),
    ("process to work", |r| {
        r.running.saturating_sub(r.process_started)
    }),
];

/// What of that is the engine's.
const STAGE_SPANS: [(&str, StageSpan); 4] = [
    ("engine: kill to end seen", |s| s.end_seen),
    ("engine: to networks taken down", |s| s.networks_removed),
    ("engine: to the next one's first network", |s| {
        s.next_network_added
    }),
    ("engine: to started", |s| s.started),
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Kills of each trader
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Seconds at work before a kill; Docker's delay grows with each one that comes within 10
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(11..=600))]
    settle: u64,
    /// Each trader in its exchange's network namespace: none for the engine to set up or take down
    #[arg(long)]
    shared_network: bool,
    /// A supervisord (bench/peers/supervisors gets one)
    #[arg(long, value_name = "PROGRAM")]
    supervisord: Option<PathBuf>,
    /// A monit
    #[arg(long, value_name = "PROGRAM")]
    monit: Option<PathBuf>,
    /// Only those two (no images needed)
    #[arg(long)]
    plain_only: bool,
}

/// Measures and prints.
pub(crate) async fn measure(options: &Options) {
    let settle = Duration::from_secs(options.settle);
    let leisure = IdleTime::begin();
    if options.plain_only {
        machine::print(&[]);
        println!("{:<LABEL_WIDTH$}{}", "in ms", SpanStats::heading());
    } else {
        measure_containers(options, settle).await;
    }
    measure_processes(options, settle).await;
    leisure.print();
}

async fn measure_containers(options: &Options, settle: Duration) {
    let networks = if options.shared_network {
        Networks::Shared
    } else {
        Networks::Own
    };
    print_explanation(settle, networks);
    let mut sides = [
        RestartSetup::start(RestartMethod::Watchdog, networks).await,
        RestartSetup::start(RestartMethod::Docker, networks).await,
    ];
    let mut recoveries = [Vec::new(), Vec::new()];
    for run in 1..=options.runs {
        for (side, measured) in sides.iter_mut().zip(&mut recoveries) {
            // Neither one is killed in the other's aftermath.
            sleep(settle / 2).await;
            side.settle(settle).await;
            let recovery = side.measure_kill().await;
            let (way, ms) = (side.method.name(), recovery.running.as_millis());
            eprintln!("run {run} of {}: {way} {ms} ms", options.runs);
            measured.push(recovery);
        }
    }
    print(&sides.map(|side| side.method), &recoveries);
}

async fn measure_processes(options: &Options, settle: Duration) {
    let keepers = [
        options
            .supervisord
            .clone()
            .map(ProcessSupervisor::Supervisord),
        options.monit.clone().map(ProcessSupervisor::Monit),
    ];
    if keepers.iter().any(Option::is_none) {
        println!("left out where not named: supervisord, monit (bench/peers/supervisors has both)");
    }
    for keeper in keepers.into_iter().flatten() {
        let mut plain = SupervisedProcess::start(keeper).await;
        let mut recoveries = Vec::new();
        for run in 1..=options.runs {
            plain.settle(settle).await;
            let recovery = plain.measure_recovery().await;
            let (name, ms) = (plain.kind.name(), recovery.running.as_millis());
            eprintln!("run {run} of {}: {name} {ms} ms", options.runs);
            recoveries.push(recovery);
        }
        for (what, span) in RECOVERY_SPANS {
            print_row(what, plain.kind.name(), recoveries.iter().map(span));
        }
    }
}

fn print_explanation(settle: Duration, networks: Networks) {
    machine::print(&["trader", "watchdog"]);
    println!(
        "compared: kill -9 of a trader's process to the first heartbeat \"running\" of the next one, by turns\n\
         - {}: restart policy no, supervised\n\
         - {}: the same image and flags, Docker's own policy, no watchdog\n\
         both: {FLAGS}; a bus and an exchange each; {}; at work for {settle:?} or longer before each kill\n\
         (Docker's delay begins again at 100 ms after 10 s; before the watchdog's 11th failure in a row\n\
         there is one kill that does not count, and `watchdog release`)\n",
        RestartMethod::Watchdog.name(),
        RestartMethod::Docker.name(),
        networks.description(),
    );
}

fn print(ways: &[RestartMethod], recoveries: &[Vec<Recovery>]) {
    println!("{:<LABEL_WIDTH$}{}", "in ms", SpanStats::heading());
    for (what, span) in RECOVERY_SPANS {
        for (way, measured) in ways.iter().zip(recoveries) {
            print_row(what, way.name(), measured.iter().map(span));
        }
    }
    for (what, span) in STAGE_SPANS {
        for (way, measured) in ways.iter().zip(recoveries) {
            let told = measured.iter().filter_map(|r| r.stages.as_ref());
            print_row(what, way.name(), told.map(span));
        }
    }
}

fn print_row(what: &str, method: &str, spans: impl Iterator<Item = Duration>) {
    let row = format!("{what}, {method}");
    let mut spans = spans.peekable();
    if spans.peek().is_none() {
        println!("{row:<LABEL_WIDTH$}not told");
    } else {
        println!("{row:<LABEL_WIDTH$}{}", SpanStats::from_spans(spans));
    }
}
