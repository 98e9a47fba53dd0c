//! The calls to `trader_core` that are in flight. Such a call never waits, so a call that does not return blocks its
//! thread for good; `core_hang_detector` detects that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::ids::BookKey;

/// One call in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlightCall {
    /// The book that is decided on.
    pub book: BookKey,
    /// Sequence of the book's newest journal message when the call began.
    pub last_seq: u64,
}

/// Every call in flight, by a number that is unique in this process.
#[derive(Debug, Default)]
pub struct InFlightCalls {
    table: Mutex<CallTable>,
}

#[derive(Debug, Default)]
struct CallTable {
    last_id: u64,
    in_flight: BTreeMap<u64, InFlightCall>,
}

/// Marks a call as in flight until it is dropped. Never held across an await.
#[derive(Debug)]
#[must_use]
pub struct CallGuard {
    calls: Arc<InFlightCalls>,
    id: u64,
}

impl InFlightCalls {
    /// Registers a call of the core, until the returned guard is dropped.
    pub fn begin_call(self: &Arc<Self>, book: &BookKey, last_seq: u64) -> CallGuard {
        let mut table = self.table();
        table.last_id += 1;
        let number = table.last_id;
        let book = book.clone();
        table
            .in_flight
            .insert(number, InFlightCall { book, last_seq });
        drop(table);
        CallGuard {
            calls: Arc::clone(self),
            id: number,
        }
    }

    /// All calls in flight now.
    pub fn in_flight(&self) -> BTreeMap<u64, InFlightCall> {
        self.table().in_flight.clone()
    }

    fn table(&self) -> MutexGuard<'_, CallTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.calls.table().in_flight.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_is_in_flight_until_it_returns_or_panics() {
        let calls = Arc::<InFlightCalls>::default();
        let book: BookKey = "paper.venue.account.BTCUSDT".parse().unwrap();
        let first = calls.begin_call(&book, 7);
        let second = calls.begin_call(&book, 8);
        assert_eq!(calls.in_flight().len(), 2);
        drop(first);
        let left = InFlightCall { book, last_seq: 8 };
        assert_eq!(calls.in_flight().into_values().collect::<Vec<_>>(), [left]);
        let panicked = std::thread::spawn(move || {
            let _call = second;
            panic!("a bug in the core");
        });
        assert!(panicked.join().is_err());
        assert!(calls.in_flight().is_empty());
    }
}
