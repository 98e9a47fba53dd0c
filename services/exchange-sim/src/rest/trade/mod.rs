//! What needs a key, and the prices that who trades asks for. Thin: reads parameters, asks the desk,
//! writes the answer. Not here: what orders do (`trading/`).

mod account;
mod algos;
mod day;
mod listen;
mod orders;
mod prices;
mod settings;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use super::error::ApiError;
use crate::desk::Desk;

/// What a handler answers.
type Answer = Result<Json<Value>, ApiError>;

/// The routes.
pub(super) fn router() -> Router<Arc<Desk>> {
    Router::new()
        .merge(order_routes())
        .merge(account_routes())
        .route("/fapi/v1/premiumIndex", get(prices::premium))
        .route("/fapi/v1/ticker/bookTicker", get(prices::book_ticker))
        .route("/fapi/v1/ticker/24hr", get(day::answer))
        .route("/fapi/v1/ticker/price", get(prices::last))
        .route("/fapi/v2/ticker/price", get(prices::last))
        .route("/fapi/v1/depth", get(prices::depth))
        .route(
            "/fapi/v1/listenKey",
            post(listen::begin).put(listen::prolong).delete(listen::end),
        )
}

fn order_routes() -> Router<Arc<Desk>> {
    Router::new()
        .route(
            "/fapi/v1/order",
            post(orders::place)
                .get(orders::query)
                .delete(orders::cancel),
        )
        .route("/fapi/v1/openOrder", get(orders::open_one))
        .route("/fapi/v1/openOrders", get(orders::open))
        .route("/fapi/v1/allOpenOrders", delete(orders::cancel_all))
        .route("/fapi/v1/allOrders", get(orders::all))
        .route("/fapi/v1/forceOrders", get(orders::forced))
        .route("/fapi/v1/userTrades", get(orders::trades))
        .route(
            "/fapi/v1/algoOrder",
            post(algos::place).get(algos::query).delete(algos::cancel),
        )
        .route("/fapi/v1/openAlgoOrders", get(algos::open))
        .route("/fapi/v1/algoOpenOrders", delete(algos::cancel_all))
        .route("/fapi/v1/allAlgoOrders", get(algos::all))
}

fn account_routes() -> Router<Arc<Desk>> {
    Router::new()
        .route("/fapi/v2/account", get(account::account_v2))
        .route("/fapi/v3/account", get(account::account))
        .route("/fapi/v2/balance", get(account::balance))
        .route("/fapi/v3/balance", get(account::balance))
        .route("/fapi/v2/positionRisk", get(account::position_risk_v2))
        .route("/fapi/v3/positionRisk", get(account::position_risk))
        .route("/fapi/v1/income", get(account::income))
        .route("/fapi/v1/accountConfig", get(account::config))
        .route("/fapi/v1/symbolConfig", get(account::symbols))
        .route("/fapi/v1/commissionRate", get(account::commission))
        .route("/fapi/v1/leverageBracket", get(account::brackets))
        .route("/fapi/v1/leverage", post(settings::leverage))
        .route("/fapi/v1/marginType", post(settings::margin))
        .route(
            "/fapi/v1/positionSide/dual",
            get(settings::mode).post(settings::set_mode),
        )
        .route("/fapi/v1/multiAssetsMargin", get(settings::multi_assets))
        .route("/fapi/v1/rateLimit/order", get(settings::order_limits))
}

fn success() -> Json<Value> {
    Json(json!({"code": 200, "msg": "success"}))
}

/// How many orders the account has placed, as headers.
fn counted([in_ten, in_sixty]: [u32; 2]) -> HeaderMap {
    HeaderMap::from_iter([
        (
            axum::http::HeaderName::from_static("x-mbx-order-count-10s"),
            HeaderValue::from(in_ten),
        ),
        (
            axum::http::HeaderName::from_static("x-mbx-order-count-1m"),
            HeaderValue::from(in_sixty),
        ),
    ])
}
