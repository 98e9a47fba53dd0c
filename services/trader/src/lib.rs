//! The trader's shell: it waits for market data, asks `trader_core` for decisions, journals them and then
//! acts. No trading rule is in this crate.
//!
//! [`app::run`] trades; [`cli_commands`] holds the commands beside trading, [`backtest`] replays a candle
//! file. The exchange is behind the traits of [`exchange`]; only [`app`] names the adapter.

pub mod account;
pub mod app;
pub mod backtest;
pub mod books;
pub mod cli;
pub mod cli_commands;
pub mod settings;
