//! Request weights: how much an address has used in this minute of wall time, the refusal when it is
//! too much, and the ban when it does not stop. Not here: what each call costs (`cost.rs`).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::cost::cost;
use super::error::ApiError;
use crate::exchange::Limits;

const USED: &str = "x-mbx-used-weight-1m";
const MINUTE_MS: i64 = 60_000;
/// How long a ban lasts, of wall time: the shortest of Binance's.
const BAN_MS: i64 = 2 * MINUTE_MS;

/// The weight used by each address.
pub(super) struct Weights {
    limit: u32,
    refusals: u32,
    minute: Mutex<Minute>,
}

#[derive(Default)]
struct Minute {
    index: i64,
    used: HashMap<IpAddr, u32>,
    refused: HashMap<IpAddr, u32>,
    banned: HashMap<IpAddr, i64>,
}

/// What becomes of a call.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Served,
    TooMuch,
    Banned { until_ms: i64 },
}

impl Weights {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limit: limits.weight_per_minute,
            refusals: limits.refusals_before_ban,
            minute: Mutex::default(),
        }
    }

    /// Counts `weight` for `ip` at `wall_ms`; what it has used in this minute, and what follows.
    fn count(&self, ip: IpAddr, weight: u32, wall_ms: i64) -> (u32, Verdict) {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        minute.turn(wall_ms);
        let used = minute.used.entry(ip).or_default();
        *used = used.saturating_add(weight);
        let used = *used;
        if let Some(until_ms) = minute.banned.get(&ip).copied() {
            return (used, Verdict::Banned { until_ms });
        }
        if used <= self.limit {
            return (used, Verdict::Served);
        }
        let refused = minute.refused.entry(ip).or_default();
        *refused += 1;
        if *refused > self.refusals {
            minute.banned.insert(ip, wall_ms + BAN_MS);
        }
        (used, Verdict::TooMuch)
    }
}

impl Minute {
    fn turn(&mut self, wall_ms: i64) {
        self.banned.retain(|_, until| *until > wall_ms);
        let index = wall_ms.div_euclid(MINUTE_MS);
        if self.index != index {
            self.index = index;
            self.used.clear();
            self.refused.clear();
        }
    }
}

/// Weighs a request before it is served and writes the sum into the answer's header.
pub(super) async fn weigh(
    State(weights): State<Arc<Weights>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let wall_ms = runtime::clock::now().0;
    let weight = cost(request.method(), request.uri());
    let ip = peer.ip();
    let (used, verdict) = weights.count(ip, weight, wall_ms);
    let mut response = match verdict {
        Verdict::Served => next.run(request).await,
        Verdict::TooMuch => {
            let refused = ApiError::too_many_requests(&ip.to_string(), weights.limit);
            retry_after(refused, MINUTE_MS - wall_ms.rem_euclid(MINUTE_MS))
        }
        Verdict::Banned { until_ms } => retry_after(
            ApiError::banned(&ip.to_string(), until_ms),
            until_ms - wall_ms,
        ),
    };
    response.headers_mut().insert(USED, HeaderValue::from(used));
    response
}

/// A refusal that says when to come again.
pub(super) fn retry_after(refused: ApiError, wait_ms: i64) -> Response {
    let mut response = refused.into_response();
    let seconds = HeaderValue::from(wait_ms / 1_000 + 1);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(limit: u32) -> Weights {
        Weights::new(Limits {
            weight_per_minute: limit,
            refusals_before_ban: 1,
            ..Limits::default()
        })
    }

    #[test]
    fn each_address_has_its_own_sum_and_each_minute_begins_at_zero() {
        let weights = weights(10);
        let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert_eq!(weights.count(one, 7, 59_999), (7, Verdict::Served));
        assert_eq!(weights.count(two, 1, 59_999), (1, Verdict::Served));
        assert_eq!(weights.count(one, 7, 59_999), (14, Verdict::TooMuch));
        assert_eq!(weights.count(one, 1, 60_000), (1, Verdict::Served));
    }

    #[test]
    fn who_goes_on_after_refusals_is_banned_for_two_minutes() {
        let weights = weights(1);
        let one = [10, 0, 0, 1].into();
        assert_eq!(weights.count(one, 2, 0).1, Verdict::TooMuch);
        assert_eq!(weights.count(one, 2, 1).1, Verdict::TooMuch);
        let banned = Verdict::Banned { until_ms: 120_001 };
        assert_eq!(weights.count(one, 1, 60_000).1, banned);
        assert_eq!(weights.count(one, 1, 120_001).1, Verdict::Served);
    }
}
