//! Halts of books whose task has ended: each is in the book's journal before it is shown, so that it survives a restart
//! and ends by `trader unhalt`.

use std::time::Duration;

use protocol::heartbeat::BookSummary;
use protocol::ids::BookKey;
use protocol::report::BookReport;
use protocol::subject::Subject;
use runtime::clock;
use runtime::journal::{AppendError, Journal, ReplayError};
use runtime::outbox::OutboxCursor;
use runtime::streams;
use rust_decimal::Decimal;
use tokio::time::timeout;
use trader_core::book::{BookPhase, BookRecord, BookState};
use trader_core::book_status::{self, PricePoint};
use trader_core::event_mapping::operator_event;
use trader_core::fixed_point::Price;

use super::book_registry::{RegistryEntry, StopRequirement};
use crate::app::context::Context;

/// Longest wait for the append, after which a later pass tries again.
const APPEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a halt was not journaled.
#[derive(Debug)]
pub(super) enum HaltError {
    /// The bus does not answer, in one line.
    Unavailable(String),
    /// Another process has appended to the journal.
    Fenced,
    /// The journal cannot be read or be written to.
    Unreadable,
}

impl From<ReplayError> for HaltError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            ReplayError::Unreadable { .. } => Self::Unreadable,
        }
    }
}

impl From<AppendError> for HaltError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Fenced { .. } => Self::Fenced,
            AppendError::Rejected { .. } => Self::Unreadable,
        }
    }
}

/// Appends the halt to the book's journal, unless it is there, and publishes the events that may not have been published.
/// Returns the book's entry for the registry.
///
/// # Errors
/// [`HaltError`].
pub(super) async fn journal_halt(
    ctx: &Context,
    key: &BookKey,
    reason: &str,
) -> Result<RegistryEntry, HaltError> {
    let subject = Subject::BookJournal(key.clone());
    let writer = ctx.identity.boot.clone();
    let (mut journal, mut batches) =
        Journal::replay::<BookRecord>(&ctx.bus, &subject, writer).await?;
    let mut state = BookState::default();
    for stored in &batches {
        state
            .fold(&stored.batch)
            .map_err(|_| HaltError::Unreadable)?;
    }
    let published = batches.iter().map(|s| s.batch.events_published_seq).max();
    let cursor = OutboxCursor::from_seq(published.unwrap_or(0));
    batches.retain(|stored| stored.seq > cursor.seq());
    let book = key.to_string();
    for stored in &batches {
        let records = stored.batch.records.iter();
        let events = records.map(|record| operator_event(key, record));
        let place = stored.position();
        ctx.outbox.enqueue_journaled(&book, &place, events, &cursor);
    }
    if !matches!(state.phase, BookPhase::Halted { .. }) {
        let reason = reason.to_owned();
        let halt = [BookRecord::BookHalted { reason }];
        state.apply_all(&halt).map_err(|_| HaltError::Unreadable)?;
        let mut attempts = 0_u32;
        let place = journal.append(&halt, cursor.seq(), |error| {
            attempts += 1;
            tracing::warn!(book, error, attempts, "halt not journaled yet");
        });
        let place = timeout(APPEND_TIMEOUT, place)
            .await
            .map_err(|_| HaltError::Unavailable("the append was not acknowledged".to_owned()))??;
        let events = halt.iter().map(|record| operator_event(key, record));
        ctx.outbox.enqueue_journaled(&book, &place, events, &cursor);
    }
    Ok(halted_entry(ctx, key, &state).await)
}

/// The entry of a halted book: its equity, and its position at the newest price that is known.
async fn halted_entry(ctx: &Context, key: &BookKey, state: &BookState) -> RegistryEntry {
    let subject = Subject::BookReport(key.clone()).to_string();
    let newest: Result<Option<BookReport>, String> =
        ctx.bus.newest_json(streams::REPORTS, &subject).await;
    let newest = newest.ok().flatten();
    let price = newest.and_then(|report| {
        let price = Price::from_decimal(report.price?).ok()?;
        let at = report.candle_close?;
        Some(PricePoint { at, price })
    });
    let instance = &ctx.identity.instance;
    RegistryEntry {
        summary: book_status::summary(key, state, price.map(|point| point.price)),
        report: Some(book_status::report(
            key,
            state,
            price,
            instance,
            clock::now(),
        )),
        flat: false,
        ready: true,
        waits_for: None,
        stop: StopRequirement::of(state, ctx.data_client.clock().now()),
    }
}

/// The entry of a book whose journal cannot be read.
pub(super) fn unreadable_entry(book: &BookKey, reason: &str) -> RegistryEntry {
    RegistryEntry {
        summary: BookSummary {
            book: book.clone(),
            equity: Decimal::ZERO,
            position_quantity: Decimal::ZERO,
            trades: 0,
            halt_reason: Some(reason.to_owned()),
        },
        report: None,
        flat: false,
        ready: true,
        waits_for: None,
        stop: StopRequirement::Unknown,
    }
}
