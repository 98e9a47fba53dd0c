//! How soon a killed trader is at work again: our watchdog beside Docker's own `restart: always`, by
//! turns on the same machine at the same time; and behind them supervisors of plain processes, where they are.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use crate::figures::Summary;
use crate::machine::{self, Leisure};
use crate::plain::{Keeper, Plain};
use crate::side::{FLAGS, Networks, Recovery, Side, Way};
use crate::stages::Stages;

/// Letters before the figures.
const ROW: usize = 58;

type Part = fn(&Recovery) -> Duration;
type Stage = fn(&Stages) -> Duration;

/// What is told of a recovery.
const PARTS: [(&str, Part); 3] = [
    ("kill to work", |r| r.work),
    ("kill to process", |r| r.process),
    ("process to work", |r| r.work.saturating_sub(r.process)),
];

/// What of that is the engine's.
const STAGES: [(&str, Stage); 4] = [
    ("engine: kill to end seen", |s| s.seen),
    ("engine: to networks taken down", |s| s.freed),
    ("engine: to the next one's first network", |s| s.asked),
    ("engine: to started", |s| s.made),
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
    let leisure = Leisure::begin();
    if options.plain_only {
        machine::print(&[]);
        println!("{:<ROW$}{}", "in ms", Summary::heading());
    } else {
        of_containers(options, settle).await;
    }
    of_plain_processes(options, settle).await;
    leisure.print();
}

async fn of_containers(options: &Options, settle: Duration) {
    let networks = if options.shared_network {
        Networks::Shared
    } else {
        Networks::Own
    };
    explain(settle, networks);
    let mut sides = [
        Side::up(Way::Watchdog, networks).await,
        Side::up(Way::Docker, networks).await,
    ];
    let mut recoveries = [Vec::new(), Vec::new()];
    for run in 1..=options.runs {
        for (side, measured) in sides.iter_mut().zip(&mut recoveries) {
            // Neither one is killed in the other's aftermath.
            sleep(settle / 2).await;
            side.settle(settle).await;
            let recovery = side.recovery().await;
            let (way, ms) = (side.way.name(), recovery.work.as_millis());
            eprintln!("run {run} of {}: {way} {ms} ms", options.runs);
            measured.push(recovery);
        }
    }
    print(&sides.map(|side| side.way), &recoveries);
}

async fn of_plain_processes(options: &Options, settle: Duration) {
    let keepers = [
        options.supervisord.clone().map(Keeper::Supervisord),
        options.monit.clone().map(Keeper::Monit),
    ];
    if keepers.iter().any(Option::is_none) {
        println!("left out where not named: supervisord, monit (bench/peers/supervisors has both)");
    }
    for keeper in keepers.into_iter().flatten() {
        let mut plain = Plain::up(keeper).await;
        let mut recoveries = Vec::new();
        for run in 1..=options.runs {
            plain.settle(settle).await;
            let recovery = plain.recovery().await;
            let (name, ms) = (plain.keeper.name(), recovery.work.as_millis());
            eprintln!("run {run} of {}: {name} {ms} ms", options.runs);
            recoveries.push(recovery);
        }
        for (what, span) in PARTS {
            print_row(what, plain.keeper.name(), recoveries.iter().map(span));
        }
    }
}

fn explain(settle: Duration, networks: Networks) {
    machine::print(&["trader", "watchdog"]);
    println!(
        "compared: kill -9 of a trader's process to the first heartbeat \"running\" of the next one, by turns\n\
         - {}: restart policy no, supervised\n\
         - {}: the same image and flags, Docker's own policy, no watchdog\n\
         both: {FLAGS}; a bus and an exchange each; {}; at work for {settle:?} or longer before each kill\n\
         (Docker's delay begins again at 100 ms after 10 s; before the watchdog's 11th failure in a row\n\
         there is one kill that does not count, and `watchdog release`)\n",
        Way::Watchdog.name(),
        Way::Docker.name(),
        networks.words(),
    );
}

fn print(ways: &[Way], recoveries: &[Vec<Recovery>]) {
    println!("{:<ROW$}{}", "in ms", Summary::heading());
    for (what, span) in PARTS {
        for (way, measured) in ways.iter().zip(recoveries) {
            print_row(what, way.name(), measured.iter().map(span));
        }
    }
    for (what, span) in STAGES {
        for (way, measured) in ways.iter().zip(recoveries) {
            let told = measured.iter().filter_map(|r| r.stages.as_ref());
            print_row(what, way.name(), told.map(span));
        }
    }
}

fn print_row(what: &str, who: &str, spans: impl Iterator<Item = Duration>) {
    let row = format!("{what}, {who}");
    let mut spans = spans.peekable();
    if spans.peek().is_none() {
        println!("{row:<ROW$}not told");
    } else {
        println!("{row:<ROW$}{}", Summary::of(spans));
    }
}
