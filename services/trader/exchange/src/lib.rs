//! The seam between the trader and an exchange: a client for market data ([`DataClient`]) and a client for one
//! account ([`ExecutionClient`]), with the values that they exchange. An adapter implements both; books, account,
//! checks and commands name no exchange.

mod account;
mod call_stats;
mod clock;
mod credentials;
mod data_client;
mod error;
mod execution_client;
mod feed;
mod feed_stats;
mod fills;
mod listing;
mod verdict;

pub use account::{ApiPermissions, ExchangePosition, RestingOrder, WalletBalance};
pub use call_stats::CallStats;
pub use clock::ExchangeClock;
pub use credentials::ApiCredentials;
pub use data_client::DataClient;
pub use error::ExchangeError;
pub use execution_client::ExecutionClient;
pub use feed::{FeedClosed, FeedError, FeedEvent, FeedHandle};
pub use feed_stats::{FeedStats, LastFeedError};
pub use fills::ExchangeFill;
pub use listing::{ListingObstacle, SymbolListing};
pub use verdict::{FOUND_FOR, REFUSED_FOR, Verdict};
