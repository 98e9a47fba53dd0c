//! Shared state of the exchange: market and clock behind one lock, so that candles and time of a response agree.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::market::Market;
use crate::symbols::Contract;
use crate::trading::record::PriceChange;
use crate::ws::hub::{Hub, StreamKey, Subscriber};

/// Limits of clients; Binance's numbers by default.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// REST weight per address and minute of wall time.
    pub weight_per_minute: u32,
    /// Rejections for excess weight in a minute after which an address is banned.
    pub rejections_before_ban: u32,
    /// New orders of an account in 10 seconds of wall time.
    pub orders_per_10s: u32,
    /// New orders of an account in a minute of wall time.
    pub orders_per_minute: u32,
    /// Frames queued for a subscriber before it is disconnected.
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

/// The exchange at one time.
pub struct MarketMoment<'a> {
    /// The market at `now_ms`.
    pub market: &'a Market,
    /// Exchange time, UTC ms.
    pub now_ms: i64,
    /// Whether exchange time passes.
    pub is_advancing: bool,
}

/// The exchange, shared by all connections and tasks.
pub struct Exchange {
    state: Mutex<State>,
    hub: Mutex<Hub>,
    limits: Limits,
    /// Number of starts and stops of the clock: the state file is written and the stream publisher is reset at each.
    clock_changes: watch::Sender<u64>,
}

impl Exchange {
    /// An exchange over `market` with the time of `clock`.
    pub fn new(market: Market, clock: Clock, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { clock, market }),
            hub: Mutex::new(Hub::default()),
            limits,
            clock_changes: watch::Sender::new(0),
        })
    }

    /// The contracts of the market, also those that a fault has made invisible.
    pub fn listed(&self) -> Vec<&'static Contract> {
        self.state().market.listed().to_vec()
    }

    /// Open time of a base candle that is not loaded yet, UTC ms: what changes prices from then on changes no price that
    /// has been seen, at any speed of the clock.
    pub(crate) fn next_open_ms(&self) -> i64 {
        let state = self.state();
        state.market.next_open_ms(state.clock.now(Instant::now()))
    }

    /// Applies a change of prices or symbols to the market.
    pub(crate) fn change_prices(&self, change: &PriceChange) {
        self.state().market.change_prices(change);
    }

    /// Limits of weight, orders and connections for clients.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Exchange time, UTC ms.
    pub fn now_ms(&self) -> i64 {
        self.state().clock.now(Instant::now())
    }

    /// Runs `f` on the market at the current time.
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

    /// Wall time until the next base candle closes; `None` while the clock is paused.
    pub(crate) fn until_next_close(&self) -> Option<Duration> {
        let state = self.state();
        let wall = Instant::now();
        let base = state.market.base();
        let next = base.bucket(state.clock.now(wall)) + base.ms();
        state.clock.wall_until(next, wall)
    }

    /// State of the clock for a restart: market identity, exchange time, and whether the clock has been started.
    pub(crate) fn clock_state(&self) -> (String, i64, bool) {
        let state = self.state();
        let now_ms = state.clock.now(Instant::now());
        let identity = state.market.identity().to_owned();
        (identity, now_ms, state.clock.is_running())
    }

    /// Whether the end of the market is reached.
    pub(crate) fn has_market_ended(&self) -> bool {
        self.state().clock.has_ended(Instant::now())
    }

    /// Receiver that changes when the clock starts or stops.
    pub(crate) fn clock_changes(&self) -> watch::Receiver<u64> {
        self.clock_changes.subscribe()
    }

    /// Adds a subscription; the first subscriber may start the clock.
    pub(crate) fn subscribe(&self, subscriber: &Arc<Subscriber>, key: StreamKey) {
        let mut hub = self.hub();
        hub.join(subscriber, key, self.now_ms());
        self.update_clock_subscribers(&hub);
    }

    /// Ends one subscription; the end of the last one may stop the clock.
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

    /// The streams with subscribers. Lock order: hub before state.
    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called with the hub locked, so that the clock receives the counts in order.
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
