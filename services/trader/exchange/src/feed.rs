//! A book's end of the feed: the events of its subscription ([`FeedHandle`]).

use std::time::Duration;

use protocol::time::UtcMs;
use tokio::sync::mpsc;
use trader_core::candle::{Candle, Interval};

use crate::ExchangeClock;

/// An event of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    /// The next closed candle of the series: each once, in order, without gaps except those that the exchange itself
    /// has.
    Candle(Candle),
    /// No candle has arrived for too long. The series continues when candles arrive again.
    Stale {
        /// End of the newest candle that arrived.
        since: UtcMs,
    },
    /// After [`Self::Stale`]: the stream sends again, and all missing candles were sent.
    Recovered {
        /// How long the candles were stale, in wall time.
        after: Duration,
    },
    /// The exchange refused to answer with candles of this symbol. They are queried again.
    Refused {
        /// The cause, in one line.
        reason: String,
    },
}

/// The feed has ended: no more candles arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the market feed has ended")]
pub struct FeedClosed;

/// Why the feed ended without a shutdown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// The failures in a row reached the limit of the settings.
    #[error("market feed gave up after {failures} failures in a row: {reason}")]
    GaveUp {
        /// Number of failures in a row.
        failures: u32,
        /// The newest failure, in one line.
        reason: String,
    },
    /// A job panicked: a bug.
    #[error("market feed: a job failed: {0}")]
    JobFailed(String),
}

/// One book's end of the feed.
#[derive(Debug)]
pub struct FeedHandle {
    events: mpsc::Receiver<FeedEvent>,
    interval: Interval,
    clock: ExchangeClock,
    /// End of the newest candle that was received; the epoch before the first one.
    received_until: UtcMs,
}

impl FeedHandle {
    /// The receiving end of a subscription to candles of `interval`, whose exchange's time is in `clock`.
    pub fn new(
        events: mpsc::Receiver<FeedEvent>,
        interval: Interval,
        clock: ExchangeClock,
    ) -> Self {
        Self {
            events,
            interval,
            clock,
            received_until: UtcMs(0),
        }
    }

    /// The next event; `None` when the feed has ended. Cancel-safe.
    pub async fn recv(&mut self) -> Option<FeedEvent> {
        let event = self.events.recv().await?;
        if let FeedEvent::Candle(candle) = &event {
            self.received_until = self.interval.close_of(candle.open_time);
        }
        Some(event)
    }

    /// The exchange's time now; at least the end of the newest candle that was received. A candle that waited long in
    /// the queue does not seem fresh.
    pub fn market_now(&self) -> UtcMs {
        self.clock.now().max(self.received_until)
    }

    /// Whether no later candle than the newest one received has closed by [`Self::market_now`].
    pub fn is_caught_up(&self) -> bool {
        self.interval.close_of(self.received_until) > self.market_now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trader_core::fixed_point::Price;

    const MINUTE: i64 = 60_000;

    fn candle(minute: i64) -> FeedEvent {
        let price = Price::from_units(1);
        let at = UtcMs(minute * MINUTE);
        FeedEvent::Candle(Candle::new(Interval::M1, at, price, price, price, price).unwrap())
    }

    #[tokio::test]
    async fn candle_that_waited_in_the_queue_is_not_caught_up() {
        let (sender, events) = mpsc::channel(4);
        let clock = ExchangeClock::default();
        let mut feed = FeedHandle::new(events, Interval::M1, clock.clone());
        sender.send(candle(5)).await.unwrap();
        sender.send(candle(6)).await.unwrap();
        clock.advance_to(UtcMs(7 * MINUTE + 5));
        feed.recv().await.unwrap();
        assert!(!feed.is_caught_up(), "minute 6 has closed");
        assert_eq!(feed.market_now(), UtcMs(7 * MINUTE + 5));
        feed.recv().await.unwrap();
        assert!(feed.is_caught_up());
    }

    #[tokio::test]
    async fn time_is_never_before_the_end_of_the_candle() {
        let (sender, events) = mpsc::channel(4);
        let mut feed = FeedHandle::new(events, Interval::M1, ExchangeClock::default());
        sender.send(candle(5)).await.unwrap();
        feed.recv().await.unwrap();
        assert_eq!(feed.market_now(), UtcMs(6 * MINUTE));
        assert!(feed.is_caught_up());
    }
}
