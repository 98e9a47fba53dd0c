//! Error responses of Binance: code, message and HTTP status.

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::trading::error::ExchangeError;

/// Error response with Binance's code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: i32,
    message: String,
}

impl ApiError {
    fn bad_request(code: i32, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            message: message.into(),
        }
    }

    /// A parameter is missing, empty or malformed.
    pub(super) fn malformed(parameter: &str) -> Self {
        Self::bad_request(
            -1102,
            format!(
                "Mandatory parameter '{parameter}' was not sent, was empty/null, or malformed."
            ),
        )
    }

    /// A parameter is out of range.
    pub(super) fn out_of_range(parameter: &str) -> Self {
        Self::bad_request(
            -1130,
            format!("Data sent for parameter '{parameter}' is not valid."),
        )
    }

    /// The contract does not exist.
    pub(super) fn invalid_symbol() -> Self {
        Self::bad_request(-1121, "Invalid symbol.")
    }

    /// The candle interval does not exist.
    pub(super) fn invalid_interval() -> Self {
        Self::bad_request(-1120, "Invalid interval.")
    }

    /// The parameter `startTime` is after `endTime`.
    pub(super) fn start_after_end() -> Self {
        Self::bad_request(-1023, "Start time is greater than end time.")
    }

    /// The address has exceeded its weight limit of this minute.
    pub(super) fn too_many_requests(ip: &str, limit: u32) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: -1003,
            message: format!(
                "Too many requests; current limit of IP({ip}) is {limit} requests per minute. \
                 Please use the websocket for live updates to avoid polling the API."
            ),
        }
    }

    /// The address is banned after repeated excess of its weight limit.
    pub(super) fn banned(ip: &str, until_ms: i64) -> Self {
        Self {
            status: StatusCode::IM_A_TEAPOT,
            code: -1003,
            message: format!(
                "Way too many requests; IP({ip}) banned until {until_ms}. Please use the websocket for \
                 live updates to avoid bans."
            ),
        }
    }

    /// An error with the status of an armed fault.
    pub(super) fn from_fault(status: StatusCode, refusal: ExchangeError) -> Self {
        Self {
            status,
            code: refusal.code,
            message: refusal.message,
        }
    }

    /// No endpoint has this path and method.
    pub(super) fn unknown_path(path: &str, method: &Method) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: -5000,
            message: format!("Path {path}, Method {method} is invalid"),
        }
    }
}

impl From<ExchangeError> for ApiError {
    fn from(refusal: ExchangeError) -> Self {
        let status = match refusal.code {
            -2014 | -2015 => StatusCode::UNAUTHORIZED,
            -1015 => StatusCode::TOO_MANY_REQUESTS,
            -1007 => StatusCode::REQUEST_TIMEOUT,
            -1008 | -1016 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self {
            status,
            code: refusal.code,
            message: refusal.message,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"code": self.code, "msg": self.message});
        (self.status, Json(body)).into_response()
    }
}
