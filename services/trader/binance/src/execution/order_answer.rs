//! The contents of the exchange's answers about an order and its trades, and whether they are complete.

use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    AccountTradeListResponseInner, AllOrdersResponseInner, QueryAlgoOrderResponse,
    QueryAllAlgoOrdersResponseInner, QueryOrderResponse,
};
use exchange::ExchangeError;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::orders::{Fill, FillCosts};

use super::QUOTE;
use super::required_fields::{decimal, must, price, qty, time, unreadable};
use crate::error::{rejected, retry};

/// The name of these calls in errors.
pub(super) const WHAT: &str = "order look-up";

/// The exchange's answer about an ordinary order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) id: i64,
    pub(super) status: String,
    pub(super) executed: Decimal,
    /// Mean price of the fills; not in every answer.
    pub(super) mean: Option<Decimal>,
    pub(super) updated: UtcMs,
}

/// The exchange's answer about a conditional order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AlgoFacts {
    pub(super) id: i64,
    pub(super) status: String,
    /// Id of the order that it became; `None` before.
    pub(super) actual: Option<i64>,
}

/// Adds the trades up. They must be the order's and complete; otherwise [`ExchangeError::Retry`].
pub(super) fn sum(
    trades: &[AccountTradeListResponseInner],
    facts: &Facts,
) -> Result<Fill, ExchangeError> {
    let (mut quantity, mut worth) = (Decimal::ZERO, Decimal::ZERO);
    let (mut fee, mut realised) = (Decimal::ZERO, Decimal::ZERO);
    let mut at = facts.updated;
    for (index, trade) in trades.iter().enumerate() {
        if trade.order_id != Some(facts.id) {
            let reason = format!("a trade of another order than {} was answered", facts.id);
            return Err(retry(WHAT, reason));
        }
        let part = decimal(WHAT, "qty", trade.qty.as_deref())?;
        quantity += part;
        worth += part * decimal(WHAT, "price", trade.price.as_deref())?;
        fee += fee_of(trade)?;
        realised += decimal(WHAT, "realizedPnl", trade.realized_pnl.as_deref())?;
        let when = time(WHAT, "time", trade.time)?;
        at = if index == 0 { when } else { at.max(when) };
    }
    if quantity != facts.executed || quantity.is_zero() {
        let reason = format!(
            "the trades of order {} add up to {quantity} of {} so far",
            facts.id, facts.executed
        );
        return Err(retry(WHAT, reason));
    }
    Ok(Fill {
        quantity: qty(WHAT, quantity)?,
        price: price(WHAT, worth / quantity)?,
        at,
        costs: Some(FillCosts {
            fee,
            realized_pnl: realised,
        }),
    })
}

/// A trade's fee in the quote currency.
pub(super) fn fee_of(trade: &AccountTradeListResponseInner) -> Result<Decimal, ExchangeError> {
    let fee = decimal(WHAT, "commission", trade.commission.as_deref())?;
    match trade.commission_asset.as_deref() {
        Some(QUOTE) => Ok(fee),
        _ if fee.is_zero() => Ok(fee),
        Some(other) => Err(rejected(
            WHAT,
            format!(
                "a fee was paid in {other}: switch \"pay fees with BNB\" off for futures in the account; \
                 allowed is {QUOTE}"
            ),
        )),
        None => must(WHAT, "commissionAsset", None),
    }
}

/// The fill of a working order so far; `None` if the answer has no price.
pub(super) fn partial(facts: &Facts) -> Result<Option<Fill>, ExchangeError> {
    let Some(mean) = facts.mean.filter(|mean| !mean.is_zero()) else {
        return Ok(None);
    };
    Ok(Some(Fill {
        quantity: qty(WHAT, facts.executed)?,
        price: price(WHAT, mean)?,
        at: facts.updated,
        costs: None,
    }))
}

/// Whether an ordinary order has ended.
pub(super) fn is_over(what: &'static str, status: &str) -> Result<bool, ExchangeError> {
    match status {
        "NEW" | "PARTIALLY_FILLED" => Ok(false),
        "FILLED" | "CANCELED" | "EXPIRED" | "EXPIRED_IN_MATCH" | "REJECTED" => Ok(true),
        other => Err(unreadable(what, "status", other)),
    }
}

/// Whether a conditional order has ended without a trigger, or (`FINISHED`) has become an order.
pub(super) fn is_algo_over(what: &'static str, status: &str) -> Result<bool, ExchangeError> {
    match status {
        "NEW" | "TRIGGERING" | "TRIGGERED" => Ok(false),
        "FINISHED" | "CANCELED" | "EXPIRED" | "REJECTED" => Ok(true),
        other => Err(unreadable(what, "algoStatus", other)),
    }
}

impl Facts {
    fn read(
        id: Option<i64>,
        status: Option<String>,
        [executed, mean]: [Option<&str>; 2],
        updated: Option<i64>,
    ) -> Result<Self, ExchangeError> {
        Ok(Self {
            id: must(WHAT, "orderId", id)?,
            status: must(WHAT, "status", status)?,
            executed: decimal(WHAT, "executedQty", executed)?,
            mean: Some(decimal(WHAT, "avgPrice", mean)?),
            updated: time(WHAT, "updateTime", updated)?,
        })
    }

    pub(super) fn of_answer(found: QueryOrderResponse) -> Result<Self, ExchangeError> {
        let numbers = [found.executed_qty.as_deref(), found.avg_price.as_deref()];
        Self::read(found.order_id, found.status, numbers, found.update_time)
    }

    pub(super) fn of_listed(found: &AllOrdersResponseInner) -> Result<Self, ExchangeError> {
        let numbers = [found.executed_qty.as_deref(), found.avg_price.as_deref()];
        Self::read(
            found.order_id,
            found.status.clone(),
            numbers,
            found.update_time,
        )
    }
}

impl AlgoFacts {
    fn read(
        id: Option<i64>,
        status: Option<String>,
        actual: Option<&str>,
    ) -> Result<Self, ExchangeError> {
        Ok(Self {
            id: must(WHAT, "algoId", id)?,
            status: must(WHAT, "algoStatus", status)?,
            actual: actual_id(actual)?,
        })
    }

    pub(super) fn of_answer(found: QueryAlgoOrderResponse) -> Result<Self, ExchangeError> {
        let actual = found.actual_order_id.as_deref();
        Self::read(found.algo_id, found.algo_status, actual)
    }

    pub(super) fn of_listed(
        found: &QueryAllAlgoOrdersResponseInner,
    ) -> Result<Self, ExchangeError> {
        let actual = found.actual_order_id.as_deref();
        Self::read(found.algo_id, found.algo_status.clone(), actual)
    }
}

/// A text, and empty or zero while there is none.
fn actual_id(text: Option<&str>) -> Result<Option<i64>, ExchangeError> {
    match text.unwrap_or_default() {
        "" | "0" => Ok(None),
        text => {
            let id = text.parse().ok();
            id.map(Some)
                .ok_or_else(|| unreadable(WHAT, "actualOrderId", text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trade(qty: &str, price: &str, fee: &str, asset: &str) -> AccountTradeListResponseInner {
        let mut trade = AccountTradeListResponseInner::new();
        trade.order_id = Some(7);
        trade.qty = Some(qty.to_owned());
        trade.price = Some(price.to_owned());
        trade.commission = Some(fee.to_owned());
        trade.commission_asset = Some(asset.to_owned());
        trade.realized_pnl = Some("-1.5".to_owned());
        trade.time = Some(qty.len().try_into().unwrap());
        trade
    }

    fn order(executed: &str) -> Facts {
        Facts {
            id: 7,
            status: "FILLED".to_owned(),
            executed: executed.parse().unwrap(),
            mean: None,
            updated: UtcMs(99),
        }
    }

    #[test]
    fn trades_add_up_to_a_fill_to_the_last_digit() {
        let trades = [
            trade("0.001", "40000.1", "0.02000005", "USDT"),
            trade("0.02", "40000.3", "0.4000003", "USDT"),
        ];
        let fill = sum(&trades, &order("0.021")).unwrap();
        assert_eq!(fill.quantity, "0.021".parse().unwrap());
        assert_eq!(fill.price, "40000.29047619".parse().unwrap());
        assert_eq!(fill.at, UtcMs(5));
        let costs = fill.costs.unwrap();
        assert_eq!(costs.fee.to_string(), "0.42000035");
        assert_eq!(costs.realized_pnl.to_string(), "-3.0");
    }

    #[test]
    fn trades_that_are_not_the_whole_order_are_asked_for_again() {
        let trades = [trade("0.001", "40000", "0", "USDT")];
        for (trades, executed) in [(&trades[..], "0.002"), (&trades[..0], "0.001")] {
            let error = sum(trades, &order(executed)).unwrap_err();
            assert!(matches!(error, ExchangeError::Retry { .. }), "{error}");
        }
        let mut foreign = trades;
        foreign[0].order_id = Some(8);
        assert!(sum(&foreign, &order("0.001")).is_err());
    }

    #[test]
    fn a_fee_in_another_coin_is_refused_with_what_to_do_unless_it_is_nothing() {
        let error = sum(&[trade("1", "2", "0.1", "BNB")], &order("1")).unwrap_err();
        let ExchangeError::Rejected { reason, .. } = &error else {
            panic!("{error}");
        };
        assert!(
            reason.contains("BNB") && reason.contains("switch"),
            "{reason}"
        );
        let fill = sum(&[trade("1", "2", "0", "BNB")], &order("1")).unwrap();
        assert!(fill.costs.unwrap().fee.is_zero());
    }

    #[test]
    fn every_status_is_known_or_asked_for_again() {
        for (status, over) in [
            ("NEW", Some(false)),
            ("PARTIALLY_FILLED", Some(false)),
            ("FILLED", Some(true)),
            ("CANCELED", Some(true)),
            ("EXPIRED", Some(true)),
            ("EXPIRED_IN_MATCH", Some(true)),
            ("REJECTED", Some(true)),
            ("NEW_INSURANCE", None),
        ] {
            assert_eq!(is_over(WHAT, status).ok(), over, "{status}");
        }
        for (status, over) in [
            ("NEW", Some(false)),
            ("TRIGGERING", Some(false)),
            ("TRIGGERED", Some(false)),
            ("FINISHED", Some(true)),
            ("CANCELED", Some(true)),
            ("EXPIRED", Some(true)),
            ("REJECTED", Some(true)),
            ("", None),
        ] {
            assert_eq!(is_algo_over(WHAT, status).ok(), over, "{status}");
        }
        assert_eq!(actual_id(Some("12")).unwrap(), Some(12));
        assert!(actual_id(None).unwrap().is_none() && actual_id(Some("x")).is_err());
    }
}
