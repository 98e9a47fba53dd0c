//! What every book of this instance last said of itself: for heartbeats, the health check and the
//! sharing-out of books.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::heartbeat::BookSummary;
use protocol::ids::SubjectToken;
use protocol::report::BookReport;
use tokio::sync::Notify;

/// One book's word.
#[derive(Debug, Clone)]
pub struct RegistryEntry {
    /// Equity, position, trades.
    pub summary: BookSummary,
    /// All of it; none of a book that was never recovered.
    pub report: Option<BookReport>,
    /// Nothing open, nothing pending: may be given away.
    pub flat: bool,
    /// Recovered and following the market; a halted book counts, it will get no readier.
    pub ready: bool,
}

/// Shared by all books of a process.
#[derive(Debug, Default)]
pub struct BookRegistry {
    entries: Mutex<BTreeMap<SubjectToken, RegistryEntry>>,
    changed: Notify,
}

impl BookRegistry {
    /// Replaces what a book said.
    pub fn put(&self, symbol: &SubjectToken, entry: RegistryEntry) {
        self.entries().insert(symbol.clone(), entry);
        self.changed.notify_one();
    }

    /// Forgets a book that is no longer ours.
    pub fn remove(&self, symbol: &SubjectToken) {
        self.entries().remove(symbol);
        self.changed.notify_one();
    }

    /// Whether the book may be given away. One that has said nothing yet may not.
    pub fn is_flat(&self, symbol: &SubjectToken) -> bool {
        self.entries().get(symbol).is_some_and(|entry| entry.flat)
    }

    /// Whether all of these books are ready.
    pub fn are_ready<'a>(&self, mut symbols: impl Iterator<Item = &'a SubjectToken>) -> bool {
        let entries = self.entries();
        symbols.all(|symbol| entries.get(symbol).is_some_and(|entry| entry.ready))
    }

    /// All books, by symbol.
    pub fn summaries(&self) -> Vec<BookSummary> {
        let entries = self.entries();
        entries.values().map(|e| e.summary.clone()).collect()
    }

    /// The reports of all books that have one.
    pub fn reports(&self) -> Vec<(SubjectToken, BookReport)> {
        let entries = self.entries();
        let reports = entries.iter().map(|(s, e)| (s.clone(), e.report.clone()));
        reports.filter_map(|(s, r)| r.map(|r| (s, r))).collect()
    }

    /// Whether no book has anything open or pending that it still manages.
    pub fn has_nothing_open(&self) -> bool {
        let entries = self.entries();
        entries
            .values()
            .all(|e| e.flat || e.summary.halt_reason.is_some())
    }

    /// Waits for the next change. For one listener.
    pub async fn wait_for_change(&self) {
        self.changed.notified().await;
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<SubjectToken, RegistryEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
