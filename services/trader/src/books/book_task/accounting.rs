//! What trading has cost: fees and profit of fills, funding, and trades that the operator made. It is read when the exchange lists
//! it, which may be late; nothing that protects a position waits for it.

use std::time::Duration;

use exchange::{ExchangeError, ExecutionClient};
use protocol::time::UtcMs;
use trader_core::book::{
    BookEvent, ExecutionEvent, ExitReason, ReconciliationTask, reconciliation_tasks,
};
use trader_core::orders::{
    AccountTrade, ClientOrderId, ExecutionReport, Fill, Order, OrderCallOutcome, OrderStatus,
};

use super::book::Book;
use super::reconcile_error::ReconcileError;
use super::reconcile_schedule::ReconcileSchedule;

/// Unfinished queries in a row after which the operator is notified: about a minute.
const REPORTED_AFTER: u32 = 10;
/// How long before the entry its trades are listed from: the clocks of the exchange's parts differ.
const BEFORE_ENTRY_MS: i64 = 60_000;

/// Whether all trades of the position are needed with its funding, because it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IsClosed {
    /// The position is closed: the trade is recorded once everything is known.
    Yes,
    /// It is open.
    No,
}

impl Book {
    /// Queries what is not booked yet, unless the last query was a moment ago.
    pub(super) async fn run_accounting(
        &mut self,
        client: &dyn ExecutionClient,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), ReconcileError> {
        if !rounds.is_accounting_due() {
            return Ok(());
        }
        let now = client.now().await?;
        let tasks = reconciliation_tasks(&self.state, now).into_iter();
        for task in tasks.filter(ReconciliationTask::is_accounting) {
            match self.run_task(client, task).await {
                Ok(()) => {}
                Err(ReconcileError::Exchange(error)) => {
                    self.accounting_failed(rounds, &error);
                    return Ok(());
                }
                Err(end) => return Err(end),
            }
        }
        let left = reconciliation_tasks(&self.state, now);
        if left.iter().any(ReconciliationTask::is_accounting) {
            let missing = ExchangeError::retry("costs", "the exchange does not list them yet");
            self.accounting_failed(rounds, &missing);
        } else {
            rounds.end_accounting();
        }
        Ok(())
    }

    fn accounting_failed(&mut self, rounds: &mut ReconcileSchedule, error: &ExchangeError) {
        let pause: Option<Duration> = match error {
            ExchangeError::Retry { after, .. } => *after,
            ExchangeError::Rejected { .. } => None,
        };
        let unfinished = rounds.delay_accounting(pause);
        tracing::debug!(symbol = %self.symbol, %error, unfinished, "costs not known yet");
        if unfinished == REPORTED_AFTER {
            self.report_failure(&format!(
                "fees and profit are not known yet ({error}); stop and target do not wait for them"
            ));
        }
    }

    pub(super) async fn query_costs(
        &mut self,
        client: &dyn ExecutionClient,
        order: &Order,
        fill: Fill,
    ) -> Result<(), ReconcileError> {
        let id = match fill.exchange_order_id {
            Some(id) => id,
            None => match client.query_order(&self.symbol, order).await? {
                OrderCallOutcome::Reported(ExecutionReport {
                    fill:
                        Some(Fill {
                            exchange_order_id: Some(id),
                            ..
                        }),
                    ..
                }) => id,
                _ => return Ok(()),
            },
        };
        let costs = client.order_costs(&self.symbol, id, fill.quantity).await?;
        let Some(costs) = costs else { return Ok(()) };
        let event = ExecutionEvent::CostsReceived {
            client_order_id: order.client_order_id.clone(),
            costs,
            now: client.now().await?,
        };
        Ok(self.decide(BookEvent::Execution(event)).await?)
    }

    pub(super) async fn query_payments(
        &mut self,
        client: &dyn ExecutionClient,
        from: UtcMs,
        is_closed: IsClosed,
    ) -> Result<(), ReconcileError> {
        let trades = match is_closed {
            IsClosed::Yes => self.trades_since_entry(client).await?,
            IsClosed::No => None,
        };
        let now = client.now().await?;
        let payments = client.funding_payments(&self.symbol, from, now).await?;
        let event = ExecutionEvent::FundingReceived {
            payments,
            trades,
            now,
        };
        Ok(self.decide(BookEvent::Execution(event)).await?)
    }

    /// Books what the operator traded since the entry.
    pub(super) async fn query_trades(
        &mut self,
        client: &dyn ExecutionClient,
    ) -> Result<(), ReconcileError> {
        let Some(trades) = self.trades_since_entry(client).await? else {
            return Ok(());
        };
        let now = client.now().await?;
        let event = ExecutionEvent::TradesReceived { trades, now };
        Ok(self.decide(BookEvent::Execution(event)).await?)
    }

    /// All trades of the account in this symbol since the entry order; `None` without one, and while the exchange does not
    /// list all trades of the book's own orders.
    async fn trades_since_entry(
        &self,
        client: &dyn ExecutionClient,
    ) -> Result<Option<Vec<AccountTrade>>, ExchangeError> {
        let Some(entry) = self.state.orders.first() else {
            return Ok(None);
        };
        let from = UtcMs(entry.order.at.0.saturating_sub(BEFORE_ENTRY_MS));
        let fills = client.fills_since(&self.symbol, from).await?;
        let trades: Vec<AccountTrade> = fills
            .into_iter()
            .map(|trade| AccountTrade {
                trade_id: trade.trade_id,
                is_ours: self.has_traded(&trade.client_order_id),
                side: trade.side,
                fill: trade.fill,
            })
            .collect();
        let listed: i64 = trades.iter().filter(|t| t.is_ours).map(units).sum();
        let orders = self.state.orders.iter();
        let own = orders.filter(|o| o.order.reason != Some(ExitReason::External));
        let fills = own.filter_map(|o| o.fill());
        let filled: i64 = fills.map(|fill| fill.quantity.units()).sum();
        Ok((listed >= filled).then_some(trades))
    }

    /// Whether a trade of this order is, or will be, booked as one of the book's own.
    fn has_traded(&self, client_order_id: &str) -> bool {
        let id = ClientOrderId::from_exchange(client_order_id);
        let known = self.state.order(&id);
        known.is_some_and(|o| !matches!(o.status, OrderStatus::ClosedUnfilled { .. }))
    }
}

fn units(trade: &AccountTrade) -> i64 {
    trade.fill.quantity.units()
}
