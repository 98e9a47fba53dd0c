//! Number of orders that the account placed, as the exchange counts them. Near the limits entries wait for the
//! next window; orders that protect or close a position do not.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use binance_sdk::models::{Interval, RateLimitType, RestApiRateLimit};

use crate::weight_limiter::left;

/// Number of orders in ten seconds and in a minute after which no entry is sent. Binance allows 300 and 1,200;
/// the rest is for stops, targets and exits.
const TEN_SECONDS: u32 = 200;
const MINUTE: u32 = 900;

/// The time until which entries wait.
#[derive(Debug, Default)]
pub(super) struct OrderLimiter {
    entries_after: Mutex<Option<Instant>>,
}

impl OrderLimiter {
    /// How long no entry may be sent; `None` when entries may be sent.
    pub(super) fn closed_for(&self, now: Instant) -> Option<Duration> {
        left(*self.lock(), now)
    }

    /// Takes in the order counts of an answer.
    pub(super) fn counted<'a>(
        &self,
        counts: impl Iterator<Item = &'a RestApiRateLimit>,
        now: Instant,
    ) {
        let pause = counts
            .filter(|count| count.rate_limit_type == RateLimitType::Orders)
            .filter_map(pause_for)
            .max();
        if let Some(pause) = pause {
            let mut after = self.lock();
            *after = (*after).max(now.checked_add(pause));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.entries_after
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Length of this window if it is nearly full; `None` otherwise.
fn pause_for(count: &RestApiRateLimit) -> Option<Duration> {
    let (most, window) = match (&count.interval, count.interval_num) {
        (Interval::Second, 10) => (TEN_SECONDS, Duration::from_secs(10)),
        (Interval::Minute, 1) => (MINUTE, Duration::from_mins(1)),
        _ => return None,
    };
    (count.count >= most).then_some(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(interval: Interval, interval_num: u32, count: u32) -> RestApiRateLimit {
        RestApiRateLimit {
            rate_limit_type: RateLimitType::Orders,
            interval,
            interval_num,
            count,
            retry_after: None,
        }
    }

    #[test]
    fn entries_wait_for_the_next_window_once_one_is_nearly_full() {
        let (limiter, now) = (OrderLimiter::default(), Instant::now());
        let few = [
            orders(Interval::Second, 10, 199),
            orders(Interval::Minute, 1, 899),
        ];
        limiter.counted(few.iter(), now);
        assert_eq!(limiter.closed_for(now), None);
        limiter.counted([orders(Interval::Second, 10, 200)].iter(), now);
        assert_eq!(limiter.closed_for(now), Some(Duration::from_secs(10)));
        limiter.counted([orders(Interval::Minute, 1, 900)].iter(), now);
        assert_eq!(limiter.closed_for(now), Some(Duration::from_mins(1)));
        assert_eq!(limiter.closed_for(now + Duration::from_mins(1)), None);
    }
}
