//! Request weights: what each call costs, how much an address has used in this minute of wall time,
//! and the refusal when it is too much. Bans (418) are not simulated.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::klines;

const USED: &str = "x-mbx-used-weight-1m";
const MINUTE_MS: i64 = 60_000;

/// The weight used by each address.
pub(super) struct Weights {
    limit: u32,
    minute: Mutex<Minute>,
}

#[derive(Default)]
struct Minute {
    index: i64,
    used: HashMap<IpAddr, u32>,
}

impl Weights {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            minute: Mutex::default(),
        }
    }

    /// Counts `weight` for `ip` at `wall_ms` and returns what it has used in this minute.
    fn count(&self, ip: IpAddr, weight: u32, wall_ms: i64) -> u32 {
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        let index = wall_ms.div_euclid(MINUTE_MS);
        if minute.index != index {
            minute.index = index;
            minute.used.clear();
        }
        let used = minute.used.entry(ip).or_default();
        *used = used.saturating_add(weight);
        *used
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
    let used = weights.count(peer.ip(), cost(request.uri()), wall_ms);
    let mut response = if used > weights.limit {
        refuse(peer.ip(), weights.limit, wall_ms)
    } else {
        next.run(request).await
    };
    response.headers_mut().insert(USED, HeaderValue::from(used));
    response
}

fn refuse(ip: IpAddr, limit: u32, wall_ms: i64) -> Response {
    let mut response = ApiError::too_many_requests(&ip.to_string(), limit).into_response();
    let seconds = (MINUTE_MS - wall_ms.rem_euclid(MINUTE_MS)) / 1_000 + 1;
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Binance's weight of a call: candles by how many are asked for, everything else here 1.
fn cost(uri: &Uri) -> u32 {
    if uri.path() != "/fapi/v1/klines" {
        return 1;
    }
    let limit = Query::<HashMap<String, String>>::try_from_uri(uri)
        .ok()
        .and_then(|query| query.get("limit")?.parse().ok())
        .unwrap_or(klines::DEFAULT_LIMIT);
    match limit {
        ..100 => 1,
        100..500 => 2,
        500..=1_000 => 5,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candles_cost_by_their_number() {
        for (limit, weight) in [
            ("?limit=99", 1),
            ("?limit=100", 2),
            ("?limit=499", 2),
            ("?symbol=BTCUSDT", 5),
            ("?limit=1000", 5),
            ("?limit=1001", 10),
            ("?limit=1500", 10),
        ] {
            let uri: Uri = format!("/fapi/v1/klines{limit}").parse().unwrap();
            assert_eq!(cost(&uri), weight, "{limit}");
        }
        assert_eq!(cost(&Uri::from_static("/fapi/v1/time")), 1);
    }

    #[test]
    fn each_address_has_its_own_sum_and_each_minute_begins_at_zero() {
        let weights = Weights::new(10);
        let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        assert_eq!(weights.count(one, 7, 59_999), 7);
        assert_eq!(weights.count(two, 1, 59_999), 1);
        assert_eq!(weights.count(one, 7, 59_999), 14);
        assert_eq!(weights.count(one, 1, 60_000), 1);
    }
}
