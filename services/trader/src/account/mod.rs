//! The account that the books of all processes share. One process leads it; every process monitors what
//! the leader reports. The decisions are in `trader_core::account`.

mod balance_sampler;
mod closing;
pub(crate) mod command_journal;
mod delisted_books;
pub(crate) mod latch_check;
pub(crate) mod leader;
pub mod monitor;
pub(crate) mod monitor_task;
pub mod protection_check;
pub mod protection_status;
mod record_log;
