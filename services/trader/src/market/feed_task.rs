//! The task that keeps every book's series complete: one stream connection, REST refills, deadlines. Entry point:
//! [`FeedTask::run`].
//!
//! It waits in one place ([`FeedTask::next_turn`]); everything else decides and starts jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use tokio::select;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use trader_core::candle::Interval;

use super::book::{Book, Refilled, Verdict};
use super::connection::{Connection, LinkEvent};
use super::error::MarketError;
use super::feed::{Feed, FeedSettings, Subscribe};
use super::progress::FeedStats;
use super::rest::BinanceDataClient;

/// Most REST refills at the same time.
const REFILLS: usize = 4;

/// Most candles of one refill: one answer of the exchange.
const REFILL_CANDLES: usize = 1_500;

/// Why the feed ended without a stop request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// As many failures in a row as [`FeedSettings::give_up_after`] allows.
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

/// The task that drives a [`super::Feed`]; one at a time.
pub struct FeedTask {
    market: BinanceDataClient,
    settings: FeedSettings,
    waiting: Arc<Mutex<mpsc::Receiver<Subscribe>>>,
    progress: Arc<FeedStats>,
    books: BTreeMap<u64, Book>,
    next_book: u64,
    link: Link,
    link_failures: u32,
    jobs: JoinSet<Done>,
    refills: usize,
    probe: Probe,
}

/// The stream connection's states.
enum Link {
    Down { retry_at: Instant },
    Connecting,
    Up(Box<Connection>),
}

/// When the exchange's time last arrived or was last requested.
struct Probe {
    running: bool,
    /// The last request failed, and no time has arrived since.
    failing: bool,
    last: Instant,
    seen: UtcMs,
}

/// The result of a job.
enum Done {
    Connected(Result<Box<Connection>, String>),
    Refilled(u64, Result<Refilled, MarketError>),
    Probed(Result<UtcMs, MarketError>),
}

/// The cause of one turn of the loop.
enum Turn {
    Stopped,
    Ticked,
    Subscribed(Subscribe),
    JobEnded(Result<Done, JoinError>),
    LinkEvent(LinkEvent),
}

impl Feed {
    /// The task that drives the feed. Only one may run at a time. When it fails, its subscribers see the end of
    /// their feeds and subscribe again with the next task.
    pub fn task(&self) -> FeedTask {
        FeedTask::new(
            self.market.clone(),
            self.settings.clone(),
            Arc::clone(&self.waiting),
            Arc::clone(&self.progress),
        )
    }
}

impl FeedTask {
    pub(crate) fn new(
        market: BinanceDataClient,
        settings: FeedSettings,
        waiting: Arc<Mutex<mpsc::Receiver<Subscribe>>>,
        progress: Arc<FeedStats>,
    ) -> Self {
        let now = Instant::now();
        Self {
            market,
            settings,
            waiting,
            progress,
            books: BTreeMap::new(),
            next_book: 0,
            link: Link::Down { retry_at: now },
            link_failures: 0,
            jobs: JoinSet::new(),
            refills: 0,
            probe: Probe {
                running: false,
                failing: false,
                last: now,
                seen: UtcMs(0),
            },
        }
    }

    /// Runs until `stop` is cancelled. Its jobs and its connection end with it.
    ///
    /// # Errors
    /// [`FeedError::GaveUp`] only when the settings set a limit; [`FeedError::JobFailed`] is a bug.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), FeedError> {
        let mut commands = Arc::clone(&self.waiting).lock_owned().await;
        let mut ticks = tokio::time::interval(self.settings.timing.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let outcome = loop {
            let turn = self.next_turn(&stop, &mut ticks, &mut commands).await;
            if matches!(turn, Turn::Stopped) {
                // The process ends: no later task will take these subscriptions.
                commands.close();
                break Ok(());
            }
            let now = Instant::now();
            if let Err(error) = self.take_turn(turn, now).and_then(|()| self.settle(now)) {
                break Err(error);
            }
            self.progress.turned(self.is_healthy());
        };
        self.progress.stopped();
        outcome
    }

    async fn next_turn(
        &mut self,
        stop: &CancellationToken,
        ticks: &mut tokio::time::Interval,
        commands: &mut mpsc::Receiver<Subscribe>,
    ) -> Turn {
        select! {
            biased;
            () = stop.cancelled() => Turn::Stopped,
            _ = ticks.tick() => Turn::Ticked,
            Some(subscribe) = commands.recv() => Turn::Subscribed(subscribe),
            Some(ended) = self.jobs.join_next() => Turn::JobEnded(ended),
            event = next_event(&mut self.link) => Turn::LinkEvent(event),
        }
    }

    fn take_turn(&mut self, turn: Turn, now: Instant) -> Result<(), FeedError> {
        match turn {
            Turn::Stopped => Ok(()),
            Turn::Ticked => {
                self.check_deadlines(now);
                Ok(())
            }
            Turn::Subscribed(subscribe) => {
                let book = Book::new(self.settings.interval, subscribe, now);
                self.books.insert(self.next_book, book);
                self.next_book += 1;
                Ok(())
            }
            Turn::JobEnded(Ok(done)) => self.job_ended(done, now),
            Turn::JobEnded(Err(error)) => Err(FeedError::JobFailed(error.to_string())),
            Turn::LinkEvent(event) => self.handle_link_event(event, now),
        }
    }

    fn job_ended(&mut self, done: Done, now: Instant) -> Result<(), FeedError> {
        match done {
            Done::Connected(Ok(connection)) => {
                info!("market stream connected");
                self.link = Link::Up(connection);
                Ok(())
            }
            Done::Connected(Err(reason)) => self.link_lost(&reason, now),
            Done::Refilled(id, result) => self.refilled(id, result, now),
            Done::Probed(result) => {
                self.probe.running = false;
                self.probe.last = now;
                self.probe.failing = result.is_err();
                if let Err(error) = result {
                    self.failed(error.to_string());
                }
                Ok(())
            }
        }
    }

    fn handle_link_event(&mut self, event: LinkEvent, now: Instant) -> Result<(), FeedError> {
        match event {
            LinkEvent::CameAlive => self.link_failures = 0,
            LinkEvent::CandleClosed(symbol, candle) => {
                self.link_failures = 0;
                self.progress.answered();
                let books = self.books.values_mut();
                let books = books.filter(|b| b.symbol().as_str() == symbol);
                let taken = books.map(|book| book.candle_closed(candle, now));
                for refused in taken.filter_map(Result::err).collect::<Vec<_>>() {
                    self.failed(refused);
                }
            }
            // Candles that closed before the subscription was in force did not come through the stream.
            LinkEvent::Answered => self.books.values_mut().for_each(Book::want_refill),
            LinkEvent::Unreadable(reason) => self.failed(reason),
            LinkEvent::Lost(reason) => return self.link_lost(&reason, now),
        }
        Ok(())
    }

    fn link_lost(&mut self, reason: &str, now: Instant) -> Result<(), FeedError> {
        self.link_failures = self.link_failures.saturating_add(1);
        let wait = self.settings.timing.backoff().wait(self.link_failures);
        self.link = Link::Down {
            retry_at: now + wait,
        };
        let reason = format!("market stream: {reason}");
        warn!(error = %reason, failures = self.link_failures, ?wait, "market stream lost");
        self.progress.failed(reason.clone());
        self.check_failure_limit(self.link_failures, reason)
    }

    fn refilled(
        &mut self,
        id: u64,
        result: Result<Refilled, MarketError>,
        now: Instant,
    ) -> Result<(), FeedError> {
        self.refills -= 1;
        let failure = result.as_ref().err().map(ToString::to_string);
        let Some(book) = self.books.get_mut(&id) else {
            return Ok(());
        };
        let verdict = book.refilled(result, self.settings.timing.backoff(), now);
        let (symbol, failures) = (book.symbol().clone(), book.failures());
        if failure.is_none() {
            self.progress.answered();
        }
        if let Some(reason) = failure {
            let reason = format!("{symbol}: {reason}");
            self.failed(reason.clone());
            self.check_failure_limit(failures, reason)?;
        }
        if verdict == Verdict::StreamIsDead && matches!(self.link, Link::Up(_)) {
            let reason = format!("silent: no closed {symbol} candle arrived");
            return self.link_lost(&reason, now);
        }
        Ok(())
    }

    fn check_failure_limit(&self, failures: u32, reason: String) -> Result<(), FeedError> {
        match self.settings.give_up_after {
            Some(limit) if failures >= limit.max(1) => Err(FeedError::GaveUp { failures, reason }),
            _ => Ok(()),
        }
    }

    /// Checks the age of the candles and of the exchange's time, once a tick.
    fn check_deadlines(&mut self, now: Instant) {
        let market_now = self.market.clock().now();
        if market_now != self.probe.seen {
            self.probe.seen = market_now;
            self.probe.last = now;
            self.probe.failing = false;
        }
        let timing = &self.settings.timing;
        for book in self.books.values_mut() {
            book.check_staleness(market_now, now, timing.stale_after);
        }
        let silent = now.duration_since(self.probe.last) >= timing.probe_after;
        if silent && !self.probe.running && !self.books.is_empty() {
            self.probe.running = true;
            let market = self.market.clone();
            self.jobs
                .spawn(async move { Done::Probed(market.server_time().await) });
        }
    }

    /// After every turn: sends candles, and starts the connections and refills that are due.
    fn settle(&mut self, now: Instant) -> Result<(), FeedError> {
        for book in self.books.values_mut() {
            book.hand_on(&self.progress, now);
        }
        self.forget_the_gone();
        self.keep_link(now)?;
        self.start_refills(now);
        Ok(())
    }

    fn forget_the_gone(&mut self) {
        let gone = self.books.extract_if(.., |_, book| book.is_over());
        let gone: Vec<Book> = gone.map(|(_, book)| book).collect();
        for book in gone {
            if !self.books.values().any(|b| b.symbol() == book.symbol()) {
                self.progress.forgot(book.symbol());
            }
        }
    }

    fn keep_link(&mut self, now: Instant) -> Result<(), FeedError> {
        let wanted: BTreeSet<SubjectToken> =
            self.books.values().map(|b| b.symbol().clone()).collect();
        match &mut self.link {
            Link::Down { retry_at } if now >= *retry_at && !wanted.is_empty() => {
                self.connect();
                Ok(())
            }
            Link::Up(_) if wanted.is_empty() => {
                self.link = Link::Down { retry_at: now };
                Ok(())
            }
            Link::Up(connection) => {
                connection.subscribe_to(&wanted, now);
                match connection.fault(now, self.settings.timing.answer_within) {
                    Some(reason) => self.link_lost(&reason, now),
                    None => Ok(()),
                }
            }
            Link::Down { .. } | Link::Connecting => Ok(()),
        }
    }

    fn connect(&mut self) {
        self.link = Link::Connecting;
        let handle = self.market.streams().clone();
        let (interval, clock) = (self.settings.interval, self.market.clock().clone());
        self.jobs.spawn(async move {
            let opened = Connection::open(handle, interval, clock).await;
            Done::Connected(opened.map(Box::new))
        });
    }

    fn start_refills(&mut self, now: Instant) {
        let interval = self.settings.interval;
        for (&id, book) in &mut self.books {
            if self.refills >= REFILLS {
                return;
            }
            if let Some(from) = book.start_refill(now) {
                self.refills += 1;
                let (market, symbol) = (self.market.clone(), book.symbol().clone());
                self.jobs.spawn(async move {
                    Done::Refilled(id, refill(&market, &symbol, interval, from).await)
                });
            }
        }
    }

    fn failed(&self, reason: String) {
        warn!(error = %reason, "market feed error");
        self.progress.failed(reason);
    }

    fn is_healthy(&self) -> bool {
        let streaming = match &self.link {
            Link::Up(connection) => connection.is_settled(),
            Link::Down { .. } | Link::Connecting => self.books.is_empty(),
        };
        // Without a network the stream stays open and no candle is missed: the exchange's time does not advance.
        let time_arrives = self.books.is_empty() || !self.probe.failing;
        streaming && time_arrives && self.books.values().all(Book::is_healthy)
    }
}

/// The next event of the connection; waits for ever while there is none.
async fn next_event(link: &mut Link) -> LinkEvent {
    match link {
        Link::Up(connection) => connection.next().await,
        Link::Down { .. } | Link::Connecting => std::future::pending().await,
    }
}

/// Requests the missing candles. The exchange's time comes first: a candle is closed if it ended by then.
async fn refill(
    market: &BinanceDataClient,
    symbol: &SubjectToken,
    interval: Interval,
    from: UtcMs,
) -> Result<Refilled, MarketError> {
    let now = market.server_time().await?;
    let closed_until = interval.open_of(now);
    let missing = closed_until.0.saturating_sub(from.0) / interval.millis();
    let limit = usize::try_from(missing).unwrap_or(0).min(REFILL_CANDLES);
    let candles = market
        .closed_klines(symbol, interval, Some(from), limit, now)
        .await?;
    Ok(Refilled {
        candles,
        closed_until,
    })
}
