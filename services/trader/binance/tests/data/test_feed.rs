//! A running feed on a test exchange, with the helpers of the tests.

use std::time::Duration;

use bearish_binance::{BinanceDataClient, FeedSettings, FeedTiming};
use exchange::{DataClient, FeedError, FeedEvent, FeedHandle};
use protocol::heartbeat::{ComponentState, ComponentStatus};
use protocol::ids::SubjectToken;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use trader_core::candle::Interval;

use crate::test_exchange::{Addresses, Exchange, SOON, at, minute};

pub(crate) struct TestFeed {
    pub(crate) client: BinanceDataClient,
    pub(crate) task: JoinSet<Result<(), FeedError>>,
    pub(crate) shutdown: CancellationToken,
}

/// Deadlines short enough for tests, with the proportions of the real ones.
pub(crate) fn quick() -> FeedSettings {
    FeedSettings {
        timing: FeedTiming {
            tick: Duration::from_millis(10),
            stale_after: Duration::from_millis(300),
            probe_after: Duration::from_millis(50),
            answer_within: Duration::from_secs(1),
            retry_first: Duration::from_millis(20),
            retry_cap: Duration::from_millis(100),
        },
        ..FeedSettings::new(Interval::M1)
    }
}

pub(crate) fn run(settings: FeedSettings, exchange: &Addresses) -> TestFeed {
    let mut rig = TestFeed {
        client: exchange.client(settings),
        task: JoinSet::new(),
        shutdown: CancellationToken::new(),
    };
    rig.start_task();
    rig
}

impl TestFeed {
    /// Starts a task of the feed.
    pub(crate) fn start_task(&mut self) {
        let (client, shutdown) = (self.client.clone(), self.shutdown.clone());
        self.task
            .spawn(async move { client.run_feed(shutdown).await });
    }

    /// Subscribes a book from minute 0 on.
    pub(crate) async fn book(&self, symbol: &str) -> FeedHandle {
        self.client.subscribe(token(symbol), at(0)).await.unwrap()
    }

    /// Waits until the feed has counted this many errors since it began.
    pub(crate) async fn wait_for_errors(&self, count: u64) {
        self.wait_until(|part| part.errors >= count).await;
    }

    /// Waits until the feed reports this state.
    pub(crate) async fn wait_for_state(&self, state: ComponentState) {
        self.wait_until(|part| part.state == state).await;
    }

    async fn wait_until(&self, condition: impl Fn(&ComponentStatus) -> bool) {
        let progress = self.client.feed_stats();
        let seen = async {
            while !condition(&progress.component_status()) {
                tokio::task::yield_now().await;
            }
        };
        let in_time = timeout(SOON, seen).await.is_ok();
        assert!(
            in_time,
            "{:?} {:?}",
            progress.component_status(),
            progress.last_error()
        );
    }

    /// Waits for the end of the task and returns its result.
    pub(crate) async fn wait_for_end(&mut self) -> Result<(), FeedError> {
        let ended = timeout(SOON, self.task.join_next()).await;
        ended.expect("the feed task ends").unwrap().unwrap()
    }
}

pub(crate) fn token(name: &str) -> SubjectToken {
    name.parse().unwrap()
}

/// An exchange with this many closed candles of `BTCUSDT`, and a book that has received them all and
/// is subscribed to the stream.
pub(crate) async fn caught_up(
    settings: FeedSettings,
    candles: i64,
) -> (Exchange, TestFeed, FeedHandle) {
    let exchange = Exchange::open().await;
    for minute in 0..candles {
        exchange.add_candle("BTCUSDT", minute);
    }
    let rig = run(settings, &exchange.addresses());
    let mut book = rig.book("BTCUSDT").await;
    assert_eq!(
        minutes(&mut book, candles).await,
        (0..candles).collect::<Vec<_>>()
    );
    exchange
        .wait_for_activity("SUBSCRIBE btcusdt@kline_1m", 1)
        .await;
    (exchange, rig, book)
}

pub(crate) async fn next(book: &mut FeedHandle) -> FeedEvent {
    let event = timeout(SOON, book.recv()).await;
    event
        .expect("an event arrives soon")
        .expect("the feed runs")
}

/// The minutes of the next `count` events, all of which must be candles.
pub(crate) async fn minutes(book: &mut FeedHandle, count: i64) -> Vec<i64> {
    let mut minutes = Vec::new();
    for _ in 0..count {
        match next(book).await {
            FeedEvent::Candle(candle) => minutes.push(minute(candle.open_time)),
            other => panic!("{other:?} after {minutes:?}"),
        }
    }
    minutes
}

/// The minutes of the candles up to `last`, with other events between them left out.
pub(crate) async fn minutes_until(book: &mut FeedHandle, last: i64) -> Vec<i64> {
    let mut minutes = Vec::new();
    while minutes.last() != Some(&last) {
        if let FeedEvent::Candle(candle) = next(book).await {
            minutes.push(minute(candle.open_time));
        }
    }
    minutes
}

/// Asserts that the book's queue is empty. Only useful after a condition that would have filled the queue.
pub(crate) async fn assert_quiet(book: &mut FeedHandle) {
    let event = timeout(Duration::from_millis(50), book.recv()).await;
    assert!(event.is_err(), "{event:?}");
}
