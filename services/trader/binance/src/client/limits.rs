//! The exchange's limits: request weight and orders, each with a budget of its own. Entry point: [`Limits`]. It never
//! waits: a call that must not be made now receives the remaining time.
//!
//! The numbers come from the headers of the answers, and calls that are not answered yet count too. Near a limit of our
//! own, queries and entries pause and leave a reserve to calls that protect a position. A refusal pauses the budget that
//! it concerns: one of an order holds back no query, one of a query holds back no stop. Only a ban pauses everything.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::time::UtcMs;
use reqwest::header::{HeaderMap, HeaderName};

use super::date;
use super::error::{FIRST_PAUSE_BY_FIREWALL, Failure, LimitScope, usual_pause};

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

/// Wait of a call for which only the calls in flight leave no room: the next answer makes some.
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(250);

/// First pause of calls that protect a position when the exchange refused a call and stated no wait. Often it takes
/// calls again at once; each further refusal doubles the pause, because ignoring refusals leads to a ban.
const FIRST_VITAL_PAUSE: Duration = Duration::from_secs(2);

/// Longest pause after a firewall's pages, which state nothing: of other calls, and of calls that protect a position.
const LONGEST_PAUSE_BY_FIREWALL: Duration = MINUTE;
const LONGEST_VITAL_PAUSE_BY_FIREWALL: Duration = Duration::from_secs(4);

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

/// Priority of a call within the limits, and the budget that it is counted in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Priority {
    /// A query that waits at the high-water mark, which keeps a reserve.
    #[default]
    Ordinary,
    /// A query or cancellation that protects a position: waits only while the exchange refuses queries.
    Vital,
    /// An order that opens a position: waits at the limit of orders, and whenever a query would wait. A position that
    /// cannot be queried is not worth its risk.
    Entry,
    /// An order that protects or closes a position: waits only while the exchange refuses orders.
    Protective,
}

impl Priority {
    /// Whether the call is counted as an order.
    const fn is_order(self) -> bool {
        matches!(self, Self::Entry | Self::Protective)
    }

    /// Whether the call may use the reserve.
    const fn has_reserve(self) -> bool {
        matches!(self, Self::Vital | Self::Protective)
    }
}

/// Pauses of calls from this address, and of orders of this account.
#[derive(Debug, Default)]
pub struct Limits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    used_weight: u32,
    /// Weight of the calls that are not answered yet.
    weight_in_flight: u32,
    /// End of our own pause at the high-water mark.
    paused_until: Option<Instant>,
    /// Newest order counts, in the order of [`ORDER_COUNTS`], and the entries that are not answered yet.
    order_counts: [u32; 2],
    orders_in_flight: u32,
    /// End of our own pause of entries.
    entries_after: Option<Instant>,
    queries: Refusals,
    orders: Refusals,
}

/// Pauses that refusals of one budget demand.
#[derive(Debug, Default)]
struct Refusals {
    until: Option<Instant>,
    /// The same of calls that protect a position.
    vital_until: Option<Instant>,
    /// Refusals in a row that stated no wait. Those of calls that were in flight when a pause began count once.
    unstated: u32,
    /// Whether the newest refusal was a firewall's page. An answered call shows that its block is over.
    is_by_firewall: bool,
}

impl Refusals {
    fn add(&mut self, refusal: Refusal, now: Instant) {
        self.is_by_firewall = refusal.status == 403;
        let (pause, vital_pause) = match refusal.stated {
            Some(stated) => (stated, stated),
            None => self.unstated_pauses(refusal.usual, now),
        };
        self.until = self.until.max(now.checked_add(pause));
        self.vital_until = self.vital_until.max(now.checked_add(vital_pause));
    }

    /// The pause after a refusal that stated none, and that of calls that protect a position.
    fn unstated_pauses(&mut self, usual: Duration, now: Instant) -> (Duration, Duration) {
        let is_paused = left(self.vital_until, now).is_some();
        if !is_paused || self.unstated == 0 {
            self.unstated = self.unstated.saturating_add(1);
        }
        let doubled = 2_u32.saturating_pow(self.unstated.saturating_sub(1));
        if self.is_by_firewall {
            let pause = FIRST_PAUSE_BY_FIREWALL.saturating_mul(doubled);
            return (
                pause.min(LONGEST_PAUSE_BY_FIREWALL),
                pause.min(LONGEST_VITAL_PAUSE_BY_FIREWALL),
            );
        }
        (usual, usual.min(FIRST_VITAL_PAUSE.saturating_mul(doubled)))
    }

    /// Notes an answered call.
    fn end(&mut self) {
        self.unstated = 0;
        if std::mem::take(&mut self.is_by_firewall) {
            self.until = None;
            self.vital_until = None;
        }
    }
}

/// One refusal of a budget.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    status: u16,
    /// The wait that it stated; `None` if it stated none.
    stated: Option<Duration>,
    /// The wait that is usual without a stated one.
    usual: Duration,
}

/// A call that is not answered yet. It counts until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    limits: &'a Limits,
    priority: Priority,
    weight: u32,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut state = self.limits.lock();
        if self.priority.is_order() {
            state.orders_in_flight = state.orders_in_flight.saturating_sub(1);
        } else {
            state.weight_in_flight = state.weight_in_flight.saturating_sub(self.weight);
        }
    }
}

impl State {
    fn closed_until(&self, priority: Priority) -> Option<Instant> {
        match priority {
            Priority::Ordinary => self.paused_until.max(self.queries.until),
            Priority::Vital => self.queries.vital_until,
            Priority::Entry => {
                let queries = self.paused_until.max(self.queries.until);
                queries.max(self.entries_after).max(self.orders.until)
            }
            Priority::Protective => self.orders.vital_until,
        }
    }

    /// Whether the calls in flight leave no room outside the reserve.
    fn is_full(&self, priority: Priority, weight: u32, now: Instant) -> bool {
        match priority {
            Priority::Vital | Priority::Protective => false,
            Priority::Ordinary => {
                // The number of the last minute says nothing after its pause.
                let is_old = self.paused_until.is_some_and(|until| until <= now);
                let used = if is_old { 0 } else { self.used_weight };
                let with_this = used
                    .saturating_add(self.weight_in_flight)
                    .saturating_add(weight);
                self.weight_in_flight > 0 && with_this > HIGH_WATER
            }
            Priority::Entry => {
                let in_flight = self.orders_in_flight;
                let most = [ORDERS_IN_TEN_SECONDS, ORDERS_IN_A_MINUTE];
                let mut counts = self.order_counts.iter().zip(most);
                let is_over = counts.any(|(count, most)| count.saturating_add(in_flight) >= most);
                in_flight > 0 && is_over
            }
        }
    }
}

impl Limits {
    /// How long no call of this priority may be made; `None` when it may be made.
    pub fn closed_for(&self, priority: Priority, now: Instant) -> Option<Duration> {
        left(self.lock().closed_until(priority), now)
    }

    /// Request weight of the current minute, as the newest answer that stated one reported it.
    pub fn used_weight(&self) -> u32 {
        self.lock().used_weight
    }

    /// Begins a call of this weight, which counts until the result is dropped.
    ///
    /// # Errors
    /// The time for which no such call may be made.
    pub(super) fn begin(
        &self,
        priority: Priority,
        weight: u32,
        now: Instant,
    ) -> Result<InFlight<'_>, Duration> {
        let mut state = self.lock();
        if let Some(left) = left(state.closed_until(priority), now) {
            return Err(left);
        }
        if !priority.has_reserve() && state.is_full(priority, weight, now) {
            return Err(IN_FLIGHT_PAUSE);
        }
        if priority.is_order() {
            state.orders_in_flight = state.orders_in_flight.saturating_add(1);
        } else {
            state.weight_in_flight = state.weight_in_flight.saturating_add(weight);
        }
        drop(state);
        Ok(InFlight {
            limits: self,
            priority,
            weight,
        })
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
        for (index, (name, most, window)) in ORDER_COUNTS.iter().enumerate() {
            let Some(count) = number(headers, name) else {
                continue;
            };
            if let Some(known) = state.order_counts.get_mut(index) {
                *known = count;
            }
            if count >= *most {
                state.entries_after = state.entries_after.max(now.checked_add(*window));
            }
        }
    }

    /// Takes in the result of an answered call of this priority: `None` for a success.
    pub(super) fn judged(&self, priority: Priority, failure: Option<&Failure>, now: Instant) {
        let mut state = self.lock();
        let (status, scope, stated) = match failure {
            Some(Failure::Limited {
                status,
                scope,
                stated,
                ..
            }) => (*status, *scope, *stated),
            Some(_) => return,
            None if priority.is_order() => {
                state.orders.end();
                return;
            }
            None => {
                state.queries.end();
                return;
            }
        };
        let of_orders = scope == LimitScope::Orders || priority.is_order();
        let concerned = if of_orders {
            LimitScope::Orders
        } else {
            LimitScope::Calls
        };
        let usual = usual_pause(status, concerned);
        let is_ban = status == 418;
        if scope == LimitScope::Orders && !is_ban {
            // The count of orders: it leaves room for those that protect, and their number is small.
            let until = now.checked_add(stated.unwrap_or(usual));
            state.entries_after = state.entries_after.max(until);
            return;
        }
        let refusal = Refusal {
            status,
            stated,
            usual,
        };
        if of_orders || is_ban {
            state.orders.add(refusal, now);
        }
        if !of_orders || is_ban {
            state.queries.add(refusal, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rest of a pause; `None` when it is over.
fn left(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until
        .map(|until| until.saturating_duration_since(now))
        .filter(|left| !left.is_zero())
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
#[path = "limits_tests.rs"]
mod tests;
