//! The account that the books of several processes share: one instance keeps it, every instance watches
//! what the keeper says. What follows from the figures is decided in the engine.

mod account_commands;
mod delisted_books;
mod emergency_flatten;
mod init;
mod latch_check;
mod leader;
mod monitor;

pub(crate) use account_commands::{AttributionArgs, append_records, read_account_state};
pub use account_commands::{FlattenArgs, PauseArgs, UnlatchArgs, flatten, pause, resume, unlatch};
pub use init::{InitArgs, run as init};
pub use latch_check::{active_latch, check as check_latch};
pub use leader::run as keep;
pub use monitor::{AccountMonitor, AccountStatus, run as watch};
