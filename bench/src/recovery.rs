//! Measures the time from the kill of a trader until it is running again: with the watchdog and with Docker's
//! `restart: always`, alternately on the same machine, and then with supervisors of plain processes if they are given.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::compose_setup::{FLAGS, Networks, Recovery, RestartMethod, RestartSetup};
use crate::docker_timeline::Stages;
use crate::machine::{self, IdleTime};
use crate::process_supervisors::{ProcessSupervisor, SupervisedProcess};
use crate::stats::SpanStats;

/// Width of the row labels in characters.
const LABEL_WIDTH: usize = 58;

type RecoverySpan = fn(&Recovery) -> Duration;
type StageSpan = fn(&Stages) -> Duration;

/// Printed times of a recovery.
const RECOVERY_SPANS: [(&str, RecoverySpan); 3] = [
    ("kill to running", |r| r.running),
    ("kill to process", |r| r.process_started),
    ("process to running", |r| {
        r.running.saturating_sub(r.process_started)
    }),
];

/// Printed times of Docker's part of a recovery.
const STAGE_SPANS: [(&str, StageSpan); 4] = [
    ("Docker: kill to exit seen", |s| s.end_seen),
    ("Docker: to networks removed", |s| s.networks_removed),
    ("Docker: to first network of the next process", |s| {
        s.next_network_added
    }),
    ("Docker: to started", |s| s.started),
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of kills of each trader
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Seconds of running before each kill; Docker's delay grows with each kill within 10 s of a start
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(11..=600))]
    settle: u64,
    /// Use the exchange's network namespace for each trader, so that Docker sets up no networks
    #[arg(long)]
    shared_network: bool,
    /// Path of supervisord (bench/peers/supervisors installs it)
    #[arg(long, value_name = "PROGRAM")]
    supervisord: Option<PathBuf>,
    /// Path of monit (bench/peers/supervisors installs it)
    #[arg(long, value_name = "PROGRAM")]
    monit: Option<PathBuf>,
    /// Measure only those two supervisors (no images needed)
    #[arg(long)]
    plain_only: bool,
}

pub(crate) async fn measure(options: &Options) {
    let settle = Duration::from_secs(options.settle);
    let idle = IdleTime::begin();
    if options.plain_only {
        machine::print(&[]);
        println!("{:<LABEL_WIDTH$}{}", "in ms", SpanStats::heading());
    } else {
        measure_containers(options, settle).await;
    }
    measure_processes(options, settle).await;
    idle.print();
}

async fn measure_containers(options: &Options, settle: Duration) {
    let networks = if options.shared_network {
        Networks::Shared
    } else {
        Networks::Own
    };
    print_explanation(settle, networks);
    let mut setups = [
        RestartSetup::start(RestartMethod::Watchdog, networks).await,
        RestartSetup::start(RestartMethod::Docker, networks).await,
    ];
    let mut recoveries = [Vec::new(), Vec::new()];
    for run in 1..=options.runs {
        for (setup, measured) in setups.iter_mut().zip(&mut recoveries) {
            // A pause, so that no kill disturbs the recovery of the other trader.
            sleep(settle / 2).await;
            setup.settle(settle).await;
            let recovery = setup.measure_kill().await;
            let (method, ms) = (setup.method.name(), recovery.running.as_millis());
            eprintln!("run {run} of {}: {method} {ms} ms", options.runs);
            measured.push(recovery);
        }
    }
    print(&setups.map(|setup| setup.method), &recoveries);
}

async fn measure_processes(options: &Options, settle: Duration) {
    let supervisors = [
        options
            .supervisord
            .clone()
            .map(ProcessSupervisor::Supervisord),
        options.monit.clone().map(ProcessSupervisor::Monit),
    ];
    if supervisors.iter().any(Option::is_none) {
        println!(
            "skipped unless given: supervisord, monit (bench/peers/supervisors installs both)"
        );
    }
    for supervisor in supervisors.into_iter().flatten() {
        let mut plain = SupervisedProcess::start(supervisor).await;
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
        "measured: kill -9 of a trader's process to the first heartbeat \"running\" of the next one, alternately\n\
         - {}: restart policy no, supervised\n\
         - {}: the same image and flags, Docker's restart policy, no watchdog\n\
         both: {FLAGS}; a bus and an exchange each; {}; running for {settle:?} or longer before each kill\n\
         (Docker's delay is reset to 100 ms after 10 s; before the 11th consecutive failure of the watchdog,\n\
         there is one kill that is not measured, and `watchdog release`)\n",
        RestartMethod::Watchdog.name(),
        RestartMethod::Docker.name(),
        networks.description(),
    );
}

fn print(methods: &[RestartMethod], recoveries: &[Vec<Recovery>]) {
    println!("{:<LABEL_WIDTH$}{}", "in ms", SpanStats::heading());
    for (what, span) in RECOVERY_SPANS {
        for (method, measured) in methods.iter().zip(recoveries) {
            print_row(what, method.name(), measured.iter().map(span));
        }
    }
    for (what, span) in STAGE_SPANS {
        for (method, measured) in methods.iter().zip(recoveries) {
            let stages = measured.iter().filter_map(|r| r.stages.as_ref());
            print_row(what, method.name(), stages.map(span));
        }
    }
}

fn print_row(what: &str, method: &str, spans: impl Iterator<Item = Duration>) {
    let row = format!("{what}, {method}");
    let mut spans = spans.peekable();
    if spans.peek().is_none() {
        println!("{row:<LABEL_WIDTH$}not available");
    } else {
        println!("{row:<LABEL_WIDTH$}{}", SpanStats::from_spans(spans));
    }
}
