//! The task that keeps every book's series whole: one stream connection, REST refills, deadlines.
//! What a candle is worth and who listens is not known here.
//!
//! It waits in one place ([`FeedTask::next_turn`]); everything else decides and starts.

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

/// REST refills at the same time.
const REFILLS: usize = 4;

/// Most candles of one refill: one answer of the exchange.
const REFILL_CANDLES: usize = 1_500;

/// Why the feed ended by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// As many failures in a row as [`FeedSettings::give_up_after`] allows.
    #[error("market feed gave up after {failures} failures in a row: {reason}")]
    GaveUp {
        /// How many.
        failures: u32,
        /// The newest, one line.
        reason: String,
    },
    /// A bug of ours.
    #[error("market feed: a job failed: {0}")]
    JobFailed(String),
}

/// Drives a [`super::Feed`].
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

/// When the exchange's time was last heard or asked for.
struct Probe {
    running: bool,
    /// Asked in vain, and nothing was heard since.
    failing: bool,
    last: Instant,
    seen: UtcMs,
}

/// A job that ended.
enum Done {
    Connected(Result<Box<Connection>, String>),
    Refilled(u64, Result<Refilled, MarketError>),
    Probed(Result<UtcMs, MarketError>),
}

/// Why the loop turns.
enum Turn {
    Stopped,
    Ticked,
    Subscribed(Subscribe),
    JobEnded(Result<Done, JoinError>),
    LinkTold(LinkEvent),
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

    /// Runs until `shutdown` is cancelled. Its jobs and its connection end with it.
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
                // Nobody waits for a task that will not come.
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
            event = next_event(&mut self.link) => Turn::LinkTold(event),
        }
    }

    fn take_turn(&mut self, turn: Turn, now: Instant) -> Result<(), FeedError> {
        match turn {
            Turn::Stopped => Ok(()),
            Turn::Ticked => {
                self.look_at_deadlines(now);
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
            Turn::LinkTold(event) => self.link_told(event, now),
        }
    }

    fn job_ended(&mut self, done: Done, now: Instant) -> Result<(), FeedError> {
        match done {
            Done::Connected(Ok(connection)) => {
                info!("connected to the market stream");
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

    fn link_told(&mut self, event: LinkEvent, now: Instant) -> Result<(), FeedError> {
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
            // What closed before the subscription held did not come through it.
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
        warn!(failures = self.link_failures, ?wait, "{reason}");
        self.progress.failed(reason.clone());
        self.may_go_on(self.link_failures, reason)
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
            self.may_go_on(failures, reason)?;
        }
        if verdict == Verdict::StreamIsDead && matches!(self.link, Link::Up(_)) {
            let reason = format!("silent: no closed {symbol} candle came");
            return self.link_lost(&reason, now);
        }
        Ok(())
    }

    fn may_go_on(&self, failures: u32, reason: String) -> Result<(), FeedError> {
        match self.settings.give_up_after {
            Some(limit) if failures >= limit.max(1) => Err(FeedError::GaveUp { failures, reason }),
            _ => Ok(()),
        }
    }

    /// Ages and silences, once a tick.
    fn look_at_deadlines(&mut self, now: Instant) {
        let market_now = self.market.clock().now();
        if market_now != self.probe.seen {
            self.probe.seen = market_now;
            self.probe.last = now;
            self.probe.failing = false;
        }
        let timing = &self.settings.timing;
        for book in self.books.values_mut() {
            book.look_at_age(market_now, now, timing.stale_after);
        }
        let silent = now.duration_since(self.probe.last) >= timing.probe_after;
        if silent && !self.probe.running && !self.books.is_empty() {
            self.probe.running = true;
            let market = self.market.clone();
            self.jobs
                .spawn(async move { Done::Probed(market.server_time().await) });
        }
    }

    /// After every turn: what follows from the state as it is now.
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
        warn!("{reason}");
        self.progress.failed(reason);
    }

    fn is_healthy(&self) -> bool {
        let streaming = match &self.link {
            Link::Up(connection) => connection.is_settled(),
            Link::Down { .. } | Link::Connecting => self.books.is_empty(),
        };
        // Over a network that is gone a stream stays open, and no candle is missed: the exchange's time stands still.
        let heard = self.books.is_empty() || !self.probe.failing;
        streaming && heard && self.books.values().all(Book::is_healthy)
    }
}

/// Waits for ever while there is no connection.
async fn next_event(link: &mut Link) -> LinkEvent {
    match link {
        Link::Up(connection) => connection.next().await,
        Link::Down { .. } | Link::Connecting => std::future::pending().await,
    }
}

/// The exchange's time first: only what closed by then is a closed candle.
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
