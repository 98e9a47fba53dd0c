//! Weights of the calls, as Binance publishes them.

use std::collections::HashMap;

use axum::extract::Query;
use axum::http::{Method, Uri};

use super::klines;

/// The weight of a call.
pub(super) fn request_weight(method: &Method, uri: &Uri) -> u32 {
    let query = Query::<HashMap<String, String>>::try_from_uri(uri);
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let limit = query.get("limit").and_then(|limit| limit.parse().ok());
    let all = !query.contains_key("symbol");
    let path = uri.path();
    let path = path.strip_prefix("/fapi/").unwrap_or(path);
    match (method.as_str(), path) {
        ("GET", "v1/klines") => klines_weight(limit.unwrap_or(klines::DEFAULT_LIMIT)),
        ("GET", "v1/depth") => depth_weight(limit.unwrap_or(500)),
        ("GET", "v1/openOrders" | "v1/openAlgoOrders" | "v1/ticker/24hr") if all => 40,
        ("GET", "v1/positionSide/dual" | "v1/multiAssetsMargin" | "v1/feeBurn" | "v1/income") => 30,
        ("GET", "v1/forceOrders") if all => 50,
        ("GET", "v1/commissionRate" | "v1/forceOrders") => 20,
        ("GET", "v1/premiumIndex") if all => 10,
        ("GET", "v1/ticker/bookTicker") => {
            if all {
                5
            } else {
                2
            }
        }
        ("GET", "v1/ticker/price" | "v2/ticker/price") if all => 2,
        (
            "GET",
            "v1/allOrders" | "v1/allAlgoOrders" | "v1/userTrades" | "v1/accountConfig"
            | "v1/symbolConfig" | "v2/account" | "v3/account" | "v2/balance" | "v3/balance"
            | "v2/positionRisk" | "v3/positionRisk",
        ) => 5,
        // New orders count against their own limit.
        ("POST", "v1/order" | "v1/algoOrder") => 0,
        _ => 1,
    }
}

const fn klines_weight(limit: usize) -> u32 {
    match limit {
        ..100 => 1,
        100..500 => 2,
        500..=1_000 => 5,
        _ => 10,
    }
}

const fn depth_weight(limit: usize) -> u32 {
    match limit {
        ..=50 => 2,
        51..=100 => 5,
        101..=500 => 10,
        _ => 20,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_weights_are_the_published_ones() {
        for (method, uri, weight) in [
            (Method::GET, "/fapi/v1/klines?limit=99", 1),
            (Method::GET, "/fapi/v1/klines?limit=100", 2),
            (Method::GET, "/fapi/v1/klines?limit=499", 2),
            (Method::GET, "/fapi/v1/klines?symbol=BTCUSDT", 5),
            (Method::GET, "/fapi/v1/klines?limit=1000", 5),
            (Method::GET, "/fapi/v1/klines?limit=1001", 10),
            (Method::GET, "/fapi/v1/klines?limit=1500", 10),
            (Method::GET, "/fapi/v1/time", 1),
            (Method::GET, "/fapi/v1/openOrders", 40),
            (Method::GET, "/fapi/v1/openOrders?symbol=BTCUSDT", 1),
            (Method::GET, "/fapi/v3/account", 5),
            (Method::POST, "/fapi/v1/order?symbol=BTCUSDT", 0),
            (Method::DELETE, "/fapi/v1/order?symbol=BTCUSDT", 1),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(request_weight(&method, &uri), weight, "{method} {uri}");
        }
    }
}
