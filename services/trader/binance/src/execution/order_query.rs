//! The state of an order and the costs of its trades: [`BinanceExecutionClient::query_order`]. An order is queried
//! by its client order id. It is not found only if the exchange's lists do not have it either.

use binance_sdk::derivatives_trading_usds_futures::rest_api::{
    AccountTradeListParams, AccountTradeListResponseInner, AllOrdersParams, AllOrdersResponseInner,
    QueryAlgoOrderParams, QueryAllAlgoOrdersParams, QueryAllAlgoOrdersResponseInner,
    QueryOrderParams,
};
use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use trader_core::orders::{ExecutionReport, Fill, Order, OrderCallOutcome};

use super::BinanceExecutionClient;
use super::order_answer::{AlgoFacts, Facts, WHAT, is_algo_over, is_over, partial, sum};
use super::order_error::NO_SUCH_ORDER;
use super::signed_call::Need;
use crate::error::retry;

/// Entries of one answer.
pub(super) const PAGE: usize = 1_000;

/// How long before an order's own time its lists are read from: clocks differ.
const BEFORE_MS: i64 = 60_000;

impl BinanceExecutionClient {
    /// The state of this order: `OrderCallOutcome::Reported` or `OrderCallOutcome::NotFound`.
    ///
    /// # Errors
    /// [`ExchangeError::Retry`] when the state is not known now, also when the listed trades do not add up to the
    /// order yet; [`ExchangeError::Rejected`] when a retry cannot help: fees are paid in another coin.
    pub(super) async fn query_order(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<OrderCallOutcome, ExchangeError> {
        let report = if order.leg.is_conditional() {
            self.look_up_algo(symbol, order).await?
        } else {
            match self.find(symbol, order).await? {
                Some(facts) => Some(self.report(symbol, &facts).await?),
                None => None,
            }
        };
        Ok(report.map_or(OrderCallOutcome::NotFound, OrderCallOutcome::Reported))
    }

    /// The state of an ordinary order, with its costs once it has ended.
    pub(super) async fn report(
        &self,
        symbol: &SubjectToken,
        facts: &Facts,
    ) -> Result<ExecutionReport, ExchangeError> {
        let working = !is_over(WHAT, &facts.status)?;
        if facts.executed.is_zero() {
            if facts.status == "FILLED" {
                return Err(retry(WHAT, "FILLED with nothing executed"));
            }
            let fill = None;
            return Ok(ExecutionReport {
                is_open: working,
                fill,
            });
        }
        let fill = if working {
            partial(facts)?
        } else {
            Some(self.fill(symbol, facts).await?)
        };
        Ok(ExecutionReport {
            is_open: working,
            fill,
        })
    }

    async fn find(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<Facts>, ExchangeError> {
        let params = QueryOrderParams {
            symbol: symbol.to_string(),
            order_id: None,
            orig_client_order_id: Some(order.client_order_id.as_str().to_owned()),
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Vital, |rest| rest.query_order(params.clone()));
        match asked.await {
            Ok(found) => Facts::of_answer(found).map(Some),
            Err(fault) if fault.code == Some(NO_SUCH_ORDER) => self.search(symbol, order).await,
            Err(fault) => Err(fault.into()),
        }
    }

    async fn by_id(&self, symbol: &SubjectToken, id: i64) -> Result<Facts, ExchangeError> {
        let params = QueryOrderParams {
            symbol: symbol.to_string(),
            order_id: Some(id),
            orig_client_order_id: None,
            recv_window: Some(self.window()),
        };
        let asked = self.ask(WHAT, Need::Vital, |rest| rest.query_order(params.clone()));
        match asked.await {
            Ok(found) => Facts::of_answer(found),
            // The exchange named this order before, so it exists: this is a delay.
            Err(fault) if fault.code == Some(NO_SUCH_ORDER) => {
                Err(retry(WHAT, format!("order {id} is not shown yet")))
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Searches the symbol's orders since the time of this one. A trade whose order is not listed may belong to
    /// this order: then the result is [`ExchangeError::Retry`].
    async fn search(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<Facts>, ExchangeError> {
        let from = UtcMs(order.at.0.saturating_sub(BEFORE_MS));
        let trades = self.fills_since(symbol, from).await?;
        let listed = self.orders_since(symbol, from).await?;
        let ours = |o: &&AllOrdersResponseInner| {
            o.client_order_id.as_deref() == Some(order.client_order_id.as_str())
        };
        if let Some(found) = listed.iter().filter(ours).max_by_key(|o| o.order_id) {
            return Facts::of_listed(found).map(Some);
        }
        let is_listed = |id: i64| listed.iter().any(|o| o.order_id == Some(id));
        match trades.iter().find(|trade| !is_listed(trade.order_id)) {
            Some(trade) => {
                let id = trade.order_id;
                Err(retry(
                    WHAT,
                    format!("order {id} has traded and is not listed yet"),
                ))
            }
            None => Ok(None),
        }
    }

    async fn orders_since(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
    ) -> Result<Vec<AllOrdersResponseInner>, ExchangeError> {
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
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<ExecutionReport>, ExchangeError> {
        let Some(algo) = self.find_algo(symbol, order).await? else {
            return Ok(None);
        };
        let over = is_algo_over(WHAT, &algo.status)?;
        match algo.actual {
            Some(id) => {
                let facts = self.by_id(symbol, id).await?;
                self.report(symbol, &facts).await.map(Some)
            }
            // The conditional order became an order, and the answer does not say which.
            None if algo.status == "FINISHED" => Err(retry(
                WHAT,
                format!("conditional order {} does not name its order", algo.id),
            )),
            None => Ok(Some(ExecutionReport {
                is_open: !over,
                fill: None,
            })),
        }
    }

    async fn find_algo(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<AlgoFacts>, ExchangeError> {
        let params = QueryAlgoOrderParams {
            algo_id: None,
            client_algo_id: Some(order.client_order_id.as_str().to_owned()),
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
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<AlgoFacts>, ExchangeError> {
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
                a.client_algo_id.as_deref() == Some(order.client_order_id.as_str())
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

    /// The fill of an order that has ended, from its trades.
    async fn fill(&self, symbol: &SubjectToken, facts: &Facts) -> Result<Fill, ExchangeError> {
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

/// Start of the page after a full one; `None` for a list that does not advance.
fn page_after(last: Option<i64>, asked: Option<i64>) -> Option<i64> {
    let moves = |last: &i64| asked.is_none_or(|asked| *last >= asked);
    last.filter(moves).map(|last| last + 1)
}
