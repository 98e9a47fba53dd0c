//! The trader's brain: what to do with a closed candle, and what a book is after it.
//!
//! Pure: no tokio, no clock, no randomness, no files, no sockets. Time comes in with the event, so
//! the same events make the same records on every machine. The body waits, journals and acts.

pub mod account;
pub mod backtest;
pub mod bar_aggregator;
pub mod book;
pub mod book_status;
pub mod candle;
pub mod circuit_breaker;
pub mod entry;
pub mod event_mapping;
pub mod fill_model;
pub mod fixed_point;
pub mod indicators;
pub mod market_state;
pub mod orders;
pub mod performance;
pub mod protections;
pub mod regime;
pub mod strategy;
pub mod symbol_filters;
pub mod volatility_breaker;
