//! One connection of market streams, from the handshake to its first fault. Entry point: [`MarketStream::open`]. A
//! connection is never repaired: the feed drops it and opens another one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use exchange::ExchangeClock;
use protocol::duration::format_duration;
use protocol::ids::SubjectToken;
use trader_core::candle::{Candle, Interval};

use super::candles;
use crate::client::{StreamConnection, StreamEvent, StreamTiming, TooManyStreams, one_line};

/// An event of the connection, for the feed.
#[derive(Debug, PartialEq)]
pub(super) enum MarketEvent {
    /// The first kline message arrived: the stream works.
    CameAlive,
    /// A candle of this symbol closed.
    CandleClosed(SubjectToken, Candle),
    /// A request was answered.
    Answered,
    /// A closed candle or a message could not be read.
    Unreadable(String),
    /// The connection has ended, for this reason.
    Lost(String),
}

/// One connection of market streams.
pub(super) struct MarketStream {
    connection: StreamConnection,
    interval: Interval,
    /// Receives the exchange's times of the messages.
    clock: ExchangeClock,
    alive: bool,
    subscribed: BTreeSet<SubjectToken>,
    /// Requests without an answer, by id, with their times.
    unanswered: BTreeMap<u64, Instant>,
}

impl MarketStream {
    /// Connects to the streams below this base address.
    ///
    /// # Errors
    /// One line on why the connection failed.
    pub(super) async fn open(
        ws_url: &str,
        interval: Interval,
        clock: ExchangeClock,
    ) -> Result<Self, String> {
        let url = format!("{ws_url}/market/stream");
        Ok(Self {
            connection: StreamConnection::open(&url, StreamTiming::default()).await?,
            interval,
            clock,
            alive: false,
            subscribed: BTreeSet::new(),
            unanswered: BTreeMap::new(),
        })
    }

    /// The next event; waits while there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> MarketEvent {
        loop {
            let event = match self.connection.next().await {
                StreamEvent::Message(text) => self.read(&text),
                StreamEvent::Answered { id, error: None } => {
                    id.and_then(|id| self.unanswered.remove(&id));
                    Some(MarketEvent::Answered)
                }
                StreamEvent::Answered {
                    error: Some(error), ..
                } => {
                    let reason = format!("a subscription was rejected: {error}");
                    Some(MarketEvent::Lost(one_line(&reason)))
                }
                StreamEvent::Ended(reason) => Some(MarketEvent::Lost(reason)),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    fn read(&mut self, text: &str) -> Option<MarketEvent> {
        let message = match candles::read_message(text, self.interval) {
            Ok(message) => message?,
            Err(reason) => return Some(MarketEvent::Unreadable(one_line(&reason))),
        };
        self.clock.advance_to(message.sent);
        let was_alive = std::mem::replace(&mut self.alive, true);
        match message.closed {
            Some(candle) => Some(MarketEvent::CandleClosed(message.symbol, candle)),
            None if was_alive => None,
            None => Some(MarketEvent::CameAlive),
        }
    }

    /// Subscribes to the klines of exactly these symbols.
    ///
    /// # Errors
    /// [`TooManyStreams`]: one connection cannot have that many.
    pub(super) fn subscribe_to(
        &mut self,
        wanted: &BTreeSet<SubjectToken>,
        now: Instant,
    ) -> Result<(), TooManyStreams> {
        let ended = self.names(self.subscribed.difference(wanted));
        let added = self.names(wanted.difference(&self.subscribed));
        if ended.is_empty() && added.is_empty() {
            return Ok(());
        }
        let mut requests = self.connection.unsubscribe(&ended);
        requests.extend(self.connection.subscribe(&added)?);
        self.unanswered
            .extend(requests.into_iter().map(|id| (id, now)));
        self.subscribed.clone_from(wanted);
        Ok(())
    }

    /// Why the connection must be dropped although no [`MarketEvent::Lost`] arrived; `None` if it has no fault.
    pub(super) fn fault(&self, now: Instant, answer_within: Duration) -> Option<String> {
        let oldest = self.unanswered.values().min()?;
        let is_late = now.duration_since(*oldest) >= answer_within;
        is_late.then(|| {
            let deadline = format_duration(answer_within);
            format!("no answer to a subscription within {deadline}")
        })
    }

    /// Whether every request was answered.
    pub(super) fn is_settled(&self) -> bool {
        self.unanswered.is_empty()
    }

    fn names<'a>(&self, symbols: impl Iterator<Item = &'a SubjectToken>) -> Vec<String> {
        symbols
            .map(|symbol| {
                let symbol = symbol.as_str().to_ascii_lowercase();
                format!("{symbol}@kline_{}", self.interval)
            })
            .collect()
    }
}
