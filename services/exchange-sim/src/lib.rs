//! An exchange on this machine that speaks Binance USD-M Futures' REST and WebSocket protocol, as far
//! as a trader needs it.
//!
//! - `market/`: where candles come from, a seed or a file; `book.rs` keeps them, `clock.rs` says how far
//!   the market has come, `anchor.rs` lets a restart go on.
//! - `exchange.rs`: market and clock as everyone shares them.
//! - `trading/`: accounts, orders and positions, pure; `trading_service/`: the one place where calls reach them,
//!   changes are stored, users are told and faults are armed; `keys.rs`: who may.
//! - `rest/`, `ws/`: the wire; `pulse.rs` makes the streams speak.
//! - `server.rs`: builds, serves, ends. `settings.rs`, `health.rs`: the command line.
//!
//! It knows nothing of traders and strategies, and nobody's code is shared with it: what tests it are
//! clients that others wrote.

pub mod api_keys;
pub mod candle;
pub mod candle_store;
pub mod clock;
pub mod exchange;
pub mod health;
pub mod interval;
pub mod market;
mod rest;
pub mod server;
pub mod settings;
pub mod state_file;
mod stream_publisher;
pub mod symbols;
pub mod trading;
mod trading_service;
mod ws;
