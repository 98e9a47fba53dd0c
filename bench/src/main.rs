//! Benchmarks of the running system. Each subcommand measures and prints figures; none of them passes or fails.
//! Figures of a busy machine are not comparable, so each benchmark prints the idle share of the processors.
//!
//! - `recovery.rs`: time from the kill of a trader until it is running again; `compose_setup.rs`: the compared
//!   Compose projects; `process_supervisors.rs`: supervisors of plain processes; `docker_timeline.rs`: Docker's share.
//! - `hang_recovery.rs`: time from the freeze of a trader until it is running again.
//! - `idle_cost.rs`: memory and processor time of the services beside idle traders; `supervision_cost.rs`: the
//!   watchdog with many containers; `proc.rs`: memory and processor time of a process.
//! - `notifier_throughput.rs`: latency of the notifier, cost of many events, and apprise for comparison.
//! - `live.rs`: trading on the simulated exchange; `live/entry.rs`: closed candle to resting stop;
//!   `live/account.rs`: reconciliation of an account with many open orders, and order rate within the limits.
//! - `book_step.rs`: one step of a book, from the candle to the acknowledged decision.
//! - `stats.rs`, `machine.rs`: summaries of measured times, and the machine they were measured on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a panic is how a measurement fails, and its figures are printed"
)]

mod book_step;
mod compose_setup;
mod docker_timeline;
mod hang_recovery;
mod idle_cost;
mod live;
mod machine;
mod notifier_throughput;
mod proc;
mod process_supervisors;
mod recovery;
mod stats;
mod supervision_cost;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use runtime::shutdown::Shutdown;

/// Benchmarks of the system as Compose runs it; the images must exist (scripts/up builds them)
#[derive(Debug, Parser)]
#[command(name = "bearish-bench", version)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// Time from kill -9 of a trader to its next heartbeat "running": watchdog and Docker's restart: always
    Recovery(recovery::Options),
    /// Time from SIGSTOP of a trader to its next heartbeat "running": watchdog and autoheal
    Hang(hang_recovery::Options),
    /// Memory and processor time of the services beside idle traders
    Idle(idle_cost::Options),
    /// Latency of the notifier and cost of many events (no images needed)
    Notify(notifier_throughput::Options),
    /// Live trading on the simulated exchange (no images needed)
    Live(live::Options),
    /// One step of a book: candle received to decision acknowledged (no images needed)
    Step(book_step::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let shutdown = Shutdown::listen().unwrap();
    let measure = async {
        match &cli.benchmark {
            Benchmark::Recovery(options) => recovery::measure(options).await,
            Benchmark::Hang(options) => hang_recovery::measure(options).await,
            Benchmark::Idle(options) => idle_cost::measure(options).await,
            Benchmark::Notify(options) => notifier_throughput::measure(options).await,
            Benchmark::Live(options) => live::measure(options).await,
            Benchmark::Step(options) => book_step::measure(options).await,
        }
    };
    // Also after an early stop: dropping the measurement removes everything that it started.
    let measured = shutdown.token().run_until_cancelled(Box::pin(measure));
    match measured.await {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}
