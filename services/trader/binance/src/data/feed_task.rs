//! The task that keeps every subscription complete: one stream connection, REST backfills, deadlines. Entry point:
//! [`FeedTask::run`].
//!
//! It waits in one place, the `select!` of [`FeedTask::next_step`]; everything else decides and starts jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use exchange::{ExchangeError, FeedError, FeedStats};
use protocol::duration::format_duration;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use tokio::select;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use trader_core::candle::{Candle, Interval};

use super::feed::{Feed, FeedSettings, Subscribe};
use super::market_stream::{MarketEvent, MarketStream};
use super::rest::RestClient;
use super::subscription::{Backfill, StreamVerdict, Subscription};

/// Most REST backfills at the same time.
const BACKFILLS: usize = 4;

/// Most candles of one backfill: one answer of the exchange.
const BACKFILL_CANDLES: usize = 1_500;

/// A subscription's symbol, and its number: a symbol can have two while its book restarts.
type SubscriptionKey = (SubjectToken, u64);

/// The task that drives a [`Feed`]; one at a time.
pub(super) struct FeedTask {
    rest: RestClient,
    ws_url: String,
    settings: FeedSettings,
    waiting: Arc<Mutex<mpsc::Receiver<Subscribe>>>,
    stats: Arc<FeedStats>,
    subscriptions: BTreeMap<SubscriptionKey, Subscription>,
    /// The symbols of the subscriptions.
    symbols: BTreeSet<SubjectToken>,
    next_number: u64,
    connection: ConnectionState,
    connection_failures: u32,
    jobs: JoinSet<JobResult>,
    backfills: usize,
    probe: ClockProbe,
}

/// States of the stream connection.
enum ConnectionState {
    Down { retry_at: Instant },
    Connecting,
    Up(Box<MarketStream>),
}

/// When the exchange's time last arrived or was last queried.
struct ClockProbe {
    running: bool,
    /// The last query failed, and no time has arrived since.
    failing: bool,
    last: Instant,
    seen: UtcMs,
    /// When the exchange's time last advanced.
    advanced_at: Instant,
}

/// Result of a job.
enum JobResult {
    Connected(Result<Box<MarketStream>, String>),
    BackfillEnded(SubscriptionKey, Result<Backfill, ExchangeError>),
    Probed(Result<UtcMs, ExchangeError>),
}

impl FeedTask {
    /// The task of this feed.
    pub(super) fn new(feed: &Feed) -> Self {
        let now = Instant::now();
        Self {
            rest: feed.rest.clone(),
            ws_url: feed.ws_url.clone(),
            settings: feed.settings.clone(),
            waiting: Arc::clone(&feed.waiting),
            stats: Arc::clone(&feed.stats),
            subscriptions: BTreeMap::new(),
            symbols: BTreeSet::new(),
            next_number: 0,
            connection: ConnectionState::Down { retry_at: now },
            connection_failures: 0,
            jobs: JoinSet::new(),
            backfills: 0,
            probe: ClockProbe {
                running: false,
                failing: false,
                last: now,
                seen: UtcMs(0),
                advanced_at: now,
            },
        }
    }

    /// Runs until `shutdown` is cancelled. Its jobs and its connection end with it.
    ///
    /// # Errors
    /// [`FeedError::GaveUp`] only if the settings set a limit; [`FeedError::JobFailed`] is a bug.
    pub(super) async fn run(mut self, shutdown: CancellationToken) -> Result<(), FeedError> {
        let mut commands = Arc::clone(&self.waiting).lock_owned().await;
        let mut ticks = tokio::time::interval(self.settings.timing.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outcome = Ok(());
        while outcome.is_ok() {
            select! {
                biased;
                () = shutdown.cancelled() => {
                    // The process ends: no later task takes these subscriptions.
                    commands.close();
                    break;
                }
                step = self.next_step(&mut ticks, &mut commands) => {
                    outcome = step.and_then(|()| self.settle(Instant::now()));
                }
            }
            self.stats.record_iteration(self.is_healthy());
        }
        self.stats.record_stop();
        outcome
    }

    /// Waits for the next event and handles it. Cancel-safe: the handling does not wait.
    async fn next_step(
        &mut self,
        ticks: &mut tokio::time::Interval,
        commands: &mut mpsc::Receiver<Subscribe>,
    ) -> Result<(), FeedError> {
        select! {
            biased;
            _ = ticks.tick() => self.check_deadlines(Instant::now()),
            Some(subscribe) = commands.recv() => self.add_subscription(subscribe, Instant::now()),
            Some(ended) = self.jobs.join_next() => {
                let result = ended.map_err(|error| FeedError::JobFailed(error.to_string()))?;
                return self.handle_job_result(result, Instant::now());
            }
            event = next_event(&mut self.connection) => {
                return self.handle_stream_event(event, Instant::now());
            }
        }
        Ok(())
    }

    fn add_subscription(&mut self, subscribe: Subscribe, now: Instant) {
        let key = (subscribe.symbol.clone(), self.next_number);
        self.symbols.insert(subscribe.symbol.clone());
        self.next_number += 1;
        let subscription = Subscription::new(self.settings.interval, subscribe, now);
        self.subscriptions.insert(key, subscription);
    }

    fn handle_job_result(&mut self, result: JobResult, now: Instant) -> Result<(), FeedError> {
        match result {
            JobResult::Connected(Ok(connection)) => {
                info!("market stream connected");
                self.connection = ConnectionState::Up(connection);
                Ok(())
            }
            JobResult::Connected(Err(reason)) => self.connection_lost(&reason, now),
            JobResult::BackfillEnded(key, result) => self.backfill_ended(&key, result, now),
            JobResult::Probed(result) => {
                self.probe.running = false;
                self.probe.last = now;
                self.probe.failing = result.is_err();
                if let Err(error) = result {
                    self.record_error(error.to_string());
                }
                Ok(())
            }
        }
    }

    fn handle_stream_event(&mut self, event: MarketEvent, now: Instant) -> Result<(), FeedError> {
        match event {
            MarketEvent::CameAlive => self.connection_failures = 0,
            MarketEvent::CandleClosed(symbol, candle) => self.candle_closed(symbol, candle, now),
            // Candles that closed before the subscription was in force did not come through the stream.
            MarketEvent::Answered => {
                let subscriptions = self.subscriptions.values_mut();
                subscriptions.for_each(Subscription::request_backfill);
            }
            MarketEvent::Unreadable(reason) => self.record_error(reason),
            MarketEvent::Lost(reason) => return self.connection_lost(&reason, now),
        }
        Ok(())
    }

    fn candle_closed(&mut self, symbol: SubjectToken, candle: Candle, now: Instant) {
        self.connection_failures = 0;
        self.stats.record_success();
        let of_symbol = (symbol.clone(), 0)..=(symbol, u64::MAX);
        let mut dropped = Vec::new();
        for (_, subscription) in self.subscriptions.range_mut(of_symbol) {
            dropped.extend(subscription.candle_closed(candle, now).err());
        }
        for reason in dropped {
            self.record_error(reason);
        }
    }

    fn connection_lost(&mut self, reason: &str, now: Instant) -> Result<(), FeedError> {
        self.connection_failures = self.connection_failures.saturating_add(1);
        let wait = self
            .settings
            .timing
            .backoff()
            .wait(self.connection_failures);
        self.connection = ConnectionState::Down {
            retry_at: now + wait,
        };
        let reason = format!("market stream: {reason}");
        warn!(error = %reason, failures = self.connection_failures,
            wait = %format_duration(wait), "market stream lost");
        self.stats.record_error(reason.clone());
        self.check_failure_limit(self.connection_failures, reason)
    }

    fn backfill_ended(
        &mut self,
        key: &SubscriptionKey,
        result: Result<Backfill, ExchangeError>,
        now: Instant,
    ) -> Result<(), FeedError> {
        self.backfills -= 1;
        let failure = result.as_ref().err().map(ToString::to_string);
        let Some(subscription) = self.subscriptions.get_mut(key) else {
            return Ok(());
        };
        let verdict = subscription.backfill_ended(result, self.settings.timing.backoff(), now);
        let failures = subscription.failures();
        let (symbol, _) = key;
        match failure {
            None => self.stats.record_success(),
            Some(reason) => {
                let reason = format!("{symbol}: {reason}");
                self.record_error(reason.clone());
                self.check_failure_limit(failures, reason)?;
            }
        }
        let is_up = matches!(self.connection, ConnectionState::Up(_));
        if verdict == StreamVerdict::StreamIsDead && is_up {
            let reason = format!("silent: no closed {symbol} candle arrived");
            return self.connection_lost(&reason, now);
        }
        Ok(())
    }

    fn check_failure_limit(&self, failures: u32, reason: String) -> Result<(), FeedError> {
        match self.settings.give_up_after {
            Some(limit) if failures >= limit.max(1) => Err(FeedError::GaveUp { failures, reason }),
            _ => Ok(()),
        }
    }

    /// Checks the age of the candles and of the exchange's time.
    fn check_deadlines(&mut self, now: Instant) {
        let market_now = self.rest.clock().now();
        if market_now != self.probe.seen {
            self.probe.seen = market_now;
            self.probe.last = now;
            self.probe.failing = false;
            self.probe.advanced_at = now;
        }
        // An exchange that does not answer should send candles all the same: its time advances at least as fast as ours.
        let market_now = market_now.plus(now.duration_since(self.probe.advanced_at));
        let timing = &self.settings.timing;
        for subscription in self.subscriptions.values_mut() {
            subscription.check_staleness(market_now, now, timing.stale_after);
        }
        let silent = now.duration_since(self.probe.last) >= timing.probe_after;
        if silent && !self.probe.running && !self.subscriptions.is_empty() {
            self.probe.running = true;
            let rest = self.rest.clone();
            self.jobs
                .spawn(async move { JobResult::Probed(rest.server_time().await) });
        }
    }

    /// Sends candles, and starts the connections and backfills that are due.
    fn settle(&mut self, now: Instant) -> Result<(), FeedError> {
        for subscription in self.subscriptions.values_mut() {
            subscription.send_candles(&self.stats, now);
        }
        self.remove_ended();
        self.maintain_connection(now)?;
        self.start_backfills(now);
        Ok(())
    }

    fn remove_ended(&mut self) {
        let ended = self.subscriptions.extract_if(.., |_, s| s.has_ended());
        let ended: Vec<SubscriptionKey> = ended.map(|(key, _)| key).collect();
        for (symbol, _) in ended {
            if !self.subscriptions.keys().any(|(other, _)| *other == symbol) {
                self.symbols.remove(&symbol);
                self.stats.remove_symbol(&symbol);
            }
        }
    }

    fn maintain_connection(&mut self, now: Instant) -> Result<(), FeedError> {
        match &mut self.connection {
            ConnectionState::Down { retry_at }
                if now >= *retry_at && !self.subscriptions.is_empty() =>
            {
                self.connect();
                Ok(())
            }
            ConnectionState::Up(_) if self.subscriptions.is_empty() => {
                self.connection = ConnectionState::Down { retry_at: now };
                Ok(())
            }
            ConnectionState::Up(connection) => {
                let subscribed = connection.subscribe_to(&self.symbols, now);
                let fault = subscribed.err().map(|error| error.to_string());
                let answer_within = self.settings.timing.answer_within;
                match fault.or_else(|| connection.fault(now, answer_within)) {
                    Some(reason) => self.connection_lost(&reason, now),
                    None => Ok(()),
                }
            }
            ConnectionState::Down { .. } | ConnectionState::Connecting => Ok(()),
        }
    }

    fn connect(&mut self) {
        self.connection = ConnectionState::Connecting;
        let (url, clock) = (self.ws_url.clone(), self.rest.clock().clone());
        let interval = self.settings.interval;
        self.jobs.spawn(async move {
            let opened = MarketStream::open(&url, interval, clock).await;
            JobResult::Connected(opened.map(Box::new))
        });
    }

    fn start_backfills(&mut self, now: Instant) {
        let interval = self.settings.interval;
        for (key, subscription) in &mut self.subscriptions {
            if self.backfills >= BACKFILLS {
                return;
            }
            if let Some(from) = subscription.start_backfill(now) {
                self.backfills += 1;
                let (rest, key) = (self.rest.clone(), key.clone());
                self.jobs.spawn(async move {
                    let backfill = query_missing(&rest, &key.0, interval, from).await;
                    JobResult::BackfillEnded(key, backfill)
                });
            }
        }
    }

    fn record_error(&self, reason: String) {
        warn!(error = %reason, "market feed error");
        self.stats.record_error(reason);
    }

    fn is_healthy(&self) -> bool {
        let streaming = match &self.connection {
            ConnectionState::Up(connection) => connection.is_settled(),
            ConnectionState::Down { .. } | ConnectionState::Connecting => {
                self.subscriptions.is_empty()
            }
        };
        // Without a network the stream stays open and no candle is missed: the exchange's time does not advance.
        let time_arrives = self.subscriptions.is_empty() || !self.probe.failing;
        // One symbol that is delisted or refused is its book's affair.
        let mut subscriptions = self.subscriptions.values();
        let one_arrives = subscriptions.any(Subscription::is_healthy);
        streaming && time_arrives && (self.subscriptions.is_empty() || one_arrives)
    }
}

/// The next event of the connection; waits for ever while there is none.
async fn next_event(connection: &mut ConnectionState) -> MarketEvent {
    match connection {
        ConnectionState::Up(connection) => connection.next().await,
        ConnectionState::Down { .. } | ConnectionState::Connecting => std::future::pending().await,
    }
}

/// Queries the missing candles. The exchange's time comes first: a candle is closed if it ended by then.
async fn query_missing(
    rest: &RestClient,
    symbol: &SubjectToken,
    interval: Interval,
    from: UtcMs,
) -> Result<Backfill, ExchangeError> {
    let now = rest.server_time().await?;
    let closed_until = interval.open_of(now);
    let missing = closed_until.0.saturating_sub(from.0) / interval.millis();
    let limit = usize::try_from(missing).unwrap_or(0).min(BACKFILL_CANDLES);
    let candles = rest.closed_candles(symbol, interval, Some(from), limit, now);
    Ok(Backfill {
        candles: candles.await?,
        closed_until,
    })
}
