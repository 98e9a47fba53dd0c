//! Sends a book's orders to the exchange. What follows from the results is decided in `trader_core`.

use std::sync::Arc;

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use trader_core::book::{BookEvent, BookRecord, ExecutionEvent, ExitReason};
use trader_core::orders::{ClientOrderId, Leg, Order, OrderCallOutcome, OrderStatus};

use super::book::{Book, BookTaskEnd};
use crate::app::context::Context;

/// An order that was sent, with the result of the call.
pub(super) struct SentOrder {
    client_order_id: ClientOrderId,
    leg: Leg,
    outcome: OrderCallOutcome,
    /// The exchange's time after the call.
    at: UtcMs,
}

impl Book {
    /// Closes the open position at the market, because the account is latched.
    pub(super) async fn close_at_market(&mut self) -> Result<(), BookTaskEnd> {
        let now = self
            .exchange_time_or(self.ctx.data_client.clock().now())
            .await;
        self.decide(BookEvent::Execution(ExecutionEvent::CloseRequested {
            reason: ExitReason::AccountLatched,
            now,
        }))
        .await
    }

    /// The exchange's time for a decision. A live book asks the exchange, because an order that is signed with an
    /// old time is rejected. A paper book uses `known`.
    pub(super) async fn exchange_time_or(&self, known: UtcMs) -> UtcMs {
        match &self.ctx.execution_client {
            None => known,
            Some(client) => client.now().await.unwrap_or(known).max(known),
        }
    }

    /// Sends the stop and target orders of a batch that is being appended. They can only reduce the position,
    /// and the exchange rejects a second copy.
    pub(super) async fn send_protective_orders(
        ctx: Arc<Context>,
        symbol: SubjectToken,
        records: &[BookRecord],
    ) -> Vec<SentOrder> {
        let protective = intended_orders(records).filter(|order| order.leg.is_conditional());
        send_orders(&ctx, &symbol, protective).await
    }

    /// Sends the other orders of a batch that is stored.
    pub(super) async fn send_stored_orders(&self, records: &[BookRecord]) -> Vec<SentOrder> {
        let wanted = |order: &&Order| {
            let tracked = self.state.order(&order.client_order_id);
            !order.leg.is_conditional()
                && tracked.is_some_and(|o| o.status == OrderStatus::Intended)
        };
        send_orders(
            &self.ctx,
            &self.symbol,
            intended_orders(records).filter(wanted),
        )
        .await
    }

    /// The event of a sent order. Logs the order here, after its batch, so that the log has the journal's order.
    pub(super) fn order_finished(&self, sent: SentOrder) -> BookEvent {
        tracing::info!(symbol = %self.symbol, leg = %sent.leg, order = %sent.client_order_id,
            outcome = %sent.outcome, "order sent");
        BookEvent::Execution(ExecutionEvent::OrderCallFinished {
            client_order_id: sent.client_order_id,
            outcome: sent.outcome,
            now: sent.at,
        })
    }
}

fn intended_orders(records: &[BookRecord]) -> impl Iterator<Item = &Order> {
    records.iter().filter_map(|record| match record {
        BookRecord::OrderIntended(order) => Some(order),
        _ => None,
    })
}

/// Sends one order after the other, the stop first.
async fn send_orders<'a>(
    ctx: &Context,
    symbol: &SubjectToken,
    orders: impl Iterator<Item = &'a Order>,
) -> Vec<SentOrder> {
    let Some(client) = &ctx.execution_client else {
        return Vec::new();
    };
    let mut sent = Vec::new();
    for order in orders {
        let outcome = client.submit_order(symbol, order).await;
        let at = client
            .now()
            .await
            .unwrap_or_else(|_| ctx.data_client.clock().now());
        sent.push(SentOrder {
            client_order_id: order.client_order_id.clone(),
            leg: order.leg,
            outcome,
            at,
        });
    }
    sent
}
