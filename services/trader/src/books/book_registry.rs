//! The newest state of every book of this process: for heartbeats, the health check, metrics and the assignment of
//! books.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::heartbeat::BookSummary;
use protocol::ids::SubjectToken;
use protocol::report::BookReport;
use tokio::sync::Notify;

/// The newest state of one book.
#[derive(Debug, Clone)]
pub struct RegistryEntry {
    /// The book's part of a heartbeat.
    pub summary: BookSummary,
    /// The book's report; `None` for a book that was not recovered.
    pub report: Option<BookReport>,
    /// Nothing is open or pending: the book may be relinquished.
    pub flat: bool,
    /// The book is recovered and follows the market, or it is halted.
    pub ready: bool,
}

/// Shared by all books of a process.
#[derive(Debug, Default)]
pub struct BookRegistry {
    entries: Mutex<BTreeMap<SubjectToken, RegistryEntry>>,
    /// Symbols whose signal was too old when the book was ready to judge it.
    missed_signals: Mutex<BTreeSet<SubjectToken>>,
    changed: Notify,
}

impl BookRegistry {
    /// Replaces the state of a book.
    pub fn put(&self, symbol: &SubjectToken, entry: RegistryEntry) {
        self.entries().insert(symbol.clone(), entry);
        self.changed.notify_one();
    }

    /// Notes that a signal was missed because the book was not ready in time.
    pub fn note_missed_signal(&self, symbol: &SubjectToken) {
        let missed = self.missed_signals.lock();
        let mut missed = missed.unwrap_or_else(PoisonError::into_inner);
        missed.insert(symbol.clone());
    }

    /// The symbols whose signal was missed while the process started, sorted.
    pub fn missed_signals(&self) -> Vec<SubjectToken> {
        let missed = self.missed_signals.lock();
        let missed = missed.unwrap_or_else(PoisonError::into_inner);
        missed.iter().cloned().collect()
    }

    /// Removes a book that this process does not hold any more.
    pub fn remove(&self, symbol: &SubjectToken) {
        self.entries().remove(symbol);
        self.changed.notify_one();
    }

    /// Whether the book is flat. False for a book that is not registered yet.
    pub fn is_flat(&self, symbol: &SubjectToken) -> bool {
        self.entries().get(symbol).is_some_and(|entry| entry.flat)
    }

    /// Whether all of these books are ready.
    pub fn are_ready<'a>(&self, mut symbols: impl Iterator<Item = &'a SubjectToken>) -> bool {
        let entries = self.entries();
        symbols.all(|symbol| entries.get(symbol).is_some_and(|entry| entry.ready))
    }

    /// The summaries of all books, by symbol.
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

    /// Whether every book is flat or halted.
    pub fn has_nothing_open(&self) -> bool {
        let entries = self.entries();
        entries
            .values()
            .all(|e| e.flat || e.summary.halt_reason.is_some())
    }

    /// Waits for the next change. For one waiter only.
    pub async fn wait_for_change(&self) {
        self.changed.notified().await;
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<SubjectToken, RegistryEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
