//! `trader backtest` from outside: files in, files and a summary out. Candles are generated here or
//! recorded; the effect of one candle is tested with the trader core.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod flags;
mod golden_runs;
mod invalid_files;
mod market_data;
mod memory;
mod statistics;
mod warm_start;

mod support;
