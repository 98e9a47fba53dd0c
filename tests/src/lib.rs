//! Tools for the system tests: the real binaries as processes, a real nats-server, and an audit that
//! recomputes every trade. Expectations about a single scenario are in `tests/tests`.
//!
//! - `process.rs`: a child process with its log, signals and exit code; `ports.rs`: reserved ports;
//!   `wait.rs`: polling with a deadline, and seeded randomness.
//! - `nats.rs`, `exchange.rs`, `trader.rs`: one program each; `system.rs`: bus, exchange and audit together.
//! - `exchange_client.rs`: a signed client of the exchange for audits, without code of the trader.
//! - `live.rs`, `live/`: a live account on the simulated exchange; `gateway.rs`: a proxy that holds or loses
//!   calls to the exchange.
//! - `watchdog.rs`: the watchdog with fake units; `docker.rs`: the project's images as containers;
//!   `docker_daemon.rs`: a separate Docker daemon that a test may stop; `socket_guard.rs`: the Docker proxy.
//! - `notifier.rs`: the notifier; `telegram.rs`: the fake Telegram that it writes to; `endpoint.rs`: an HTTP
//!   server that records requests.
//! - `metrics_client.rs`: reads `/metrics`.
//! - `candle_file.rs`: candle files with a market that a test defines.
//! - `journals.rs`, `bus_reader.rs`: read what the services stored on the bus.
//! - `audit.rs`, `audit/fills.rs`: recompute a journal from the market's candles.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "only tests use this, and a panic is how a test fails"
)]

pub mod audit;
pub mod bus_config;
pub mod bus_reader;
pub mod candle_file;
pub mod docker;
pub mod docker_daemon;
pub mod endpoint;
pub mod exchange;
pub mod exchange_client;
pub mod gateway;
pub mod journals;
pub mod live;
pub mod metrics_client;
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
