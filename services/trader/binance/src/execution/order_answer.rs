//! What the exchange's answers about an order and its trades mean, and whether they are complete.

use std::collections::BTreeMap;

use exchange::ExchangeError;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Price, Qty, SCALE};
use trader_core::orders::{Fill, FillCosts};

use crate::QUOTE;
use crate::error::{rejected, retry};
use crate::wire::orders::{AlgoStatus, OrderAnswer, OrderStatus, TradeAnswer};

/// The name of these calls in errors.
pub(super) const WHAT: &str = "order query";

/// Adds the trades of an order up. They must be the order's and complete; otherwise [`ExchangeError::Retry`].
pub(super) fn sum(
    trades: &BTreeMap<i64, TradeAnswer>,
    order: &OrderAnswer,
) -> Result<Fill, ExchangeError> {
    let id = order.order_id;
    let (mut quantity, mut worth) = (Decimal::ZERO, Decimal::ZERO);
    let (mut fee, mut realized_pnl) = (Decimal::ZERO, Decimal::ZERO);
    let overflow = || retry(WHAT, format!("the trades of order {id} are too large"));
    for trade in trades.values() {
        if trade.order_id != id {
            let reason = format!("a trade of another order than {id} was answered");
            return Err(retry(WHAT, reason));
        }
        let value = trade.qty.checked_mul(trade.price).ok_or_else(overflow)?;
        quantity = quantity.checked_add(trade.qty).ok_or_else(overflow)?;
        worth = worth.checked_add(value).ok_or_else(overflow)?;
        fee = fee.checked_add(fee_of(trade)?).ok_or_else(overflow)?;
        realized_pnl = realized_pnl
            .checked_add(trade.realized_pnl)
            .ok_or_else(overflow)?;
    }
    let at = trades.values().map(|trade| trade.time).max();
    let (Some(at), true) = (at, quantity == order.executed_qty && !quantity.is_zero()) else {
        let executed = order.executed_qty;
        let reason = format!("the trades of order {id} add up to {quantity} of {executed} so far");
        return Err(retry(WHAT, reason));
    };
    Ok(Fill {
        quantity: qty(quantity)?,
        price: price(worth.checked_div(quantity).ok_or_else(overflow)?)?,
        at,
        costs: Some(FillCosts { fee, realized_pnl }),
    })
}

/// A trade's fee in the quote currency.
pub(super) fn fee_of(trade: &TradeAnswer) -> Result<Decimal, ExchangeError> {
    if trade.commission_asset == QUOTE || trade.commission.is_zero() {
        return Ok(trade.commission);
    }
    Err(rejected(
        WHAT,
        format!(
            "a fee was paid in {}: switch \"pay fees with BNB\" off for futures in the account; allowed is {QUOTE}",
            trade.commission_asset
        ),
    ))
}

/// The fill of an open order so far; `None` if the answer has no price.
pub(super) fn partial(order: &OrderAnswer) -> Result<Option<Fill>, ExchangeError> {
    let Some(mean) = order.avg_price.filter(|mean| !mean.is_zero()) else {
        return Ok(None);
    };
    Ok(Some(Fill {
        quantity: qty(order.executed_qty)?,
        price: price(mean)?,
        at: order.update_time,
        costs: None,
    }))
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

fn qty(value: Decimal) -> Result<Qty, ExchangeError> {
    Qty::from_decimal(value).map_err(|error| retry(WHAT, error.to_string()))
}

/// A price in the trader core's fixed-point units, rounded.
fn price(value: Decimal) -> Result<Price, ExchangeError> {
    let rounded = value.round_dp(SCALE);
    Price::from_decimal(rounded).map_err(|error| retry(WHAT, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::orders::Side;
    use protocol::time::UtcMs;

    fn trade(qty: &str, price: &str, fee: &str, asset: &str) -> TradeAnswer {
        TradeAnswer {
            id: qty.len().try_into().unwrap(),
            order_id: 7,
            side: Side::Buy,
            qty: qty.parse().unwrap(),
            price: price.parse().unwrap(),
            commission: fee.parse().unwrap(),
            commission_asset: asset.to_owned(),
            realized_pnl: "-1.5".parse().unwrap(),
            time: UtcMs(qty.len().try_into().unwrap()),
        }
    }

    fn by_id(trades: &[TradeAnswer]) -> BTreeMap<i64, TradeAnswer> {
        trades
            .iter()
            .map(|trade| (trade.id, trade.clone()))
            .collect()
    }

    fn order(executed: &str) -> OrderAnswer {
        OrderAnswer {
            order_id: 7,
            client_order_id: String::new(),
            symbol: "BTCUSDT".to_owned(),
            status: OrderStatus::Filled,
            executed_qty: executed.parse().unwrap(),
            avg_price: None,
            update_time: UtcMs(99),
        }
    }

    #[test]
    fn trades_add_up_to_a_fill_to_the_last_digit() {
        let trades = [
            trade("0.001", "40000.1", "0.02000005", "USDT"),
            trade("0.02", "40000.3", "0.4000003", "USDT"),
        ];
        let fill = sum(&by_id(&trades), &order("0.021")).unwrap();
        assert_eq!(fill.quantity, "0.021".parse().unwrap());
        assert_eq!(fill.price, "40000.29047619".parse().unwrap());
        assert_eq!(fill.at, UtcMs(5));
        let costs = fill.costs.unwrap();
        assert_eq!(costs.fee.to_string(), "0.42000035");
        assert_eq!(costs.realized_pnl.to_string(), "-3.0");
    }

    #[test]
    fn trades_that_are_not_the_whole_order_are_queried_again() {
        let trades = [trade("0.001", "40000", "0", "USDT")];
        for (trades, executed) in [(&trades[..], "0.002"), (&trades[..0], "0.001"), (&[], "0")] {
            let error = sum(&by_id(trades), &order(executed)).unwrap_err();
            assert!(matches!(error, ExchangeError::Retry { .. }), "{error}");
        }
        let mut foreign = trades;
        foreign[0].order_id = 8;
        assert!(sum(&by_id(&foreign), &order("0.001")).is_err());
    }

    #[test]
    fn values_beyond_all_bounds_are_an_error() {
        let huge = Decimal::MAX.to_string();
        let trades = [trade(&huge, &huge, "0", "USDT")];
        let error = sum(&by_id(&trades), &order(&huge)).unwrap_err();
        assert!(matches!(error, ExchangeError::Retry { .. }), "{error}");
    }

    #[test]
    fn fee_in_another_asset_is_rejected_with_what_to_do_unless_it_is_zero() {
        let error = sum(&by_id(&[trade("1", "2", "0.1", "BNB")]), &order("1")).unwrap_err();
        let ExchangeError::Rejected { reason, .. } = &error else {
            panic!("{error}");
        };
        assert!(
            reason.contains("BNB") && reason.contains("switch"),
            "{reason}"
        );
        let fill = sum(&by_id(&[trade("1", "2", "0", "BNB")]), &order("1")).unwrap();
        assert!(fill.costs.unwrap().fee.is_zero());
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
