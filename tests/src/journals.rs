//! Reads the journals of books as the trader does, with the operator's permissions.

use std::collections::BTreeMap;

use protocol::ids::{BookKey, Mode};
use protocol::subject::{Subject, filter};
use runtime::bus::Bus;
use runtime::journal::{Journal, StoredBatch};
use runtime::streams;
use trader_core::book::{BookRecord, BookState};

/// All batches of one book's journal, oldest first.
pub type Batches = Vec<StoredBatch<BookRecord>>;

/// Reads the journal of every paper book.
pub async fn read_paper(bus: &Bus) -> BTreeMap<BookKey, Batches> {
    read_mode(bus, Mode::Paper).await
}

/// Reads the journal of every book of this mode.
pub async fn read_mode(bus: &Bus, mode: Mode) -> BTreeMap<BookKey, Batches> {
    let filter = filter::book_journals(mode);
    let mut journals = BTreeMap::new();
    for subject in bus.subjects(streams::JOURNAL, &filter).await.unwrap() {
        let Some(Subject::BookJournal(key)) = Subject::parse(&subject) else {
            panic!("{subject} is not a journal of a book");
        };
        let entries = read_book(bus, &key).await;
        journals.insert(key, entries);
    }
    journals
}

/// Reads one book's journal.
pub async fn read_book(bus: &Bus, key: &BookKey) -> Batches {
    let subject = Subject::BookJournal(key.clone());
    let reader = "audit".parse().unwrap();
    let replayed = Journal::replay::<BookRecord>(bus, &subject, reader).await;
    replayed.unwrap_or_else(|error| panic!("{error}")).1
}

/// Folds a journal into the book's state.
pub fn fold_book(entries: &Batches) -> BookState {
    let mut state = BookState::default();
    for stored in entries {
        let folded = state.fold(&stored.batch);
        folded.unwrap_or_else(|error| panic!("journal sequence {}: {error}", stored.seq));
    }
    state
}

/// Iterates over all records of some journals.
pub fn records<'a>(
    journals: impl IntoIterator<Item = &'a Batches>,
) -> impl Iterator<Item = &'a BookRecord> {
    let entries = journals.into_iter().flatten();
    entries.flat_map(|stored| &stored.batch.records)
}

/// Counts the closed positions of some journals.
pub fn count_trades<'a>(journals: impl IntoIterator<Item = &'a Batches>) -> usize {
    records(journals)
        .filter(|r| matches!(r, BookRecord::PositionClosed(_)))
        .count()
}
