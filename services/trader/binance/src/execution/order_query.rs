//! The state of an order: [`BinanceExecutionClient::query_order`]. An order is queried by its client order id. It is not found only if the exchange's lists do not have it either.

use std::collections::BTreeMap;

use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use trader_core::orders::{ExecutionReport, Order, OrderCallOutcome};

use super::client::BinanceExecutionClient;
use super::order_answer::{WHAT, is_algo_open, report};
use super::signed_call::list;
use crate::client::{Call, Priority, code};
use crate::error::retry;
use crate::wire::orders::{AlgoOrderAnswer, AlgoStatus, OrderAnswer};

/// Entries of one answer.
pub(super) const PAGE: usize = 1_000;

/// How long before an order's own time its lists are read from: clocks differ.
const BEFORE_MS: i64 = 60_000;

impl BinanceExecutionClient {
    /// Queries the state of an order, as [`exchange::ExecutionClient::query_order`] states.
    pub(super) async fn query_order(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<OrderCallOutcome, ExchangeError> {
        let report = if order.leg.is_conditional() {
            self.query_algo(symbol, order).await?
        } else {
            match self.find(symbol, order).await? {
                Some(found) => Some(report(&found)?),
                None => None,
            }
        };
        Ok(report.map_or(OrderCallOutcome::NotFound, OrderCallOutcome::Reported))
    }

    async fn find(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<OrderAnswer>, ExchangeError> {
        let call = Call::get(WHAT, "/fapi/v1/order")
            .param("symbol", symbol)
            .param("origClientOrderId", order.client_order_id.as_str())
            .priority(Priority::Vital);
        match self.query_unless(code::NO_SUCH_ORDER, call).await? {
            Some(found) => Ok(Some(found)),
            None => self.search(symbol, order).await,
        }
    }

    pub(super) async fn by_id(
        &self,
        symbol: &SubjectToken,
        id: i64,
    ) -> Result<OrderAnswer, ExchangeError> {
        let call = Call::get(WHAT, "/fapi/v1/order")
            .param("symbol", symbol)
            .param("orderId", id)
            .priority(Priority::Vital);
        let found = self.query_unless(code::NO_SUCH_ORDER, call).await?;
        // The exchange named this order before, so it exists: this is a delay.
        found.ok_or_else(|| retry(WHAT, format!("order {id} is not shown yet")))
    }

    /// Searches the symbol's orders since the time of this one. A trade whose order is not listed may belong to
    /// this order: then the result is [`ExchangeError::Retry`].
    async fn search(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<OrderAnswer>, ExchangeError> {
        let from = UtcMs(order.at.0.saturating_sub(BEFORE_MS));
        let trades = self.trades_since(symbol, from).await?;
        let listed = self.orders_since(symbol, from).await?;
        let is_ours = |o: &&OrderAnswer| o.client_order_id == order.client_order_id.as_str();
        if let Some(found) = listed.values().rev().find(is_ours) {
            return Ok(Some(found.clone()));
        }
        match trades
            .values()
            .find(|trade| !listed.contains_key(&trade.order_id))
        {
            Some(trade) => {
                let id = trade.order_id;
                let reason = format!("order {id} has traded and is not listed yet");
                Err(retry(WHAT, reason))
            }
            None => Ok(None),
        }
    }

    /// The symbol's orders since this time, by id.
    pub(super) async fn orders_since(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
    ) -> Result<BTreeMap<i64, OrderAnswer>, ExchangeError> {
        let mut all = BTreeMap::new();
        let mut next = None;
        loop {
            let call = list(WHAT, "/fapi/v1/allOrders")
                .param("symbol", symbol)
                .optional("orderId", next)
                .optional("startTime", next.is_none().then_some(from.0))
                .param("limit", PAGE);
            let page: Vec<OrderAnswer> = self.query(call).await?;
            let full = page.len() >= PAGE;
            all.extend(page.into_iter().map(|order| (order.order_id, order)));
            match page_after(last_id(&all).filter(|_| full), next) {
                Some(after) => next = Some(after),
                None => return Ok(all),
            }
        }
    }

    async fn query_algo(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<ExecutionReport>, ExchangeError> {
        let Some(algo) = self.find_algo(symbol, order).await? else {
            return Ok(None);
        };
        let is_open = is_algo_open(&algo.algo_status)?;
        match algo.actual_order_id {
            Some(id) => {
                let order = self.by_id(symbol, id).await?;
                report(&order).map(Some)
            }
            // The conditional order became an order, and the answer does not say which.
            None if algo.algo_status == AlgoStatus::Finished => Err(retry(
                WHAT,
                format!("conditional order {} does not name its order", algo.algo_id),
            )),
            None => Ok(Some(ExecutionReport {
                is_open,
                fill: None,
            })),
        }
    }

    async fn find_algo(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<AlgoOrderAnswer>, ExchangeError> {
        let call = Call::get(WHAT, "/fapi/v1/algoOrder")
            .param("clientAlgoId", order.client_order_id.as_str())
            .priority(Priority::Vital);
        match self.query_unless(code::NO_SUCH_ORDER, call).await? {
            Some(found) => Ok(Some(found)),
            None => self.search_algo(symbol, order).await,
        }
    }

    async fn search_algo(
        &self,
        symbol: &SubjectToken,
        order: &Order,
    ) -> Result<Option<AlgoOrderAnswer>, ExchangeError> {
        let from = UtcMs(order.at.0.saturating_sub(BEFORE_MS));
        let all = self.algos_since(symbol, from).await?;
        let is_ours = |a: &AlgoOrderAnswer| a.client_algo_id == order.client_order_id.as_str();
        Ok(all.into_values().rev().find(is_ours))
    }

    /// The symbol's conditional orders since this time, by id.
    pub(super) async fn algos_since(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
    ) -> Result<BTreeMap<i64, AlgoOrderAnswer>, ExchangeError> {
        let mut all = BTreeMap::new();
        let mut next = None;
        loop {
            let call = list(WHAT, "/fapi/v1/allAlgoOrders")
                .param("symbol", symbol)
                .optional("algoId", next)
                .optional("startTime", next.is_none().then_some(from.0))
                .param("limit", PAGE);
            let page: Vec<AlgoOrderAnswer> = self.query(call).await?;
            let full = page.len() >= PAGE;
            all.extend(page.into_iter().map(|algo| (algo.algo_id, algo)));
            match page_after(last_id(&all).filter(|_| full), next) {
                Some(after) => next = Some(after),
                None => return Ok(all),
            }
        }
    }
}

pub(super) fn last_id<T>(rows: &BTreeMap<i64, T>) -> Option<i64> {
    rows.last_key_value().map(|(id, _)| *id)
}

/// Start of the page after a full one; `None` for a list that does not advance.
pub(super) fn page_after(last: Option<i64>, asked: Option<i64>) -> Option<i64> {
    let advances = |last: &i64| asked.is_none_or(|asked| *last >= asked);
    last.filter(advances)?.checked_add(1)
}
