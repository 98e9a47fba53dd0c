//! A position on the exchange that differs from the journal: an entry that appears late, trades of the operator, or nothing that
//! explains it. Only the last halts the book, and only after it has lasted.

use std::time::Duration;

use exchange::{ExchangeFill, ExecutionClient, FOUND_FOR};
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use trader_core::book::{
    BookEvent, BookPhase, ExecutionEvent, LostEntry, MAX_LATENESS, compare_with_exchange,
};
use trader_core::orders::{ClientOrderId, ExecutionReport, OrderCallOutcome, OrderSide};

use super::book::Book;
use super::reconcile_error::ReconcileError;
use super::reconcile_schedule::ReconcileSchedule;

/// Time between two comparisons of a position that the book did not open.
const EXTERNAL_INTERVAL: Duration = Duration::from_secs(30);
/// How far back the trades of a position that the book did not open are queried.
const LOOK_BACK: Duration = Duration::from_hours(24);

impl Book {
    /// Handles a position on the exchange that differs from the journal by `surplus`.
    pub(super) async fn handle_position_mismatch(
        &mut self,
        client: &dyn ExecutionClient,
        rounds: &mut ReconcileSchedule,
        surplus: Decimal,
    ) -> Result<(), ReconcileError> {
        let lasted = rounds.note_mismatch();
        if self.external_position != Some(surplus) {
            tracing::warn!(symbol = %self.symbol, %surplus, "position mismatch between exchange and journal");
        }
        let now = client.now().await?;
        match &self.state.phase {
            BookPhase::Open(_) => self.query_trades(client).await?,
            // Its query, which has been made, may show it later.
            _ if self.has_recent_lost_entry(now) => {}
            _ if self.opened_by_us(client, surplus).await? => {}
            _ => {
                // The operator's position is theirs: it only prevents entries.
                self.set_external_position(Some(surplus));
                rounds.end_mismatch();
                rounds.reconcile_after(EXTERNAL_INTERVAL);
                return Ok(());
            }
        }
        let left = self.position_difference(client).await?;
        if left.is_none_or(|surplus| surplus.is_zero()) {
            self.set_external_position(None);
            rounds.end_mismatch();
            return Ok(());
        }
        if lasted < FOUND_FOR {
            // A list that is empty or old for some time is no verdict.
            return Ok(());
        }
        let reason = format!(
            "position mismatch: the exchange holds {surplus} of {} more than the journal, and no trade explains it",
            self.symbol
        );
        Err(self.halt(reason).await.into())
    }

    async fn position_difference(
        &self,
        client: &dyn ExecutionClient,
    ) -> Result<Option<Decimal>, ReconcileError> {
        let Some(ours) = self.installation_id() else {
            return Ok(None);
        };
        let view = client.exchange_view(&self.symbol).await?;
        let now = client.now().await?;
        Ok(compare_with_exchange(&self.state, &ours, &view, now).position_difference)
    }

    /// Whether the newest trades, which made this position, are of orders of this installation that the book does not know.
    async fn opened_by_us(
        &self,
        client: &dyn ExecutionClient,
        position: Decimal,
    ) -> Result<bool, ReconcileError> {
        let Some(ours) = self.installation_id() else {
            return Ok(false);
        };
        let now = client.now().await?;
        let from = UtcMs(now.0 - i64::try_from(LOOK_BACK.as_millis()).unwrap_or(0));
        let fills = client.fills_since(&self.symbol, from).await?;
        let opener = opener(&fills, position);
        let installation =
            opener.and_then(|fill| ClientOrderId::installation_in(&fill.client_order_id));
        Ok(installation.is_some_and(|installation| installation == ours))
    }

    /// Whether an entry that was believed lost may still appear.
    pub(super) fn has_recent_lost_entry(&self, now: UtcMs) -> bool {
        let is_recent = |lost: &LostEntry| now.since(lost.order.at) <= MAX_LATENESS;
        self.state.lost_entries.iter().any(is_recent)
    }

    /// Takes an entry back that was believed lost and has filled.
    pub(super) async fn query_lost_entries(
        &mut self,
        client: &dyn ExecutionClient,
    ) -> Result<(), ReconcileError> {
        let now = client.now().await?;
        for lost in self.state.lost_entries.clone() {
            if now.since(lost.order.at) > MAX_LATENESS || self.state.phase != BookPhase::Flat {
                continue;
            }
            let outcome = client.query_order(&self.symbol, &lost.order).await?;
            let OrderCallOutcome::Reported(ExecutionReport {
                fill: Some(fill), ..
            }) = outcome
            else {
                continue;
            };
            tracing::warn!(symbol = %self.symbol, order = %lost.order.client_order_id,
                "entry that was believed lost has filled");
            let event = ExecutionEvent::LateEntryFilled {
                client_order_id: lost.order.client_order_id,
                fill,
                now: client.now().await?,
            };
            self.decide(BookEvent::Execution(event)).await?;
        }
        Ok(())
    }

    /// Notes a position that the book did not open; `None` if there is none.
    pub(super) fn set_external_position(&mut self, position: Option<Decimal>) {
        if self.external_position == position {
            return;
        }
        if let Some(quantity) = position {
            tracing::warn!(symbol = %self.symbol, %quantity,
                "external position found; no entries until it is closed");
        } else {
            tracing::info!(symbol = %self.symbol, "external position closed");
        }
        self.external_position = position;
    }
}

/// The trade that opened this position: going back, the one before which the account was flat.
fn opener(fills: &[ExchangeFill], position: Decimal) -> Option<&ExchangeFill> {
    let mut left = position;
    for fill in fills.iter().rev() {
        let quantity = fill.fill.quantity.to_decimal();
        left -= match fill.side {
            OrderSide::Buy => quantity,
            OrderSide::Sell => -quantity,
        };
        if left.is_zero() || left.is_sign_negative() != position.is_sign_negative() {
            return Some(fill);
        }
    }
    fills.first()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trader_core::orders::Fill;

    fn trade(trade_id: i64, side: OrderSide, quantity: &str) -> ExchangeFill {
        ExchangeFill {
            trade_id,
            client_order_id: format!("order-{trade_id}"),
            side,
            fill: Fill {
                quantity: quantity.parse().unwrap(),
                price: "1".parse().unwrap(),
                at: UtcMs(trade_id),
                exchange_order_id: None,
                costs: None,
            },
        }
    }

    #[test]
    fn position_was_opened_by_the_trade_before_which_the_account_was_flat() {
        use OrderSide::{Buy, Sell};
        let fills = [
            trade(1, Buy, "0.5"),
            trade(2, Sell, "0.5"),
            trade(3, Sell, "0.2"),
            trade(4, Sell, "0.1"),
        ];
        let opened_by =
            |position: &str| opener(&fills, position.parse().unwrap()).unwrap().trade_id;
        assert_eq!(opened_by("-0.3"), 3);
        assert_eq!(opened_by("-0.1"), 4);
        let flip = [trade(1, Buy, "0.5"), trade(2, Sell, "0.8")];
        assert_eq!(opener(&flip, "-0.3".parse().unwrap()).unwrap().trade_id, 2);
        assert_eq!(opener(&[], Decimal::ONE), None);
    }
}
