//! Responses that several handlers share.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::rest::error::ApiError;
use crate::rest::weight_limiter::retry_after;
use crate::trading::error::ExchangeError;
use crate::trading_service::TradingService;

/// Result of a handler.
pub(super) type JsonResult = Result<Json<Value>, ApiError>;

/// Response to a call that changes a setting.
pub(super) fn success() -> Json<Value> {
    Json(json!({"code": 200, "msg": "success"}))
}

/// Counts an order and executes it. The answer has the order count headers, also if the order is rejected: Binance
/// sends them with most rejections.
pub(super) async fn place_counted(
    trading_service: &TradingService,
    account: &str,
    place: impl Future<Output = Result<Value, ExchangeError>>,
) -> Response {
    let (counts, mut response) = match trading_service.count_order(account) {
        Err(refused) => (
            refused.counts,
            retry_after(refused.error.into(), refused.wait_ms),
        ),
        Ok(counts) => match place.await {
            Ok(answer) => (counts, Json(answer).into_response()),
            Err(error) => (counts, ApiError::from(error).into_response()),
        },
    };
    response.headers_mut().extend(order_count_headers(counts));
    response
}

/// Headers with the number of orders that the account has placed.
fn order_count_headers([in_ten, in_sixty]: [u32; 2]) -> HeaderMap {
    HeaderMap::from_iter([
        (
            HeaderName::from_static("x-mbx-order-count-10s"),
            HeaderValue::from(in_ten),
        ),
        (
            HeaderName::from_static("x-mbx-order-count-1m"),
            HeaderValue::from(in_sixty),
        ),
    ])
}
