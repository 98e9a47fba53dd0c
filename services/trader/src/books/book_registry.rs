//! The newest state of every book of this process: for heartbeats, the health check, metrics and the assignment of
//! books.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use protocol::event::PositionSide;
use protocol::heartbeat::BookSummary;
use protocol::ids::SubjectToken;
use protocol::report::BookReport;
use protocol::time::UtcMs;
use tokio::sync::Notify;
use trader_core::book::{BookState, required_stop};
use trader_core::fixed_point::Price;

/// The stop that a position in a book's symbol must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopRequirement {
    /// The book cannot have a position: one in the symbol is another client's.
    NoPosition,
    /// The book has, or may have, a position of this side.
    At {
        /// Side of the position.
        side: PositionSide,
        /// Price of its stop in the quote currency.
        price: Price,
    },
    /// The book's journal cannot be read: a position may be its own.
    Unknown,
}

impl StopRequirement {
    /// The stop that a book of this state requires.
    pub fn of(state: &BookState, now: UtcMs) -> Self {
        let required = required_stop(state, now);
        required.map_or(Self::NoPosition, |(side, price)| Self::At { side, price })
    }
}

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
    /// Why the book waits before it can follow the market, in one line; `None` if it does not. The others do not wait
    /// for it.
    pub waits_for: Option<String>,
    /// The stop that a position must have.
    pub stop: StopRequirement,
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

    /// Whether each of these books is ready, or waits for something that does not concern the others, and not all wait.
    pub fn are_ready<'a>(&self, symbols: impl Iterator<Item = &'a SubjectToken>) -> bool {
        let entries = self.entries();
        let (mut ready, mut waiting) = (0, 0);
        for symbol in symbols {
            match entries.get(symbol) {
                Some(entry) if entry.ready => ready += 1,
                Some(entry) if entry.waits_for.is_some() => waiting += 1,
                Some(_) | None => return false,
            }
        }
        ready > 0 || waiting == 0
    }

    /// The stop that a position in each book's symbol must have.
    pub fn stop_requirements(&self) -> BTreeMap<SubjectToken, StopRequirement> {
        let entries = self.entries();
        let stops = entries
            .iter()
            .map(|(symbol, entry)| (symbol.clone(), entry.stop));
        stops.collect()
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

    /// Each book that does not trade, with the reason.
    pub fn idle_books(&self) -> Vec<(SubjectToken, String)> {
        let entries = self.entries();
        let idle = entries.iter().filter_map(|(symbol, entry)| {
            let halted = entry.summary.halt_reason.as_ref();
            let halted = halted.map(|reason| format!("halted: {reason}"));
            let waits = entry.waits_for.as_ref();
            let reason = halted.or_else(|| waits.map(|reason| format!("waits: {reason}")))?;
            Some((symbol.clone(), reason))
        });
        idle.collect()
    }

    /// What the first of the waiting books waits for; `None` if none waits.
    pub fn first_wait(&self) -> Option<String> {
        let entries = self.entries();
        entries.values().find_map(|entry| entry.waits_for.clone())
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

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;

    fn entry(ready: bool, waits_for: Option<&str>, halt_reason: Option<&str>) -> RegistryEntry {
        RegistryEntry {
            summary: BookSummary {
                book: "paper.binance-usdm.x.BTCUSDT".parse().unwrap(),
                equity: Decimal::ZERO,
                position_quantity: Decimal::ZERO,
                trades: 0,
                halt_reason: halt_reason.map(str::to_owned),
            },
            report: None,
            flat: true,
            ready,
            waits_for: waits_for.map(str::to_owned),
            stop: StopRequirement::NoPosition,
        }
    }

    #[test]
    fn books_do_not_wait_for_one_that_waits_for_its_symbol() {
        let registry = BookRegistry::default();
        let [first, second]: [SubjectToken; 2] = ["A", "B"].map(|s| s.parse().unwrap());
        let are_ready = || registry.are_ready([&first, &second].into_iter());
        registry.put(&first, entry(false, Some("not listed"), None));
        assert!(!are_ready(), "the second is not recovered yet");
        registry.put(&second, entry(false, Some("not listed"), None));
        assert!(!are_ready(), "nothing trades");
        registry.put(&second, entry(true, None, None));
        assert!(are_ready());
        assert!(
            registry.are_ready([].into_iter()),
            "a process without books"
        );
        registry.put(&second, entry(true, None, Some("bug")));
        let idle = registry.idle_books();
        let idle: Vec<(&str, &str)> = idle.iter().map(|(s, r)| (s.as_str(), r.as_str())).collect();
        assert_eq!(idle, [("A", "waits: not listed"), ("B", "halted: bug")]);
    }
}
