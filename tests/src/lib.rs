//! What the system tests are written with: the real binaries as processes, a real nats-server, and
//! an audit that recomputes every trade. No expectation about one scenario lives here.
//!
//! - `process.rs`: a child with its log, signals and exit code; `ports.rs`, `wait.rs`: the rest of
//!   the ground they stand on.
//! - `nats.rs`, `exchange.rs`, `trader.rs`: the three programs; `system.rs`: all of them together.
//! - `watchdog.rs`: the watchdog, with units that live and die as a test tells them to; `docker_daemon.rs`: a Docker engine
//!   of a test's own, which may go down.
//! - `notifier.rs`: the notifier; `telegram.rs`: the strict Telegram that it writes to.
//! - `endpoint.rs`: an HTTP end that keeps what is sent to it.
//! - `candle_file.rs`: a market that a test makes up.
//! - `journals.rs`, `bus_reader.rs`: what they left on the bus.
//! - `audit.rs`, `audit/fills.rs`: whether a journal is what the market allows, computed anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "only tests use this, and a panic is how a test fails"
)]

pub mod audit;
pub mod bus_reader;
pub mod candle_file;
pub mod docker;
pub mod docker_daemon;
pub mod endpoint;
pub mod exchange;
pub mod gateway;
pub mod journals;
pub mod live;
pub mod nats;
pub mod notifier;
pub mod ports;
pub mod process;
pub mod socket_guard;
pub mod system;
pub mod telegram;
pub mod trader;
pub mod wait;
pub mod watchdog;
