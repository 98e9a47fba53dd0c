//! What the services say to each other, and nothing about how it travels.
//!
//! Pure: no tokio, no clock, no sockets. Every message carries a version `v` and is held against
//! committed JSON in `tests/golden/`. Journal *records* are not here: they belong to the brain
//! that folds them; only their envelope is shared, and an operator's words, which several services write.

pub mod account_command;
pub mod command;
pub mod event;
pub mod event_samples;
pub mod exit_code;
pub mod heartbeat;
pub mod ids;
pub mod journal;
pub mod lease;
pub mod report;
pub mod subject;
pub mod time;
pub mod trader_args;

/// Version of every message that this build writes. A reader refuses a newer one.
pub const VERSION: u16 = 1;
