//! The exchange's shared state: market and clock behind one lock, so that an answer's candles and
//! its time always agree. Not here: tasks (`pulse.rs`, `server.rs`) and the wire (`rest/`, `ws/`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::market::Market;
use crate::symbols::Contract;
use crate::ws::hub::{Hub, StreamKey, Subscriber};

/// How this exchange treats its clients; Binance's own numbers by default.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// REST weight per IP and minute of wall time.
    pub weight_per_minute: u32,
    /// Refusals for too much weight in a minute after which an address is banned.
    pub rejections_before_ban: u32,
    /// New orders of an account in 10 seconds of wall time.
    pub orders_per_10s: u32,
    /// New orders of an account in a minute of wall time.
    pub orders_per_minute: u32,
    /// Frames that may wait for one subscriber before it is disconnected.
    pub max_queued_frames: usize,
    /// Wall time between the server's pings.
    pub ping_interval: Duration,
    /// Wall time without a pong after which a connection is closed.
    pub pong_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            weight_per_minute: 2_400,
            rejections_before_ban: 100,
            orders_per_10s: 300,
            orders_per_minute: 1_200,
            max_queued_frames: 1_024,
            ping_interval: Duration::from_mins(3),
            pong_timeout: Duration::from_mins(10),
        }
    }
}

struct State {
    clock: Clock,
    market: Market,
}

/// What the exchange is at one moment.
pub struct MarketMoment<'a> {
    /// The market, played forward to `now_ms`.
    pub market: &'a Market,
    /// Exchange time, UTC ms.
    pub now_ms: i64,
    /// Whether exchange time passes.
    pub is_advancing: bool,
}

/// Shared by every connection and task.
pub struct Exchange {
    state: Mutex<State>,
    hub: Mutex<Hub>,
    listed: Vec<&'static Contract>,
    limits: Limits,
    /// Counts the clock's starts and stops: the anchor wants to be stored, the pulse to be reset.
    clock_changes: watch::Sender<u64>,
}

impl Exchange {
    /// An exchange over `market`, whose time is `clock`'s.
    pub fn new(market: Market, clock: Clock, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            listed: market.listed().to_vec(),
            state: Mutex::new(State { clock, market }),
            hub: Mutex::new(Hub::default()),
            limits,
            clock_changes: watch::Sender::new(0),
        })
    }

    /// The listed contracts.
    pub fn listed(&self) -> &[&'static Contract] {
        &self.listed
    }

    /// How clients are treated.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Exchange time, UTC ms.
    pub fn now_ms(&self) -> i64 {
        self.state().clock.now(Instant::now())
    }

    /// Looks at the market at this moment.
    pub fn with_market_moment<T>(&self, read: impl FnOnce(MarketMoment<'_>) -> T) -> T {
        let state = &mut *self.state();
        let wall = Instant::now();
        let now_ms = state.clock.now(wall);
        state.market.advance(now_ms);
        read(MarketMoment {
            market: &state.market,
            now_ms,
            is_advancing: state.clock.is_advancing(wall),
        })
    }

    /// Wall time until the next base candle closes; `None` while time stands.
    pub(crate) fn until_next_close(&self) -> Option<Duration> {
        let state = self.state();
        let wall = Instant::now();
        let base = state.market.base();
        let next = base.bucket(state.clock.now(wall)) + base.ms();
        state.clock.wall_until(next, wall)
    }

    /// What a restart must know: identity, exchange time, and whether the clock was set running.
    pub(crate) fn clock_state(&self) -> (String, i64, bool) {
        let state = self.state();
        let now_ms = state.clock.now(Instant::now());
        let identity = state.market.identity().to_owned();
        (identity, now_ms, state.clock.is_running())
    }

    /// Whether the market's end is reached.
    pub(crate) fn has_market_ended(&self) -> bool {
        self.state().clock.has_ended(Instant::now())
    }

    /// Changes whenever the clock starts or stops.
    pub(crate) fn clock_changes(&self) -> watch::Receiver<u64> {
        self.clock_changes.subscribe()
    }

    /// Subscribes; the first subscriber may start the clock.
    pub(crate) fn subscribe(&self, subscriber: &Arc<Subscriber>, key: StreamKey) {
        let mut hub = self.hub();
        hub.join(subscriber, key, self.now_ms());
        self.update_clock_subscribers(&hub);
    }

    /// Ends one subscription; the last one may stop the clock.
    pub(crate) fn unsubscribe(&self, subscriber: &Subscriber, key: StreamKey) {
        let mut hub = self.hub();
        hub.leave(subscriber, key);
        self.update_clock_subscribers(&hub);
    }

    /// Ends all subscriptions of a connection.
    pub(crate) fn unsubscribe_all(&self, subscriber: &Subscriber) {
        let mut hub = self.hub();
        hub.leave_all(subscriber);
        self.update_clock_subscribers(&hub);
    }

    /// The streams someone listens to. Lock order: the hub before the state, never the reverse.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called with the hub still locked, so that counts reach the clock in the order they arose.
    fn update_clock_subscribers(&self, hub: &Hub) {
        let moved = self
            .state()
            .clock
            .update_subscribers(hub.subscriber_count(), Instant::now());
        if moved {
            self.clock_changes.send_modify(|moves| *moves += 1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
