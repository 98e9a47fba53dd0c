//! A simulated exchange that speaks the REST and WebSocket protocol of Binance USD-M futures, as far as the trader
//! uses it.
//!
//! - [`market`]: candles from a seed or a file; [`candle_store`] keeps them, [`clock`] is exchange time,
//!   [`state_file`] lets a restart continue.
//! - [`exchange`]: market and clock, shared by all tasks.
//! - [`trading`]: accounts, orders and positions, pure. `trading_service` executes calls, stores changes, notifies
//!   user streams and arms faults; [`api_keys`] authenticates.
//! - `rest`, `ws`: the protocol; `stream_publisher` publishes the streams, `connection` accepts the clients.
//! - [`fault_reference`]: the table of faults for the documentation.
//! - [`server`]: assembly. [`settings`], [`health`]: the command line.
//!
//! It shares no code with the trader, and is tested with independent clients.

pub mod api_keys;
pub mod candle;
pub mod candle_store;
pub mod clock;
mod connection;
pub mod exchange;
pub mod fault_reference;
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
