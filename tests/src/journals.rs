//! Reads the journals of books as the trader does, under the operator's permissions.

use std::collections::BTreeMap;

use engine::book::{BookRecord, BookState};
use protocol::ids::{BookKey, Mode};
use protocol::subject::{Subject, filter};
use runtime::bus::Bus;
use runtime::journal::{Journal, Stored};
use runtime::streams;

/// One book's whole journal, oldest first.
pub type Entries = Vec<Stored<BookRecord>>;

/// Every paper book's journal.
pub async fn all(bus: &Bus) -> BTreeMap<BookKey, Entries> {
    of_mode(bus, Mode::Paper).await
}

/// Every book's journal of this mode.
pub async fn of_mode(bus: &Bus, mode: Mode) -> BTreeMap<BookKey, Entries> {
    let filter = filter::book_journals(mode);
    let mut journals = BTreeMap::new();
    for subject in bus.subjects(streams::JOURNAL, &filter).await.unwrap() {
        let key: BookKey = subject
            .strip_prefix("journal.v1.book.")
            .unwrap()
            .parse()
            .unwrap();
        let entries = of(bus, &key).await;
        journals.insert(key, entries);
    }
    journals
}

/// One book's journal.
pub async fn of(bus: &Bus, key: &BookKey) -> Entries {
    let subject = Subject::BookJournal(key.clone());
    let reader = "audit".parse().unwrap();
    let replayed = Journal::replay::<BookRecord>(bus, &subject, reader).await;
    replayed.unwrap_or_else(|error| panic!("{error}")).1
}

/// What the book is after all this.
pub fn fold(entries: &Entries) -> BookState {
    let mut state = BookState::default();
    for stored in entries {
        let folded = state.fold(&stored.entry);
        folded.unwrap_or_else(|bad| panic!("journal sequence {}: {bad}", stored.seq));
    }
    state
}

/// All records of some journals.
pub fn records<'a>(
    journals: impl IntoIterator<Item = &'a Entries>,
) -> impl Iterator<Item = &'a BookRecord> {
    let entries = journals.into_iter().flatten();
    entries.flat_map(|stored| &stored.entry.records)
}

/// How many positions these journals have closed.
pub fn trades<'a>(journals: impl IntoIterator<Item = &'a Entries>) -> usize {
    records(journals)
        .filter(|r| matches!(r, BookRecord::PositionClosed(_)))
        .count()
}
