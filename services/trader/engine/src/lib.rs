//! The trader's brain: what to do with a closed candle, and what a book is after it.
//!
//! Pure: no tokio, no clock, no randomness, no files, no sockets. Time comes in with the event, so
//! the same events make the same records on every machine. The body waits, journals and acts.

pub mod account;
pub mod aggregate;
pub mod backtest;
pub mod book;
pub mod breaker;
pub mod candle;
pub mod entry;
pub mod events;
pub mod fixed;
pub mod indicators;
pub mod market;
pub mod orders;
pub mod paper;
pub mod performance;
pub mod protections;
pub mod regime;
pub mod rules;
pub mod strategy;
pub mod summary;
pub mod turbulence;
