//! The adapter to Binance USD-M futures: market data ([`BinanceDataClient`]) and one account
//! ([`BinanceExecutionClient`]), behind the traits of [`exchange`]. No other crate knows Binance.
//!
//! The SDK is the transport. What it does not do, and this crate does: notice a stream that fell silent or was
//! closed with 1000, fill gaps, keep one slow reader from blocking the others, and tell a rejected order from one
//! whose outcome is unknown.

pub mod client;
mod data;
mod error;
mod execution;
mod weight_limiter;
pub mod wire;

pub use data::{BinanceDataClient, DataClientSettings, FeedSettings, FeedTiming};
pub use execution::{BinanceExecutionClient, ExecutionClientSettings, UserStreamTiming};

/// Directive for the log filter that turns the SDK's own lines off: this crate logs every fault of the SDK in one
/// line, and the SDK logs every ping.
pub const LOG_FILTER: &str = "binance_sdk=off";
