//! The commands of `trader` beside trading, one module each. All of them work while no trader runs.

pub mod account_commands;
mod bus_access;
pub mod check_flags;
pub mod dry_run;
pub mod emergency_flatten;
pub mod health;
pub mod init;
pub mod output;
pub mod status;
pub mod trades;
pub mod unhalt;
