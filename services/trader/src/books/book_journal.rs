//! Reads the journals of books. Nothing here writes to them.

use protocol::ids::{AccountKey, BookKey};
use protocol::journal::JournalBatch;
use protocol::subject::{Subject, filter};
use runtime::bus::Bus;
use runtime::identity::boot_id;
use runtime::journal::Journal;
use runtime::streams;
use trader_core::book::{BookPhase, BookRecord, BookState};
use trader_core::symbol_filters::SymbolFilters;

/// The keys of the account's books that have a journal, whatever process wrote it; sorted.
///
/// # Errors
/// One line, if the bus does not answer.
pub(crate) async fn account_books(bus: &Bus, account: &AccountKey) -> Result<Vec<BookKey>, String> {
    let filter = filter::account_book_journals(account);
    let subjects = bus.subjects(streams::JOURNAL, &filter).await?;
    let mut keys: Vec<BookKey> = subjects.iter().filter_map(|s| book_key(s)).collect();
    keys.sort();
    Ok(keys)
}

/// The key in the subject of a book's journal; `None` for any other subject.
pub(crate) fn book_key(subject: &str) -> Option<BookKey> {
    match Subject::parse(subject)? {
        Subject::BookJournal(key) => Some(key),
        _ => None,
    }
}

/// The state that a book's journal folds to.
///
/// # Errors
/// One line, if the bus does not answer or a record cannot be read.
pub(crate) async fn read_book_state(bus: &Bus, key: &BookKey) -> Result<BookState, String> {
    let subject = Subject::BookJournal(key.clone());
    let (_, batches) = Journal::replay::<BookRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let mut state = BookState::default();
    for stored in &batches {
        state
            .fold(&stored.batch)
            .map_err(|error| error.to_string())?;
    }
    Ok(state)
}

/// Folds the batches of a book's journal behind `seq` into its state, and moves `seq` behind them. A journal without new
/// batches costs one query.
///
/// # Errors
/// One line, if the bus does not answer or a record cannot be folded. The state must then not be used.
pub(crate) async fn fold_new_batches(
    bus: &Bus,
    key: &BookKey,
    seq: &mut u64,
    state: &mut BookState,
) -> Result<(), String> {
    let subject = Subject::BookJournal(key.clone());
    let name = subject.to_string();
    let newest = bus.latest_message(streams::JOURNAL, &name).await?;
    if newest.is_none_or(|newest| newest.seq <= *seq) {
        return Ok(());
    }
    let new = Journal::replay_from::<BookRecord>(bus, &subject, boot_id(), *seq + 1).await;
    let (_, batches) = new.map_err(|error| error.to_string())?;
    for stored in &batches {
        let folded = state.fold(&stored.batch);
        folded.map_err(|error| format!("sequence {}: {error}", stored.seq))?;
        *seq = stored.seq;
    }
    Ok(())
}

/// The filters with which a book was opened; `None` for a book that was not.
///
/// # Errors
/// One line, if the bus does not answer or the journal cannot be read.
pub(crate) async fn opened_with(bus: &Bus, key: &BookKey) -> Result<Option<SymbolFilters>, String> {
    let subject = Subject::BookJournal(key.clone());
    let (_, batches) = Journal::replay::<BookRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let records = batches.into_iter().flat_map(|stored| stored.batch.records);
    let mut opened = records.filter_map(|record| match record {
        BookRecord::BookOpened { filters, .. } => Some(filters),
        _ => None,
    });
    Ok(opened.next_back())
}

/// The symbols of the account's books that hold a position or may enter one, whatever process traded them.
///
/// # Errors
/// One line, if the bus does not answer or a journal cannot be read.
pub(crate) async fn open_books(bus: &Bus, account: &AccountKey) -> Result<Vec<String>, String> {
    let mut open = Vec::new();
    for key in account_books(bus, account).await? {
        let state = read_book_state(bus, &key).await?;
        if matches!(state.phase, BookPhase::EntryPending(_) | BookPhase::Open(_)) {
            open.push(key.symbol.to_string());
        }
    }
    Ok(open)
}

/// The sequence of the newest message of a halted book's journal, if that message unhalts the book. A trader
/// that acted on it has written a later message.
///
/// # Errors
/// One line, if the bus does not answer or the message cannot be read.
pub(crate) async fn pending_unhalt(bus: &Bus, book: &BookKey) -> Result<Option<u64>, String> {
    let subject = Subject::BookJournal(book.clone()).to_string();
    let Some(newest) = bus.latest_message(streams::JOURNAL, &subject).await? else {
        return Ok(None);
    };
    let batch: JournalBatch<BookRecord> =
        serde_json::from_slice(&newest.payload).map_err(|error| error.to_string())?;
    let is_unhalt = |record: &BookRecord| matches!(record, BookRecord::BookUnhalted { .. });
    Ok(batch.records.iter().any(is_unhalt).then_some(newest.seq))
}
