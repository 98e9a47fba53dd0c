//! What the exchange's answers about an order mean.

use exchange::ExchangeError;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Price, Qty, SCALE};
use trader_core::orders::{ExecutionReport, Fill, OrderSide, WorkingStop};

use crate::error::retry;
use crate::wire::orders::{AlgoOrderAnswer, AlgoStatus, OrderAnswer, OrderStatus, Side};

/// The name of these calls in errors.
pub(super) const WHAT: &str = "order query";

/// Kinds of orders that close a position with a loss.
const STOPS: [&str; 3] = ["STOP_MARKET", "STOP", "TRAILING_STOP_MARKET"];

/// The state of an ordinary order as one answer has it, with a fill as soon as the answer states one.
pub(super) fn report(order: &OrderAnswer) -> Result<ExecutionReport, ExchangeError> {
    let is_open = is_open(&order.status)?;
    let is_canceled = order.status == OrderStatus::Canceled;
    if order.executed_qty.is_zero() {
        if order.status == OrderStatus::Filled {
            return Err(retry(WHAT, "FILLED with nothing executed"));
        }
        return Ok(ExecutionReport {
            is_open,
            fill: None,
            is_canceled,
        });
    }
    let fill = Fill {
        quantity: qty(order.executed_qty)?,
        price: mean_price(order)?,
        at: order.update_time,
        exchange_order_id: Some(order.order_id),
        costs: None,
    };
    Ok(ExecutionReport {
        is_open,
        fill: Some(fill),
        is_canceled,
    })
}

/// The mean price of an order's fills: the exchange's own, or value by quantity.
fn mean_price(order: &OrderAnswer) -> Result<Price, ExchangeError> {
    if let Some(mean) = order.avg_price.filter(|mean| !mean.is_zero()) {
        return price(mean);
    }
    let mean = order
        .cum_quote
        .filter(|worth| !worth.is_zero())
        .and_then(|worth| worth.checked_div(order.executed_qty));
    let missing = || retry(WHAT, format!("order {} has no price", order.order_id));
    price(mean.ok_or_else(missing)?)
}

/// The stop that an open order is; `None` for any other order, and for one with an unknown side.
pub(super) fn ordinary_stop(order: &OrderAnswer) -> Option<WorkingStop> {
    working_stop(
        order.kind.as_deref(),
        order.side.as_ref(),
        order.stop_price,
        order.orig_qty,
    )
}

/// As [`ordinary_stop`], for a conditional order.
pub(super) fn conditional_stop(order: &AlgoOrderAnswer) -> Option<WorkingStop> {
    working_stop(
        order.order_type.as_deref(),
        order.side.as_ref(),
        order.trigger_price,
        order.quantity,
    )
}

fn working_stop(
    kind: Option<&str>,
    side: Option<&Side>,
    trigger_price: Option<Decimal>,
    quantity: Option<Decimal>,
) -> Option<WorkingStop> {
    let not_zero = |value: Option<Decimal>| value.filter(|value| !value.is_zero());
    if !kind.is_some_and(|kind| STOPS.contains(&kind)) {
        return None;
    }
    Some(WorkingStop {
        side: order_side(side?).ok()?,
        trigger_price: not_zero(trigger_price),
        quantity: not_zero(quantity),
    })
}

/// A side of the exchange.
pub(super) fn order_side(side: &Side) -> Result<OrderSide, ExchangeError> {
    match side {
        Side::Buy => Ok(OrderSide::Buy),
        Side::Sell => Ok(OrderSide::Sell),
        Side::Other(other) => Err(retry("trades", format!("the trade's side is {other:?}"))),
    }
}

/// Whether an ordinary order can still fill.
pub(super) fn is_open(status: &OrderStatus) -> Result<bool, ExchangeError> {
    match status {
        OrderStatus::New | OrderStatus::PartiallyFilled => Ok(true),
        OrderStatus::Filled
        | OrderStatus::Canceled
        | OrderStatus::Expired
        | OrderStatus::ExpiredInMatch
        | OrderStatus::Rejected => Ok(false),
        OrderStatus::Other(other) => Err(retry(WHAT, format!("the order's status is {other:?}"))),
    }
}

/// Whether a conditional order can still trigger. After [`AlgoStatus::Finished`] it has become an order.
pub(super) fn is_algo_open(status: &AlgoStatus) -> Result<bool, ExchangeError> {
    match status {
        AlgoStatus::New | AlgoStatus::Triggering | AlgoStatus::Triggered => Ok(true),
        AlgoStatus::Finished
        | AlgoStatus::Canceled
        | AlgoStatus::Expired
        | AlgoStatus::Rejected => Ok(false),
        AlgoStatus::Other(other) => {
            let reason = format!("the conditional order's status is {other:?}");
            Err(retry(WHAT, reason))
        }
    }
}

pub(super) fn qty(value: Decimal) -> Result<Qty, ExchangeError> {
    Qty::from_decimal(value).map_err(|error| retry(WHAT, error.to_string()))
}

/// A price in the trader core's fixed-point units, rounded.
pub(super) fn price(value: Decimal) -> Result<Price, ExchangeError> {
    let rounded = value.round_dp(SCALE);
    Price::from_decimal(rounded).map_err(|error| retry(WHAT, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: &str) -> OrderAnswer {
        let usual = r#""orderId":7,"clientOrderId":"","symbol":"BTCUSDT","updateTime":99"#;
        serde_json::from_str(&format!("{{{usual},{json}}}")).unwrap()
    }

    #[test]
    fn fill_follows_from_the_order_alone() {
        for json in [
            r#""status":"FILLED","executedQty":"0.021","avgPrice":"40000.29047619""#,
            r#""status":"FILLED","executedQty":"0.021","avgPrice":"0","cumQuote":"840.0061""#,
        ] {
            let report = report(&order(json)).unwrap();
            let fill = report.fill.unwrap();
            assert!(!report.is_open && fill.costs.is_none());
            assert_eq!(fill.price, "40000.29047619".parse().unwrap());
            assert_eq!(fill.quantity, "0.021".parse().unwrap());
            assert_eq!(fill.exchange_order_id, Some(7));
        }
    }

    #[test]
    fn filled_order_without_quantity_or_price_is_queried_again() {
        for json in [
            r#""status":"FILLED","executedQty":"0","avgPrice":"40000""#,
            r#""status":"FILLED","executedQty":"1","avgPrice":"0""#,
            r#""status":"FILLED","executedQty":"0.000000001","avgPrice":"1""#,
        ] {
            let error = report(&order(json)).unwrap_err();
            assert!(matches!(error, ExchangeError::Retry { .. }), "{error}");
        }
    }

    #[test]
    fn only_stops_count_as_stops() {
        let stop = |kind: &str, side: &str| {
            let json = format!(
                r#"{{"algoId":1,"clientAlgoId":"c","symbol":"B","algoStatus":"NEW","orderType":"{kind}",
                "side":"{side}","triggerPrice":"39000","quantity":"0"}}"#
            );
            conditional_stop(&serde_json::from_str(&json).unwrap())
        };
        let working = stop("STOP_MARKET", "SELL").unwrap();
        assert_eq!((working.side, working.quantity), (OrderSide::Sell, None));
        assert!(stop("TRAILING_STOP_MARKET", "BUY").is_some());
        assert_eq!(stop("TAKE_PROFIT_MARKET", "SELL"), None);
        assert_eq!(stop("STOP_MARKET", "SIDEWAYS"), None);
        let manual = order(
            r#""status":"NEW","executedQty":"0","type":"STOP","side":"SELL","stopPrice":"1","origQty":"0.2""#,
        );
        assert_eq!(
            ordinary_stop(&manual).unwrap().quantity,
            Some("0.2".parse().unwrap())
        );
    }

    #[test]
    fn every_status_is_known_or_queried_again() {
        for (status, open) in [
            ("NEW", Some(true)),
            ("PARTIALLY_FILLED", Some(true)),
            ("FILLED", Some(false)),
            ("CANCELED", Some(false)),
            ("EXPIRED", Some(false)),
            ("EXPIRED_IN_MATCH", Some(false)),
            ("REJECTED", Some(false)),
            ("NEW_INSURANCE", None),
        ] {
            let read = OrderStatus::from(status.to_owned());
            assert_eq!(is_open(&read).ok(), open, "{status}");
        }
        for (status, open) in [
            ("NEW", Some(true)),
            ("TRIGGERING", Some(true)),
            ("TRIGGERED", Some(true)),
            ("FINISHED", Some(false)),
            ("CANCELED", Some(false)),
            ("EXPIRED", Some(false)),
            ("REJECTED", Some(false)),
            ("", None),
        ] {
            let read = AlgoStatus::from(status.to_owned());
            assert_eq!(is_algo_open(&read).ok(), open, "{status}");
        }
    }
}
