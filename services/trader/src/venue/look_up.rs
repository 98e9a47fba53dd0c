//! What became of an order, and what its trades cost. It is found by the id that we gave it; only when
//! the exchange's lists do not know it either is it said not to be there.

use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    AccountTradeListParams, AccountTradeListResponseInner, AllOrdersParams, AllOrdersResponseInner,
    QueryAlgoOrderParams, QueryAlgoOrderResponse, QueryAllAlgoOrdersParams,
    QueryAllAlgoOrdersResponseInner, QueryOrderParams, QueryOrderResponse,
};
use engine::orders::{Answer, Costs, Fill, Order, Report};
use protocol::ids::Token;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::call::Need;
use super::fault::NO_SUCH_ORDER;
use super::read::{decimal, must, price, qty, time, unreadable};
use super::{QUOTE, Venue};
use crate::market::MarketError;

const WHAT: &str = "order look-up";

/// Entries of one answer.
pub(super) const PAGE: usize = 1_000;

/// How long before an order's own time its lists are read from: clocks differ.
const BEFORE_MS: i64 = 60_000;

/// What the exchange says of an ordinary order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) id: i64,
    pub(super) status: String,
    pub(super) executed: Decimal,
    /// Not in every answer.
    pub(super) mean: Option<Decimal>,
    pub(super) updated: UtcMs,
}

/// What the exchange says of a conditional order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AlgoFacts {
    id: i64,
    status: String,
    /// The order that it became.
    actual: Option<i64>,
}

impl Venue {
    /// What became of this order: [`Answer::Has`] or [`Answer::NotFound`].
    ///
    /// # Errors
    /// [`MarketError::Retry`] when it cannot be told now, also when its trades do not add up to it yet;
    /// [`MarketError::Refused`] when asking again will not help: fees are paid in another coin.
    pub async fn look_up(&self, symbol: &Token, order: &Order) -> Result<Answer, MarketError> {
        let report = if order.leg.is_conditional() {
            self.look_up_algo(symbol, order).await?
        } else {
            match self.find(symbol, order).await? {
                Some(facts) => Some(self.report(symbol, &facts).await?),
                None => None,
            }
        };
        Ok(report.map_or(Answer::NotFound, Answer::Has))
    }

    /// How an ordinary order stands, with its costs once it has ended.
    pub(super) async fn report(
        &self,
        symbol: &Token,
        facts: &Facts,
    ) -> Result<Report, MarketError> {
        let working = !is_over(WHAT, &facts.status)?;
        if facts.executed.is_zero() {
            if facts.status == "FILLED" {
                return Err(MarketError::retry(WHAT, "FILLED with nothing executed"));
            }
            let fill = None;
            return Ok(Report { working, fill });
        }
        let fill = if working {
            partial(facts)?
        } else {
            Some(self.fill(symbol, facts).await?)
        };
        Ok(Report { working, fill })
    }

    async fn find(&self, symbol: &Token, order: &Order) -> Result<Option<Facts>, MarketError> {
        let params = QueryOrderParams {
            symbol: symbol.to_string(),
            order_id: None,
            orig_client_order_id: Some(order.id.as_str().to_owned()),
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Vital, |rest| rest.query_order(params.clone()));
        match asked.await {
            Ok(found) => Facts::of_answer(found).map(Some),
            Err(fault) if fault.code == Some(NO_SUCH_ORDER) => self.search(symbol, order).await,
            Err(fault) => Err(fault.into()),
        }
    }

    async fn by_id(&self, symbol: &Token, id: i64) -> Result<Facts, MarketError> {
        let params = QueryOrderParams {
            symbol: symbol.to_string(),
            order_id: Some(id),
            orig_client_order_id: None,
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Vital, |rest| rest.query_order(params.clone()));
        match asked.await {
            Ok(found) => Facts::of_answer(found),
            // An order that was told of exists: this is a delay.
            Err(fault) if fault.code == Some(NO_SUCH_ORDER) => Err(MarketError::retry(
                WHAT,
                format!("order {id} is not shown yet"),
            )),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Looks through the symbol's orders since this one's time. A trade whose order is not among them
    /// may be this one's: then nothing is said yet.
    async fn search(&self, symbol: &Token, order: &Order) -> Result<Option<Facts>, MarketError> {
        let from = UtcMs(order.at.0.saturating_sub(BEFORE_MS));
        let trades = self.trades_since(symbol, from).await?;
        let listed = self.orders_since(symbol, from).await?;
        let ours =
            |o: &&AllOrdersResponseInner| o.client_order_id.as_deref() == Some(order.id.as_str());
        if let Some(found) = listed.iter().filter(ours).max_by_key(|o| o.order_id) {
            return Facts::of_listed(found).map(Some);
        }
        let is_listed = |id: i64| listed.iter().any(|o| o.order_id == Some(id));
        match trades.iter().find(|trade| !is_listed(trade.order_id)) {
            Some(trade) => {
                let id = trade.order_id;
                Err(MarketError::retry(
                    WHAT,
                    format!("order {id} has traded and is not listed yet"),
                ))
            }
            None => Ok(None),
        }
    }

    async fn orders_since(
        &self,
        symbol: &Token,
        from: UtcMs,
    ) -> Result<Vec<AllOrdersResponseInner>, MarketError> {
        let mut all: Vec<AllOrdersResponseInner> = Vec::new();
        let mut next = None;
        loop {
            let params = AllOrdersParams {
                symbol: Some(symbol.to_string()),
                order_id: next,
                start_time: next.is_none().then_some(from.0),
                end_time: None,
                limit: i64::try_from(PAGE).ok(),
                recv_window: Some(self.window()),
            };
            let asked = self.ask(WHAT, Need::Ordinary, |rest| rest.all_orders(params.clone()));
            let page = asked.await?;
            let full = page.len() >= PAGE;
            all.extend(page);
            let last = all.last().and_then(|o| o.order_id);
            match page_after(last.filter(|_| full), next) {
                Some(after) => next = Some(after),
                None => return Ok(all),
            }
        }
    }

    async fn look_up_algo(
        &self,
        symbol: &Token,
        order: &Order,
    ) -> Result<Option<Report>, MarketError> {
        let Some(algo) = self.find_algo(symbol, order).await? else {
            return Ok(None);
        };
        let over = is_algo_over(WHAT, &algo.status)?;
        match algo.actual {
            Some(id) => {
                let facts = self.by_id(symbol, id).await?;
                self.report(symbol, &facts).await.map(Some)
            }
            // It became an order, and does not say which.
            None if algo.status == "FINISHED" => Err(MarketError::retry(
                WHAT,
                format!("conditional order {} does not name its order", algo.id),
            )),
            None => Ok(Some(Report {
                working: !over,
                fill: None,
            })),
        }
    }

    async fn find_algo(
        &self,
        symbol: &Token,
        order: &Order,
    ) -> Result<Option<AlgoFacts>, MarketError> {
        let params = QueryAlgoOrderParams {
            algo_id: None,
            client_algo_id: Some(order.id.as_str().to_owned()),
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Vital, |rest| {
            rest.query_algo_order(params.clone())
        });
        match asked.await {
            Ok(found) => AlgoFacts::of_answer(found).map(Some),
            Err(fault) if fault.code == Some(NO_SUCH_ORDER) => {
                self.search_algo(symbol, order).await
            }
            Err(fault) => Err(fault.into()),
        }
    }

    async fn search_algo(
        &self,
        symbol: &Token,
        order: &Order,
    ) -> Result<Option<AlgoFacts>, MarketError> {
        let mut newest = None;
        let mut next = None;
        loop {
            let params = QueryAllAlgoOrdersParams {
                symbol: symbol.to_string(),
                algo_id: next,
                start_time: next
                    .is_none()
                    .then_some(order.at.0.saturating_sub(BEFORE_MS)),
                end_time: None,
                limit: i64::try_from(PAGE).ok(),
                recv_window: Some(self.window()),
            };
            let asked = self.ask(WHAT, Need::Ordinary, |rest| {
                rest.query_all_algo_orders(params.clone())
            });
            let page = asked.await?;
            let ours = |a: &&QueryAllAlgoOrdersResponseInner| {
                a.client_algo_id.as_deref() == Some(order.id.as_str())
            };
            if let Some(found) = page.iter().filter(ours).max_by_key(|a| a.algo_id) {
                newest = Some(AlgoFacts::of_listed(found)?);
            }
            let last = page.iter().filter_map(|a| a.algo_id).max();
            let full = page.len() >= PAGE;
            match page_after(last.filter(|_| full), next) {
                Some(after) => next = Some(after),
                None => return Ok(newest),
            }
        }
    }

    /// What an order that has ended filled, from its trades.
    async fn fill(&self, symbol: &Token, facts: &Facts) -> Result<Fill, MarketError> {
        let mut trades: Vec<AccountTradeListResponseInner> = Vec::new();
        let mut next = None;
        loop {
            let params = AccountTradeListParams {
                symbol: symbol.to_string(),
                order_id: Some(facts.id),
                start_time: None,
                end_time: None,
                from_id: next,
                limit: i64::try_from(PAGE).ok(),
                recv_window: Some(self.window()),
            };
            let asked = self.ask(WHAT, Need::Vital, |rest| {
                rest.account_trade_list(params.clone())
            });
            let page = asked.await?;
            let full = page.len() >= PAGE;
            trades.extend(page);
            let last = trades.last().and_then(|t| t.id);
            match page_after(last.filter(|_| full), next) {
                Some(after) => next = Some(after),
                None => return sum(&trades, facts),
            }
        }
    }
}

/// Where the page behind a full one begins; none for a list that does not move on.
fn page_after(last: Option<i64>, asked: Option<i64>) -> Option<i64> {
    let moves = |last: &i64| asked.is_none_or(|asked| *last >= asked);
    last.filter(moves).map(|last| last + 1)
}

/// Adds the trades up. They must be the order's, all of it.
fn sum(trades: &[AccountTradeListResponseInner], facts: &Facts) -> Result<Fill, MarketError> {
    let (mut quantity, mut worth) = (Decimal::ZERO, Decimal::ZERO);
    let (mut fee, mut realised) = (Decimal::ZERO, Decimal::ZERO);
    let mut at = facts.updated;
    for (index, trade) in trades.iter().enumerate() {
        if trade.order_id != Some(facts.id) {
            let reason = format!("a trade of another order than {} was answered", facts.id);
            return Err(MarketError::retry(WHAT, reason));
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
        return Err(MarketError::retry(WHAT, reason));
    }
    Ok(Fill {
        quantity: qty(WHAT, quantity)?,
        price: price(WHAT, worth / quantity)?,
        at,
        costs: Some(Costs { fee, realised }),
    })
}

/// A trade's fee in the quote currency.
pub(super) fn fee_of(trade: &AccountTradeListResponseInner) -> Result<Decimal, MarketError> {
    let fee = decimal(WHAT, "commission", trade.commission.as_deref())?;
    match trade.commission_asset.as_deref() {
        Some(QUOTE) => Ok(fee),
        _ if fee.is_zero() => Ok(fee),
        Some(other) => Err(MarketError::refused(
            WHAT,
            format!(
                "a fee was paid in {other}: switch \"pay fees with BNB\" off for futures in the account; \
                 allowed is {QUOTE}"
            ),
        )),
        None => must(WHAT, "commissionAsset", None),
    }
}

/// What a working order filled so far, if the answer tells its price.
fn partial(facts: &Facts) -> Result<Option<Fill>, MarketError> {
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

/// Whether an ordinary order can fill no more.
fn is_over(what: &'static str, status: &str) -> Result<bool, MarketError> {
    match status {
        "NEW" | "PARTIALLY_FILLED" => Ok(false),
        "FILLED" | "CANCELED" | "EXPIRED" | "EXPIRED_IN_MATCH" | "REJECTED" => Ok(true),
        other => Err(unreadable(what, "status", other)),
    }
}

/// Whether a conditional order waits no more and becomes no order any more; one that is `FINISHED`
/// became one.
pub(super) fn is_algo_over(what: &'static str, status: &str) -> Result<bool, MarketError> {
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
    ) -> Result<Self, MarketError> {
        Ok(Self {
            id: must(WHAT, "orderId", id)?,
            status: must(WHAT, "status", status)?,
            executed: decimal(WHAT, "executedQty", executed)?,
            mean: Some(decimal(WHAT, "avgPrice", mean)?),
            updated: time(WHAT, "updateTime", updated)?,
        })
    }

    fn of_answer(found: QueryOrderResponse) -> Result<Self, MarketError> {
        let numbers = [found.executed_qty.as_deref(), found.avg_price.as_deref()];
        Self::read(found.order_id, found.status, numbers, found.update_time)
    }

    fn of_listed(found: &AllOrdersResponseInner) -> Result<Self, MarketError> {
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
    ) -> Result<Self, MarketError> {
        Ok(Self {
            id: must(WHAT, "algoId", id)?,
            status: must(WHAT, "algoStatus", status)?,
            actual: actual_id(actual)?,
        })
    }

    fn of_answer(found: QueryAlgoOrderResponse) -> Result<Self, MarketError> {
        let actual = found.actual_order_id.as_deref();
        Self::read(found.algo_id, found.algo_status, actual)
    }

    fn of_listed(found: &QueryAllAlgoOrdersResponseInner) -> Result<Self, MarketError> {
        let actual = found.actual_order_id.as_deref();
        Self::read(found.algo_id, found.algo_status.clone(), actual)
    }
}

/// A text, and empty or zero while there is none.
fn actual_id(text: Option<&str>) -> Result<Option<i64>, MarketError> {
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
        assert_eq!(costs.realised.to_string(), "-3.0");
    }

    #[test]
    fn trades_that_are_not_the_whole_order_are_asked_for_again() {
        let trades = [trade("0.001", "40000", "0", "USDT")];
        for (trades, executed) in [(&trades[..], "0.002"), (&trades[..0], "0.001")] {
            let error = sum(trades, &order(executed)).unwrap_err();
            assert!(matches!(error, MarketError::Retry { .. }), "{error}");
        }
        let mut foreign = trades;
        foreign[0].order_id = Some(8);
        assert!(sum(&foreign, &order("0.001")).is_err());
    }

    #[test]
    fn a_fee_in_another_coin_is_refused_with_what_to_do_unless_it_is_nothing() {
        let error = sum(&[trade("1", "2", "0.1", "BNB")], &order("1")).unwrap_err();
        let MarketError::Refused { reason, .. } = &error else {
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
