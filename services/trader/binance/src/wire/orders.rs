//! Answers about orders, conditional orders and trades.

use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::Deserialize;

use super::scalar::{self, text_enum};

text_enum! {
    /// Status of an order.
    OrderStatus {
        /// Accepted, nothing filled.
        New = "NEW",
        /// Partly filled, and open.
        PartiallyFilled = "PARTIALLY_FILLED",
        /// Filled as a whole.
        Filled = "FILLED",
        /// Ended by a cancellation.
        Canceled = "CANCELED",
        /// Ended by the exchange's rules.
        Expired = "EXPIRED",
        /// Ended by the prevention of trades with oneself.
        ExpiredInMatch = "EXPIRED_IN_MATCH",
        /// Not accepted.
        Rejected = "REJECTED",
    }
}

text_enum! {
    /// Status of a conditional order.
    AlgoStatus {
        /// Waits for its trigger.
        New = "NEW",
        /// The trigger was reached; its order is being sent.
        Triggering = "TRIGGERING",
        /// Its order was sent.
        Triggered = "TRIGGERED",
        /// Its order has ended.
        Finished = "FINISHED",
        /// Ended by a cancellation.
        Canceled = "CANCELED",
        /// Ended by the exchange's rules.
        Expired = "EXPIRED",
        /// Not accepted.
        Rejected = "REJECTED",
    }
}

text_enum! {
    /// Side of an order.
    Side {
        /// Buy.
        Buy = "BUY",
        /// Sell.
        Sell = "SELL",
    }
}

/// An order: the answer of `POST`, `GET` and `DELETE /fapi/v1/order`, and an entry of `openOrders` and `allOrders`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderAnswer {
    /// Id that the exchange assigned.
    #[serde(deserialize_with = "scalar::integer")]
    pub order_id: i64,
    /// Client order id.
    #[serde(deserialize_with = "scalar::text")]
    pub client_order_id: String,
    /// Contract, in the exchange's notation.
    #[serde(deserialize_with = "scalar::text")]
    pub symbol: String,
    /// Status.
    pub status: OrderStatus,
    /// Kind of the order, such as `MARKET`; `None` if the answer has none.
    #[serde(default, rename = "type", deserialize_with = "scalar::optional_text")]
    pub kind: Option<String>,
    /// Side; `None` if the answer has none.
    #[serde(default)]
    pub side: Option<Side>,
    /// Ordered quantity in base units; `None` or zero if the order closes the position.
    #[serde(default, deserialize_with = "scalar::optional_decimal")]
    pub orig_qty: Option<Decimal>,
    /// Trigger price; `None` or zero for an order without a trigger.
    #[serde(default, deserialize_with = "scalar::optional_decimal")]
    pub stop_price: Option<Decimal>,
    /// Filled quantity in base units.
    #[serde(deserialize_with = "scalar::decimal")]
    pub executed_qty: Decimal,
    /// Value of what was filled, in the quote currency; `None` if the answer has none.
    #[serde(default, deserialize_with = "scalar::optional_decimal")]
    pub cum_quote: Option<Decimal>,
    /// Mean price of the fills; `None` or zero before the first one.
    #[serde(default, deserialize_with = "scalar::optional_decimal")]
    pub avg_price: Option<Decimal>,
    /// The exchange's time of the last change.
    #[serde(deserialize_with = "scalar::time")]
    pub update_time: UtcMs,
}

/// A conditional order: the answer of `POST` and `GET /fapi/v1/algoOrder`, and an entry of `openAlgoOrders` and
/// `allAlgoOrders`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlgoOrderAnswer {
    /// Id that the exchange assigned.
    #[serde(deserialize_with = "scalar::integer")]
    pub algo_id: i64,
    /// Client order id.
    #[serde(deserialize_with = "scalar::text")]
    pub client_algo_id: String,
    /// Contract, in the exchange's notation.
    #[serde(deserialize_with = "scalar::text")]
    pub symbol: String,
    /// Kind of the order that it becomes, such as `STOP_MARKET`; `None` if the answer has none.
    #[serde(default, deserialize_with = "scalar::optional_text")]
    pub order_type: Option<String>,
    /// Side; `None` if the answer has none.
    #[serde(default)]
    pub side: Option<Side>,
    /// Quantity in base units; `None` or zero if it closes the position.
    #[serde(default, deserialize_with = "scalar::optional_decimal")]
    pub quantity: Option<Decimal>,
    /// Trigger price; `None` or zero if the exchange moves it.
    #[serde(default, deserialize_with = "scalar::optional_decimal")]
    pub trigger_price: Option<Decimal>,
    /// Status.
    pub algo_status: AlgoStatus,
    /// Id of the order that it became; `None` before.
    #[serde(default, deserialize_with = "scalar::optional_id")]
    pub actual_order_id: Option<i64>,
}

/// A trade of the account: an entry of `GET /fapi/v1/userTrades`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TradeAnswer {
    /// Id of the trade.
    #[serde(deserialize_with = "scalar::integer")]
    pub id: i64,
    /// Id of the order.
    #[serde(deserialize_with = "scalar::integer")]
    pub order_id: i64,
    /// Side of the order.
    pub side: Side,
    /// Quantity in base units.
    #[serde(deserialize_with = "scalar::decimal")]
    pub qty: Decimal,
    /// Price in the quote currency.
    #[serde(deserialize_with = "scalar::decimal")]
    pub price: Decimal,
    /// Fee, in the fee's asset.
    #[serde(deserialize_with = "scalar::decimal")]
    pub commission: Decimal,
    /// Asset in which the fee was paid.
    #[serde(deserialize_with = "scalar::text")]
    pub commission_asset: String,
    /// Realized profit before fees, in the quote currency.
    #[serde(deserialize_with = "scalar::decimal")]
    pub realized_pnl: Decimal,
    /// The exchange's time of the trade.
    #[serde(deserialize_with = "scalar::time")]
    pub time: UtcMs,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"orderId":7,"clientOrderId":"c","symbol":"BTCUSDT","status":"FILLED","executedQty":"0.5",
        "avgPrice":"40000.1","updateTime":9,"side":"BUY","new":[]}"#;

    #[test]
    fn an_order_is_read_with_strings_or_numbers_and_needs_its_fields() {
        let order: OrderAnswer = serde_json::from_str(ORDER).unwrap();
        assert_eq!((order.order_id, &order.status), (7, &OrderStatus::Filled));
        let turned = ORDER
            .replace("7,", r#""7","#)
            .replace(r#""0.5""#, "0.5")
            .replace("9,", r#""9","#);
        assert_eq!(serde_json::from_str::<OrderAnswer>(&turned).unwrap(), order);
        for field in [
            "orderId",
            "clientOrderId",
            "symbol",
            "status",
            "executedQty",
            "updateTime",
        ] {
            let without = ORDER.replace(&format!(r#""{field}""#), r#""x""#);
            let error = serde_json::from_str::<OrderAnswer>(&without).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
        let acknowledged = ORDER.replace(r#""avgPrice":"40000.1","#, "");
        let order: OrderAnswer = serde_json::from_str(&acknowledged).unwrap();
        assert_eq!(order.avg_price, None);
    }

    #[test]
    fn unknown_values_are_kept_as_text() {
        let order = ORDER.replace("FILLED", "NEW_INSURANCE");
        let order: OrderAnswer = serde_json::from_str(&order).unwrap();
        assert_eq!(order.status, OrderStatus::Other("NEW_INSURANCE".to_owned()));
        assert_eq!(order.status.as_str(), "NEW_INSURANCE");
    }

    #[test]
    fn conditional_order_names_the_order_that_it_became() {
        let algo = |actual: &str| {
            let text = format!(
                r#"{{"algoId":1,"clientAlgoId":"c","symbol":"B","algoStatus":"FINISHED"{actual}}}"#
            );
            serde_json::from_str::<AlgoOrderAnswer>(&text)
        };
        let id = |actual| algo(actual).unwrap().actual_order_id;
        assert_eq!(id(r#","actualOrderId":"12""#), Some(12));
        assert_eq!(id(r#","actualOrderId":12"#), Some(12));
        for none in [
            "",
            r#","actualOrderId":"""#,
            r#","actualOrderId":"0""#,
            r#","actualOrderId":null"#,
        ] {
            assert_eq!(id(none), None, "{none}");
        }
        assert!(algo(r#","actualOrderId":"x""#).is_err());
    }
}
