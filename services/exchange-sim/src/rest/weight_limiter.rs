//! Request weights by address and minute of wall time: the count, the rejection above the limit, and the ban of
//! clients that ignore it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::call_key::FAULT_API_PATH;
use super::error::ApiError;
use super::weight_table::request_weight;
use crate::connection::Peer;
use crate::exchange::Limits;

const USED_WEIGHT_HEADER: &str = "x-mbx-used-weight-1m";
const MINUTE_MS: i64 = 60_000;
/// Duration of a ban in wall time: Binance's shortest.
const BAN_MS: i64 = 2 * MINUTE_MS;

/// Weight used by each address.
pub(super) struct WeightLimiter {
    limit: u32,
    rejections_before_ban: u32,
    minute: Mutex<MinuteUsage>,
}

#[derive(Default)]
struct MinuteUsage {
    index: i64,
    used: HashMap<IpAddr, u32>,
    rejections: HashMap<IpAddr, u32>,
    banned: HashMap<IpAddr, i64>,
    /// Weight that a fault counts for every address in this minute.
    exhausted: u32,
    /// End of a ban of every address by a fault, UTC ms.
    all_banned_until: i64,
}

/// Decision about a call.
#[derive(Debug, PartialEq, Eq)]
enum WeightDecision {
    Allowed,
    Rejected,
    Banned { until_ms: i64 },
}

impl WeightLimiter {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limit: limits.weight_per_minute,
            rejections_before_ban: limits.rejections_before_ban,
            minute: Mutex::default(),
        }
    }

    /// Adds the weight of a call of `ip` at `wall_ms`; returns the weight used in this minute and the decision.
    fn count_request(&self, ip: IpAddr, weight: u32, wall_ms: i64) -> (u32, WeightDecision) {
        let mut minute = self.lock();
        minute.roll_over(wall_ms);
        let of_address = minute.used.entry(ip).or_default();
        *of_address = of_address.saturating_add(weight);
        let used = of_address.saturating_add(minute.exhausted);
        if wall_ms < minute.all_banned_until {
            let until_ms = minute.all_banned_until;
            return (used, WeightDecision::Banned { until_ms });
        }
        if let Some(until_ms) = minute.banned.get(&ip).copied() {
            return (used, WeightDecision::Banned { until_ms });
        }
        if used <= self.limit {
            return (used, WeightDecision::Allowed);
        }
        let refused = minute.rejections.entry(ip).or_default();
        *refused += 1;
        if *refused > self.rejections_before_ban {
            minute.banned.insert(ip, wall_ms + BAN_MS);
        }
        (used, WeightDecision::Rejected)
    }

    /// Leaves every address this weight until the end of the minute; returns the time until then in milliseconds.
    pub(super) fn exhaust(&self, left: u32, wall_ms: i64) -> i64 {
        let mut minute = self.lock();
        minute.roll_over(wall_ms);
        minute.used.clear();
        minute.exhausted = self.limit.saturating_sub(left);
        MINUTE_MS - wall_ms.rem_euclid(MINUTE_MS)
    }

    /// Bans every address for this time.
    pub(super) fn ban_all(&self, wall_ms: i64, ms: u64) {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        self.lock().all_banned_until = wall_ms.saturating_add(ms);
    }

    /// Forgets all weights and bans.
    pub(super) fn reset(&self) {
        *self.lock() = MinuteUsage::default();
    }

    fn lock(&self) -> MutexGuard<'_, MinuteUsage> {
        self.minute.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MinuteUsage {
    fn roll_over(&mut self, wall_ms: i64) {
        self.banned.retain(|_, until| *until > wall_ms);
        let index = wall_ms.div_euclid(MINUTE_MS);
        if self.index != index {
            self.index = index;
            self.used.clear();
            self.rejections.clear();
            self.exhausted = 0;
        }
    }
}

/// Counts a request before it is served, and writes the sum into the response header.
pub(super) async fn limit_weight(
    State(limiter): State<Arc<WeightLimiter>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path() == FAULT_API_PATH {
        return next.run(request).await;
    }
    let wall_ms = runtime::clock::now().0;
    let weight = request_weight(request.method(), request.uri());
    let ip = peer.address.ip();
    let (used, decision) = limiter.count_request(ip, weight, wall_ms);
    let mut response = match decision {
        WeightDecision::Allowed => next.run(request).await,
        WeightDecision::Rejected => {
            let refused = ApiError::too_many_requests(&ip.to_string(), limiter.limit);
            retry_after(refused, MINUTE_MS - wall_ms.rem_euclid(MINUTE_MS))
        }
        WeightDecision::Banned { until_ms } => retry_after(
            ApiError::banned(&ip.to_string(), until_ms),
            until_ms - wall_ms,
        ),
    };
    response
        .headers_mut()
        .insert(USED_WEIGHT_HEADER, HeaderValue::from(used));
    response
}

/// A rejection with the header `Retry-After`.
pub(super) fn retry_after(refused: ApiError, wait_ms: i64) -> Response {
    let mut response = refused.into_response();
    let seconds = HeaderValue::from(wait_ms / 1_000 + 1);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(limit: u32) -> WeightLimiter {
        WeightLimiter::new(Limits {
            weight_per_minute: limit,
            rejections_before_ban: 1,
            ..Limits::default()
        })
    }

    #[test]
    fn each_address_has_its_own_weight_and_each_minute_starts_at_zero() {
        let weights = limiter(10);
        let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert_eq!(
            weights.count_request(one, 7, 59_999),
            (7, WeightDecision::Allowed)
        );
        assert_eq!(
            weights.count_request(two, 1, 59_999),
            (1, WeightDecision::Allowed)
        );
        assert_eq!(
            weights.count_request(one, 7, 59_999),
            (14, WeightDecision::Rejected)
        );
        assert_eq!(
            weights.count_request(one, 1, 60_000),
            (1, WeightDecision::Allowed)
        );
    }

    #[test]
    fn address_is_banned_for_two_minutes_after_repeated_rejections() {
        let weights = limiter(1);
        let one = [10, 0, 0, 1].into();
        assert_eq!(weights.count_request(one, 2, 0).1, WeightDecision::Rejected);
        assert_eq!(weights.count_request(one, 2, 1).1, WeightDecision::Rejected);
        let banned = WeightDecision::Banned { until_ms: 120_001 };
        assert_eq!(weights.count_request(one, 1, 60_000).1, banned);
        assert_eq!(
            weights.count_request(one, 1, 120_001).1,
            WeightDecision::Allowed
        );
    }

    #[test]
    fn exhausted_weight_ends_with_the_minute_and_a_ban_of_all_with_its_time() {
        let weights = limiter(10);
        let one = [10, 0, 0, 1].into();
        weights.exhaust(3, 0);
        assert_eq!(
            weights.count_request(one, 3, 1),
            (10, WeightDecision::Allowed)
        );
        assert_eq!(
            weights.count_request(one, 1, 2),
            (11, WeightDecision::Rejected)
        );
        assert_eq!(
            weights.count_request(one, 1, 60_000),
            (1, WeightDecision::Allowed)
        );
        weights.ban_all(60_000, 5_000);
        let banned = WeightDecision::Banned { until_ms: 65_000 };
        assert_eq!(weights.count_request(one, 1, 64_999).1, banned);
        assert_eq!(
            weights.count_request(one, 1, 65_000).1,
            WeightDecision::Allowed
        );
    }
}
