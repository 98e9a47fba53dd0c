//! Order limits: number of orders of each account within 10 seconds and a minute of wall time, and the rejection
//! above the limit.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::exchange::Limits;
use crate::trading::error::ExchangeError;

/// Lengths of the two windows, in milliseconds.
const WINDOWS_MS: [i64; 2] = [10_000, 60_000];
const WINDOW_NAMES: [&str; 2] = ["10 SECOND", "1 MINUTE"];

/// Orders counted by account.
pub(crate) struct OrderLimiter {
    limits: [u32; 2],
    windows: Mutex<HashMap<String, [(i64, u32); 2]>>,
}

impl OrderLimiter {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits: [limits.orders_per_10s, limits.orders_per_minute],
            windows: Mutex::default(),
        }
    }

    /// Counts one order; returns the number of orders in each window.
    pub(crate) fn count_order(
        &self,
        account: &str,
        wall_ms: i64,
    ) -> Result<[u32; 2], ExchangeError> {
        let mut counted = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let spans = counted.entry(account.to_owned()).or_default();
        for (span, (index, count)) in WINDOWS_MS.into_iter().zip(spans.iter_mut()) {
            let now = wall_ms.div_euclid(span);
            *count = if *index == now { *count } else { 0 };
            *index = now;
        }
        for ((_, count), (most, name)) in
            spans.iter().zip(self.limits.into_iter().zip(WINDOW_NAMES))
        {
            if *count >= most {
                let message =
                    format!("Too many new orders; current limit is {most} orders per {name}.");
                return Err(ExchangeError::new(-1015, message));
            }
        }
        for (_, count) in spans.iter_mut() {
            *count += 1;
        }
        Ok(spans.map(|(_, count)| count))
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
        let count = |ms| counts.count_order("a", ms).map_err(|r| r.message);
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
}
