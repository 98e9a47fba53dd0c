//! The books of this process: which ones it holds, the task of each, and what they report.

pub mod assignment;
pub(crate) mod book_journal;
pub mod book_manager;
pub mod book_registry;
pub mod book_reports;
pub(crate) mod book_task;
pub mod core_calls;
pub mod core_hang_detector;
mod halts;
pub mod rules_reader;
pub mod symbol_rules;
pub mod warm_up_queue;
