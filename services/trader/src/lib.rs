//! The trader's body: waits for market data, asks the brain, journals, acts. No trading rule lives here.

pub mod account;
pub mod app;
pub mod assignment;
pub mod backtest;
pub mod book_manager;
pub mod book_metrics;
pub mod book_registry;
pub mod book_reports;
pub mod book_task;
pub mod cli;
pub mod context;
pub mod core_calls;
pub mod core_hang_detector;
pub mod dry_run;
pub mod health_inputs;
pub mod market;
pub mod settings;
pub mod startup;
pub mod status;
pub mod task_supervisor;
pub mod trades;
pub mod venue;
