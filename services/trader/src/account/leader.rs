//! The keeper: the one instance that adds up what all books are worth, remembers the peaks, and latches
//! the account when a critical breaker trips. Standing by and taking over is the guard's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::VERSION;
use protocol::account_command::AccountCommandRecord;
use protocol::ids::SubjectToken;
use protocol::report::{AccountReport, BookReport, LatchReport, PauseReport};
use protocol::subject::Subject;
use runtime::components::ComponentHandle;
use runtime::journal::{BatchPosition, Journal, StoredBatch};
use runtime::leader_election::{LeaderElection, TermEnd};
use runtime::outbox::OutboxCursor;
use runtime::process::ExitError;
use runtime::report_publisher::{Retention, publish};
use runtime::{clock, streams};
use rust_decimal::Decimal;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use trader_core::account::{
    AccountEvent, AccountRecord, AccountState, Pause, decide, operator_event,
};

use super::account_commands;
use super::delisted_books::{self, DelistedBooks};
use crate::context::Context;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// What it says is renewed at least so often: others wait a minute before they distrust it.
const MAX_REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// A book with a position whose report is older is worth nobody knows what.
const MAX_REPORT_AGE: Duration = Duration::from_mins(1);

/// Keeps the account whenever no other instance does, until `shutdown`.
///
/// # Errors
/// What a person must look at.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) -> Result<(), ExitError> {
    let component = ctx.process_status.component("account-leader");
    let lease = Subject::AccountLease(ctx.account.clone());
    let guard = LeaderElection::new(ctx.bus.clone(), &lease, &ctx.identity);
    let turn = || run_term(&ctx, &component, &shutdown);
    guard
        .run_as_leader(&component, || {}, &shutdown, turn)
        .await
}

async fn run_term(
    ctx: &Context,
    component: &ComponentHandle,
    shutdown: &CancellationToken,
) -> TermEnd {
    match AccountLeader::take_over(ctx, component).await {
        Ok(keeper) => keeper.run(component, shutdown).await,
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
    /// Sequence of the last operator's word that was looked at.
    last_command_seq: u64,
}

/// A book's newest report, and when it was first seen.
struct ReceivedReport {
    seq: u64,
    report: BookReport,
    received_at: Instant,
}

impl<'a> AccountLeader<'a> {
    async fn take_over(ctx: &'a Context, component: &ComponentHandle) -> Result<Self, TermEnd> {
        let subject = Subject::AccountJournal(ctx.account.clone());
        let writer = ctx.identity.boot.clone();
        let replayed = Journal::replay_with_retry(&ctx.bus, &subject, writer, 0, |why| {
            ctx.process_status.record_error("account-leader", why);
            component.record_iteration();
        });
        // Unreadable: no report, so nobody enters; another program may be able to read it.
        let lost = |why: String| TermEnd::Lost(why);
        let (journal, entries) = replayed.await.map_err(|error| lost(error.to_string()))?;
        let mut state = AccountState::default();
        for stored in &entries {
            state
                .fold(&stored.batch)
                .map_err(|error| lost(format!("journal sequence {}: {error}", stored.seq)))?;
        }
        let told = entries.iter().map(|s| s.batch.events_published_seq).max();
        let mut keeper = Self {
            ctx,
            journal,
            outbox_cursor: OutboxCursor::from_seq(told.unwrap_or(0)),
            state,
            books: BTreeMap::new(),
            delisted_books: delisted_books::read(ctx).await.map_err(lost)?,
            last_published: None,
            last_command_seq: 0,
        };
        keeper.record_takeover(entries).await?;
        Ok(keeper)
    }

    async fn record_takeover(
        &mut self,
        entries: Vec<StoredBatch<AccountRecord>>,
    ) -> Result<(), TermEnd> {
        let identity = &self.ctx.identity;
        let event = AccountEvent::WriterChanged {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
        };
        let told = self.outbox_cursor.seq();
        self.handle_event(event).await?;
        for stored in entries.into_iter().filter(|s| s.seq > told) {
            self.publish_events(&stored.position(), &stored.batch.records);
        }
        tracing::info!(account = %self.ctx.account, latched = self.state.latch.is_some(),
            "keeps the account");
        Ok(())
    }

    async fn run(mut self, component: &ComponentHandle, shutdown: &CancellationToken) -> TermEnd {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(end) = self.tick().await {
                return end;
            }
            component.record_iteration();
        }
        TermEnd::Stopped
    }

    /// One look at the operator's words and at every book.
    async fn tick(&mut self) -> Result<(), TermEnd> {
        self.apply_commands().await?;
        if let Err(why) = self.read_book_reports().await {
            // The bus is away: what it says grows old by itself.
            tracing::debug!(why, "books not read");
            return Ok(());
        }
        let (capital, equity) = self.capital_and_equity();
        let at = self.ctx.feed.clock().now();
        self.handle_event(AccountEvent::Valued {
            at,
            capital,
            equity,
        })
        .await?;
        self.publish_report().await;
        Ok(())
    }

    /// Carries out what operators said since the last time.
    async fn apply_commands(&mut self) -> Result<(), TermEnd> {
        let words = match self.new_commands().await {
            Ok(words) => words,
            Err(why) => {
                tracing::debug!(why, "operators' journal not read");
                return Ok(());
            }
        };
        for (seq, word) in words {
            let at = self.ctx.feed.clock().now();
            self.handle_event(AccountEvent::CommandReceived {
                at,
                seq,
                command: word,
            })
            .await?;
            self.last_command_seq = seq;
        }
        Ok(())
    }

    /// The whole journal is read only when there is something new in it.
    async fn new_commands(&self) -> Result<Vec<(u64, AccountCommandRecord)>, String> {
        let Context { bus, account, .. } = self.ctx;
        let subject = Subject::AccountCommandJournal(account.clone()).to_string();
        let newest = bus.latest_message(streams::JOURNAL, &subject).await?;
        let heard = self.last_command_seq.max(self.state.last_command_seq);
        if newest.is_none_or(|newest| newest.seq <= heard) {
            return Ok(Vec::new());
        }
        let mut words = account_commands::read_commands(bus, account).await?;
        words.retain(|(seq, _)| *seq > heard);
        Ok(words)
    }

    async fn read_book_reports(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for symbol in self.ctx.symbol_filters.keys() {
            let subject = Subject::BookReport(self.ctx.account.book(symbol.clone())).to_string();
            let Some(newest) = self
                .ctx
                .bus
                .latest_message(streams::REPORTS, &subject)
                .await?
            else {
                continue;
            };
            let known = self.books.get(symbol);
            if known.is_some_and(|heard| heard.seq == newest.seq) {
                continue;
            }
            match serde_json::from_slice(&newest.payload) {
                Ok(report) => {
                    let seq = newest.seq;
                    let heard = ReceivedReport {
                        seq,
                        report,
                        received_at: now,
                    };
                    self.books.insert(symbol.clone(), heard);
                }
                Err(error) => self
                    .ctx
                    .process_status
                    .record_error("account-leader", format!("{subject}: {error}")),
            }
        }
        Ok(())
    }

    /// Capital and equity of all books. One that never reported has its share of the capital.
    fn capital_and_equity(&self) -> (Decimal, Decimal) {
        let (mut capital, mut equity) = (Decimal::ZERO, Decimal::ZERO);
        for symbol in self.ctx.symbol_filters.keys() {
            let heard = self
                .books
                .get(symbol)
                .map(|h| (h.report.capital, h.report.equity));
            let (began, now) = heard.unwrap_or((self.ctx.slice, self.ctx.slice));
            capital = capital.saturating_add(began);
            equity = equity.saturating_add(now);
        }
        (
            capital,
            equity.saturating_add(self.delisted_books.realized_pnl),
        )
    }

    fn unvalued_books(&self, now: Instant) -> Vec<SubjectToken> {
        let lost = |(_, heard): &(&SubjectToken, &ReceivedReport)| {
            heard.report.position.is_some()
                && now.duration_since(heard.received_at) > MAX_REPORT_AGE
        };
        let lost = self.books.iter().filter(lost).map(|(symbol, _)| symbol);
        lost.chain(&self.delisted_books.open).cloned().collect()
    }

    /// Decide, append, apply, tell.
    async fn handle_event(&mut self, event: AccountEvent) -> Result<(), TermEnd> {
        let records = decide(&self.state, event.clone());
        if !records.is_empty() {
            let progress = &self.ctx.process_status;
            let retrying =
                |why: &str| progress.record_error("account-leader", format!("journal: {why}"));
            let place = self
                .journal
                .append(&records, self.outbox_cursor.seq(), retrying)
                .await?;
            for record in &records {
                self.state.apply(record);
                self.log_record(record);
            }
            self.publish_events(&place, &records);
        }
        self.state.observe(&event);
        Ok(())
    }

    fn log_record(&self, record: &AccountRecord) {
        let account = &self.ctx.account;
        match record {
            AccountRecord::AccountOpened { .. }
            | AccountRecord::WriterChanged { .. }
            | AccountRecord::ValueRecorded(_) => {}
            AccountRecord::Latched(latch) => {
                tracing::error!(%account, latch = latch.latch_id, equity = %latch.equity,
                    peak = %latch.peak, "EMERGENCY STOP: closing everything");
            }
            AccountRecord::Unlatched(word) => {
                tracing::warn!(%account, latch = word.latch_id, who = word.source.by,
                    why = word.source.reason, "latch ended by an operator");
            }
            AccountRecord::EntriesPaused(Pause {
                symbol,
                source: said,
            }) => {
                let books = symbol.as_ref().map_or("every one", SubjectToken::as_str);
                tracing::warn!(%account, books, who = said.by, why = said.reason,
                    "entries paused by an operator");
            }
            AccountRecord::EntriesResumed(Pause {
                symbol,
                source: said,
            }) => {
                let books = symbol.as_ref().map_or("every one", SubjectToken::as_str);
                tracing::warn!(%account, books, who = said.by, why = said.reason,
                    "entries resumed by an operator");
            }
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

    /// Says how the account is, when that changed or the last time is too long ago.
    async fn publish_report(&mut self) {
        let Some(value) = self.state.value.or(self.state.recorded_value) else {
            return;
        };
        let now = Instant::now();
        let told = self.last_published.as_ref();
        let due = told.is_none_or(|(_, at)| now.duration_since(*at) >= MAX_REPORT_INTERVAL);
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
            }),
            unvalued_books: self.unvalued_books(now),
            command_seq: self.last_command_seq.max(self.state.last_command_seq),
            pauses: self.state.pauses.iter().map(pause_report).collect(),
        };
        let news = told.is_none_or(|(last, _)| {
            (&last.latch, &last.unvalued_books, last.command_seq)
                != (&report.latch, &report.unvalued_books, report.command_seq)
        });
        if !due && !news {
            return;
        }
        let subject = Subject::AccountReport(self.ctx.account.clone());
        match publish(&self.ctx.bus, &subject, &report, Retention::Newest).await {
            Ok(seq) => {
                // Our own books need not wait until it is read back.
                self.ctx
                    .account_monitor
                    .update_report(seq, report.clone(), report.command_seq);
                self.last_published = Some((report, now));
            }
            Err(why) => tracing::debug!(why, "account not reported"),
        }
    }
}

fn pause_report(
    Pause {
        symbol,
        source: said,
    }: &Pause,
) -> PauseReport {
    PauseReport {
        symbol: symbol.clone(),
        by: said.by.clone(),
        reason: said.reason.clone(),
    }
}
