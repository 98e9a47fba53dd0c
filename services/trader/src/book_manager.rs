//! The books of this instance: claims and renews their leases, runs one task for each, gives back
//! what others should have. Which books to claim is decided in `assignment`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::event::{Event, EventBody};
use protocol::exit_code::ExitCode;
use protocol::heartbeat::{ComponentState, ProcessPhase};
use protocol::ids::{BookKey, SubjectToken};
use protocol::lease::Holder;
use protocol::subject::{Subject, filter};
use runtime::clock;
use runtime::components::ComponentHandle;
use runtime::lease::{self, LeaseError, LeaseStatus, LeaseTracker, POLL};
use runtime::process::ExitError;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::assignment::{self, BookLeaseView};
use crate::book_task::{self, BookTaskEnd};
use crate::context::Context;

/// How long books may take to finish what they began. With [`RELINQUISH_TIMEOUT`] and the time for what
/// comes after it, under the 8 s in which a trader drains.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(4_500);
/// The same with orders on an exchange, which may have to wait until one that was lost cannot be taken any more: a
/// position without its stop is worse than a late end.
const LIVE_DRAIN_TIMEOUT: Duration = Duration::from_secs(7);
/// A pass every three seconds, each call of it with its deadline: one that takes longer is stuck.
const PASS_DEADLINE: Duration = Duration::from_secs(30);
/// How long giving the leases back may take; those left over expire by themselves.
const RELINQUISH_TIMEOUT: Duration = Duration::from_secs(1);

/// All books this instance owns or may own.
pub struct BookManager {
    ctx: Arc<Context>,
    holder: Holder,
    component: Arc<ComponentHandle>,
    lease_tracker: LeaseTracker,
    registered: bool,
    first_pass_done: bool,
    books: BTreeMap<SubjectToken, OwnedBook>,
    /// The newest release of a halted book that was heeded, by its place in the journal.
    handled_unhalts: BTreeMap<SubjectToken, u64>,
    tasks: JoinSet<BookTaskEnd>,
    symbols_by_task: HashMap<Id, SubjectToken>,
}

/// A book whose lease is ours.
///
/// A halted one stays here, without a task: its lease is kept so that nobody else trips over it.
struct OwnedBook {
    shutdown: CancellationToken,
}

impl BookManager {
    /// A fleet that owns nothing yet.
    pub fn new(ctx: Arc<Context>) -> Self {
        let holder = Holder {
            instance: ctx.identity.instance.clone(),
            boot: ctx.identity.boot.clone(),
        };
        let component = ctx.process_status.component("book-manager");
        component.set_deadline(PASS_DEADLINE);
        Self {
            component,
            ctx,
            holder,
            lease_tracker: LeaseTracker::default(),
            registered: false,
            first_pass_done: false,
            books: BTreeMap::new(),
            handled_unhalts: BTreeMap::new(),
            tasks: JoinSet::new(),
            symbols_by_task: HashMap::new(),
        }
    }

    /// Owns books until `shutdown`; then lets them finish and gives them back.
    ///
    /// # Errors
    /// Exit 71 if another process runs under this instance's name.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), ExitError> {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ctx = Arc::clone(&self.ctx);
        let result = loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(ended) = self.tasks.join_next_with_id() => {
                    if let Some(left) = self.on_book_ended(ended) {
                        let lease = self.lease_subject(&left);
                        shutdown.run_until_cancelled(self.relinquish_lease(&lease)).await;
                    }
                }
                () = ctx.book_registry.wait_for_change() => self.enter_running_if_ready(),
                // A pass that is cut leaves leases as after a crash: they are read anew each time.
                _ = ticks.tick() => match shutdown.run_until_cancelled(self.renew_pass()).await {
                    None | Some(Ok(())) => {}
                    Some(Err(duplicate)) => break Err(duplicate),
                },
            }
        };
        self.drain().await;
        result
    }

    /// One look at all leases and what follows from it.
    async fn renew_pass(&mut self) -> Result<(), ExitError> {
        match self.try_renew_pass().await {
            Ok(()) => {
                self.component.record_iteration();
                self.first_pass_done = true;
                self.enter_running_if_ready();
                Ok(())
            }
            Err(RenewError::Exit(stop)) => Err(stop),
            Err(RenewError::Lease(error)) => {
                tracing::warn!(%error, "leases not renewed");
                self.component.set_state(ComponentState::Retrying);
                self.ctx
                    .process_status
                    .record_error("book-manager", error.to_string());
                Ok(())
            }
        }
    }

    async fn try_renew_pass(&mut self) -> Result<(), RenewError> {
        self.renew_membership().await?;
        let instances = self.live_instances().await?;
        let seen = self.read_leases().await?;
        self.drop_lost_books(&seen);
        let plan = assignment::plan(&seen, instances);
        for book in seen
            .iter()
            .filter(|b| b.status == LeaseStatus::HeldByThisBoot && !b.is_ending)
        {
            if !plan.relinquish.contains(&book.symbol) {
                self.acquire_or_renew(&book.symbol).await?;
            }
        }
        for symbol in plan.acquire {
            self.acquire_or_renew(&symbol).await?;
        }
        self.restart_unhalted_books().await;
        for symbol in plan.relinquish {
            // Its lease is freed when its task has ended.
            if let Some(owned) = self.books.get(&symbol) {
                tracing::info!(%symbol, "giving the book to another instance");
                owned.shutdown.cancel();
            }
        }
        Ok(())
    }

    /// A person's word stands in the halted book's journal: see `trader unhalt`.
    async fn restart_unhalted_books(&mut self) {
        let halted = self
            .books
            .keys()
            .filter(|symbol| !self.is_task_running(symbol));
        let halted: Vec<SubjectToken> = halted.cloned().collect();
        for symbol in halted {
            match book_task::pending_unhalt(&self.ctx.bus, &self.book_key(&symbol)).await {
                Ok(Some(seq)) if self.handled_unhalts.insert(symbol.clone(), seq) != Some(seq) => {
                    tracing::info!(%symbol, "the book is released");
                    self.ctx.book_registry.remove(&symbol);
                    self.start_book(symbol);
                }
                Ok(_) => {}
                Err(why) => tracing::debug!(%symbol, why, "halted book not looked at"),
            }
        }
    }

    /// Takes part in the sharing-out, under this instance's name.
    async fn renew_membership(&mut self) -> Result<(), RenewError> {
        let subject = self.member_lease();
        let view = self.refresh_lease(&subject).await?;
        if self.registered && view == LeaseStatus::HeldByPreviousBoot {
            return Err(RenewError::Exit(ExitError::new(
                ExitCode::DuplicateInstance,
                format!(
                    "INSTANCE={}: another process runs under this name; give each its own",
                    self.holder.instance
                ),
            )));
        }
        match self.write_lease(&subject, true).await {
            Ok(()) => self.registered = true,
            // Who came first shows at the next look.
            Err(LeaseError::Conflict(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn live_instances(&mut self) -> Result<usize, RenewError> {
        let filter = filter::member_leases(&self.ctx.account);
        let mut live = 0;
        for subject in lease::subjects(&self.ctx.bus, &filter).await? {
            if self.refresh_lease(&subject).await? != LeaseStatus::Free {
                live += 1;
            }
        }
        Ok(live.max(1))
    }

    async fn read_leases(&mut self) -> Result<Vec<BookLeaseView>, RenewError> {
        let symbols: Vec<SubjectToken> = self.ctx.symbol_filters.keys().cloned().collect();
        let mut seen = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            let view = self.refresh_lease(&self.lease_subject(&symbol)).await?;
            let owned = self.books.get(&symbol);
            seen.push(BookLeaseView {
                flat: self.ctx.book_registry.is_flat(&symbol),
                is_ending: owned.is_some_and(|owned| owned.shutdown.is_cancelled()),
                symbol,
                status: view,
            });
        }
        Ok(seen)
    }

    async fn refresh_lease(&mut self, subject: &str) -> Result<LeaseStatus, LeaseError> {
        let newest = lease::read(&self.ctx.bus, subject).await?;
        let now = Instant::now();
        self.lease_tracker.observe(subject, newest, now);
        Ok(self.lease_tracker.status(subject, &self.holder, now))
    }

    /// Books that another holds now: their journals are fenced, so nothing they do counts.
    fn drop_lost_books(&mut self, seen: &[BookLeaseView]) {
        for book in seen
            .iter()
            .filter(|b| b.status != LeaseStatus::HeldByThisBoot)
        {
            if let Some(owned) = self.books.remove(&book.symbol) {
                owned.shutdown.cancel();
                self.ctx.book_registry.remove(&book.symbol);
                self.publish_book_lost(
                    &book.symbol,
                    &match &book.status {
                        LeaseStatus::HeldByOther(holder) => {
                            format!("{} holds its lease", holder.instance)
                        }
                        _ => "its lease was not renewed in time".to_owned(),
                    },
                );
            }
        }
    }

    /// Writes the lease and sees that the book's task runs.
    async fn acquire_or_renew(&mut self, symbol: &SubjectToken) -> Result<(), LeaseError> {
        match self.write_lease(&self.lease_subject(symbol), true).await {
            Ok(()) => {}
            Err(LeaseError::Conflict(_)) => return Ok(()),
            Err(error) => return Err(error),
        }
        if !self.books.contains_key(symbol) && !self.is_task_running(symbol) {
            self.start_book(symbol.clone());
        }
        Ok(())
    }

    fn is_task_running(&self, symbol: &SubjectToken) -> bool {
        self.symbols_by_task
            .values()
            .any(|running| running == symbol)
    }

    fn start_book(&mut self, symbol: SubjectToken) {
        let stop = CancellationToken::new();
        let task = book_task::run(Arc::clone(&self.ctx), symbol.clone(), stop.clone());
        let handle = self.tasks.spawn(task);
        self.symbols_by_task.insert(handle.id(), symbol.clone());
        self.books.insert(symbol, OwnedBook { shutdown: stop });
    }

    /// Takes note of it. Returns a book that was ours and was told to end: its lease is to be freed.
    fn on_book_ended(
        &mut self,
        ended: Result<(Id, BookTaskEnd), JoinError>,
    ) -> Option<SubjectToken> {
        let (id, end) = match ended {
            Ok((id, end)) => (id, end),
            // A panic in a brain halts its book, not the process.
            Err(error) => (error.id(), BookTaskEnd::Halted(format!("bug: {error}"))),
        };
        let symbol = self.symbols_by_task.remove(&id)?;
        match end {
            BookTaskEnd::Stopped => {
                self.ctx.book_registry.remove(&symbol);
                return self.books.remove(&symbol).map(|_| symbol);
            }
            BookTaskEnd::Lost(reason) => {
                self.books.remove(&symbol);
                self.ctx.book_registry.remove(&symbol);
                self.publish_book_lost(&symbol, &reason);
            }
            BookTaskEnd::StillHalted(reason) => self.mark_halted(&symbol, &reason),
            BookTaskEnd::Halted(reason) => {
                self.mark_halted(&symbol, &reason);
                self.publish_book_halted(&symbol, reason);
            }
        }
        None
    }

    fn mark_halted(&mut self, symbol: &SubjectToken, reason: &str) {
        tracing::error!(%symbol, reason, "book halted");
        self.ctx
            .process_status
            .record_error(symbol.as_str(), reason);
        let key = self.book_key(symbol);
        self.ctx
            .book_registry
            .put(symbol, book_task::halted_entry(&key, reason));
    }

    fn publish_book_halted(&self, symbol: &SubjectToken, reason: String) {
        let book = self.book_key(symbol);
        self.publish_event(
            &format!("halted:{symbol}"),
            EventBody::BookHalted { book, reason },
        );
    }

    fn enter_running_if_ready(&self) {
        let starting = self.ctx.process_status.phase() == ProcessPhase::Starting;
        if starting && self.first_pass_done && self.ctx.book_registry.are_ready(self.books.keys()) {
            let books: Vec<&str> = self.books.keys().map(SubjectToken::as_str).collect();
            tracing::info!(books = books.join(","), "running");
            self.ctx.process_status.enter_phase(ProcessPhase::Running);
            self.publish_event("started", self.ctx.started_event());
        }
    }

    /// Lets every book finish, then frees the leases so that others need not wait for them.
    async fn drain(&mut self) {
        for owned in self.books.values() {
            owned.shutdown.cancel();
        }
        let within = match self.ctx.execution_client {
            None => DRAIN_TIMEOUT,
            Some(_) => LIVE_DRAIN_TIMEOUT,
        };
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(within, all).await.is_err() {
            tracing::warn!("books did not end in time; their journals are safe");
            self.tasks.abort_all();
        }
        if timeout(RELINQUISH_TIMEOUT, self.relinquish_all())
            .await
            .is_err()
        {
            tracing::debug!("leases left to expire");
        }
    }

    async fn relinquish_all(&mut self) {
        let mut subjects: Vec<String> = self.books.keys().map(|s| self.lease_subject(s)).collect();
        subjects.push(self.member_lease());
        for subject in subjects {
            self.relinquish_lease(&subject).await;
        }
    }

    /// Frees a lease if it is ours.
    async fn relinquish_lease(&mut self, subject: &str) {
        let mine = self
            .refresh_lease(subject)
            .await
            .is_ok_and(|v| v == LeaseStatus::HeldByThisBoot);
        if mine && let Err(error) = self.write_lease(subject, false).await {
            tracing::debug!(%error, "lease left to expire");
        }
    }

    fn member_lease(&self) -> String {
        let lease = Subject::MemberLease {
            account: self.ctx.account.clone(),
            instance: self.holder.instance.clone(),
        };
        lease.to_string()
    }

    async fn write_lease(&mut self, subject: &str, hold: bool) -> Result<(), LeaseError> {
        let holder = hold.then_some(&self.holder);
        let expected = self.lease_tracker.seq(subject);
        lease::write(&self.ctx.bus, subject, holder, expected)
            .await
            .map(|_| ())
    }

    fn book_key(&self, symbol: &SubjectToken) -> BookKey {
        self.ctx.account.book(symbol.clone())
    }

    fn lease_subject(&self, symbol: &SubjectToken) -> String {
        Subject::BookLease(self.book_key(symbol)).to_string()
    }

    fn publish_book_lost(&self, symbol: &SubjectToken, reason: &str) {
        tracing::warn!(%symbol, reason, "book lost");
        let book = self.book_key(symbol);
        let reason = reason.to_owned();
        self.publish_event(
            &format!("lost:{symbol}:{}", clock::now().0),
            EventBody::BookLost { book, reason },
        );
    }

    fn publish_event(&self, id: &str, body: EventBody) {
        let id = format!("{}:{id}", self.holder.boot);
        self.ctx.outbox.enqueue(Event::new(id, clock::now(), body));
    }
}

enum RenewError {
    Lease(LeaseError),
    Exit(ExitError),
}

impl From<LeaseError> for RenewError {
    fn from(error: LeaseError) -> Self {
        Self::Lease(error)
    }
}
