//! The REST side: routes and what all answers share. One file per public endpoint that has something
//! to say; `trade/` is what needs a key, `signed.rs` and `params.rs` how such a request is read.

mod cost;
mod error;
mod exchange_info;
mod fault;
mod klines;
mod params;
mod signed;
mod trade;
mod weight;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::{Value, json};

use crate::desk::Desk;
use error::ApiError;
use weight::Weights;

/// All REST routes, weighed; with the faults' only for an `admin`.
pub(crate) fn router(desk: &Arc<Desk>, admin: bool) -> Router {
    let exchange = desk.exchange();
    let weights = Arc::new(Weights::new(*exchange.limits()));
    let with_desk = trade::router()
        .route("/fapi/v1/ping", get(ping))
        .route("/fapi/v1/klines", get(klines::answer))
        .route("/fapi/v1/time", get(time))
        .route("/fapi/v1/exchangeInfo", get(exchange_info::answer))
        .with_state(Arc::clone(desk));
    let with_desk = if admin {
        with_desk.merge(fault::router().with_state(Arc::clone(desk)))
    } else {
        with_desk
    };
    let faults = middleware::from_fn_with_state(Arc::clone(desk), fault::fail);
    with_desk
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .layer(faults)
        .layer(middleware::from_fn_with_state(weights, weight::weigh))
}

async fn ping() -> Json<Value> {
    Json(json!({}))
}

async fn time(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(json!({"serverTime": desk.clients_time()}))
}

async fn unknown(method: Method, uri: Uri) -> impl IntoResponse {
    ApiError::unknown_path(uri.path(), &method)
}
