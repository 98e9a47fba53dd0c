//! Order limits: number of orders of each account within 10 seconds and a minute of wall time, and the rejection
//! above the limit.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::exchange::Limits;
use crate::trading::error::ExchangeError;

/// Lengths of the two windows, in milliseconds.
const WINDOWS_MS: [i64; 2] = [10_000, 60_000];
const WINDOW_NAMES: [&str; 2] = ["10 SECOND", "1 MINUTE"];

/// Orders counted by account.
pub(crate) struct OrderLimiter {
    limits: [u32; 2],
    windows: Mutex<Windows>,
}

/// Number of a window and the orders counted in it, for both windows.
type Counts = [(i64, u32); 2];

/// A window in which orders are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderWindow {
    TenSeconds,
    Minute,
}

impl OrderWindow {
    const fn of(self, [ten_seconds, minute]: &mut Counts) -> &mut (i64, u32) {
        match self {
            Self::TenSeconds => ten_seconds,
            Self::Minute => minute,
        }
    }
}

#[derive(Default)]
struct Windows {
    by_account: HashMap<String, Counts>,
    /// Orders that a fault counts for every account.
    exhausted: Counts,
}

/// An order above a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TooManyOrders {
    /// Number of orders in each window.
    pub(crate) counts: [u32; 2],
    /// Time until the window ends, in milliseconds.
    pub(crate) wait_ms: i64,
    pub(crate) error: ExchangeError,
}

impl OrderLimiter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits: [limits.orders_per_10s, limits.orders_per_minute],
            windows: Mutex::default(),
        }
    }

    /// Counts one order; returns the number of orders in each window.
    ///
    /// # Errors
    /// [`TooManyOrders`] if a window is full; the order is not counted.
    pub(crate) fn count_order(
        &self,
        account: &str,
        wall_ms: i64,
    ) -> Result<[u32; 2], TooManyOrders> {
        let windows = &mut *self.lock();
        let exhausted = windows.exhausted;
        let spans = windows.by_account.entry(account.to_owned()).or_default();
        for (span, (index, count)) in WINDOWS_MS.into_iter().zip(spans.iter_mut()) {
            let now = wall_ms.div_euclid(span);
            *count = if *index == now { *count } else { 0 };
            *index = now;
        }
        let total = |spans: &Counts| {
            let mut counts = spans.map(|(_, count)| count);
            for (count, (own, by_fault)) in counts.iter_mut().zip(spans.iter().zip(exhausted)) {
                if own.0 == by_fault.0 {
                    *count = count.saturating_add(by_fault.1);
                }
            }
            counts
        };
        let limits = self.limits.into_iter().zip(WINDOW_NAMES).zip(WINDOWS_MS);
        for (count, ((most, name), span)) in total(spans).into_iter().zip(limits) {
            if count >= most {
                let message =
                    format!("Too many new orders; current limit is {most} orders per {name}.");
                return Err(TooManyOrders {
                    counts: total(spans),
                    wait_ms: span - wall_ms.rem_euclid(span),
                    error: ExchangeError::new(-1015, message),
                });
            }
        }
        for (_, count) in spans.iter_mut() {
            *count += 1;
        }
        Ok(total(spans))
    }

    /// Leaves every account this number of orders until a window ends; returns the time until then in milliseconds.
    pub(crate) fn exhaust(&self, window: OrderWindow, left: u32, wall_ms: i64) -> i64 {
        let windows = &mut *self.lock();
        let [ten_seconds, minute] = WINDOWS_MS;
        let [limit_of_ten, limit_of_minute] = self.limits;
        let (span, limit) = match window {
            OrderWindow::TenSeconds => (ten_seconds, limit_of_ten),
            OrderWindow::Minute => (minute, limit_of_minute),
        };
        for counts in windows.by_account.values_mut() {
            window.of(counts).1 = 0;
        }
        *window.of(&mut windows.exhausted) = (wall_ms.div_euclid(span), limit.saturating_sub(left));
        span - wall_ms.rem_euclid(span)
    }

    /// Forgets the orders that were counted so far.
    pub(crate) fn reset(&self) {
        *self.lock() = Windows::default();
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_has_its_own_limit_and_restarts_at_zero() {
        let counts = OrderLimiter::new(Limits {
            orders_per_10s: 2,
            orders_per_minute: 3,
            ..Limits::default()
        });
        let count = |ms| counts.count_order("a", ms).map_err(|r| r.error.message);
        assert_eq!(count(60_000), Ok([1, 1]));
        assert_eq!(count(60_001), Ok([2, 2]));
        assert!(
            count(60_002)
                .unwrap_err()
                .contains("2 orders per 10 SECOND")
        );
        assert_eq!(counts.count_order("b", 60_002), Ok([1, 1]));
        assert_eq!(count(70_000), Ok([1, 3]));
        assert!(count(70_001).unwrap_err().contains("3 orders per 1 MINUTE"));
        assert_eq!(count(120_000), Ok([1, 1]));
    }

    #[test]
    fn exhausted_window_rejects_until_it_ends_and_leaves_the_other_one() {
        let counts = OrderLimiter::new(Limits {
            orders_per_10s: 5,
            orders_per_minute: 9,
            ..Limits::default()
        });
        counts.exhaust(OrderWindow::TenSeconds, 1, 3_000);
        assert_eq!(counts.count_order("a", 3_000), Ok([5, 1]));
        let refused = counts.count_order("a", 3_001).unwrap_err();
        assert_eq!((refused.counts, refused.wait_ms), ([5, 1], 6_999));
        assert_eq!(counts.count_order("a", 10_000), Ok([1, 2]));
        counts.exhaust(OrderWindow::Minute, 0, 10_000);
        let refused = counts.count_order("b", 10_001).unwrap_err();
        assert_eq!((refused.counts, refused.wait_ms), ([0, 9], 49_999));
        counts.reset();
        assert_eq!(counts.count_order("b", 10_002), Ok([1, 1]));
    }
}
