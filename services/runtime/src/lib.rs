//! Shared parts of every process: settings, logs, the bus, journals, leases, heartbeats, health, metrics, shutdown.

pub mod backoff;
pub mod bus;
#[cfg(feature = "chart")]
pub mod chart;
pub mod clock;
pub mod components;
pub mod exit_error;
pub mod failpoint;
pub mod hang_detector;
pub mod health;
pub mod heartbeat;
pub mod identity;
pub mod journal;
pub mod leader_election;
pub mod lease;
mod log_file;
pub mod logging;
pub mod metrics;
pub mod outbox;
pub mod presence;
pub mod process;
pub mod report_publisher;
pub mod secrets;
pub mod settings;
pub mod shutdown;
pub mod snapshot;
pub mod stdout;
pub mod streams;
pub mod subscription;
