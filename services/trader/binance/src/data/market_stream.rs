//! One stream connection, from the handshake to its first fault. Entry point: [`MarketStream::open`]. A connection
//! is never repaired: the feed drops it and opens another one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use binance_sdk::derivatives_trading_usds_futures::websocket_streams::{
    WebsocketStreams, WebsocketStreamsHandle,
};
use binance_sdk::models::WebsocketEvent;
use exchange::ExchangeClock;
use protocol::ids::SubjectToken;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::timeout;
use trader_core::candle::{Candle, Interval};

use super::kline::{self, StreamMessage};
use crate::error::one_line;

/// Deadline of a handshake. The SDK's own is 10 s; this one guards against a hang of the SDK.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);

/// Events that may wait for the feed. The feed takes them in at once, so a full queue is a fault, and the
/// connection counts as lost.
const EVENTS: usize = 1_024;

/// The path under which Binance serves klines.
const PATH: &str = "market";

/// An event of the connection, for the feed.
#[derive(Debug)]
pub(crate) enum MarketEvent {
    /// The first kline message arrived: the stream works.
    CameAlive,
    /// A candle of this symbol closed.
    CandleClosed(SubjectToken, Candle),
    /// A subscription was answered.
    Answered,
    /// A closed candle or a message could not be read.
    Unreadable(String),
    /// The connection has ended, for this reason.
    Lost(String),
}

pub(crate) struct MarketStream {
    streams: Option<WebsocketStreams>,
    runtime: SdkRuntime,
    interval: Interval,
    events: mpsc::Receiver<MarketEvent>,
    overflowed: Arc<AtomicBool>,
    subscribed: BTreeSet<SubjectToken>,
    /// Times of the requests without an answer, oldest first; the exchange answers in order.
    unanswered: VecDeque<Instant>,
}

impl MarketStream {
    /// Connects. The exchange's times in the messages go to `clock` at once.
    ///
    /// # Errors
    /// One line on why the connection failed.
    pub(crate) async fn open(
        handle: WebsocketStreamsHandle,
        interval: Interval,
        clock: ExchangeClock,
    ) -> Result<Self, String> {
        let runtime = SdkRuntime::start()?;
        let connecting = runtime.get()?.spawn(async move { handle.connect().await });
        let streams = timeout(CONNECT_DEADLINE, connecting)
            .await
            .map_err(|_| format!("no connection within {} s", CONNECT_DEADLINE.as_secs()))?
            .map_err(|error| one_line(&format!("the SDK failed: {error}")))?
            .map_err(|error| one_line(&format!("{error:#}")))?;
        let (sender, events) = mpsc::channel(EVENTS);
        let overflowed = Arc::new(AtomicBool::new(false));
        let mut listener = Listener {
            interval,
            clock,
            sender,
            overflowed: Arc::clone(&overflowed),
            alive: false,
        };
        {
            let _inside = runtime.get()?.enter();
            streams.subscribe_on_ws_events(move |event| listener.handle(event));
        }
        Ok(Self {
            streams: Some(streams),
            runtime,
            interval,
            events,
            overflowed,
            subscribed: BTreeSet::new(),
            unanswered: VecDeque::new(),
        })
    }

    /// The next event; waits for ever when there is none.
    pub(crate) async fn next(&mut self) -> MarketEvent {
        let event = self.events.recv().await;
        if matches!(event, Some(MarketEvent::Answered)) {
            self.unanswered.pop_front();
        }
        event.unwrap_or_else(|| MarketEvent::Lost("the SDK ended the connection".to_owned()))
    }

    /// Subscribes to the klines of exactly these symbols.
    pub(crate) fn subscribe_to(&mut self, wanted: &BTreeSet<SubjectToken>, now: Instant) {
        let added = self.names(wanted.difference(&self.subscribed));
        let gone = self.names(self.subscribed.difference(wanted));
        if added.is_empty() && gone.is_empty() {
            return;
        }
        let (Some(streams), Ok(runtime)) = (&self.streams, self.runtime.get()) else {
            return;
        };
        let _inside = runtime.enter();
        if !added.is_empty() {
            streams.subscribe_with_path(added, None, Some(PATH.to_owned()));
            self.unanswered.push_back(now);
        }
        if !gone.is_empty() {
            // The SDK sends one request for each name.
            self.unanswered.extend(gone.iter().map(|_| now));
            streams.unsubscribe_with_path(gone, None, Some(PATH.to_owned()));
        }
        self.subscribed.clone_from(wanted);
    }

    /// Why the connection must be dropped although no [`MarketEvent::Lost`] arrived; `None` when it has no fault.
    pub(crate) fn fault(&self, now: Instant, answer_within: Duration) -> Option<String> {
        if self.overflowed.load(Relaxed) {
            return Some(format!("more than {EVENTS} events were waiting"));
        }
        self.unanswered
            .front()
            .filter(|asked| now.duration_since(**asked) >= answer_within)
            .map(|_| {
                format!(
                    "no answer to a subscription within {} s",
                    answer_within.as_secs_f32()
                )
            })
    }

    /// Whether every subscription was answered.
    pub(crate) fn is_settled(&self) -> bool {
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

impl Drop for MarketStream {
    fn drop(&mut self) {
        // The SDK closes the connection from a task that it starts where it is dropped.
        if let Ok(runtime) = self.runtime.get() {
            let _inside = runtime.enter();
            drop(self.streams.take());
        }
    }
}

/// A runtime for one connection of the SDK.
///
/// The SDK starts tasks that it does not end: the reader of a silent peer waits for ever after its client was
/// dropped. Only the end of their runtime ends them.
pub(crate) struct SdkRuntime(Option<Runtime>);

impl SdkRuntime {
    pub(crate) fn start() -> Result<Self, String> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(2)
            .thread_name("market-stream")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(|error| format!("starting the connection's thread failed: {error}"))
    }

    pub(crate) fn get(&self) -> Result<&Runtime, String> {
        self.0
            .as_ref()
            .ok_or_else(|| "the connection has ended".to_owned())
    }
}

impl Drop for SdkRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Converts the SDK's events to [`MarketEvent`]s, on the SDK's thread. Never waits.
struct Listener {
    interval: Interval,
    clock: ExchangeClock,
    sender: mpsc::Sender<MarketEvent>,
    overflowed: Arc<AtomicBool>,
    alive: bool,
}

impl Listener {
    fn handle(&mut self, event: WebsocketEvent) {
        match event {
            WebsocketEvent::Message(text) => self.read(&text),
            WebsocketEvent::Error(reason) => self.send(MarketEvent::Lost(one_line(&reason))),
            WebsocketEvent::Close(code, reason) => {
                let reason = one_line(&format!("closed by the exchange with {code} {reason}"));
                self.send(MarketEvent::Lost(reason));
            }
            WebsocketEvent::Open | WebsocketEvent::Ping | WebsocketEvent::Pong => {}
        }
    }

    fn read(&mut self, text: &str) {
        match kline::decode(text, self.interval) {
            Ok(StreamMessage::Kline {
                symbol,
                sent,
                closed,
            }) => {
                self.clock.advance_to(sent);
                if !self.alive {
                    self.alive = true;
                    self.send(MarketEvent::CameAlive);
                }
                if let Some(candle) = closed {
                    self.send(MarketEvent::CandleClosed(symbol, candle));
                }
            }
            Ok(StreamMessage::Answer(None)) => self.send(MarketEvent::Answered),
            Ok(StreamMessage::Answer(Some(error))) => {
                let reason = one_line(&format!("a subscription was refused: {error}"));
                self.send(MarketEvent::Lost(reason));
            }
            Ok(StreamMessage::Other) => {}
            Err(reason) => self.send(MarketEvent::Unreadable(one_line(&reason))),
        }
    }

    fn send(&self, event: MarketEvent) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(event) {
            self.overflowed.store(true, Relaxed);
        }
    }
}
