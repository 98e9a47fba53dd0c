//! The state of an order: [`BinanceExecutionClient::query_order`]. An order is queried by its client order id. It is not found only if the exchange's lists do not have it either.

use std::collections::BTreeMap;

use exchange::ExchangeError;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use serde::de::DeserializeOwned;
use trader_core::orders::{ExecutionReport, Order, OrderCallOutcome};

use super::client::BinanceExecutionClient;
use super::order_answer::{WHAT, is_algo_open, report};
use super::signed_call::list;
use crate::client::{Call, Priority, code};
use crate::error::retry;
use crate::wire::orders::{AlgoOrderAnswer, AlgoStatus, OrderAnswer};

/// Entries of one answer.
pub(super) const PAGE: usize = 1_000;

/// The longest span that Binance lists trades of at once: seven days.
pub(super) const SPAN_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// How far back the exchange lists orders: 90 days, less one for the difference of the clocks.
const OLDEST_MS: i64 = 89 * 24 * 3_600 * 1_000;

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
        match self.query_unless(&[code::NO_SUCH_ORDER], call).await? {
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
        let found = self.query_unless(&[code::NO_SUCH_ORDER], call).await?;
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
        let rows: Vec<OrderAnswer> = self.rows_since("/fapi/v1/allOrders", symbol, from).await?;
        Ok(rows.into_iter().map(|o| (o.order_id, o)).collect())
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
                is_canceled: algo.algo_status == AlgoStatus::Canceled,
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
        match self.query_unless(&[code::NO_SUCH_ORDER], call).await? {
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
        let path = "/fapi/v1/allAlgoOrders";
        let rows: Vec<AlgoOrderAnswer> = self.rows_since(path, symbol, from).await?;
        Ok(rows.into_iter().map(|a| (a.algo_id, a)).collect())
    }

    /// The rows of a list since this time, in spans that the exchange allows. A span with a full page is halved: whether a
    /// full page has the oldest rows or the newest is not documented.
    async fn rows_since<T: DeserializeOwned>(
        &self,
        path: &'static str,
        symbol: &SubjectToken,
        from: UtcMs,
    ) -> Result<Vec<T>, ExchangeError> {
        let now = exchange::ExecutionClient::now(self).await?;
        let oldest = now.0.saturating_sub(OLDEST_MS);
        let mut spans = vec![from.0.max(oldest)..=now.0.max(from.0)];
        let mut rows = Vec::new();
        while let Some(span) = spans.pop() {
            let (start, end) = (*span.start(), *span.end());
            if end - start >= SPAN_MS {
                let next = start + SPAN_MS;
                spans.extend([next..=end, start..=next - 1]);
                continue;
            }
            // The clock may lag the exchange: the newest span has no end in the past.
            let until = if end >= now.0 {
                start + SPAN_MS - 1
            } else {
                end
            };
            let call = list(WHAT, path)
                .param("symbol", symbol)
                .param("startTime", start)
                .param("endTime", until)
                .param("limit", PAGE);
            let page: Vec<T> = self.query(call).await?;
            if page.len() < PAGE {
                rows.extend(page);
            } else if start < end {
                let middle = start + (end - start) / 2;
                spans.extend([middle + 1..=end, start..=middle]);
            } else {
                return Err(retry(WHAT, "a millisecond has more orders than a page"));
            }
        }
        Ok(rows)
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
