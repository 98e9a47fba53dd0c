//! What every process of the system shares: how it starts, speaks on the bus, remembers, and ends.
//! No trading, supervision or delivery rule lives here.

pub mod bus;
#[cfg(feature = "chart")]
pub mod chart;
pub mod clock;
pub mod components;
pub mod condition;
pub mod failpoint;
pub mod hang_detector;
pub mod health;
pub mod health_report;
pub mod heartbeat;
pub mod identity;
pub mod journal;
pub mod leader_election;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod outbox;
pub mod process;
pub mod report_publisher;
pub mod secrets;
pub mod settings;
pub mod shutdown;
pub mod snapshot;
pub mod streams;
