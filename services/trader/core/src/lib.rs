//! The decisions of the trader: what a book records about a closed candle or an answer of the exchange.
//!
//! This crate has no clock, network, files, randomness or async runtime. Time comes with each event, so that equal events
//! give equal records on every machine. The trader process waits for events, appends the records to the journal and
//! carries out what they intend.
//!
//! Main entry points: [`book::decide`] and [`book::BookState`] for one book, [`account::decide`] for the account,
//! [`market_state::MarketState`] for indicators and signals, [`backtest::Backtest`] for candles of the past.

pub mod account;
pub mod backtest;
pub mod bar_aggregator;
pub mod bar_history;
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
pub mod missing_candles;
pub mod orders;
pub mod performance;
pub mod protections;
pub mod regime;
pub mod statistics;
pub mod strategy;
pub mod symbol_filters;
pub mod volatility_breaker;
