//! The REST side: routes and what all answers share. One file per endpoint that has something to say.

mod error;
mod exchange_info;
mod klines;
mod weight;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::{Value, json};

use crate::exchange::Exchange;
use error::ApiError;
use weight::Weights;

/// All REST routes, weighed.
pub(crate) fn router(exchange: Arc<Exchange>) -> Router {
    let weights = Arc::new(Weights::new(exchange.limits().weight_per_minute));
    Router::new()
        .route("/fapi/v1/ping", get(ping))
        .route("/fapi/v1/time", get(time))
        .route("/fapi/v1/exchangeInfo", get(exchange_info::answer))
        .route("/fapi/v1/klines", get(klines::answer))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(exchange)
        .layer(middleware::from_fn_with_state(weights, weight::weigh))
}

async fn ping() -> Json<Value> {
    Json(json!({}))
}

async fn time(State(exchange): State<Arc<Exchange>>) -> Json<Value> {
    Json(json!({"serverTime": exchange.now_ms()}))
}

async fn unknown(method: Method, uri: Uri) -> impl IntoResponse {
    ApiError::unknown_path(uri.path(), &method)
}
