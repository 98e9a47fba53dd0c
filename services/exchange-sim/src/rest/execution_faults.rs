//! Applies the armed faults of execution, queries and content to a call: errors, late or empty queries, and JSON that
//! differs from the documented one.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::auth::QueryLag;
use super::call_key::{FAULT_API_PATH, read_call_key};
use super::error::ApiError;
use super::weight_limiter::retry_after;
use crate::trading::error::ExchangeError;
use crate::trading_service::TradingService;
use crate::trading_service::faults::CallKey;
use crate::trading_service::faults::calls::{ErrorAnswer, Unavailable, UnavailableText};
use crate::trading_service::faults::distortion::distort;
use crate::trading_service::faults::kinds::{Fault, Group};

/// Longest answer, in bytes.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Value of `Retry-After` for calls rejected with 429 or 418, in milliseconds.
const RETRY_AFTER_MS: i64 = 999;

/// Applies the armed faults to a call.
pub(super) async fn apply(
    State(trading_service): State<Arc<TradingService>>,
    request: Request,
    next: Next,
) -> Response {
    let faults = &trading_service.faults;
    if request.uri().path() == FAULT_API_PATH || faults.is_empty() {
        return next.run(request).await;
    }
    if faults.is_maintenance() {
        return ApiError::from(ExchangeError::from_code(-1016)).into_response();
    }
    let (call, mut request) = read_call_key(request).await;
    let query_fault = faults.take(Group::Query, &call);
    if let Some(Fault::QueryLag(lag)) = &query_fault {
        let lag = Duration::from_millis(lag.ms.0);
        request.extensions_mut().insert(QueryLag(Some(lag)));
    }
    let mut contents = faults.take_content(&call);
    let response = match faults.take(Group::Execution, &call) {
        Some(Fault::FailBefore(error)) => error_answer(&error),
        Some(Fault::FailAfter(error)) => {
            next.run(request).await;
            error_answer(&error)
        }
        Some(Fault::Unavailable(unavailable)) => {
            if unavailable.executed {
                next.run(request).await;
            }
            unavailable_answer(&unavailable, &call, trading_service.client_time_ms())
        }
        Some(Fault::Overload(_)) => ApiError::from(ExchangeError::from_code(-1008)).into_response(),
        _ => next.run(request).await,
    };
    if let Some(empty @ Fault::EmptyAnswer(_)) = query_fault {
        if is_of_one_order(&call.path) && response.status().is_success() {
            return ApiError::from(ExchangeError::from_code(-2013)).into_response();
        }
        contents.insert(0, empty);
    }
    distorted(response, &contents).await
}

fn error_answer(error: &ErrorAnswer) -> Response {
    let status = u16::try_from(error.status.0).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut refusal = ExchangeError::from_code(error.code);
    if let Some(message) = &error.message {
        refusal.message.clone_from(message);
    }
    let status = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let refused = ApiError::from_fault(status, refusal);
    match status.as_u16() {
        429 | 418 => retry_after(refused, RETRY_AFTER_MS),
        _ => refused.into_response(),
    }
}

/// The documented texts, each in the JSON in which clients have received it.
fn unavailable_answer(fault: &Unavailable, call: &CallKey, now_ms: i64) -> Response {
    let body = match fault.text {
        UnavailableText::UnknownError => json!({
            "timestamp": now_ms,
            "path": call.path,
            "msg": "Unknown error, please check your request or try again later.",
        }),
        UnavailableText::ServiceUnavailable => json!({
            "timestamp": now_ms,
            "path": call.path,
            "msg": "Service Unavailable.",
        }),
        UnavailableText::InternalError => json!({
            "code": -1001,
            "msg": "Internal error; unable to process your request. Please try again.",
        }),
    };
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
}

fn is_of_one_order(path: &str) -> bool {
    matches!(
        path,
        "/fapi/v1/order" | "/fapi/v1/openOrder" | "/fapi/v1/algoOrder"
    )
}

/// The answer after faults of content. An answer that is not JSON stays.
async fn distorted(response: Response, contents: &[Fault]) -> Response {
    if contents.is_empty() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MAX_ANSWER_BYTES).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let body = match serde_json::from_slice::<Value>(&body) {
        Ok(mut document) => {
            for fault in contents {
                distort(fault, &mut document);
            }
            document.to_string().into()
        }
        Err(_) => body,
    };
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(body))
}
