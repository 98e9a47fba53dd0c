//! `GET /fapi/v1/exchangeInfo`: the listed contracts with their filters, in Binance's format.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::exchange::Limits;
use crate::symbols::Contract;
use crate::trading::filters::SymbolFilters;
use crate::trading::liquidation::LIQUIDATION_FEE_RATE;
use crate::trading_service::TradingService;

pub(super) async fn get_exchange_info(
    State(trading_service): State<Arc<TradingService>>,
) -> Json<Value> {
    let exchange = trading_service.exchange();
    let listed = exchange.listed().into_iter();
    let symbols =
        listed.filter_map(|c| Some(contract_json(c, &trading_service.filters(c.symbol)?)));
    let symbols: Vec<Value> = symbols.collect();
    let limits = exchange.limits();
    let weight = json!({
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": limits.weight_per_minute,
    });
    let rates: Vec<Value> = [weight]
        .into_iter()
        .chain(order_limits_json(limits))
        .collect();
    Json(json!({
        "timezone": "UTC",
        "serverTime": trading_service.client_time_ms(),
        "futuresType": "U_MARGINED",
        "rateLimits": rates,
        "exchangeFilters": [],
        "assets": [
            {"asset": "USDT", "marginAvailable": true, "autoAssetExchange": "-10000"},
            {"asset": "USDC", "marginAvailable": true, "autoAssetExchange": "-10000"},
            {"asset": "BNB", "marginAvailable": true, "autoAssetExchange": "-10"},
        ],
        "symbols": symbols,
    }))
}

/// Order limits of an account.
pub(super) fn order_limits_json(limits: &Limits) -> [Value; 2] {
    let of = |interval, number, limit| json!({"rateLimitType": "ORDERS", "interval": interval, "intervalNum": number, "limit": limit});
    [
        of("MINUTE", 1, limits.orders_per_minute),
        of("SECOND", 10, limits.orders_per_10s),
    ]
}

fn contract_json(contract: &Contract, rules: &SymbolFilters) -> Value {
    json!({
        "symbol": contract.symbol,
        "pair": format!("{}{}", contract.base_asset, contract.quote_asset),
        "contractType": contract.contract_type,
        "deliveryDate": contract.delivery_ms,
        "onboardDate": contract.onboard_ms,
        "status": rules.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": contract.base_asset,
        "quoteAsset": contract.quote_asset,
        "marginAsset": contract.quote_asset,
        "pricePrecision": rules.price_precision,
        "quantityPrecision": rules.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [contract.sub_type],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": format!("{LIQUIDATION_FEE_RATE:.6}"),
        "marketTakeBound": "0.05",
        "maxMoveOrderLimit": 10000,
        "filters": filters_json(rules),
        "orderTypes": [
            "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
            "TRAILING_STOP_MARKET"
        ],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY", "DCA", "PSB", "RPI"],
    })
}

fn filters_json(rules: &SymbolFilters) -> Value {
    let [min_price, max_price] = rules.price_range.map(|p| p.to_string());
    let [min_qty, max_qty] = rules.quantity_range.map(|q| q.to_string());
    let [lowest, highest] = [
        Decimal::ONE - rules.price_band,
        Decimal::ONE + rules.price_band,
    ]
    .map(|share| format!("{share:.4}"));
    let (tick, step) = (rules.tick.to_string(), rules.step.to_string());
    json!([
        {"filterType": "PRICE_FILTER", "minPrice": min_price, "maxPrice": max_price, "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": min_qty, "maxQty": max_qty, "stepSize": step},
        {"filterType": "MARKET_LOT_SIZE", "minQty": min_qty, "maxQty": rules.market_max_quantity.to_string(), "stepSize": step},
        {"filterType": "MAX_NUM_ORDERS", "limit": rules.max_orders},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": rules.max_algos},
        {"filterType": "MIN_NOTIONAL", "notional": rules.min_notional.to_string()},
        {"filterType": "PERCENT_PRICE", "multiplierUp": highest, "multiplierDown": lowest, "multiplierDecimal": "4"},
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE", "notionalLimit": "0"},
    ])
}
