//! The trader's shell: it waits for market data, asks `trader_core` for decisions, journals them and then
//! acts. No trading rule is in this crate.
//!
//! [`app::run`] trades; [`cli_commands`] holds the commands beside trading, [`backtest`] replays a candle
//! file. [`market`] and [`venue`] are the adapter to Binance.

pub mod account;
pub mod app;
pub mod backtest;
pub mod books;
pub mod cli;
pub mod cli_commands;
pub mod market;
pub mod settings;
pub mod venue;
