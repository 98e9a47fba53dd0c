//! The books of this instance: claims and renews their leases, runs one task for each, gives back
//! what others should have. Which books to claim is decided in `share`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::event::{Event, EventBody};
use protocol::exit::ExitCode;
use protocol::heartbeat::{PartState, Phase};
use protocol::ids::{BookKey, Token};
use protocol::lease::Holder;
use protocol::subject::{Subject, filter};
use runtime::clock;
use runtime::lease::{self, LeaseError, Observer, POLL, View};
use runtime::process::Stop;
use runtime::progress::PartProgress;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::book::{self, BookEnd};
use crate::context::Context;
use crate::share::{self, Seen};

/// How long books may take to finish what they began. With [`GIVE_BACK`] and the time for what
/// comes after it, under the 8 s in which a trader drains.
const DRAIN: Duration = Duration::from_millis(4_500);
/// The same with orders on an exchange, which may have to wait until one that was lost cannot be taken any more: a
/// position without its stop is worse than a late end.
const DRAIN_LIVE: Duration = Duration::from_secs(7);
/// A pass every three seconds, each call of it with its deadline: one that takes longer is stuck.
const TURNS_WITHIN: Duration = Duration::from_secs(30);
/// How long giving the leases back may take; those left over expire by themselves.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// All books this instance owns or may own.
pub struct Fleet {
    ctx: Arc<Context>,
    me: Holder,
    part: Arc<PartProgress>,
    observer: Observer,
    registered: bool,
    first_pass_done: bool,
    books: BTreeMap<Token, Owned>,
    /// The newest release of a halted book that was heeded, by its place in the journal.
    releases: BTreeMap<Token, u64>,
    tasks: JoinSet<BookEnd>,
    symbols_of: HashMap<Id, Token>,
}

/// A book whose lease is ours.
///
/// A halted one stays here, without a task: its lease is kept so that nobody else trips over it.
struct Owned {
    stop: CancellationToken,
}

impl Fleet {
    /// A fleet that owns nothing yet.
    pub fn new(ctx: Arc<Context>) -> Self {
        let me = Holder {
            instance: ctx.identity.instance.clone(),
            boot: ctx.identity.boot.clone(),
        };
        let part = ctx.progress.part("fleet");
        part.turns_within(TURNS_WITHIN);
        Self {
            part,
            ctx,
            me,
            observer: Observer::default(),
            registered: false,
            first_pass_done: false,
            books: BTreeMap::new(),
            releases: BTreeMap::new(),
            tasks: JoinSet::new(),
            symbols_of: HashMap::new(),
        }
    }

    /// Owns books until `stop`; then lets them finish and gives them back.
    ///
    /// # Errors
    /// Exit 71 if another process runs under this instance's name.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Stop> {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ctx = Arc::clone(&self.ctx);
        let result = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ok(()),
                Some(ended) = self.tasks.join_next_with_id() => {
                    if let Some(left) = self.book_ended(ended) {
                        let lease = self.lease_of(&left);
                        stop.run_until_cancelled(self.free(&lease)).await;
                    }
                }
                () = ctx.board.changed() => self.maybe_running(),
                // A pass that is cut leaves leases as after a crash: they are read anew each time.
                _ = ticks.tick() => match stop.run_until_cancelled(self.pass()).await {
                    None | Some(Ok(())) => {}
                    Some(Err(duplicate)) => break Err(duplicate),
                },
            }
        };
        self.drain().await;
        result
    }

    /// One look at all leases and what follows from it.
    async fn pass(&mut self) -> Result<(), Stop> {
        match self.try_pass().await {
            Ok(()) => {
                self.part.turn();
                self.first_pass_done = true;
                self.maybe_running();
                Ok(())
            }
            Err(PassError::Stop(stop)) => Err(stop),
            Err(PassError::Lease(error)) => {
                tracing::warn!(%error, "leases not renewed");
                self.part.set(PartState::Retrying);
                self.ctx.progress.error("fleet", error.to_string());
                Ok(())
            }
        }
    }

    async fn try_pass(&mut self) -> Result<(), PassError> {
        self.renew_instance().await?;
        let instances = self.live_instances().await?;
        let seen = self.look().await?;
        self.drop_lost(&seen);
        let plan = share::plan(&seen, instances);
        for book in seen.iter().filter(|b| b.view == View::Mine && !b.leaving) {
            if !plan.release.contains(&book.symbol) {
                self.hold(&book.symbol).await?;
            }
        }
        for symbol in plan.claim {
            self.hold(&symbol).await?;
        }
        self.go_on_with_released().await;
        for symbol in plan.release {
            // Its lease is freed when its task has ended.
            if let Some(owned) = self.books.get(&symbol) {
                tracing::info!(%symbol, "giving the book to another instance");
                owned.stop.cancel();
            }
        }
        Ok(())
    }

    /// A person's word stands in the halted book's journal: see `trader release`.
    async fn go_on_with_released(&mut self) {
        let halted = self.books.keys().filter(|symbol| !self.runs(symbol));
        let halted: Vec<Token> = halted.cloned().collect();
        for symbol in halted {
            match book::unheeded(&self.ctx.bus, &self.book(&symbol)).await {
                Ok(Some(seq)) if self.releases.insert(symbol.clone(), seq) != Some(seq) => {
                    tracing::info!(%symbol, "the book is released");
                    self.ctx.board.remove(&symbol);
                    self.start(symbol);
                }
                Ok(_) => {}
                Err(why) => tracing::debug!(%symbol, why, "halted book not looked at"),
            }
        }
    }

    /// Takes part in the sharing-out, under this instance's name.
    async fn renew_instance(&mut self) -> Result<(), PassError> {
        let subject = self.instance_lease();
        let view = self.refresh(&subject).await?;
        if self.registered && view == View::OwnEarlierBoot {
            return Err(PassError::Stop(Stop::new(
                ExitCode::DuplicateInstance,
                format!(
                    "INSTANCE={}: another process runs under this name; give each its own",
                    self.me.instance
                ),
            )));
        }
        match self.write(&subject, true).await {
            Ok(()) => self.registered = true,
            // Who came first shows at the next look.
            Err(LeaseError::Taken(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn live_instances(&mut self) -> Result<usize, PassError> {
        let filter = filter::instance_leases(&self.ctx.account);
        let mut live = 0;
        for subject in lease::subjects(&self.ctx.bus, &filter).await? {
            if self.refresh(&subject).await? != View::Free {
                live += 1;
            }
        }
        Ok(live.max(1))
    }

    async fn look(&mut self) -> Result<Vec<Seen>, PassError> {
        let symbols: Vec<Token> = self.ctx.rules.keys().cloned().collect();
        let mut seen = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            let view = self.refresh(&self.lease_of(&symbol)).await?;
            let owned = self.books.get(&symbol);
            seen.push(Seen {
                flat: self.ctx.board.is_flat(&symbol),
                leaving: owned.is_some_and(|owned| owned.stop.is_cancelled()),
                symbol,
                view,
            });
        }
        Ok(seen)
    }

    async fn refresh(&mut self, subject: &str) -> Result<View, LeaseError> {
        let newest = lease::read(&self.ctx.bus, subject).await?;
        let now = Instant::now();
        self.observer.observe(subject, newest, now);
        Ok(self.observer.view(subject, &self.me, now))
    }

    /// Books that another holds now: their journals are fenced, so nothing they do counts.
    fn drop_lost(&mut self, seen: &[Seen]) {
        for book in seen.iter().filter(|b| b.view != View::Mine) {
            if let Some(owned) = self.books.remove(&book.symbol) {
                owned.stop.cancel();
                self.ctx.board.remove(&book.symbol);
                self.tell_lost(
                    &book.symbol,
                    &match &book.view {
                        View::Other(holder) => format!("{} holds its lease", holder.instance),
                        _ => "its lease was not renewed in time".to_owned(),
                    },
                );
            }
        }
    }

    /// Writes the lease and sees that the book's task runs.
    async fn hold(&mut self, symbol: &Token) -> Result<(), LeaseError> {
        match self.write(&self.lease_of(symbol), true).await {
            Ok(()) => {}
            Err(LeaseError::Taken(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        if !self.books.contains_key(symbol) && !self.runs(symbol) {
            self.start(symbol.clone());
        }
        Ok(())
    }

    fn runs(&self, symbol: &Token) -> bool {
        self.symbols_of.values().any(|running| running == symbol)
    }

    fn start(&mut self, symbol: Token) {
        let stop = CancellationToken::new();
        let task = book::run(Arc::clone(&self.ctx), symbol.clone(), stop.clone());
        let handle = self.tasks.spawn(task);
        self.symbols_of.insert(handle.id(), symbol.clone());
        self.books.insert(symbol, Owned { stop });
    }

    /// Takes note of it. Returns a book that was ours and was told to end: its lease is to be freed.
    fn book_ended(&mut self, ended: Result<(Id, BookEnd), JoinError>) -> Option<Token> {
        let (id, end) = match ended {
            Ok((id, end)) => (id, end),
            // A panic in a brain halts its book, not the process.
            Err(error) => (error.id(), BookEnd::Halted(format!("bug: {error}"))),
        };
        let symbol = self.symbols_of.remove(&id)?;
        match end {
            BookEnd::Stopped => {
                self.ctx.board.remove(&symbol);
                return self.books.remove(&symbol).map(|_| symbol);
            }
            BookEnd::Lost(reason) => {
                self.books.remove(&symbol);
                self.ctx.board.remove(&symbol);
                self.tell_lost(&symbol, &reason);
            }
            BookEnd::StillHalted(reason) => self.halt(&symbol, &reason),
            BookEnd::Halted(reason) => {
                self.halt(&symbol, &reason);
                self.tell_halted(&symbol, reason);
            }
        }
        None
    }

    fn halt(&mut self, symbol: &Token, reason: &str) {
        tracing::error!(%symbol, reason, "book halted");
        self.ctx.progress.error(symbol.as_str(), reason);
        let key = self.book(symbol);
        self.ctx.board.put(symbol, book::halted_entry(&key, reason));
    }

    fn tell_halted(&self, symbol: &Token, reason: String) {
        let book = self.book(symbol);
        self.tell(
            &format!("halted:{symbol}"),
            EventBody::BookHalted { book, reason },
        );
    }

    fn maybe_running(&self) {
        let starting = self.ctx.progress.phase() == Phase::Starting;
        if starting && self.first_pass_done && self.ctx.board.are_ready(self.books.keys()) {
            let books: Vec<&str> = self.books.keys().map(Token::as_str).collect();
            tracing::info!(books = books.join(","), "running");
            self.ctx.progress.enter(Phase::Running);
            self.tell("started", self.ctx.started());
        }
    }

    /// Lets every book finish, then frees the leases so that others need not wait for them.
    async fn drain(&mut self) {
        for owned in self.books.values() {
            owned.stop.cancel();
        }
        let within = match self.ctx.venue {
            None => DRAIN,
            Some(_) => DRAIN_LIVE,
        };
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(within, all).await.is_err() {
            tracing::warn!("books did not end in time; their journals are safe");
            self.tasks.abort_all();
        }
        if timeout(GIVE_BACK, self.give_all_back()).await.is_err() {
            tracing::debug!("leases left to expire");
        }
    }

    async fn give_all_back(&mut self) {
        let mut subjects: Vec<String> = self.books.keys().map(|s| self.lease_of(s)).collect();
        subjects.push(self.instance_lease());
        for subject in subjects {
            self.free(&subject).await;
        }
    }

    /// Frees a lease if it is ours.
    async fn free(&mut self, subject: &str) {
        let mine = self.refresh(subject).await.is_ok_and(|v| v == View::Mine);
        if mine && let Err(error) = self.write(subject, false).await {
            tracing::debug!(%error, "lease left to expire");
        }
    }

    fn instance_lease(&self) -> String {
        let lease = Subject::InstanceLease {
            account: self.ctx.account.clone(),
            instance: self.me.instance.clone(),
        };
        lease.to_string()
    }

    async fn write(&mut self, subject: &str, hold: bool) -> Result<(), LeaseError> {
        let holder = hold.then_some(&self.me);
        let expected = self.observer.seq(subject);
        lease::write(&self.ctx.bus, subject, holder, expected)
            .await
            .map(|_| ())
    }

    fn book(&self, symbol: &Token) -> BookKey {
        self.ctx.account.book(symbol.clone())
    }

    fn lease_of(&self, symbol: &Token) -> String {
        Subject::BookLease(self.book(symbol)).to_string()
    }

    fn tell_lost(&self, symbol: &Token, reason: &str) {
        tracing::warn!(%symbol, reason, "book lost");
        let book = self.book(symbol);
        let reason = reason.to_owned();
        self.tell(
            &format!("lost:{symbol}:{}", clock::now().0),
            EventBody::BookLost { book, reason },
        );
    }

    fn tell(&self, id: &str, body: EventBody) {
        let id = format!("{}:{id}", self.me.boot);
        self.ctx.events.tell(Event::new(id, clock::now(), body));
    }
}

enum PassError {
    Lease(LeaseError),
    Stop(Stop),
}

impl From<LeaseError> for PassError {
    fn from(error: LeaseError) -> Self {
        Self::Lease(error)
    }
}
