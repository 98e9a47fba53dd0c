//! The trader's body: waits for market data, asks the brain, journals, acts. No trading rule lives here.

pub mod account;
pub mod app;
pub mod backtest;
pub mod board;
pub mod book;
pub mod calls;
pub mod cli;
pub mod context;
pub mod dry_run;
pub mod fleet;
pub mod lookout;
pub mod market;
pub mod numbers;
pub mod parts;
pub mod report;
pub mod settings;
pub mod share;
pub mod start;
pub mod status;
pub mod trades;
pub mod venue;
pub mod vitals;
