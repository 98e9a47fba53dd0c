//! `GET /fapi/v1/exchangeInfo`: the listed contracts with their filters, in Binance's shape.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::exchange::Exchange;
use crate::symbols::Contract;

/// Binance's placeholder for "never delivered": 2100-12-25T08:00Z.
const PERPETUAL_DELIVERY_MS: i64 = 4_133_404_800_000;

pub(super) async fn answer(State(exchange): State<Arc<Exchange>>) -> Json<Value> {
    let symbols: Vec<Value> = exchange.listed().iter().map(|c| contract(c)).collect();
    let limit = exchange.limits().weight_per_minute;
    Json(json!({
        "timezone": "UTC",
        "serverTime": exchange.now_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": limit},
        ],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": true, "autoAssetExchange": "-10000"}],
        "symbols": symbols,
    }))
}

fn contract(contract: &Contract) -> Value {
    json!({
        "symbol": contract.symbol,
        "pair": contract.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL_DELIVERY_MS,
        "onboardDate": contract.onboard_ms,
        "status": "TRADING",
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": contract.base_asset,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": contract.price_precision,
        "quantityPrecision": contract.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [contract.sub_type],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": filters(contract),
        "orderTypes": [
            "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET"
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    })
}

fn filters(contract: &Contract) -> Value {
    let [min_price, max_price, tick_size] = contract.price;
    let [min_qty, max_qty, step_size] = contract.lot;
    json!([
        {"filterType": "PRICE_FILTER", "minPrice": min_price, "maxPrice": max_price, "tickSize": tick_size},
        {"filterType": "LOT_SIZE", "minQty": min_qty, "maxQty": max_qty, "stepSize": step_size},
        {"filterType": "MARKET_LOT_SIZE", "minQty": min_qty, "maxQty": contract.market_max, "stepSize": step_size},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
        {"filterType": "MIN_NOTIONAL", "notional": contract.min_notional},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500", "multiplierDecimal": "4"},
    ])
}
