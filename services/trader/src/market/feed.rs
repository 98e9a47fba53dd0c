//! The feed from the side of a book: subscriptions and their events. Entry point: [`Feed::subscribe`]. The task
//! behind it is in [`super::feed_task`].

use std::sync::Arc;
use std::time::Duration;

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use tokio::sync::{Mutex, mpsc};
use trader_core::candle::{Candle, Interval};

use super::clock::ExchangeClock;
use super::progress::FeedStats;
use super::rest::BinanceDataClient;
use runtime::backoff::Backoff;

/// Subscriptions that may wait for the feed task.
const COMMANDS: usize = 64;

/// Settings of the feed.
#[derive(Debug, Clone)]
pub struct FeedSettings {
    /// Interval of the candles.
    pub interval: Interval,
    /// The feed ends with an error after this number of failures in a row, of the stream or of one symbol's
    /// REST calls; `None`: it never does.
    pub give_up_after: Option<u32>,
    /// Candles that may wait for a book before they are left to be fetched again.
    pub queue: usize,
    /// Deadlines of the feed, all in wall time.
    pub timing: FeedTiming,
}

impl FeedSettings {
    /// Candles of `interval`, with the default deadlines and queue.
    pub fn new(interval: Interval) -> Self {
        Self {
            interval,
            give_up_after: None,
            queue: 256,
            timing: FeedTiming::default(),
        }
    }
}

/// Deadlines of the feed, all in wall time.
#[derive(Debug, Clone)]
pub struct FeedTiming {
    /// How often deadlines are checked.
    pub tick: Duration,
    /// Candles are stale after this time without one, if 3 intervals of exchange time passed too.
    pub stale_after: Duration,
    /// The exchange is asked for its time when none has arrived for this long.
    pub probe_after: Duration,
    /// A subscription is answered within this time.
    pub answer_within: Duration,
    /// Wait after a first failure; doubled by each failure in a row.
    pub retry_first: Duration,
    /// Longest wait after a failure.
    pub retry_cap: Duration,
}

impl Default for FeedTiming {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(200),
            stale_after: Duration::from_secs(10),
            probe_after: Duration::from_secs(5),
            answer_within: Duration::from_secs(10),
            retry_first: Duration::from_millis(500),
            retry_cap: Duration::from_secs(30),
        }
    }
}

impl FeedTiming {
    pub(crate) const fn backoff(&self) -> Backoff {
        Backoff {
            first: self.retry_first,
            cap: self.retry_cap,
        }
    }
}

/// An event of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    /// The next candle of the series: each once, in order, without gaps except those that the
    /// exchange itself has.
    Candle {
        /// The closed candle.
        candle: Candle,
        /// The exchange's time when the candle was received here; at least the candle's end.
        market_now: UtcMs,
        /// No later candle has closed by `market_now`.
        caught_up: bool,
    },
    /// No candle has arrived for too long. The series continues when candles arrive again.
    Stale {
        /// End of the newest candle that arrived.
        since: UtcMs,
        /// The exchange's time now.
        market_now: UtcMs,
    },
    /// After [`Self::Stale`]: the stream sends again, and all missing candles were sent.
    Recovered {
        /// How long it was stale, wall time.
        after: Duration,
    },
    /// The last event: the exchange refuses this symbol for good.
    Refused {
        /// One line on the cause.
        reason: String,
    },
}

/// [`FeedEvent`] in the queue. Times are added when the book takes it out, so that a candle that waited long
/// does not seem fresh.
#[derive(Debug)]
pub(crate) enum Item {
    Candle(Candle),
    Stale { since: UtcMs },
    Recovered { after: Duration },
    Refused { reason: String },
}

/// The request of a book for candles.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) symbol: SubjectToken,
    pub(crate) from: UtcMs,
    pub(crate) queue: mpsc::Sender<Item>,
}

/// The feed task has ended: no more candles arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the market feed has ended")]
pub struct FeedClosed;

/// Where books subscribe. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    commands: mpsc::Sender<Subscribe>,
    /// Outlives a task that failed: the next task continues with it.
    pub(super) waiting: Arc<Mutex<mpsc::Receiver<Subscribe>>>,
    pub(super) market: BinanceDataClient,
    pub(super) settings: FeedSettings,
    clock: ExchangeClock,
    pub(super) progress: Arc<FeedStats>,
}

impl Feed {
    /// A feed without a task: see [`Feed::task`].
    pub fn new(market: BinanceDataClient, settings: FeedSettings) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        Self {
            commands,
            waiting: Arc::new(Mutex::new(receiver)),
            clock: market.clock().clone(),
            market,
            settings,
            progress: Arc::default(),
        }
    }

    /// The closed candles of `symbol` that open at `from` or later. Dropping the handle ends the
    /// subscription.
    ///
    /// # Errors
    /// [`FeedClosed`] when the task has ended.
    pub async fn subscribe(
        &self,
        symbol: SubjectToken,
        from: UtcMs,
    ) -> Result<FeedHandle, FeedClosed> {
        let (queue, items) = mpsc::channel(self.settings.queue.max(1));
        let command = Subscribe {
            symbol,
            from,
            queue,
        };
        self.commands.send(command).await.map_err(|_| FeedClosed)?;
        Ok(FeedHandle {
            items,
            interval: self.settings.interval,
            clock: self.clock.clone(),
        })
    }

    /// The newest time that the exchange has sent.
    pub fn clock(&self) -> &ExchangeClock {
        &self.clock
    }

    /// Counters and state of the feed.
    pub fn stats(&self) -> &Arc<FeedStats> {
        &self.progress
    }
}

/// One book's end of the feed.
#[derive(Debug)]
pub struct FeedHandle {
    items: mpsc::Receiver<Item>,
    interval: Interval,
    clock: ExchangeClock,
}

impl FeedHandle {
    /// The next event; `None` after [`FeedEvent::Refused`] or when the feed task has ended. Safe to
    /// drop while it waits: no event is lost.
    pub async fn recv(&mut self) -> Option<FeedEvent> {
        let item = self.items.recv().await?;
        let newest = self.clock.now();
        Some(match item {
            Item::Candle(candle) => {
                let end = self.interval.close_of(candle.open_time);
                let market_now = newest.max(end);
                FeedEvent::Candle {
                    candle,
                    market_now,
                    caught_up: self.interval.close_of(end) > market_now,
                }
            }
            Item::Stale { since } => FeedEvent::Stale {
                since,
                market_now: newest,
            },
            Item::Recovered { after } => FeedEvent::Recovered { after },
            Item::Refused { reason } => FeedEvent::Refused { reason },
        })
    }
}
