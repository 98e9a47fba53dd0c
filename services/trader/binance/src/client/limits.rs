//! The exchange's limits: request weight and orders. Entry point: [`Limits`]. It never waits: a call that must not
//! be made now receives the remaining time.
//!
//! The numbers come from the headers of the answers. Near a limit of our own, calls pause and leave a reserve to
//! calls that protect a position. Once the exchange refuses calls, all pause.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::time::UtcMs;
use reqwest::header::{HeaderMap, HeaderName};

use super::date;
use super::error::{Failure, LimitScope, Retry};

/// Weight per minute at which calls pause. Binance allows 2,400 per address; the rest is left to calls that protect a
/// position and to other processes behind the same address.
const HIGH_WATER: u32 = 1_900;
/// Orders in ten seconds and in a minute at which entries pause. Binance allows 300 and 1,200; the rest is for stops,
/// targets and exits.
const ORDERS_IN_TEN_SECONDS: u32 = 200;
const ORDERS_IN_A_MINUTE: u32 = 900;

const TEN_SECONDS: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_mins(1);
const MINUTE_MS: i64 = 60_000;

/// First pause of calls that protect a position when the exchange refused a call and stated no wait. Often it takes
/// orders again at once; each further refusal doubles the pause, because ignoring refusals leads to a ban.
const FIRST_VITAL_PAUSE: Duration = Duration::from_secs(2);

const USED_WEIGHT: HeaderName = HeaderName::from_static("x-mbx-used-weight-1m");
const ORDER_COUNTS: [(HeaderName, u32, Duration); 2] = [
    (
        HeaderName::from_static("x-mbx-order-count-10s"),
        ORDERS_IN_TEN_SECONDS,
        TEN_SECONDS,
    ),
    (
        HeaderName::from_static("x-mbx-order-count-1m"),
        ORDERS_IN_A_MINUTE,
        MINUTE,
    ),
];

/// Priority of a call within the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    /// Waits at the high-water mark, which keeps a reserve.
    #[default]
    Ordinary,
    /// Opens a position: waits also at the limit of orders.
    Entry,
    /// Protects or closes a position: waits only while the exchange refuses calls.
    Vital,
}

/// Pauses of calls from this address, and of orders of this account.
#[derive(Debug, Default)]
pub struct Limits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used_weight: u32,
    /// End of our own pause at the high-water mark.
    paused_until: Option<Instant>,
    /// End of the pause that a refusal demands of ordinary calls and entries.
    refused_until: Option<Instant>,
    /// The same of calls that protect a position.
    vital_refused_until: Option<Instant>,
    /// Refusals in a row that stated no wait.
    unstated: u32,
    entries_after: Option<Instant>,
}

impl Limits {
    /// How long no call of this priority may be made; `None` when it may be made.
    pub fn closed_for(&self, priority: Priority, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let ordinary = state.paused_until.max(state.refused_until);
        let until = match priority {
            Priority::Ordinary => ordinary,
            Priority::Entry => ordinary.max(state.entries_after),
            Priority::Vital => state.vital_refused_until,
        };
        until
            .map(|until| until.saturating_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    /// Request weight of the current minute, as the newest answer that stated one reported it.
    pub fn used_weight(&self) -> u32 {
        self.lock().used_weight
    }

    /// Takes in the headers of an answer. A header that is missing or unreadable changes nothing.
    pub(super) fn answered(&self, headers: &HeaderMap, now: Instant) {
        let mut state = self.lock();
        if let Some(weight) = number(headers, &USED_WEIGHT) {
            state.used_weight = weight;
            if weight >= HIGH_WATER {
                let pause = rest_of_the_minute(date::date_of(headers));
                state.paused_until = state.paused_until.max(now.checked_add(pause));
            }
        }
        for (name, most, window) in &ORDER_COUNTS {
            if number(headers, name).is_some_and(|count| count >= *most) {
                state.entries_after = state.entries_after.max(now.checked_add(*window));
            }
        }
    }

    /// Takes in the result of an answered call: `None` for a success.
    pub(super) fn judged(&self, failure: Option<&Failure>, now: Instant) {
        let mut state = self.lock();
        let (scope, stated, pause) = match failure {
            Some(limited @ Failure::Limited { scope, stated, .. }) => match limited.retry() {
                Retry::After(pause) => (scope, stated, pause),
                Retry::Soon | Retry::Never => return,
            },
            Some(_) => return,
            None => {
                state.unstated = 0;
                return;
            }
        };
        let until = now.checked_add(pause);
        if *scope == LimitScope::Orders {
            state.entries_after = state.entries_after.max(until);
            return;
        }
        state.refused_until = state.refused_until.max(until);
        let vital_pause = if stated.is_some() {
            pause
        } else {
            let doubled = 2_u32.saturating_pow(state.unstated);
            state.unstated = state.unstated.saturating_add(1);
            pause.min(FIRST_VITAL_PAUSE.saturating_mul(doubled))
        };
        state.vital_refused_until = state.vital_refused_until.max(now.checked_add(vital_pause));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u32> {
    date::text(headers, name)?.parse().ok()
}

/// The exchange counts weight by the minute of its clock. A whole minute if its date is not known.
fn rest_of_the_minute(date: Option<UtcMs>) -> Duration {
    let Some(date) = date else { return MINUTE };
    let left = MINUTE_MS - date.0.rem_euclid(MINUTE_MS);
    // The date has no milliseconds.
    Duration::from_millis(left.unsigned_abs()) + Duration::from_secs(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{DATE, HeaderValue};

    fn headers(pairs: &[(&str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    fn limited(scope: LimitScope, stated: Option<Duration>) -> Failure {
        Failure::Limited {
            status: 429,
            code: None,
            message: String::new(),
            scope,
            stated,
        }
    }

    const ALL: [Priority; 3] = [Priority::Ordinary, Priority::Entry, Priority::Vital];

    #[test]
    fn calls_pause_at_the_high_water_mark_and_continue_after_a_minute() {
        let (limits, now) = (Limits::default(), Instant::now());
        limits.answered(&headers(&[("x-mbx-used-weight-1m", "1899")]), now);
        assert_eq!(limits.closed_for(Priority::Ordinary, now), None);
        limits.answered(&headers(&[("X-MBX-USED-WEIGHT-1M", "1900")]), now);
        assert_eq!(limits.closed_for(Priority::Ordinary, now), Some(MINUTE));
        assert_eq!(limits.closed_for(Priority::Entry, now), Some(MINUTE));
        assert_eq!(
            limits.closed_for(Priority::Vital, now),
            None,
            "the reserve is for what protects"
        );
        assert_eq!(limits.closed_for(Priority::Ordinary, now + MINUTE), None);
    }

    #[test]
    fn pause_ends_with_the_exchanges_minute() {
        let (limits, now) = (Limits::default(), Instant::now());
        let mut full = headers(&[("x-mbx-used-weight-1m", "2300")]);
        full.insert(
            DATE,
            HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"),
        );
        limits.answered(&full, now);
        let left = limits.closed_for(Priority::Ordinary, now);
        assert_eq!(left, Some(Duration::from_secs(24)));
    }

    #[test]
    fn missing_and_unreadable_headers_keep_the_last_number() {
        let (limits, now) = (Limits::default(), Instant::now());
        for (value, used) in [
            (Some("17"), 17),
            (None, 17),
            (Some("many"), 17),
            (Some("3"), 3),
        ] {
            let pairs: Vec<_> = value
                .map(|v| ("x-mbx-used-weight-1m", v))
                .into_iter()
                .collect();
            limits.answered(&headers(&pairs), now);
            assert_eq!(limits.used_weight(), used, "{value:?}");
        }
    }

    #[test]
    fn entries_wait_for_the_next_window_once_one_is_nearly_full() {
        let (limits, now) = (Limits::default(), Instant::now());
        let counts = |ten, minute| {
            headers(&[
                ("x-mbx-order-count-10s", ten),
                ("X-Mbx-Order-Count-1m", minute),
            ])
        };
        limits.answered(&counts("199", "899"), now);
        assert_eq!(limits.closed_for(Priority::Entry, now), None);
        limits.answered(&counts("200", "1"), now);
        assert_eq!(limits.closed_for(Priority::Entry, now), Some(TEN_SECONDS));
        limits.answered(&counts("1", "900"), now);
        assert_eq!(limits.closed_for(Priority::Entry, now), Some(MINUTE));
        assert_eq!(limits.closed_for(Priority::Ordinary, now), None);
        assert_eq!(limits.closed_for(Priority::Vital, now), None);
        assert_eq!(limits.closed_for(Priority::Entry, now + MINUTE), None);
    }

    #[test]
    fn a_shorter_pause_does_not_end_a_longer_one() {
        let (limits, now) = (Limits::default(), Instant::now());
        for seconds in [120, 1] {
            let stated = Duration::from_secs(seconds);
            let refused = limited(LimitScope::Calls, Some(stated));
            limits.judged(Some(&refused), now);
        }
        for priority in ALL {
            let left = limits.closed_for(priority, now);
            assert_eq!(left, Some(Duration::from_mins(2)), "{priority:?}");
        }
    }

    #[test]
    fn refusal_without_a_wait_pauses_protecting_calls_only_shortly_at_first() {
        let (limits, now) = (Limits::default(), Instant::now());
        let refused = limited(LimitScope::Calls, None);
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            limits.judged(Some(&refused), now);
            assert_eq!(limits.closed_for(Priority::Ordinary, now), Some(MINUTE));
            let vital = limits.closed_for(Priority::Vital, now);
            assert_eq!(vital, Some(Duration::from_secs(seconds)));
        }
        let later = now + MINUTE;
        limits.judged(None, later);
        limits.judged(Some(&refused), later);
        let vital = limits.closed_for(Priority::Vital, later);
        assert_eq!(vital, Some(Duration::from_secs(2)), "a success resets it");
    }

    #[test]
    fn too_many_orders_pause_entries_only() {
        let (limits, now) = (Limits::default(), Instant::now());
        let refused = limited(LimitScope::Orders, None);
        limits.judged(Some(&refused), now);
        assert_eq!(limits.closed_for(Priority::Entry, now), Some(TEN_SECONDS));
        assert_eq!(limits.closed_for(Priority::Ordinary, now), None);
        assert_eq!(limits.closed_for(Priority::Vital, now), None);
    }
}
