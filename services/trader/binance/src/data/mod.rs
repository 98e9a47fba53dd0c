//! Market data: REST queries and a gapless, ordered, duplicate-free series of closed candles for each
//! subscription. Entry point: [`BinanceDataClient`].

mod candles;
mod exchange_info;
mod feed;
mod feed_task;
mod market_stream;
mod rest;
mod sequencer;
mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use exchange::{
    DataClient, ExchangeClock, ExchangeError, FeedClosed, FeedError, FeedHandle, FeedStats,
    SymbolListing,
};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use tokio_util::sync::CancellationToken;
use trader_core::candle::{Candle, Interval};

use self::feed::Feed;
use self::feed_task::FeedTask;

pub use self::feed::{FeedSettings, FeedTiming};
pub(crate) use self::rest::RestClient;

/// Addresses of the exchange, and settings of the feed.
#[derive(Debug, Clone)]
pub struct DataClientSettings {
    /// Base of the REST addresses, e.g. `https://fapi.binance.com`.
    pub rest_url: String,
    /// Base of the stream addresses, e.g. `wss://fstream.binance.com`.
    pub ws_url: String,
    /// Candles, limits and deadlines of the feed.
    pub feed: FeedSettings,
}

/// Binance's market data. Cheap to clone; clones share connections, limits, one clock and one feed.
#[derive(Clone)]
pub struct BinanceDataClient {
    rest: RestClient,
    feed: Feed,
}

impl BinanceDataClient {
    /// Prepares the calls and the feed; connects to nothing yet.
    ///
    /// # Errors
    /// [`ExchangeError::Rejected`] if an address is invalid.
    pub fn new(settings: &DataClientSettings) -> Result<Self, ExchangeError> {
        let rest = RestClient::new(&settings.rest_url)?;
        let ws_url = settings.ws_url.trim_end_matches('/').to_owned();
        Ok(Self {
            feed: Feed::new(rest.clone(), ws_url, settings.feed.clone()),
            rest,
        })
    }

    /// The client for calls without a key. Calls with a key share its connections, limits and clock.
    pub(crate) fn rest(&self) -> &RestClient {
        &self.rest
    }
}

#[async_trait]
impl DataClient for BinanceDataClient {
    fn clock(&self) -> &ExchangeClock {
        self.rest.clock()
    }

    async fn server_time(&self) -> Result<UtcMs, ExchangeError> {
        self.rest.server_time().await
    }

    async fn symbol_listings(
        &self,
        symbols: &[SubjectToken],
    ) -> Result<BTreeMap<SubjectToken, SymbolListing>, ExchangeError> {
        self.rest.symbol_listings(symbols).await
    }

    async fn closed_candles(
        &self,
        symbol: &SubjectToken,
        interval: Interval,
        from: Option<UtcMs>,
        limit: usize,
        now: UtcMs,
    ) -> Result<Vec<Candle>, ExchangeError> {
        let candles = self.rest.closed_candles(symbol, interval, from, limit, now);
        candles.await
    }

    async fn subscribe(&self, symbol: SubjectToken, from: UtcMs) -> Result<FeedHandle, FeedClosed> {
        self.feed.subscribe(symbol, from).await
    }

    fn feed_stats(&self) -> &Arc<FeedStats> {
        self.feed.stats()
    }

    async fn run_feed(&self, shutdown: CancellationToken) -> Result<(), FeedError> {
        FeedTask::new(&self.feed).run(shutdown).await
    }
}
