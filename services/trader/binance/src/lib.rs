//! The adapter to Binance USD-M futures: market data ([`BinanceDataClient`]) and one account
//! ([`BinanceExecutionClient`]), behind the traits of [`exchange`]. No other crate knows Binance.
//!
//! | module | contents |
//! | --- | --- |
//! | [`client`] | transport: signatures, limits, deadlines, failures, streams |
//! | [`wire`] | the exchange's answers and stream events as types |
//! | `data` | market data |
//! | `execution` | orders and state of one account |

pub mod client;
mod data;
mod error;
mod execution;
pub mod wire;

pub use data::{BinanceDataClient, DataClientSettings, FeedSettings, FeedTiming};
pub use execution::{BinanceExecutionClient, ExecutionClientSettings, QueryAges, UserStreamTiming};

/// Currency in which trades are settled: only symbols that are quoted in it can be traded.
const QUOTE: &str = "USDT";
