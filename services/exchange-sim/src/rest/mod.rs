//! REST routes. `trade/` holds the endpoints of trading, `auth` and `params` read requests. `fault` arms faults,
//! `execution_faults` and `delivery_faults` apply them.

mod auth;
mod call_key;
mod delivery_faults;
mod error;
mod exchange_info;
mod execution_faults;
mod fault;
mod klines;
mod params;
mod trade;
mod weight_limiter;
mod weight_table;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::{Value, json};

use crate::trading_service::TradingService;
use error::ApiError;
use fault::FaultApi;
use weight_limiter::WeightLimiter;

/// All REST routes behind the weight limiter; those of the fault API only if `fault_api` is set.
pub(crate) fn router(trading_service: &Arc<TradingService>, fault_api: bool) -> Router {
    let exchange = trading_service.exchange();
    let weight_limiter = Arc::new(WeightLimiter::new(*exchange.limits()));
    let routes = trade::router()
        .route("/fapi/v1/ping", get(ping))
        .route("/fapi/v1/klines", get(klines::get_klines))
        .route("/fapi/v1/time", get(time))
        .route(
            "/fapi/v1/exchangeInfo",
            get(exchange_info::get_exchange_info),
        )
        .with_state(Arc::clone(trading_service));
    let routes = if fault_api {
        routes.merge(fault::router(FaultApi {
            trading_service: Arc::clone(trading_service),
            weight_limiter: Arc::clone(&weight_limiter),
        }))
    } else {
        routes
    };
    let faults =
        middleware::from_fn_with_state(Arc::clone(trading_service), execution_faults::apply);
    routes
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_path)
        .layer(faults)
        .layer(middleware::from_fn_with_state(
            weight_limiter,
            weight_limiter::limit_weight,
        ))
}

/// Adds compression, and faults of delivery, to all routes, also to the opening of a WebSocket.
pub(crate) fn with_delivery(routes: Router, trading_service: &Arc<TradingService>) -> Router {
    routes.layer(middleware::from_fn_with_state(
        Arc::clone(trading_service),
        delivery_faults::deliver,
    ))
}

async fn ping() -> Json<Value> {
    Json(json!({}))
}

async fn time(State(trading_service): State<Arc<TradingService>>) -> Json<Value> {
    Json(json!({"serverTime": trading_service.client_time_ms()}))
}

async fn unknown_path(method: Method, uri: Uri) -> impl IntoResponse {
    ApiError::unknown_path(uri.path(), &method)
}
