//! Messages, subjects and identities that the services share.
//!
//! The crate is pure: no tokio, no clock, no sockets. Every message carries a version `v`, and tests compare it with
//! committed JSON in `tests/golden/`. Records of a journal are defined by the core that folds them; their envelope and
//! the account commands, which several services write, are defined here.

pub mod account_command;
pub mod command;
pub mod duration;
pub mod event;
pub mod event_samples;
pub mod exit_code;
pub mod heartbeat;
pub mod host_command;
pub mod ids;
pub mod journal;
pub mod lease;
pub mod presence;
pub mod redact;
pub mod report;
pub mod subject;
pub mod time;
pub mod trader_args;
pub mod unit_remedy;

/// Version of every message that this build writes. A reader rejects a newer version.
pub const VERSION: u16 = 1;
