//! The book manager: acquires and renews the leases of this process's books, runs one task for each, and relinquishes
//! books that another process should have. [`assignment`] decides which books to acquire.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
use runtime::exit_error::ExitError;
use runtime::lease::{self, LeaseError, LeaseStatus, LeaseTracker, POLL};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::assignment::{self, BookLeaseView};
use super::book_journal::pending_unhalt;
use super::book_task::{self, BookTaskEnd};
use super::halts::{self, HaltError};
use crate::app::context::Context;

/// How long paper books may drain. Together with [`RELINQUISH_TIMEOUT`] and the rest of the shutdown it stays under
/// the 8 s in which a trader shuts down.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(4_500);
/// How long live books may drain. A lost order must be waited for until the exchange cannot accept it any more: a
/// position without a stop is worse than a late end.
const LIVE_DRAIN_TIMEOUT: Duration = Duration::from_secs(7);
/// A pass runs every three seconds, and each of its calls has a deadline. A longer pass hangs.
const PASS_DEADLINE: Duration = Duration::from_secs(30);
/// How long relinquishing the leases may take. Leases that are left over expire.
const RELINQUISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Manages the books that this process holds or may acquire.
pub struct BookManager {
    ctx: Arc<Context>,
    holder: Holder,
    component: Arc<ComponentHandle>,
    lease_tracker: LeaseTracker,
    registered: bool,
    first_pass_done: bool,
    books: BTreeMap<SubjectToken, OwnedBook>,
    /// Halts that are not shown yet, with their reasons: first the journal must have them.
    new_halts: BTreeMap<SubjectToken, String>,
    /// A halt was added since they were last shown.
    has_untried_halt: bool,
    /// Symbols whose position was wound down.
    retired: BTreeSet<SubjectToken>,
    /// The journal sequence of the newest unhalt that was acted on, by symbol.
    handled_unhalts: BTreeMap<SubjectToken, u64>,
    tasks: JoinSet<BookTaskEnd>,
    symbols_by_task: HashMap<Id, SubjectToken>,
}

/// A book whose lease this process holds.
///
/// A halted book keeps its lease without a running task, so that no other process acquires it.
struct OwnedBook {
    shutdown: CancellationToken,
}

impl BookManager {
    /// A manager without books.
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
            new_halts: BTreeMap::new(),
            has_untried_halt: false,
            retired: BTreeSet::new(),
            handled_unhalts: BTreeMap::new(),
            tasks: JoinSet::new(),
            symbols_by_task: HashMap::new(),
        }
    }

    /// Manages books until `shutdown`; then drains them and relinquishes their leases.
    ///
    /// # Errors
    /// Exit 71 if another process runs under this instance's name, 78 if the journal of a book belongs to another
    /// market.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), ExitError> {
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ctx = Arc::clone(&self.ctx);
        let result = loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ok(()),
                Some(ended) = self.tasks.join_next_with_id() => match self.on_book_ended(ended) {
                    Ok(None) => {}
                    Ok(Some(symbol)) => {
                        let lease = self.lease_subject(&symbol);
                        shutdown.run_until_cancelled(self.relinquish_lease(&lease)).await;
                    }
                    Err(market_changed) => break Err(market_changed),
                },
                () = std::future::ready(()), if self.has_untried_halt => {
                    self.has_untried_halt = false;
                    shutdown.run_until_cancelled(self.show_halts()).await;
                }
                () = ctx.book_registry.wait_for_change() => self.enter_running_if_ready(),
                // A cancelled pass leaves the leases as a crash does: every pass reads them again.
                _ = ticks.tick() => match shutdown.run_until_cancelled(self.renew_pass()).await {
                    None | Some(Ok(())) => {}
                    Some(Err(duplicate)) => break Err(duplicate),
                },
            }
        };
        self.drain().await;
        result
    }

    /// Runs one pass over all leases; a bus error is reported and retried by the next pass.
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
                tracing::warn!(%error, "lease renewal failed");
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
        let leases = self.read_leases().await?;
        self.drop_lost_books(&leases);
        let plan = assignment::plan(&leases, instances);
        for book in leases
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
        self.show_halts().await;
        self.restart_unhalted_books().await;
        for symbol in plan.relinquish {
            // The lease is relinquished when the task has ended.
            if let Some(owned) = self.books.get(&symbol) {
                tracing::info!(%symbol, "relinquishing the book to another instance");
                owned.shutdown.cancel();
            }
        }
        Ok(())
    }

    /// Restarts halted books that an operator has unhalted with `trader unhalt`.
    async fn restart_unhalted_books(&mut self) {
        let halted = self
            .books
            .keys()
            .filter(|symbol| !self.is_task_running(symbol));
        let halted: Vec<SubjectToken> = halted.cloned().collect();
        for symbol in halted {
            match pending_unhalt(&self.ctx.bus, &self.book_key(&symbol)).await {
                Ok(Some(seq)) if self.handled_unhalts.insert(symbol.clone(), seq) != Some(seq) => {
                    tracing::info!(%symbol, "book unhalted; restarting its task");
                    self.ctx.book_registry.remove(&symbol);
                    self.start_book(symbol);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%symbol, error, "journal of a halted book not read"),
            }
        }
    }

    /// Renews this process's membership, by which books are assigned.
    async fn renew_membership(&mut self) -> Result<(), RenewError> {
        let subject = self.member_lease();
        let status = self.refresh_lease(&subject).await?;
        if self.registered && status == LeaseStatus::HeldByPreviousBoot {
            return Err(RenewError::Exit(ExitError::new(
                ExitCode::DuplicateInstance,
                format!(
                    "INSTANCE=\"{}\": expected a name that no other process has; another process runs under it",
                    self.holder.instance
                ),
            )));
        }
        match self.write_lease(&subject, true).await {
            Ok(()) => self.registered = true,
            // The next pass shows which process was first.
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
        let managed = self.ctx.managed_symbols();
        let symbols = managed.filter(|symbol| !self.retired.contains(*symbol));
        let symbols: Vec<SubjectToken> = symbols.cloned().collect();
        let mut leases = Vec::with_capacity(symbols.len());
        for symbol in symbols {
            let status = self.refresh_lease(&self.lease_subject(&symbol)).await?;
            let owned = self.books.get(&symbol);
            leases.push(BookLeaseView {
                flat: self.ctx.book_registry.is_flat(&symbol),
                is_ending: owned.is_some_and(|owned| owned.shutdown.is_cancelled()),
                symbol,
                status,
            });
        }
        Ok(leases)
    }

    async fn refresh_lease(&mut self, subject: &str) -> Result<LeaseStatus, LeaseError> {
        let newest = lease::read(&self.ctx.bus, subject).await?;
        let now = Instant::now();
        self.lease_tracker.observe(subject, newest, now);
        Ok(self.lease_tracker.status(subject, &self.holder, now))
    }

    /// Stops the tasks of books whose lease is lost. Their journals are fenced by the new writer.
    fn drop_lost_books(&mut self, leases: &[BookLeaseView]) {
        for book in leases
            .iter()
            .filter(|b| b.status != LeaseStatus::HeldByThisBoot)
        {
            if let Some(owned) = self.books.remove(&book.symbol) {
                owned.shutdown.cancel();
                self.forget(&book.symbol);
                self.publish_book_lost(
                    &book.symbol,
                    &match &book.status {
                        LeaseStatus::HeldByOther(holder) => {
                            format!("instance {} holds the lease", holder.instance)
                        }
                        _ => "the lease was not renewed in time".to_owned(),
                    },
                );
            }
        }
    }

    /// Writes the lease of a book and starts the book's task if it does not run.
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
        let shutdown = CancellationToken::new();
        let task = book_task::run(Arc::clone(&self.ctx), symbol.clone(), shutdown.clone());
        let handle = self.tasks.spawn(task);
        self.symbols_by_task.insert(handle.id(), symbol.clone());
        self.books.insert(symbol, OwnedBook { shutdown });
    }

    /// Handles the end of a book's task. Returns the book's symbol if its lease is to be relinquished.
    ///
    /// # Errors
    /// Exit 78 if the book's journal belongs to another market.
    fn on_book_ended(
        &mut self,
        ended: Result<(Id, BookTaskEnd), JoinError>,
    ) -> Result<Option<SubjectToken>, ExitError> {
        let (id, end) = match ended {
            Ok((id, end)) => (id, end),
            // A panic halts its book, not the process.
            Err(error) => (error.id(), BookTaskEnd::Halted(format!("bug: {error}"))),
        };
        let Some(symbol) = self.symbols_by_task.remove(&id) else {
            return Ok(None);
        };
        match end {
            BookTaskEnd::Stopped => {
                self.forget(&symbol);
                return Ok(self.books.remove(&symbol).map(|_| symbol));
            }
            BookTaskEnd::Lost(reason) => {
                self.books.remove(&symbol);
                self.forget(&symbol);
                self.publish_book_lost(&symbol, &reason);
            }
            BookTaskEnd::Halted(reason) => {
                self.new_halts.insert(symbol, reason);
                self.has_untried_halt = true;
            }
            BookTaskEnd::WoundDown => {
                tracing::info!(%symbol, "position of a removed symbol is closed; its book is retired");
                // Its entry stays in the registry: the account leader must see the closed position.
                let status = &self.ctx.process_status;
                status.remove_component(symbol.as_str());
                self.retired.insert(symbol.clone());
                return Ok(self.books.remove(&symbol).map(|_| symbol));
            }
            BookTaskEnd::MarketChanged(reason) => return Err(ExitError::config(reason)),
        }
        Ok(None)
    }

    /// Removes a book that this process does not hold any more from the registry, heartbeats and metrics.
    fn forget(&self, symbol: &SubjectToken) {
        self.ctx.book_registry.remove(symbol);
        self.ctx.process_status.remove_component(symbol.as_str());
    }

    /// Journals each new halt that its task could not journal, and shows it. What fails is tried again by the next pass.
    async fn show_halts(&mut self) {
        let ctx = Arc::clone(&self.ctx);
        for (symbol, reason) in std::mem::take(&mut self.new_halts) {
            let key = self.book_key(&symbol);
            match halts::journal_halt(&ctx, &key, &reason).await {
                Ok(entry) => {
                    tracing::error!(%symbol, reason, "book halted");
                    ctx.process_status.record_error(symbol.as_str(), &reason);
                    ctx.book_registry.put(&symbol, entry);
                }
                Err(HaltError::Unavailable(error)) => {
                    tracing::warn!(%symbol, reason, error, "halt of a book not journaled yet");
                    self.new_halts.insert(symbol, reason);
                }
                Err(HaltError::Fenced) => {
                    self.books.remove(&symbol);
                    self.forget(&symbol);
                    self.publish_book_lost(&symbol, "another process has appended to the journal");
                }
                // The journal itself is the cause: every start finds the same.
                Err(HaltError::Unreadable) => {
                    tracing::error!(%symbol, reason, "book halted");
                    ctx.process_status.record_error(symbol.as_str(), &reason);
                    let entry = halts::unreadable_entry(&key, &reason);
                    ctx.book_registry.put(&symbol, entry);
                    self.publish_book_halted(&symbol, reason);
                }
            }
        }
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

    /// Drains every book, then relinquishes the leases so that other processes need not wait for them to expire.
    async fn drain(&mut self) {
        for owned in self.books.values() {
            owned.shutdown.cancel();
        }
        let drain_timeout = match self.ctx.execution_client {
            None => DRAIN_TIMEOUT,
            Some(_) => LIVE_DRAIN_TIMEOUT,
        };
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(drain_timeout, all).await.is_err() {
            tracing::warn!("books did not drain in time; their journals are complete");
            self.tasks.abort_all();
        }
        if timeout(RELINQUISH_TIMEOUT, self.relinquish_all())
            .await
            .is_err()
        {
            tracing::debug!("leases not relinquished; they will expire");
        }
    }

    async fn relinquish_all(&mut self) {
        let mut subjects: Vec<String> = self.books.keys().map(|s| self.lease_subject(s)).collect();
        subjects.push(self.member_lease());
        for subject in subjects {
            self.relinquish_lease(&subject).await;
        }
    }

    /// Relinquishes a lease if this process holds it.
    async fn relinquish_lease(&mut self, subject: &str) {
        let mine = self
            .refresh_lease(subject)
            .await
            .is_ok_and(|status| status == LeaseStatus::HeldByThisBoot);
        if mine && let Err(error) = self.write_lease(subject, false).await {
            tracing::debug!(%error, "lease not relinquished; it will expire");
        }
    }

    fn member_lease(&self) -> String {
        let lease = Subject::MemberLease {
            account: self.ctx.account.clone(),
            host: self.ctx.identity.host.clone(),
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
