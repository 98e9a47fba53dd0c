//! Which books are in a call to their brain right now. Such a call is code that waits for nothing, so one that
//! does not return holds its thread for good; who finds that out is `lookout`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::ids::BookKey;

/// A call under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Whose brain.
    pub book: BookKey,
    /// Sequence of the book's newest journal message when the call began.
    pub last_seq: u64,
}

/// Every call under way, by its number: no two of a process have the same.
#[derive(Debug, Default)]
pub struct Calls {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    under_way: BTreeMap<u64, Call>,
}

/// A call is under way for as long as this lives: never across an await.
#[derive(Debug)]
#[must_use]
pub struct UnderWay {
    calls: Arc<Calls>,
    number: u64,
}

impl Calls {
    /// Notes that a call begins.
    pub fn begin(self: &Arc<Self>, book: &BookKey, last_seq: u64) -> UnderWay {
        let mut table = self.table();
        table.last += 1;
        let number = table.last;
        let book = book.clone();
        table.under_way.insert(number, Call { book, last_seq });
        drop(table);
        UnderWay {
            calls: Arc::clone(self),
            number,
        }
    }

    /// All of them now.
    pub fn under_way(&self) -> BTreeMap<u64, Call> {
        self.table().under_way.clone()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.calls.table().under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_under_way_until_it_returns_or_panics() {
        let calls = Arc::<Calls>::default();
        let book: BookKey = "paper.venue.account.BTCUSDT".parse().unwrap();
        let first = calls.begin(&book, 7);
        let second = calls.begin(&book, 8);
        assert_eq!(calls.under_way().len(), 2);
        drop(first);
        let left = Call { book, last_seq: 8 };
        assert_eq!(calls.under_way().into_values().collect::<Vec<_>>(), [left]);
        let panicked = std::thread::spawn(move || {
            let _call = second;
            panic!("a bug in a brain");
        });
        assert!(panicked.join().is_err());
        assert!(calls.under_way().is_empty());
    }
}
