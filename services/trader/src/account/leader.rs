//! The account leader: the one process that sums the equity of all books, records the peaks, executes account
//! commands and latches the account when an account breaker trips. The lease decides which process leads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::VERSION;
use protocol::ids::SubjectToken;
use protocol::report::{AccountReport, BalanceReport, BookReport, LatchReport, PauseReport};
use protocol::subject::{Subject, filter};
use runtime::bus::LatestMessage;
use runtime::components::ComponentHandle;
use runtime::exit_error::ExitError;
use runtime::journal::{BatchPosition, Journal, StoredBatch};
use runtime::leader_election::{LeaderElection, TermEnd};
use runtime::outbox::OutboxCursor;
use runtime::report_publisher::{Retention, publish};
use runtime::subscription::Subscription;
use runtime::{clock, streams};
use rust_decimal::Decimal;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use trader_core::account::{
    AccountEvent, AccountRecord, AccountState, BalanceSample, BalanceState, Pause, decide,
    operator_event,
};

use super::balance_sampler::BalanceSampler;
use super::closing::{ClosingAccount, LatchTimes, positions_at_latch};
use super::command_journal::read_commands_from;
use super::delisted_books::{self, DelistedBooks};
use super::record_log::log_record;
use crate::app::context::Context;

/// Interval of valuations, and of repeating what failed.
const TICK: Duration = Duration::from_secs(1);
/// Longest time between two reports. Other processes distrust a report that is older than a minute.
const MAX_REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// The value of an open book is unknown if its report is older than this.
const MAX_REPORT_AGE: Duration = Duration::from_mins(1);

/// Leads the account whenever no other process does, until `shutdown`.
///
/// # Errors
/// An [`ExitError`] of the leader election that a retry cannot fix.
pub(crate) async fn run(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    let component = ctx.process_status.component("account-leader");
    let lease = Subject::AccountLease(ctx.account.clone());
    let election = LeaderElection::new(ctx.bus.clone(), &lease, &ctx.identity);
    let term = || run_term(&ctx, &component, &shutdown);
    election
        .run_as_leader(&component, || {}, &shutdown, term)
        .await
}

async fn run_term(
    ctx: &Context,
    component: &ComponentHandle,
    shutdown: &CancellationToken,
) -> TermEnd {
    match AccountLeader::take_over(ctx, component).await {
        Ok(leader) => leader.run(component, shutdown).await,
        Err(end) => end,
    }
}

struct AccountLeader<'a> {
    ctx: &'a Context,
    journal: Journal,
    outbox_cursor: Arc<OutboxCursor>,
    state: AccountState,
    books: BTreeMap<SubjectToken, ReceivedReport>,
    delisted_books: DelistedBooks,
    last_published: Option<(AccountReport, Instant)>,
    /// Whether the reports that were there before the term are read. Without them the account has no value.
    is_initialized: bool,
    /// Sequence of the newest command that was executed.
    last_command_seq: u64,
    /// Sequence of the newest command that is known.
    newest_command_seq: u64,
    /// Set while the account is latched.
    closing: Option<ClosingAccount>,
    /// Whether the newest check of the latched account found it flat. The traders end then.
    is_flat: bool,
    /// Reads the balance on the exchange; `None` on paper.
    balance_sampler: Option<BalanceSampler<'a>>,
    /// The newest check of the balance; `None` before the first.
    balance_report: Option<BalanceReport>,
}

/// A book's newest report, its sequence in REPORTS, and when it arrived.
struct ReceivedReport {
    seq: u64,
    report: BookReport,
    received_at: Instant,
}

impl<'a> AccountLeader<'a> {
    async fn take_over(ctx: &'a Context, component: &ComponentHandle) -> Result<Self, TermEnd> {
        let subject = Subject::AccountJournal(ctx.account.clone());
        let writer = ctx.identity.boot.clone();
        let replayed = Journal::replay_with_retry(&ctx.bus, &subject, writer, 0, |error| {
            ctx.process_status.record_error("account-leader", error);
            component.record_iteration();
        });
        // If the journal is unreadable, no report is published and entries stay blocked.
        let lost = |error: String| TermEnd::Lost(error);
        let (journal, batches) = replayed.await.map_err(|error| lost(error.to_string()))?;
        let mut state = AccountState::default();
        for stored in &batches {
            state
                .fold(&stored.batch)
                .map_err(|error| lost(format!("journal sequence {}: {error}", stored.seq)))?;
        }
        let published = batches.iter().map(|s| s.batch.events_published_seq).max();
        let mut leader = Self {
            ctx,
            journal,
            outbox_cursor: OutboxCursor::from_seq(published.unwrap_or(0)),
            state,
            books: BTreeMap::new(),
            delisted_books: delisted_books::read(ctx).await.map_err(lost)?,
            last_published: None,
            is_initialized: false,
            last_command_seq: 0,
            newest_command_seq: 0,
            closing: LatchTimes::of_journal(&batches)
                .map(|latch| ClosingAccount::start(ctx, latch)),
            is_flat: false,
            balance_sampler: BalanceSampler::start(ctx),
            balance_report: None,
        };
        leader.record_takeover(batches).await?;
        Ok(leader)
    }

    async fn record_takeover(
        &mut self,
        batches: Vec<StoredBatch<AccountRecord>>,
    ) -> Result<(), TermEnd> {
        let identity = &self.ctx.identity;
        let event = AccountEvent::WriterChanged {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
        };
        let published = self.outbox_cursor.seq();
        self.handle_event(event).await?;
        for stored in batches.into_iter().filter(|s| s.seq > published) {
            self.publish_events(&stored.position(), &stored.batch.records);
        }
        tracing::info!(account = %self.ctx.account, latched = self.state.latch.is_some(),
            "became account leader");
        Ok(())
    }

    async fn run(mut self, component: &ComponentHandle, shutdown: &CancellationToken) -> TermEnd {
        let Context { bus, account, .. } = self.ctx;
        let commands = Subject::AccountCommandJournal(account.clone()).to_string();
        let mut commands = Subscription::start(bus, streams::JOURNAL, commands);
        let reports = filter::account_book_reports(account);
        let mut reports = Subscription::start(bus, streams::REPORTS, reports);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let handled = tokio::select! {
                biased;
                () = shutdown.cancelled() => return TermEnd::Stopped,
                command = commands.next() => self.on_command(&command).await,
                _ = ticks.tick() => self.tick().await,
                report = reports.next() => {
                    self.accept_book_report(&report);
                    Ok(())
                }
                () = journal_changed(&mut self.closing) => Ok(()),
                sample = next_sample(&mut self.balance_sampler, &self.state.balance) => {
                    self.on_balance_sample(sample).await
                }
            };
            if let Err(end) = handled {
                return end;
            }
            component.record_iteration();
        }
    }

    async fn on_command(&mut self, command: &LatestMessage) -> Result<(), TermEnd> {
        self.newest_command_seq = command.seq;
        self.execute_commands().await?;
        self.publish_report().await;
        Ok(())
    }

    /// Executes the commands that are left, then values the account from the newest book reports.
    async fn tick(&mut self) -> Result<(), TermEnd> {
        if !self.is_initialized
            && let Err(error) = self.initialize().await
        {
            // Without the bus the last report becomes too old, and entries are blocked.
            tracing::debug!(error, "book reports not read");
            return Ok(());
        }
        self.execute_commands().await?;
        let (capital, equity) = self.capital_and_equity();
        let at = self.ctx.data_client.clock().now();
        self.handle_event(AccountEvent::Valued {
            at,
            capital,
            equity,
        })
        .await?;
        self.check_closing().await?;
        self.publish_report().await;
        Ok(())
    }

    /// Judges a sample of the balance and reports what it shows.
    async fn on_balance_sample(&mut self, sample: BalanceSample) -> Result<(), TermEnd> {
        let balance = sample.balance;
        self.handle_event(AccountEvent::BalanceSampled(sample))
            .await?;
        let observed = self.state.balance.observed.as_ref();
        self.balance_report = observed.map(|observed| BalanceReport {
            at: clock::now(),
            balance,
            difference: observed.difference,
        });
        self.publish_report().await;
        Ok(())
    }

    /// Records that the latched account is flat, or reminds the operator of what is still open.
    async fn check_closing(&mut self) -> Result<(), TermEnd> {
        let Some(closing) = &mut self.closing else {
            return Ok(());
        };
        match closing.check(self.ctx, &self.state).await {
            Ok(Some(check)) => {
                let is_flat = check.positions.is_empty();
                self.handle_event(AccountEvent::ClosingChecked(check))
                    .await?;
                self.is_flat = is_flat;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(error, "books of the latched account not read"),
        }
        Ok(())
    }

    /// Reads the newest command and the newest report of each book. Newer ones are pushed.
    async fn initialize(&mut self) -> Result<(), String> {
        let Context { bus, account, .. } = self.ctx;
        let commands = Subject::AccountCommandJournal(account.clone()).to_string();
        if let Some(newest) = bus.latest_message(streams::JOURNAL, &commands).await? {
            self.newest_command_seq = newest.seq;
        }
        for symbol in self.ctx.managed_symbols() {
            let subject = Subject::BookReport(account.book(symbol.clone())).to_string();
            if let Some(newest) = bus.latest_message(streams::REPORTS, &subject).await? {
                self.accept_book_report(&newest);
            }
        }
        self.is_initialized = true;
        Ok(())
    }

    /// Executes the commands up to the newest one. If they cannot be read, the next tick tries again.
    async fn execute_commands(&mut self) -> Result<(), TermEnd> {
        let executed = self.last_command_seq.max(self.state.last_command_seq);
        if self.newest_command_seq <= executed {
            return Ok(());
        }
        let Context { bus, account, .. } = self.ctx;
        let commands = match read_commands_from(bus, account, executed + 1).await {
            Ok(commands) => commands,
            Err(error) => {
                tracing::debug!(error, "account commands not read");
                return Ok(());
            }
        };
        for (seq, command) in commands {
            let at = self.ctx.data_client.clock().now();
            self.handle_event(AccountEvent::CommandReceived { at, seq, command })
                .await?;
            self.last_command_seq = seq;
        }
        Ok(())
    }

    /// Remembers a report of a traded book. Receiving the same report again does not make it fresher.
    fn accept_book_report(&mut self, message: &LatestMessage) {
        let Some(Subject::BookReport(book)) = Subject::parse(&message.subject) else {
            return;
        };
        let symbol = book.symbol;
        let is_known = |known: &ReceivedReport| known.seq == message.seq;
        if !self.ctx.is_managed(&symbol) || self.books.get(&symbol).is_some_and(is_known) {
            return;
        }
        let Some(report) = message.json() else {
            let error = format!("{}: report not readable", message.subject);
            self.ctx
                .process_status
                .record_error("account-leader", error);
            return;
        };
        let received = ReceivedReport {
            seq: message.seq,
            report,
            received_at: Instant::now(),
        };
        self.books.insert(symbol, received);
    }

    /// Capital and equity of all books in USDT. A book without a report counts with its share of the capital.
    fn capital_and_equity(&self) -> (Decimal, Decimal) {
        let (mut capital, mut equity) = (Decimal::ZERO, Decimal::ZERO);
        for symbol in self.ctx.managed_symbols() {
            let reported = self
                .books
                .get(symbol)
                .map(|h| (h.report.capital, h.report.equity));
            let slice = self.ctx.slice;
            let (book_capital, book_equity) = match reported {
                // As later, when the book is only counted: its profit belongs to the account, its capital does not.
                Some((capital, equity)) if self.ctx.is_removed(symbol) => {
                    (Decimal::ZERO, equity.saturating_sub(capital))
                }
                Some(reported) => reported,
                None if self.ctx.is_removed(symbol) => (Decimal::ZERO, Decimal::ZERO),
                None => (slice, slice),
            };
            capital = capital.saturating_add(book_capital);
            equity = equity.saturating_add(book_equity);
        }
        (
            capital,
            equity.saturating_add(self.delisted_books.realized_pnl),
        )
    }

    /// The books with a position whose value is unknown now.
    fn unvalued_books(&self, now: Instant) -> Vec<SubjectToken> {
        let is_unvalued = |(_, received): &(&SubjectToken, &ReceivedReport)| {
            received.report.position.is_some()
                && now.duration_since(received.received_at) > MAX_REPORT_AGE
        };
        let unvalued = self.books.iter().filter(is_unvalued);
        let unvalued = unvalued.map(|(symbol, _)| symbol);
        unvalued.chain(&self.delisted_books.open).cloned().collect()
    }

    /// Decides, appends the records, applies them and publishes their events, in this order.
    async fn handle_event(&mut self, event: AccountEvent) -> Result<(), TermEnd> {
        let mut records = decide(&self.state, event.clone());
        if let Some(latch) = records.iter_mut().find_map(AccountRecord::latch_mut) {
            let reports = self.books.values().map(|received| &received.report);
            latch.positions = positions_at_latch(self.ctx, reports).await;
        }
        if !records.is_empty() {
            let progress = &self.ctx.process_status;
            let retrying =
                |error: &str| progress.record_error("account-leader", format!("journal: {error}"));
            let place = self
                .journal
                .append(&records, self.outbox_cursor.seq(), retrying)
                .await?;
            for record in &records {
                self.state.apply(record);
                log_record(&self.ctx.account, record);
                self.follow_closing(record, &place);
            }
            self.publish_events(&place, &records);
        }
        self.state.observe(&event);
        Ok(())
    }

    /// Begins to follow the books at a latch, and ends with it.
    fn follow_closing(&mut self, record: &AccountRecord, place: &BatchPosition) {
        match record {
            AccountRecord::Latched(_) => {
                let latch = LatchTimes {
                    seq: place.seq,
                    at: place.at,
                    notified_at: place.at,
                };
                self.closing = Some(ClosingAccount::start(self.ctx, latch));
                self.is_flat = false;
            }
            AccountRecord::Unlatched(_) => self.closing = None,
            AccountRecord::StillOpen(_) => {
                if let Some(closing) = &mut self.closing {
                    closing.mark_notified();
                }
            }
            AccountRecord::AccountOpened { .. }
            | AccountRecord::WriterChanged { .. }
            | AccountRecord::ValueRecorded(_)
            | AccountRecord::Flattened(_)
            | AccountRecord::EntriesPaused(_)
            | AccountRecord::EntriesResumed(_)
            | AccountRecord::BalanceBaselined(_)
            | AccountRecord::FundsTransferred(_)
            | AccountRecord::BalanceDiffers(_)
            | AccountRecord::BalanceExplained { .. }
            | AccountRecord::DifferenceAccepted(_) => {}
        }
    }

    fn publish_events(&self, place: &BatchPosition, records: &[AccountRecord]) {
        let account = &self.ctx.account;
        let bodies = records.iter().map(|record| operator_event(account, record));
        let key = format!("account.{account}");
        self.ctx
            .outbox
            .enqueue_journaled(&key, place, bodies, &self.outbox_cursor);
    }

    /// Publishes the account's report if something that blocks entries has changed, or the last report is 10 s old.
    async fn publish_report(&mut self) {
        let value = self.state.value.or(self.state.recorded_value);
        let (Some(value), true) = (value, self.is_initialized) else {
            return;
        };
        let now = Instant::now();
        let last = self.last_published.as_ref();
        let due = last.is_none_or(|(_, at)| now.duration_since(*at) >= MAX_REPORT_INTERVAL);
        let difference = self.state.balance.difference.as_ref();
        let report = AccountReport {
            v: VERSION,
            at: clock::now(),
            instance: self.ctx.identity.instance.clone(),
            seq: self.journal.last_seq(),
            equity: value.equity,
            peak: value.peak,
            day_peak: value.day_peak,
            latch: self.state.latch.as_ref().map(|latch| LatchReport {
                latch_id: latch.latch_id.clone(),
                trigger: latch.trigger.to_string(),
                at: latch.at,
                is_flat: self.is_flat,
            }),
            unvalued_books: self.unvalued_books(now),
            command_seq: self.last_command_seq.max(self.state.last_command_seq),
            pauses: self.state.pauses.iter().map(pause_report).collect(),
            balance: self.balance_report.clone(),
            difference_id: difference.map(|known| known.difference_id.clone()),
        };
        let changed = last.is_none_or(|(last, _)| {
            (
                &last.latch,
                &last.unvalued_books,
                last.command_seq,
                &last.difference_id,
            ) != (
                &report.latch,
                &report.unvalued_books,
                report.command_seq,
                &report.difference_id,
            )
        });
        if !due && !changed {
            return;
        }
        let subject = Subject::AccountReport(self.ctx.account.clone());
        match publish(&self.ctx.bus, &subject, &report, Retention::Newest).await {
            Ok(seq) => {
                // The books of this process need not wait until the report is read back.
                self.ctx
                    .account_monitor
                    .update_report(seq, report.clone(), report.command_seq);
                self.last_published = Some((report, now));
            }
            Err(error) => tracing::debug!(error, "account report not published"),
        }
    }
}

/// Waits for a change of a book's journal while the account is latched.
async fn journal_changed(closing: &mut Option<ClosingAccount>) {
    match closing {
        Some(closing) => closing.changed().await,
        None => std::future::pending().await,
    }
}

/// The next sample of the balance; never on paper.
async fn next_sample(
    sampler: &mut Option<BalanceSampler<'_>>,
    state: &BalanceState,
) -> BalanceSample {
    match sampler {
        Some(sampler) => sampler.next(state).await,
        None => std::future::pending().await,
    }
}

fn pause_report(Pause { symbol, source }: &Pause) -> PauseReport {
    PauseReport {
        symbol: symbol.clone(),
        by: source.by.clone(),
        reason: source.reason.clone(),
    }
}
