//! Market data through Binance's official SDK: REST requests ([`BinanceDataClient`]) and a gapless, ordered,
//! duplicate-free series of closed candles for each book ([`Feed`]). Orders and keys are in
//! [`crate::venue`]; decisions are made by the trader core.
//!
//! The SDK is the transport. What it does not do, and this module does: notice a stream that fell
//! silent or was closed with 1000, refill gaps, keep one slow reader from blocking the others.

mod book;
mod budget;
mod clock;
mod connection;
mod error;
mod feed;
mod feed_task;
mod kline;
mod progress;
mod rest;
mod rules;
mod series;

pub(crate) use budget::left;
pub use clock::ExchangeClock;
pub(crate) use connection::SdkRuntime;
pub use error::MarketError;
pub(crate) use error::one_line;
pub use feed::{Feed, FeedClosed, FeedEvent, FeedHandle, FeedSettings, FeedTiming};
pub use feed_task::{FeedError, FeedTask};
pub use progress::{FeedStats, LastFeedError};
pub use rest::BinanceDataClient;
pub(crate) use rest::used_weight;

/// Addresses of the exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataClientSettings {
    /// Base of the REST addresses, e.g. `https://fapi.binance.com`.
    pub rest_url: String,
    /// Base of the stream addresses, e.g. `wss://fstream.binance.com`.
    pub ws_url: String,
}

/// Directive for the log filter that turns the SDK's own lines off: this module logs every fault of the SDK in
/// one line, and the SDK logs every ping.
pub const LOG_FILTER: &str = "binance_sdk=off";
