//! The order in which the books of a process warm up. Each warm-up costs request weight, and together they may cost more
//! than the exchange allows in a minute. Entry point: [`WarmUpQueue::enter`].

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use tokio::sync::Notify;

/// Warm-ups at the same time. More would not be faster: the weight limits them.
const CONCURRENT: usize = 4;

/// Place of a book in the queue. The least one is next.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WarmUpTicket {
    /// A book without a position can wait longer than one with a position.
    pub is_flat: bool,
    /// When the book's next bar closes: its signal is missed if the warm-up ends too late.
    pub next_close: UtcMs,
    /// Symbol of the book.
    pub symbol: SubjectToken,
}

/// Lets the books of a process warm up a few at a time, in the order of their tickets.
#[derive(Debug, Default)]
pub struct WarmUpQueue {
    state: Mutex<QueueState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: BTreeSet<WarmUpTicket>,
    running: usize,
}

/// The right to warm up, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct WarmUpPermit {
    queue: Arc<WarmUpQueue>,
}

/// A ticket in the queue; leaves it when dropped, also by a cancelled wait.
struct Waiting<'a> {
    queue: &'a WarmUpQueue,
    ticket: WarmUpTicket,
}

impl WarmUpQueue {
    /// Waits for the turn of this ticket. Cancel-safe.
    pub async fn enter(self: &Arc<Self>, ticket: WarmUpTicket) -> WarmUpPermit {
        self.state().waiting.insert(ticket.clone());
        let waiting = Waiting {
            queue: self,
            ticket,
        };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the check, so that no change is missed between the two.
            changed.as_mut().enable();
            if waiting.try_start() {
                return WarmUpPermit {
                    queue: Arc::clone(self),
                };
            }
            changed.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    fn try_start(&self) -> bool {
        let mut state = self.queue.state();
        let free = CONCURRENT.saturating_sub(state.running);
        let is_next = state.waiting.iter().take(free).any(|t| *t == self.ticket);
        if is_next {
            state.running += 1;
        }
        is_next
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.queue.state().waiting.remove(&self.ticket);
        self.queue.changed.notify_waiters();
    }
}

impl Drop for WarmUpPermit {
    fn drop(&mut self) {
        self.queue.state().running -= 1;
        self.queue.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ticket(symbol: &str, is_flat: bool, next_close: i64) -> WarmUpTicket {
        WarmUpTicket {
            is_flat,
            next_close: UtcMs(next_close),
            symbol: symbol.parse().unwrap(),
        }
    }

    #[tokio::test]
    async fn books_with_a_position_warm_up_first_then_those_whose_bar_closes_first() {
        let queue = Arc::<WarmUpQueue>::default();
        let mut running = Vec::new();
        for n in 0..CONCURRENT {
            let first = ticket(&format!("RUNNING{n}"), true, 0);
            running.push(queue.enter(first).await);
        }
        let order = Arc::<Mutex<Vec<String>>>::default();
        let mut tasks = tokio::task::JoinSet::new();
        for waiting in [
            ticket("C", true, 2),
            ticket("A", true, 2),
            ticket("LATE", false, 9),
            ticket("B", true, 1),
        ] {
            let (queue, order) = (Arc::clone(&queue), Arc::clone(&order));
            tasks.spawn(async move {
                let name = waiting.symbol.to_string();
                let permit = queue.enter(waiting).await;
                order.lock().unwrap().push(name);
                drop(permit);
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(order.lock().unwrap().is_empty(), "no permit is free");
        running.pop();
        while tasks.join_next().await.is_some() {}
        assert_eq!(*order.lock().unwrap(), ["LATE", "B", "A", "C"]);
    }

    #[tokio::test]
    async fn cancelled_wait_leaves_the_queue() {
        let queue = Arc::<WarmUpQueue>::default();
        let mut running = Vec::new();
        for n in 0..CONCURRENT {
            running.push(queue.enter(ticket(&format!("R{n}"), true, 0)).await);
        }
        let first = queue.enter(ticket("FIRST", false, 0));
        let cancelled = tokio::time::timeout(Duration::from_millis(20), first).await;
        assert!(cancelled.is_err());
        running.pop();
        let next = queue.enter(ticket("NEXT", true, 9));
        let permit = tokio::time::timeout(Duration::from_secs(5), next).await;
        assert!(permit.is_ok());
    }
}
