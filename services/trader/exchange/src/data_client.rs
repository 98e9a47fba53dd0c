//! The client for market data: [`DataClient`].

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use tokio_util::sync::CancellationToken;
use trader_core::candle::{Candle, Interval};

use crate::{
    ExchangeClock, ExchangeError, FeedClosed, FeedError, FeedHandle, FeedStats, SymbolListing,
};

/// Market data of one exchange. Each call has a deadline, and only the caller retries.
#[async_trait]
pub trait DataClient: Send + Sync {
    /// The newest time that the exchange has sent, in any message or answer.
    fn clock(&self) -> &ExchangeClock;

    /// Queries the exchange's time; [`Self::clock`] receives it too.
    ///
    /// # Errors
    /// [`ExchangeError::Retry`] or [`ExchangeError::Rejected`].
    async fn server_time(&self) -> Result<UtcMs, ExchangeError>;

    /// Queries what the exchange lists about each of `symbols`: filters, and whether it can be traded. A symbol that is
    /// missing or cannot be read does not concern the others.
    ///
    /// # Errors
    /// As [`Self::server_time`].
    async fn symbol_listings(
        &self,
        symbols: &[SubjectToken],
    ) -> Result<BTreeMap<SubjectToken, SymbolListing>, ExchangeError>;

    /// Queries at most `limit` closed candles in order: from the first that opens at `from` or later, or the newest
    /// ones without `from`. Closed candles are those that ended by `now`, the exchange's time. Candles that the
    /// exchange does not have are left out.
    ///
    /// # Errors
    /// As [`Self::server_time`]; an answer that is only partly valid is an error as a whole.
    async fn closed_candles(
        &self,
        symbol: &SubjectToken,
        interval: Interval,
        from: Option<UtcMs>,
        limit: usize,
        now: UtcMs,
    ) -> Result<Vec<Candle>, ExchangeError>;

    /// Subscribes to the closed candles of `symbol` that open at `from` or later. Dropping the handle ends the
    /// subscription.
    ///
    /// # Errors
    /// [`FeedClosed`] when [`Self::run_feed`] has ended on a shutdown.
    async fn subscribe(&self, symbol: SubjectToken, from: UtcMs) -> Result<FeedHandle, FeedClosed>;

    /// Counters and state of the feed.
    fn feed_stats(&self) -> &Arc<FeedStats>;

    /// Runs the feed until `shutdown` is cancelled. Only one call may run at a time. If it fails, its subscribers see
    /// the end of their feeds and subscribe again; the next call serves them.
    ///
    /// # Errors
    /// [`FeedError`]: the feed ended without a shutdown.
    async fn run_feed(&self, shutdown: CancellationToken) -> Result<(), FeedError>;
}
