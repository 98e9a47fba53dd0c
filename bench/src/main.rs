//! Measures the running system: parse, measure, print. Figures come out, no verdict: a machine with
//! other work to do gives other ones.
//!
//! - `recovery.rs`: how soon a killed trader is at work again; `side.rs`: the ways, one beside the other;
//!   `plain.rs`: supervisors of plain processes.
//! - `hang.rs`: how soon a frozen one is.
//! - `idle.rs`: what the services around the traders cost; `supervised.rs`: the watchdog alone, with many;
//!   `proc.rs`: what the kernel says of a process.
//! - `notify.rs`: how fast the notifier tells, and what many events cost it, beside a script's way.
//! - `live.rs`: trading on the simulated exchange: `live/entry.rs` from the closed candle to the resting stop,
//!   `live/account.rs` a look at an account with many open orders, and how many orders its limits let through.
//! - `step.rs`: one step of a book, from the candle to the acknowledged decision.
//! - `figures.rs`, `machine.rs`: how figures are summed up, and what they were measured on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a panic is how a measurement fails, and its figures are for a person to read"
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

/// Measures the system as Compose runs it; the images must be there (scripts/up builds them)
#[derive(Debug, Parser)]
#[command(name = "bearish-bench", version)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// kill -9 of a trader to its first good heartbeat: our watchdog beside Docker's restart: always
    Recovery(recovery::Options),
    /// SIGSTOP of a trader to its next first good heartbeat: our watchdog beside autoheal's way
    Hang(hang_recovery::Options),
    /// Memory and processor time of the services around idle traders
    Idle(idle_cost::Options),
    /// How fast the notifier tells, and what many events cost it (no images needed)
    Notify(notifier_throughput::Options),
    /// Live trading on the simulated exchange (no images needed)
    Live(live::Options),
    /// One live step: candle in, decision journaled and acknowledged (no images needed)
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
    // Stopped early or not: leaving the measurement removes all that it started.
    let measured = shutdown.token().run_until_cancelled(Box::pin(measure));
    match measured.await {
        Some(()) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}
