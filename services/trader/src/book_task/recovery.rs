//! How a book comes back: from its newest snapshot and the journal behind it, or from the whole journal.
//! And how the next snapshot is stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::VERSION;
use protocol::heartbeat::ComponentState;
use protocol::ids::{BookKey, SubjectToken};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::components::ComponentHandle;
use runtime::identity::boot_id;
use runtime::journal::{Journal, ReplayError, StoredBatch};
use runtime::outbox::OutboxCursor;
use runtime::snapshot::{self, Snapshot};
use serde::{Deserialize, Serialize};
use trader_core::book::{BookPhase, BookRecord, BookState};
use trader_core::event_mapping::operator_event;
use trader_core::market_state::MarketState;

use super::{Book, BookTaskEnd};
use crate::context::Context;

/// Version of [`BookSnapshot`]: another one is not read, and the whole journal is.
const SCHEMA: u16 = 1;
/// Not more often than this, however fast the market's clock runs.
const MIN_SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15);

/// When the last snapshot was stored.
#[derive(Debug, Default)]
pub(super) struct SnapshotSchedule {
    last_stored: Option<Instant>,
}

/// What a snapshot holds.
#[derive(Deserialize)]
struct BookSnapshot {
    state: BookState,
    market_state: MarketState,
}

#[derive(Serialize)]
struct BookSnapshotRef<'a> {
    state: &'a BookState,
    market_state: &'a MarketState,
}

/// A book as it was left.
struct RecoveredBook {
    journal: Journal,
    state: BookState,
    market_state: Option<MarketState>,
    published_seq: u64,
    /// What the owner may not have heard.
    unpublished: Vec<StoredBatch<BookRecord>>,
}

impl RecoveredBook {
    /// Tells the owner of a book that nobody takes over what may not have reached him.
    fn publish_pending_events(&self, ctx: &Context, key: &BookKey) {
        let confirmed = OutboxCursor::from_seq(self.published_seq);
        let id = key.to_string();
        for stored in &self.unpublished {
            let records = stored.batch.records.iter();
            let bodies = records.map(|record| operator_event(key, record));
            ctx.outbox
                .enqueue_journaled(&id, &stored.position(), bodies, &confirmed);
        }
    }
}

impl Book {
    /// Finds the book as it was left, takes it over, tells the owner again what may not have reached him.
    pub(super) async fn recover(
        ctx: Arc<Context>,
        symbol: SubjectToken,
    ) -> Result<Self, BookTaskEnd> {
        let part = ctx.process_status.component(symbol.as_str());
        let key = ctx.account.book(symbol.clone());
        let halted = |why: String| BookTaskEnd::Halted(why);
        let rules = ctx
            .symbol_filters
            .get(&symbol)
            .cloned()
            .ok_or_else(|| halted(format!("no rules for {symbol}")))?;
        let (base, strategies) = (ctx.config.base, &ctx.config.strategies);
        let new_view = MarketState::new(base, strategies.clone())
            .map_err(|fault| halted(fault.to_string()))?;
        let found = load_book(&ctx, &key, &part).await?;
        if let BookPhase::Halted { reason, .. } = &found.state.phase {
            found.publish_pending_events(&ctx, &key);
            return Err(BookTaskEnd::StillHalted(reason.clone()));
        }
        let kept_view = found
            .market_state
            .and_then(|v| v.restore(base, strategies.clone()));
        let mut book = Self {
            symbol,
            key,
            filters: rules,
            component: part,
            journal: found.journal,
            outbox_cursor: OutboxCursor::from_seq(found.published_seq),
            state: found.state,
            market_state: kept_view.unwrap_or(new_view),
            last_candle: None,
            snapshot_schedule: SnapshotSchedule::default(),
            volatility_breaker_tripped: false,
            ready: false,
            failing_since: None,
            last_round_unanswered: false,
            ctx,
        };
        book.take_over(found.unpublished).await?;
        Ok(book)
    }

    /// Stores what a restart would otherwise have to read the whole journal and the market's past for.
    /// One that fails is made up for by the next.
    pub(super) async fn store_snapshot(&mut self) {
        let now = Instant::now();
        let early = |last: Instant| now.duration_since(last) < MIN_SNAPSHOT_INTERVAL;
        if self.snapshot_schedule.last_stored.is_some_and(early) || !self.ctx.bus.is_connected() {
            return;
        }
        let Some(mark) = self.journal.last_batch() else {
            return;
        };
        self.snapshot_schedule.last_stored = Some(now);
        let snapshot = Snapshot {
            v: VERSION,
            schema: SCHEMA,
            batch: mark,
            events_published_seq: self.outbox_cursor.seq(),
            state: BookSnapshotRef {
                state: &self.state,
                market_state: &self.market_state,
            },
        };
        let subject = Subject::BookSnapshot(self.key.clone());
        if let Err(why) = snapshot::store(&self.ctx.bus, &subject, &snapshot).await {
            tracing::debug!(symbol = %self.symbol, why, "snapshot not stored");
        }
    }
}

/// A book as its journal has it. Reads only: the writing end is dropped before anything is appended.
///
/// # Errors
/// One line.
pub(crate) async fn read_book_state(bus: &Bus, key: &BookKey) -> Result<BookState, String> {
    let subject = Subject::BookJournal(key.clone());
    let (_, entries) = Journal::replay::<BookRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let mut state = BookState::default();
    for stored in &entries {
        state.fold(&stored.batch).map_err(|bad| bad.to_string())?;
    }
    Ok(state)
}

/// From the newest snapshot on, or everything if that is not to be used.
async fn load_book(
    ctx: &Context,
    key: &BookKey,
    part: &ComponentHandle,
) -> Result<RecoveredBook, BookTaskEnd> {
    let subject = Subject::BookSnapshot(key.clone());
    if let Some(kept) = snapshot::load::<BookSnapshot>(&ctx.bus, &subject, SCHEMA).await {
        // Events that were not acknowledged then are told again: they are read too.
        let from = kept
            .batch
            .seq
            .min(kept.events_published_seq.saturating_add(1));
        let (journal, entries) = replay_journal(ctx, key, part, from).await?;
        if entries.iter().any(|stored| stored.matches(&kept.batch)) {
            let after = kept.batch.seq;
            let BookSnapshot {
                state,
                market_state: view,
            } = kept.state;
            return fold_batches(
                journal,
                state,
                Some(view),
                after,
                kept.events_published_seq,
                entries,
            );
        }
        tracing::warn!(book = %key, seq = kept.batch.seq,
            "snapshot does not belong to this journal; all of it is read");
    }
    let (journal, entries) = replay_journal(ctx, key, part, 0).await?;
    fold_batches(journal, BookState::default(), None, 0, 0, entries)
}

fn fold_batches(
    journal: Journal,
    mut state: BookState,
    view: Option<MarketState>,
    after: u64,
    confirmed: u64,
    entries: Vec<StoredBatch<BookRecord>>,
) -> Result<RecoveredBook, BookTaskEnd> {
    for stored in entries.iter().filter(|stored| stored.seq > after) {
        state.fold(&stored.batch).map_err(|bad| {
            BookTaskEnd::Halted(format!("journal sequence {}: {bad}", stored.seq))
        })?;
    }
    let told = entries.iter().map(|s| s.batch.events_published_seq).max();
    let confirmed = confirmed.max(told.unwrap_or(0));
    Ok(RecoveredBook {
        journal,
        state,
        market_state: view,
        published_seq: confirmed,
        unpublished: entries.into_iter().filter(|s| s.seq > confirmed).collect(),
    })
}

/// Reads the journal, for as long as it takes.
async fn replay_journal(
    ctx: &Context,
    key: &BookKey,
    part: &ComponentHandle,
    from: u64,
) -> Result<(Journal, Vec<StoredBatch<BookRecord>>), BookTaskEnd> {
    let subject = Subject::BookJournal(key.clone());
    let writer = ctx.identity.boot.clone();
    let replayed = Journal::replay_with_retry(&ctx.bus, &subject, writer, from, |why| {
        part.set_state(ComponentState::Retrying);
        ctx.process_status.record_error(key.symbol.as_str(), why);
    });
    let unreadable = |error: ReplayError| BookTaskEnd::Halted(error.to_string());
    replayed.await.map_err(unreadable)
}
