//! Trades of the account: those of one order, for its costs, and all of a symbol, for what the operator traded. A list may have
//! a trade twice, or not yet.

use std::collections::BTreeMap;

use exchange::{ExchangeError, ExchangeFill};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::fixed_point::{Qty, SCALE};
use trader_core::orders::{Fill, FillCosts};

use super::client::BinanceExecutionClient;
use super::order_answer::{order_side, price, qty};
use super::order_query::{PAGE, SPAN_MS, last_id, page_after};
use super::signed_call::list;
use crate::QUOTE;
use crate::error::retry;
use crate::wire::orders::TradeAnswer;

const WHAT: &str = "trades";

/// Taker fee that is paid in BNB: 0.05 % less a tenth.
const USUAL_FEE: Decimal = Decimal::from_parts(45, 0, 0, false, 5);

/// How long before the first trade the orders of the trades are listed from: an order is older than its trades.
const BEFORE_MS: i64 = 60_000;

impl BinanceExecutionClient {
    /// Queries what an order cost, as [`exchange::ExecutionClient::order_costs`] states.
    pub(super) async fn order_costs(
        &self,
        symbol: &SubjectToken,
        exchange_order_id: i64,
        quantity: Qty,
    ) -> Result<Option<FillCosts>, ExchangeError> {
        let trades = self.trades_of_order(symbol, exchange_order_id).await?;
        let mut quantity_traded = Decimal::ZERO;
        let mut sum = FillCosts::default();
        for trade in trades.values() {
            if trade.order_id != exchange_order_id {
                let reason =
                    format!("a trade of another order than {exchange_order_id} was answered");
                return Err(retry(WHAT, reason));
            }
            quantity_traded = add(quantity_traded, trade.qty)?;
            let costs = self.costs_of(trade).await?;
            sum.fee = add(sum.fee, costs.fee)?;
            sum.fee_in_other_assets = add(sum.fee_in_other_assets, costs.fee_in_other_assets)?;
            sum.realized_pnl = add(sum.realized_pnl, costs.realized_pnl)?;
        }
        Ok((quantity_traded == quantity.to_decimal()).then_some(sum))
    }

    /// Queries the symbol's trades, as [`exchange::ExecutionClient::fills_since`] states.
    pub(super) async fn fills_since(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
    ) -> Result<Vec<ExchangeFill>, ExchangeError> {
        let trades = self.trades_since(symbol, from).await?;
        if trades.is_empty() {
            return Ok(Vec::new());
        }
        let before = UtcMs(from.0.saturating_sub(BEFORE_MS));
        let algos = self.algos_since(symbol, before).await?;
        let triggered = algos.into_values().filter_map(|algo| {
            let order_id = algo.actual_order_id?;
            Some((order_id, algo.client_algo_id))
        });
        let orders = self.orders_since(symbol, before).await?;
        let mut client_ids: BTreeMap<i64, String> = orders
            .into_values()
            .map(|order| (order.order_id, order.client_order_id))
            .collect();
        // The order that a conditional order became has an id of the exchange's own.
        client_ids.extend(triggered);
        let mut fills = Vec::with_capacity(trades.len());
        for trade in trades.values() {
            if !client_ids.contains_key(&trade.order_id) {
                // An order that rested for long is older than the list.
                let order = self.by_id(symbol, trade.order_id).await?;
                client_ids.insert(order.order_id, order.client_order_id);
            }
            let client_order_id = client_ids.get(&trade.order_id).cloned();
            let unknown = || retry(WHAT, format!("order {} is not shown yet", trade.order_id));
            fills.push(ExchangeFill {
                trade_id: trade.id,
                client_order_id: client_order_id.ok_or_else(unknown)?,
                side: order_side(&trade.side)?,
                fill: Fill {
                    quantity: qty(trade.qty)?,
                    price: price(trade.price)?,
                    at: trade.time,
                    exchange_order_id: Some(trade.order_id),
                    costs: Some(self.costs_of(trade).await?),
                },
            });
        }
        Ok(fills)
    }

    /// The symbol's trades from `from` on by id, including trades of orders that another program or the operator placed.
    pub(super) async fn trades_since(
        &self,
        symbol: &SubjectToken,
        from: UtcMs,
    ) -> Result<BTreeMap<i64, TradeAnswer>, ExchangeError> {
        let now = exchange::ExecutionClient::now(self).await?;
        let mut start = from.0;
        loop {
            let page = self.trade_page(symbol, Span::Time(start)).await?;
            let next = start.saturating_add(SPAN_MS);
            let is_last = next > now.0;
            if is_last && page.len() < PAGE {
                return Ok(by_id(page));
            }
            if !page.is_empty() {
                return self.all_from(symbol, by_id(page)).await;
            }
            start = next;
        }
    }

    /// The trades that follow these, by id: requests by id have no longest span.
    async fn all_from(
        &self,
        symbol: &SubjectToken,
        mut all: BTreeMap<i64, TradeAnswer>,
    ) -> Result<BTreeMap<i64, TradeAnswer>, ExchangeError> {
        while let Some(last) = last_id(&all) {
            let page = self.trade_page(symbol, Span::From(last + 1)).await?;
            let full = page.len() >= PAGE;
            let known = all.len();
            all.extend(by_id(page).into_iter().filter(|(id, _)| *id > last));
            if !full || all.len() == known {
                break;
            }
        }
        Ok(all)
    }

    async fn trade_page(
        &self,
        symbol: &SubjectToken,
        span: Span,
    ) -> Result<Vec<TradeAnswer>, ExchangeError> {
        let (from_id, start) = match span {
            Span::Time(start) => (None, Some(start)),
            Span::From(id) => (Some(id), None),
        };
        let end = start.map(|start| start.saturating_add(SPAN_MS - 1));
        let call = list(WHAT, "/fapi/v1/userTrades")
            .param("symbol", symbol)
            .optional("startTime", start)
            .optional("endTime", end)
            .optional("fromId", from_id)
            .param("limit", PAGE);
        self.query(call).await
    }

    async fn trades_of_order(
        &self,
        symbol: &SubjectToken,
        order_id: i64,
    ) -> Result<BTreeMap<i64, TradeAnswer>, ExchangeError> {
        let mut trades = BTreeMap::new();
        let mut next = None;
        loop {
            let call = list(WHAT, "/fapi/v1/userTrades")
                .param("symbol", symbol)
                .param("orderId", order_id)
                .optional("fromId", next)
                .param("limit", PAGE);
            let page: Vec<TradeAnswer> = self.query(call).await?;
            let full = page.len() >= PAGE;
            trades.extend(by_id(page));
            match page_after(last_id(&trades).filter(|_| full), next) {
                Some(after) => next = Some(after),
                None => return Ok(trades),
            }
        }
    }

    async fn costs_of(&self, trade: &TradeAnswer) -> Result<FillCosts, ExchangeError> {
        let asset = trade.commission_asset.as_str();
        let value = self.value_in_quote(asset, trade.commission, trade.time);
        let fee = match value.await {
            Ok(fee) => fee,
            Err(ExchangeError::Rejected { .. }) if self.has_no_price() => estimated_fee(trade)?,
            Err(error) => return Err(error),
        };
        Ok(FillCosts {
            fee,
            fee_in_other_assets: if asset == QUOTE { Decimal::ZERO } else { fee },
            realized_pnl: trade.realized_pnl,
        })
    }
}

/// The trades that a request asks for.
enum Span {
    /// A week of trades from this time on.
    Time(i64),
    /// Trades from this id on.
    From(i64),
}

fn by_id(trades: Vec<TradeAnswer>) -> BTreeMap<i64, TradeAnswer> {
    trades.into_iter().map(|trade| (trade.id, trade)).collect()
}

/// The usual fee of a trade, when the asset in which it was paid has no price.
fn estimated_fee(trade: &TradeAnswer) -> Result<Decimal, ExchangeError> {
    tracing::warn!(
        asset = trade.commission_asset,
        trade = trade.id,
        "fee estimated: its asset has no price"
    );
    let worth = trade.qty.checked_mul(trade.price);
    let fee = worth.and_then(|worth| worth.checked_mul(USUAL_FEE));
    let overflow = || retry(WHAT, "the trades are too large");
    Ok(fee.ok_or_else(overflow)?.round_dp(SCALE))
}

fn add(sum: Decimal, amount: Decimal) -> Result<Decimal, ExchangeError> {
    let overflow = || retry(WHAT, "the trades are too large");
    sum.checked_add(amount).ok_or_else(overflow)
}
