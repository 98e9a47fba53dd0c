//! Orders, conditional orders and fills in the JSON of Binance's REST responses.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::trading::enums::Side;
use crate::trading::order::{Algo, Order, Trade};
pub(super) use crate::ws::user_event::format_decimal;

/// An order with its full state.
pub(super) fn order(order: &Order) -> Value {
    json!({
        "orderId": order.id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": format_decimal(order.price),
        "avgPrice": format_decimal(order.average_price().round_dp(8)),
        "origQty": format_decimal(order.quantity),
        "executedQty": format_decimal(order.filled),
        "cumQty": format_decimal(order.filled),
        "cumQuote": format_decimal(order.filled_quote),
        "timeInForce": order.time_in_force,
        "type": order.rest_type(),
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": "0",
        "workingType": "CONTRACT_PRICE",
        "priceProtect": false,
        "origType": order.rest_original_type(),
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
        "goodTillDate": 0,
        "time": order.created_ms,
        "updateTime": order.updated_ms,
    })
}

/// An order in the answer to its placement or cancellation. Binance left out prices of fills in June 2026; a query has
/// them.
pub(super) fn changed(placed: &Order) -> Value {
    let mut view = order(placed);
    if let Some(fields) = view.as_object_mut() {
        fields.remove("avgPrice");
        fields.remove("cumQuote");
    }
    view
}

/// An order in an acknowledgement, without fills.
pub(super) fn acknowledged(placed: &Order) -> Value {
    let mut view = changed(placed);
    for (field, value) in [("status", "NEW"), ("executedQty", "0"), ("cumQty", "0")] {
        view[field] = json!(value);
    }
    view
}

/// Conditional order as the algo endpoints return it.
pub(super) fn algo(algo: &Algo) -> Value {
    json!({
        "algoId": algo.id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": algo.kind,
        "symbol": algo.symbol,
        "side": algo.side,
        "positionSide": algo.position_side,
        "timeInForce": "GTC",
        "quantity": format_decimal(algo.quantity),
        "algoStatus": algo.status,
        "actualOrderId": algo.order_id.map(|id| id.to_string()).unwrap_or_default(),
        "actualPrice": format_decimal(algo.actual_price),
        "actualQty": format_decimal(algo.actual_quantity),
        "actualType": if algo.order_id.is_some() { "MARKET" } else { "" },
        "triggerPrice": format_decimal(algo.trigger_price),
        "price": "0",
        "icebergQuantity": null,
        "tpTriggerPrice": "0",
        "tpPrice": "0",
        "slTriggerPrice": "0",
        "slPrice": "0",
        "tpOrderType": "",
        "selfTradePreventionMode": "NONE",
        "workingType": algo.working_type,
        "priceMatch": "NONE",
        "closePosition": algo.close_position,
        "priceProtect": false,
        "reduceOnly": algo.reduce_only,
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": 0,
    })
}

/// Fill as `userTrades` returns it.
pub(super) fn trade(trade: &Trade) -> Value {
    json!({
        "symbol": trade.symbol,
        "id": trade.id,
        "orderId": trade.order_id,
        "side": trade.side,
        "positionSide": trade.position_side,
        "price": format_decimal(trade.price),
        "qty": format_decimal(trade.quantity),
        "quoteQty": format_decimal(trade.quote_quantity),
        "realizedPnl": format_decimal(trade.realized_pnl),
        "commission": format_decimal(trade.fee),
        "commissionAsset": trade.fee_asset,
        "marginAsset": "USDT",
        "buyer": trade.side == Side::Buy,
        "maker": trade.is_maker,
        "time": trade.at_ms,
    })
}

/// An amount with as many decimal places as Binance shows.
pub(super) fn format_money(value: Decimal) -> String {
    format!("{value:.8}")
}
