//! The feed's settings, and the place where books subscribe ([`Feed::subscribe`]). [`super::feed_task`] serves the
//! subscriptions.

use std::sync::Arc;
use std::time::Duration;

use exchange::{FeedClosed, FeedEvent, FeedHandle, FeedStats};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::backoff::Backoff;
use tokio::sync::{Mutex, mpsc};
use trader_core::candle::Interval;

use super::rest::RestClient;

/// Subscriptions that may wait for the feed task.
const COMMANDS: usize = 64;

/// Settings of the feed.
#[derive(Debug, Clone)]
pub struct FeedSettings {
    /// Interval of the candles.
    pub interval: Interval,
    /// Number of failures in a row, of the stream or of one symbol's REST calls, after which the feed ends with an
    /// error. With `None` it never does.
    pub give_up_after: Option<u32>,
    /// Number of candles that may wait for a book. Further ones wait in the feed, up to its own limit.
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
    /// Time without a candle after which candles are stale, if 3 intervals of exchange time passed too.
    pub stale_after: Duration,
    /// Time without the exchange's time after which it is queried.
    pub probe_after: Duration,
    /// Deadline of the answer to a subscription.
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

/// The request of a book for candles.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) symbol: SubjectToken,
    pub(super) from: UtcMs,
    pub(super) queue: mpsc::Sender<FeedEvent>,
}

/// Where books subscribe. Cheap to clone.
#[derive(Clone)]
pub(super) struct Feed {
    commands: mpsc::Sender<Subscribe>,
    /// Outlives a task that failed: the next task continues with it.
    pub(super) waiting: Arc<Mutex<mpsc::Receiver<Subscribe>>>,
    pub(super) rest: RestClient,
    /// Base of the stream addresses, without a slash at its end.
    pub(super) ws_url: String,
    pub(super) settings: FeedSettings,
    pub(super) stats: Arc<FeedStats>,
}

impl Feed {
    /// A feed without a task.
    pub(super) fn new(rest: RestClient, ws_url: String, settings: FeedSettings) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let stats = FeedStats::with_calls(Arc::clone(rest.http().call_stats()));
        Self {
            commands,
            waiting: Arc::new(Mutex::new(receiver)),
            rest,
            ws_url,
            settings,
            stats: Arc::new(stats),
        }
    }

    /// Subscribes to the closed candles of `symbol` that open at `from` or later.
    ///
    /// # Errors
    /// [`FeedClosed`] after a task has ended on a shutdown.
    pub(super) async fn subscribe(
        &self,
        symbol: SubjectToken,
        from: UtcMs,
    ) -> Result<FeedHandle, FeedClosed> {
        let (queue, events) = mpsc::channel(self.settings.queue.max(1));
        let command = Subscribe {
            symbol,
            from,
            queue,
        };
        self.commands.send(command).await.map_err(|_| FeedClosed)?;
        let clock = self.rest.clock().clone();
        Ok(FeedHandle::new(events, self.settings.interval, clock))
    }

    /// Counters and state of the feed.
    pub(super) fn stats(&self) -> &Arc<FeedStats> {
        &self.stats
    }
}
