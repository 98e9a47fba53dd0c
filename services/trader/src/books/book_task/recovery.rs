//! Recovery of a book: from its newest snapshot and the journal behind it, or from the whole journal. Also
//! stores the snapshots.

use std::sync::Arc;
use std::time::{Duration, Instant};

use exchange::Verdict;
use protocol::VERSION;
use protocol::heartbeat::{BookSummary, ComponentState};
use protocol::ids::{BookKey, SubjectToken};
use protocol::report::{BookReport, WaitReport};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::clock;
use runtime::components::ComponentHandle;
use runtime::journal::{Journal, ReplayError, StoredBatch};
use runtime::outbox::OutboxCursor;
use runtime::snapshot::{self, Snapshot};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use trader_core::book::{BookPhase, BookRecord, BookState, first_needed_candle};
use trader_core::book_status;
use trader_core::market_state::MarketState;
use trader_core::symbol_filters::SymbolFilters;

use super::book::{Book, BookTaskEnd};
use crate::app::context::Context;
use crate::books::book_journal::{opened_with, read_book_state};
use crate::books::book_registry::{RegistryEntry, StopRequirement};

/// Time between two checks of a symbol that cannot be traded yet.
const SYMBOL_WAIT: Duration = Duration::from_secs(10);
/// Version of [`BookSnapshot`]. A snapshot of another version is ignored, and the whole journal is read.
const SCHEMA: u16 = 2;
/// Shortest time between two snapshots, however fast the market's clock runs.
const MIN_SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15);
/// How far the exchange's time may be before a book's newest time. The clock of a simulated exchange may step
/// back a little when its host's clock does.
const MAX_CLOCK_STEP_BACK: Duration = Duration::from_mins(15);

/// Content of a snapshot.
#[derive(Deserialize)]
struct BookSnapshot {
    state: BookState,
    market_state: MarketState,
}

/// [`BookSnapshot`] as it is stored.
#[derive(Serialize)]
struct BookSnapshotRef<'a> {
    state: &'a BookState,
    market_state: &'a MarketState,
}

/// A book as its last writer left it.
struct RecoveredBook {
    journal: Journal,
    state: BookState,
    market_state: Option<MarketState>,
    published_seq: u64,
    /// Batches whose events may not have been published.
    unpublished: Vec<StoredBatch<BookRecord>>,
}

impl Book {
    /// Recovers the book and takes it over. Publishes the events that may not have been published.
    pub(super) async fn recover(
        ctx: Arc<Context>,
        symbol: SubjectToken,
    ) -> Result<Self, BookTaskEnd> {
        let component = ctx.process_status.component(symbol.as_str());
        let key = ctx.account.book(symbol.clone());
        let halted = BookTaskEnd::Halted;
        let (base, strategies) = (ctx.config.base, &ctx.config.strategies);
        let new_state = MarketState::new(base, strategies.clone())
            .map_err(|error| halted(error.to_string()))?;
        let found = load_book(&ctx, &key, &component).await?;
        if let BookPhase::Halted { reason, .. } = &found.state.phase {
            return Err(halted(reason.clone()));
        }
        let known_filters = find_filters(&ctx, &key, &found.state, &component).await;
        let restored = found
            .market_state
            .and_then(|state| state.restore(base, strategies.clone()));
        let mut book = Self {
            symbol,
            key,
            known_filters,
            component,
            journal: found.journal,
            outbox_cursor: OutboxCursor::from_seq(found.published_seq),
            state: found.state,
            market_state: restored.unwrap_or(new_state),
            last_candle: None,
            last_snapshot_at: None,
            feed_state: None,
            ready: false,
            failing_since: None,
            verdict: Verdict::default(),
            external_position: None,
            obstacle: None,
            waits_for: None,
            last_round_unanswered: false,
            ctx,
        };
        book.take_over(found.unpublished).await?;
        Ok(book)
    }

    /// Stores a snapshot, if the bus is connected and the last one is at least 15 s old. The next snapshot makes up for
    /// one that fails.
    pub(super) async fn store_snapshot(&mut self) {
        let now = Instant::now();
        let early = |last: Instant| now.duration_since(last) < MIN_SNAPSHOT_INTERVAL;
        if self.last_snapshot_at.is_some_and(early) || !self.ctx.bus.is_connected() {
            return;
        }
        let Some(batch) = self.journal.last_batch() else {
            return;
        };
        self.last_snapshot_at = Some(now);
        let snapshot = Snapshot {
            v: VERSION,
            schema: SCHEMA,
            batch,
            events_published_seq: self.outbox_cursor.seq(),
            state: BookSnapshotRef {
                state: &self.state,
                market_state: &self.market_state,
            },
        };
        let subject = Subject::BookSnapshot(self.key.clone());
        if let Err(error) = snapshot::store(&self.ctx.bus, &subject, &snapshot).await {
            tracing::debug!(symbol = %self.symbol, error, "snapshot not stored");
        }
    }
}

/// The symbol's filters: those that the exchange lists, or those with which the book was opened. Waits for a symbol that
/// has neither; the other books do not wait for it.
async fn find_filters(
    ctx: &Context,
    key: &BookKey,
    state: &BookState,
    component: &ComponentHandle,
) -> SymbolFilters {
    let symbol = &key.symbol;
    let since = clock::now();
    loop {
        if let Some(filters) = ctx.symbol_rules.filters(symbol) {
            return filters;
        }
        match opened_with(&ctx.bus, key).await {
            Ok(Some(filters)) => {
                let reason = ctx.symbol_rules.obstacle(symbol);
                tracing::warn!(%symbol, reason, "symbol filters are those of the book's journal");
                return filters;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%symbol, error, "journal not read"),
        }
        let reason = ctx.symbol_rules.obstacle(symbol);
        let reason = reason.unwrap_or_else(|| "the symbol's filters are unknown".to_owned());
        tracing::warn!(%symbol, reason, "book waits for its symbol");
        component.set_state(ComponentState::Retrying);
        ctx.process_status.record_error(symbol.as_str(), &reason);
        let entry = waiting_entry(ctx, key, state, WaitReport { reason, since });
        ctx.book_registry.put(symbol, entry);
        tokio::time::sleep(SYMBOL_WAIT).await;
    }
}

/// The registry entry of a book that waits before it is recovered.
fn waiting_entry(
    ctx: &Context,
    book: &BookKey,
    state: &BookState,
    wait: WaitReport,
) -> RegistryEntry {
    let instance = &ctx.identity.instance;
    RegistryEntry {
        summary: BookSummary {
            book: book.clone(),
            equity: ctx.slice,
            position_quantity: Decimal::ZERO,
            trades: 0,
            halt_reason: None,
        },
        report: Some(BookReport {
            waits_for: Some(wait.clone()),
            ..book_status::report(book, state, None, instance, clock::now())
        }),
        flat: true,
        ready: false,
        waits_for: Some(wait.reason),
        stop: StopRequirement::NoPosition,
    }
}

/// The newest time of the exchange in a book's journal and snapshot; `None` before its first candle.
///
/// # Errors
/// One line, if the bus does not answer or the journal cannot be read.
pub(crate) async fn newest_exchange_time(
    bus: &Bus,
    key: &BookKey,
) -> Result<Option<UtcMs>, String> {
    let state = read_book_state(bus, key).await?;
    let subject = Subject::BookSnapshot(key.clone());
    let snapshot = snapshot::load::<BookSnapshot>(bus, &subject, SCHEMA).await;
    let next_bar = snapshot.and_then(|kept| kept.state.market_state.next_bar_open());
    Ok(newest_time(&state, next_bar))
}

/// The newest time of the exchange that a book knows of.
///
/// The time of the last exit does not count: an operator who unhalts a book states it by the clock of their machine.
pub(super) fn newest_time(state: &BookState, next_bar: Option<UtcMs>) -> Option<UtcMs> {
    [
        next_bar,
        state.entered_bar,
        state.rejected_bar,
        state.last_funding_at,
        first_needed_candle(state),
    ]
    .into_iter()
    .flatten()
    .max()
}

/// Detects a market that was replaced while the journals were kept.
///
/// # Errors
/// One line for the operator, if the exchange's time `now` is before the book's newest time.
pub(crate) fn check_same_market(
    symbol: &SubjectToken,
    newest: Option<UtcMs>,
    now: UtcMs,
) -> Result<(), String> {
    match newest {
        Some(newest) if newest.since(now) > MAX_CLOCK_STEP_BACK => Err(format!(
            "{symbol}: the exchange's time {now} is before the newest candle of the book's journal ({newest}): \
             another market? To start over without the journals: scripts/down --volumes"
        )),
        Some(_) | None => Ok(()),
    }
}

/// Loads the book from its newest snapshot on, or from the whole journal if the snapshot cannot be used.
async fn load_book(
    ctx: &Context,
    key: &BookKey,
    component: &ComponentHandle,
) -> Result<RecoveredBook, BookTaskEnd> {
    let subject = Subject::BookSnapshot(key.clone());
    if let Some(kept) = snapshot::load::<BookSnapshot>(&ctx.bus, &subject, SCHEMA).await {
        // Events that were not acknowledged then are published again: their batches are read too.
        let from = kept
            .batch
            .seq
            .min(kept.events_published_seq.saturating_add(1));
        let (journal, batches) = replay_journal(ctx, key, component, from).await?;
        if batches.iter().any(|stored| stored.matches(&kept.batch)) {
            let after = kept.batch.seq;
            let BookSnapshot {
                state,
                market_state,
            } = kept.state;
            return fold_batches(
                journal,
                state,
                Some(market_state),
                after,
                kept.events_published_seq,
                batches,
            );
        }
        tracing::warn!(book = %key, seq = kept.batch.seq,
            "snapshot does not belong to this journal; reading the whole journal");
    }
    let (journal, batches) = replay_journal(ctx, key, component, 0).await?;
    fold_batches(journal, BookState::default(), None, 0, 0, batches)
}

fn fold_batches(
    journal: Journal,
    mut state: BookState,
    market_state: Option<MarketState>,
    after: u64,
    published_seq: u64,
    batches: Vec<StoredBatch<BookRecord>>,
) -> Result<RecoveredBook, BookTaskEnd> {
    for stored in batches.iter().filter(|stored| stored.seq > after) {
        state.fold(&stored.batch).map_err(|error| {
            BookTaskEnd::Halted(format!("journal sequence {}: {error}", stored.seq))
        })?;
    }
    let recorded = batches.iter().map(|s| s.batch.events_published_seq).max();
    let published_seq = published_seq.max(recorded.unwrap_or(0));
    Ok(RecoveredBook {
        journal,
        state,
        market_state,
        published_seq,
        unpublished: batches
            .into_iter()
            .filter(|s| s.seq > published_seq)
            .collect(),
    })
}

/// Reads the journal from a sequence on. Waits for the bus as long as it takes.
async fn replay_journal(
    ctx: &Context,
    key: &BookKey,
    component: &ComponentHandle,
    from: u64,
) -> Result<(Journal, Vec<StoredBatch<BookRecord>>), BookTaskEnd> {
    let subject = Subject::BookJournal(key.clone());
    let writer = ctx.identity.boot.clone();
    let replayed = Journal::replay_with_retry(&ctx.bus, &subject, writer, from, |error| {
        component.set_state(ComponentState::Retrying);
        ctx.process_status.record_error(key.symbol.as_str(), error);
    });
    let unreadable = |error: ReplayError| BookTaskEnd::Halted(error.to_string());
    replayed.await.map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchange_time_before_the_journal_is_another_market() {
        let symbol: SubjectToken = "BTCUSDT".parse().unwrap();
        let candle = UtcMs(1_767_605_400_000);
        let state = BookState {
            rejected_bar: Some(candle),
            ..BookState::default()
        };
        let newest = newest_time(&state, None);
        assert_eq!(newest, Some(candle));
        let check = |now: i64| check_same_market(&symbol, newest, UtcMs(candle.0 + now));
        assert!(check(0).is_ok());
        assert!(check(-900_000).is_ok(), "a clock may step back a little");
        let error = check(-36_000_000).unwrap_err();
        assert!(
            error.contains("another market?") && error.ends_with("scripts/down --volumes"),
            "{error}"
        );
        assert!(check_same_market(&symbol, None, UtcMs(0)).is_ok());
        let snapshot = newest_time(&state, Some(UtcMs(candle.0 + 60_000)));
        assert_eq!(snapshot, Some(UtcMs(candle.0 + 60_000)));
    }
}
