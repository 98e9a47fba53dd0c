//! Responses that several handlers share.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::rest::error::ApiError;

/// Result of a handler.
pub(super) type JsonResult = Result<Json<Value>, ApiError>;

/// Response to a call that changes a setting.
pub(super) fn success() -> Json<Value> {
    Json(json!({"code": 200, "msg": "success"}))
}

/// Headers with the number of orders that the account has placed.
pub(super) fn order_count_headers([in_ten, in_sixty]: [u32; 2]) -> HeaderMap {
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
