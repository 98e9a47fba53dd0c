//! Endpoints of trading and of current prices. Handlers read parameters, call the trading service and write the
//! response.

mod account;
mod algos;
mod listen_key;
mod orders;
mod prices;
mod response;
mod response_json;
mod settings;
mod ticker_24h;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};

use crate::trading_service::TradingService;

/// Routes of trading and of current prices.
pub(super) fn router() -> Router<Arc<TradingService>> {
    Router::new()
        .merge(order_routes())
        .merge(account_routes())
        .route("/fapi/v1/premiumIndex", get(prices::premium_index))
        .route("/fapi/v1/ticker/bookTicker", get(prices::book_ticker))
        .route("/fapi/v1/ticker/24hr", get(ticker_24h::get_ticker))
        .route("/fapi/v1/ticker/price", get(prices::last_price))
        .route("/fapi/v2/ticker/price", get(prices::last_price))
        .route("/fapi/v1/depth", get(prices::depth))
        .route(
            "/fapi/v1/listenKey",
            post(listen_key::create)
                .put(listen_key::keep_alive)
                .delete(listen_key::close),
        )
}

fn order_routes() -> Router<Arc<TradingService>> {
    Router::new()
        .route(
            "/fapi/v1/order",
            post(orders::place)
                .get(orders::query)
                .delete(orders::cancel),
        )
        .route("/fapi/v1/openOrder", get(orders::query_open))
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

fn account_routes() -> Router<Arc<TradingService>> {
    Router::new()
        .route("/fapi/v2/account", get(account::account_v2))
        .route("/fapi/v3/account", get(account::account))
        .route("/fapi/v2/balance", get(account::balance))
        .route("/fapi/v3/balance", get(account::balance))
        .route("/fapi/v2/positionRisk", get(account::position_risk_v2))
        .route("/fapi/v3/positionRisk", get(account::position_risk))
        .route("/fapi/v1/income", get(account::income))
        .route("/fapi/v1/accountConfig", get(account::account_config))
        .route("/fapi/v1/symbolConfig", get(account::symbol_config))
        .route("/fapi/v1/commissionRate", get(account::commission))
        .route("/fapi/v1/leverageBracket", get(account::brackets))
        .route("/fapi/v1/leverage", post(settings::set_leverage))
        .route("/fapi/v1/marginType", post(settings::set_margin_type))
        .route(
            "/fapi/v1/positionSide/dual",
            get(settings::position_mode).post(settings::set_position_mode),
        )
        .route(
            "/fapi/v1/multiAssetsMargin",
            get(settings::multi_assets).post(settings::set_multi_assets),
        )
        .route(
            "/fapi/v1/feeBurn",
            get(settings::fee_burn).post(settings::set_fee_burn),
        )
        .route("/fapi/v1/rateLimit/order", get(settings::order_limits))
}
