//! What every process of the system shares: how it starts, speaks on the bus, remembers, and ends.
//! No trading, supervision or delivery rule lives here.

pub mod bus;
#[cfg(feature = "chart")]
pub mod chart;
pub mod clock;
pub mod condition;
pub mod events;
pub mod failpoint;
pub mod guard;
pub mod health;
pub mod health_report;
pub mod heartbeat;
pub mod identity;
pub mod journal;
pub mod lease;
pub mod metrics;
pub mod process;
pub mod progress;
pub mod reports;
pub mod secret;
pub mod settings;
pub mod shutdown;
pub mod snapshot;
pub mod streams;
pub mod stuck;
pub mod telemetry;
