//! Compares a live book with the exchange: queries orders with an unknown outcome, repairs what is ours, and
//! halts the book if nothing explains a difference. What follows from the answers is decided in `trader_core`.
//!
//! Events of the user stream are only hints to query; the book acts on answers to queries.

use std::time::{Duration, Instant};

use exchange::{ExchangeError, ExecutionClient, FOUND_FOR, fills_against};
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use tokio::sync::watch;
use tokio::time::sleep_until;
use trader_core::book::{
    BookEvent, BookPhase, ExecutionEvent, Reconciliation, ReconciliationTask,
    compare_with_exchange, count_failed_exits, funding_unknown_since, is_unprotected,
    reconciliation_tasks, resting_orders,
};
use trader_core::orders::{InstallationId, Order};

use super::book::{Book, BookTaskEnd, RETRY_DELAY};
use crate::app::context::Context;

/// Delay to the next round while a query is pending.
const URGENT_DELAY: Duration = Duration::from_millis(100);
/// Time between two queries of the resting orders without a hint.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two reconciliations.
const RECONCILE_INTERVAL: Duration = Duration::from_mins(5);
/// Delay after the exchange rejected a query, for example because the key is not valid any more.
const REJECTED_RETRY_DELAY: Duration = Duration::from_secs(10);
/// Delay to the next comparison after a position mismatch. A fill between two answers can cause one.
const MISMATCH_RECHECK_DELAY: Duration = Duration::from_secs(2);
/// Time a book may use at shutdown to resolve its orders. Longer than `recvWindow`, so that a lost stop order can be
/// sent again; shorter than the shutdown deadline.
const ORDER_DRAIN_TIMEOUT: Duration = Duration::from_secs(6);
/// Comparisons in a row that must show a mismatch before the book queries the trades that explain it.
const MISMATCHES_TO_BELIEVE: u8 = 3;

/// Schedule of the queries to the exchange for one book. Never due on paper.
pub(super) struct ReconcileSchedule {
    hints: Option<watch::Receiver<u64>>,
    next_round: Instant,
    /// No round before this time after a failure, however urgent.
    not_before: Instant,
    /// When the resting orders are queried without a hint.
    next_poll: Instant,
    /// The next round also queries the resting orders.
    queries_resting_orders: bool,
    next_reconciliation: Instant,
    mismatches: u8,
    /// Since when comparisons show a mismatch; `None` after one without.
    mismatched_since: Option<Instant>,
    external_orders: usize,
    failures: usize,
}

/// Why a round failed.
enum ReconcileError {
    /// The exchange did not answer, or rejected the query.
    Exchange(ExchangeError),
    /// The task of the book ends.
    End(BookTaskEnd),
}

impl From<ExchangeError> for ReconcileError {
    fn from(error: ExchangeError) -> Self {
        Self::Exchange(error)
    }
}

impl From<BookTaskEnd> for ReconcileError {
    fn from(end: BookTaskEnd) -> Self {
        Self::End(end)
    }
}

impl ReconcileSchedule {
    pub(super) fn for_symbol(ctx: &Context, symbol: &SubjectToken) -> Self {
        let now = Instant::now();
        Self {
            hints: ctx
                .execution_client
                .as_ref()
                .map(|client| client.hints(symbol)),
            next_round: now + POLL_INTERVAL,
            not_before: now,
            next_poll: now + POLL_INTERVAL,
            queries_resting_orders: false,
            next_reconciliation: now,
            mismatches: 0,
            mismatched_since: None,
            external_orders: 0,
            failures: 0,
        }
    }

    /// Waits until a round is due. Cancel-safe.
    pub(super) async fn wait_until_due(&mut self) {
        let Some(hints) = &mut self.hints else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = sleep_until(self.next_round.into()) => {}
            changed = hints.changed() => {
                let now = Instant::now();
                self.queries_resting_orders = true;
                self.next_reconciliation = now;
                if changed.is_ok() {
                    // One fill causes several hints; none of them ends the backoff after a failure.
                    self.schedule_no_later_than(now);
                }
                // While the stream's task restarts there are no hints: the timer applies.
                sleep_until(self.next_round.into()).await;
            }
        }
    }

    /// Whether a round is due now.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next_round
    }

    /// Makes the next round urgent.
    fn schedule_soon(&mut self) {
        self.schedule_no_later_than(Instant::now() + URGENT_DELAY);
    }

    /// Moves the next round to this time or earlier, but not into the backoff after a failure.
    fn schedule_no_later_than(&mut self, at: Instant) {
        self.next_round = self.next_round.min(at.max(self.not_before));
    }

    /// Delays the next round after a failure. A pause that the exchange demands applies to rounds that are not urgent.
    /// After a rejection, no round is urgent.
    fn back_off(&mut self, error: &ExchangeError) {
        let (backoff, pause) = match error {
            ExchangeError::Retry { after, .. } => {
                (RETRY_DELAY, after.unwrap_or(RETRY_DELAY).max(RETRY_DELAY))
            }
            ExchangeError::Rejected { .. } => (REJECTED_RETRY_DELAY, REJECTED_RETRY_DELAY),
        };
        let now = Instant::now();
        self.queries_resting_orders = true;
        self.not_before = now + backoff;
        self.next_round = now + pause;
    }

    fn recheck_mismatch(&mut self) {
        self.next_reconciliation = Instant::now() + MISMATCH_RECHECK_DELAY;
        self.next_round = self.next_round.min(self.next_reconciliation);
    }

    /// Reconciles now if one more protective or exit order has failed.
    fn reconcile_on_new_failures(&mut self, failures: usize) {
        if std::mem::replace(&mut self.failures, failures) < failures {
            self.next_reconciliation = Instant::now();
        }
    }

    /// Starts a round. An urgent round does not query the resting orders, unless their poll is due.
    fn begin_round(&mut self) {
        let now = Instant::now();
        self.queries_resting_orders |= now >= self.next_poll;
        if self.queries_resting_orders {
            self.next_poll = now + POLL_INTERVAL;
        }
        self.next_round = self.next_poll;
    }
}

impl Book {
    /// Reconciles the journal with the exchange before the first decision.
    pub(super) async fn reconcile_first(&mut self) -> Result<(), BookTaskEnd> {
        let Some(client) = self.ctx.execution_client.clone() else {
            return Ok(());
        };
        let mut rounds = ReconcileSchedule::for_symbol(&self.ctx, &self.symbol);
        loop {
            match self.prepare_and_reconcile(&*client, &mut rounds).await {
                Ok(()) if rounds.mismatches == 0 && self.pending_tasks().is_empty() => {
                    self.stop_waiting();
                    return Ok(());
                }
                Ok(()) if rounds.mismatches > 0 => {
                    tokio::time::sleep(MISMATCH_RECHECK_DELAY).await;
                }
                Ok(()) => tokio::time::sleep(URGENT_DELAY).await,
                Err(ReconcileError::End(end)) => return Err(end),
                Err(ReconcileError::Exchange(error)) => self.wait_after_failure(&error).await,
            }
        }
    }

    async fn prepare_and_reconcile(
        &mut self,
        client: &dyn ExecutionClient,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), ReconcileError> {
        if matches!(self.state.phase, BookPhase::Unopened | BookPhase::Flat) {
            client
                .prepare_symbol(&self.symbol, self.ctx.leverage())
                .await?;
        }
        rounds.queries_resting_orders = true;
        rounds.next_reconciliation = Instant::now();
        self.reconcile_round(client, rounds).await
    }

    /// Runs one round and schedules the next one.
    pub(super) async fn run_round(
        &mut self,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), BookTaskEnd> {
        let Some(client) = self.ctx.execution_client.clone() else {
            return Ok(());
        };
        rounds.begin_round();
        match self.reconcile_round(&*client, rounds).await {
            Ok(()) => {
                self.last_round_unanswered = false;
                Ok(())
            }
            Err(ReconcileError::End(end)) => Err(end),
            Err(ReconcileError::Exchange(error)) => {
                self.last_round_unanswered = true;
                self.report_failure(&error.to_string());
                rounds.back_off(&error);
                Ok(())
            }
        }
    }

    /// Makes the next round urgent if a query is pending or the position is unprotected.
    pub(super) fn schedule_if_urgent(&self, rounds: &mut ReconcileSchedule) {
        if self.is_urgent() {
            rounds.schedule_soon();
        }
    }

    /// Resolves orders with an unknown outcome and protects the position before shutdown, for at most 6 s. The next
    /// writer may start late.
    pub(super) async fn drain_orders(
        &mut self,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), BookTaskEnd> {
        let until = Instant::now() + ORDER_DRAIN_TIMEOUT;
        while self.is_urgent() && Instant::now() < until {
            self.schedule_if_urgent(rounds);
            sleep_until(rounds.next_round.min(until).into()).await;
            self.run_round(rounds).await?;
        }
        Ok(())
    }

    /// Whether a query is pending or the position is unprotected.
    fn is_urgent(&self) -> bool {
        self.ctx.execution_client.is_some()
            && (!self.pending_tasks().is_empty() || is_unprotected(&self.state))
    }

    fn pending_tasks(&self) -> Vec<ReconciliationTask> {
        reconciliation_tasks(&self.state, self.ctx.data_client.clock().now())
    }

    async fn reconcile_round(
        &mut self,
        client: &dyn ExecutionClient,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), ReconcileError> {
        let now = client.now().await?;
        self.decide(BookEvent::Execution(ExecutionEvent::Ticked { now }))
            .await?;
        if rounds.queries_resting_orders {
            let orders: Vec<Order> = resting_orders(&self.state).cloned().collect();
            for order in orders {
                self.query_order(client, &order).await?;
            }
            rounds.queries_resting_orders = false;
        }
        for task in reconciliation_tasks(&self.state, now) {
            self.run_task(client, task).await?;
        }
        rounds.reconcile_on_new_failures(count_failed_exits(&self.state));
        if Instant::now() >= rounds.next_reconciliation {
            self.reconcile(client, rounds).await?;
        }
        self.update_registry();
        Ok(())
    }

    async fn run_task(
        &mut self,
        client: &dyn ExecutionClient,
        task: ReconciliationTask,
    ) -> Result<(), ReconcileError> {
        match task {
            ReconciliationTask::QueryOrder(order) => self.query_order(client, &order).await,
            ReconciliationTask::CancelOrder(order) => {
                client
                    .cancel_order(
                        &self.symbol,
                        order.client_order_id.as_str(),
                        order.leg.is_conditional(),
                    )
                    .await?;
                self.query_order(client, &order).await
            }
            ReconciliationTask::QueryFunding { from } => self.query_payments(client, from).await,
        }
    }

    async fn query_order(
        &mut self,
        client: &dyn ExecutionClient,
        order: &Order,
    ) -> Result<(), ReconcileError> {
        let answer = client.query_order(&self.symbol, order).await?;
        let now = client.now().await?;
        let id = order.client_order_id.clone();
        let event = ExecutionEvent::OrderCallFinished {
            client_order_id: id,
            outcome: answer,
            now,
        };
        Ok(self.decide(BookEvent::Execution(event)).await?)
    }

    async fn query_payments(
        &mut self,
        client: &dyn ExecutionClient,
        from: UtcMs,
    ) -> Result<(), ReconcileError> {
        let now = client.now().await?;
        let payments = client.funding_payments(&self.symbol, from, now).await?;
        let event = ExecutionEvent::FundingReceived { payments, now };
        Ok(self.decide(BookEvent::Execution(event)).await?)
    }

    /// Compares the exchange with the journal: cancels orphaned orders, queries missing ones, ignores external ones, and
    /// halts the book if nothing explains a position mismatch.
    async fn reconcile(
        &mut self,
        client: &dyn ExecutionClient,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), ReconcileError> {
        let Some(ours) = self.installation_id() else {
            return Ok(());
        };
        let view = client.exchange_view(&self.symbol).await?;
        let found = compare_with_exchange(&self.state, &ours, &view);
        if let Some(foreign) = &found.foreign_installation {
            let reason = format!(
                "open orders of another installation ({foreign}) on the exchange: an account may have one \
                 installation only; stop the other one and cancel its orders"
            );
            return Err(self.halt(reason).await.into());
        }
        for orphan in &found.orphans {
            tracing::warn!(symbol = %self.symbol, order = orphan.client_order_id,
                "orphaned order cancelled");
            client
                .cancel_order(&self.symbol, &orphan.client_order_id, orphan.is_conditional)
                .await?;
        }
        for order in &found.missing_orders {
            self.query_order(client, order).await?;
        }
        self.log_external_orders(rounds, &found);
        if let Some(from) = funding_unknown_since(&self.state) {
            self.query_payments(client, from).await?;
        }
        match found.position_difference {
            None => rounds.recheck_mismatch(),
            Some(surplus) if surplus.is_zero() => {
                rounds.mismatches = 0;
                rounds.mismatched_since = None;
                rounds.next_reconciliation = Instant::now() + RECONCILE_INTERVAL;
            }
            Some(surplus) => {
                self.handle_position_mismatch(client, rounds, surplus)
                    .await?;
            }
        }
        Ok(())
    }

    /// Handles a position on the exchange that differs from the journal. External trades may explain the difference.
    async fn handle_position_mismatch(
        &mut self,
        client: &dyn ExecutionClient,
        rounds: &mut ReconcileSchedule,
        surplus: Decimal,
    ) -> Result<(), ReconcileError> {
        rounds.mismatches = rounds.mismatches.saturating_add(1);
        let since = *rounds.mismatched_since.get_or_insert_with(Instant::now);
        rounds.recheck_mismatch();
        tracing::warn!(symbol = %self.symbol, %surplus, mismatches = rounds.mismatches,
            "position mismatch between exchange and journal");
        if rounds.mismatches < MISMATCHES_TO_BELIEVE {
            return Ok(());
        }
        for event in self.find_external_closes(client).await? {
            self.decide(BookEvent::Execution(event)).await?;
        }
        let view = client.exchange_view(&self.symbol).await?;
        let ours = self.installation_id();
        let left = ours
            .and_then(|ours| compare_with_exchange(&self.state, &ours, &view).position_difference);
        if left.is_none_or(|surplus| surplus.is_zero()) {
            rounds.mismatches = 0;
            rounds.mismatched_since = None;
            return Ok(());
        }
        if since.elapsed() < FOUND_FOR {
            // A list that is empty or old for some seconds is no verdict.
            return Ok(());
        }
        let reason = format!(
            "position mismatch: the exchange holds {} of {}, {} more than the journal, and no trade explains it",
            view.position, self.symbol, surplus
        );
        Err(self.halt(reason).await.into())
    }

    /// Finds external trades that closed the position, if none of the book's own orders has filled.
    async fn find_external_closes(
        &self,
        client: &dyn ExecutionClient,
    ) -> Result<Vec<ExecutionEvent>, ReconcileError> {
        let BookPhase::Open(position) = &self.state.phase else {
            return Ok(Vec::new());
        };
        let entry = self.state.orders.first();
        let Some(entered) = entry.and_then(|o| o.fill()).map(|fill| fill.at) else {
            return Ok(Vec::new());
        };
        if self.state.orders.iter().skip(1).any(|o| o.fill().is_some()) {
            return Ok(Vec::new());
        }
        let now = client.now().await?;
        let fills = client.fills_since(&self.symbol, entered).await?;
        let events = fills_against(position.side, &fills);
        let event = |(order, fill)| ExecutionEvent::ExternallyClosed {
            exchange_order_id: order,
            fill,
            now,
        };
        Ok(events.into_iter().map(event).collect())
    }

    fn log_external_orders(&self, rounds: &mut ReconcileSchedule, found: &Reconciliation) {
        if std::mem::replace(&mut rounds.external_orders, found.external_orders)
            != found.external_orders
        {
            tracing::warn!(symbol = %self.symbol, orders = found.external_orders,
                "external open orders found; ignored");
        }
    }

    fn installation_id(&self) -> Option<InstallationId> {
        let live = self.ctx.config.live.as_ref();
        live.map(|live| live.installation_id.clone())
    }

    async fn halt(&mut self, reason: String) -> BookTaskEnd {
        let event = BookEvent::Failed {
            reason: reason.clone(),
        };
        match self.decide(event).await {
            Ok(()) => BookTaskEnd::Halted(reason),
            Err(end) => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// The schedule of a book without failures.
    fn schedule(now: Instant, hints: Option<watch::Receiver<u64>>) -> ReconcileSchedule {
        ReconcileSchedule {
            hints,
            next_round: now + POLL_INTERVAL,
            not_before: now,
            next_poll: now + POLL_INTERVAL,
            queries_resting_orders: false,
            next_reconciliation: now + RECONCILE_INTERVAL,
            mismatches: 0,
            mismatched_since: None,
            external_orders: 0,
            failures: 0,
        }
    }

    #[tokio::test]
    async fn hint_is_followed_at_once_but_does_not_end_backoff_after_a_failure() {
        let at_once = Duration::from_millis(100);
        let (hint, hints) = watch::channel(0);
        let mut rounds = schedule(Instant::now(), Some(hints));
        hint.send_replace(1);
        timeout(at_once, rounds.wait_until_due()).await.unwrap();
        rounds.back_off(&ExchangeError::Rejected {
            what: "orders",
            reason: "a key that is revoked".to_owned(),
        });
        for count in 2..4 {
            hint.send_replace(count);
            assert!(timeout(at_once, rounds.wait_until_due()).await.is_err());
        }
        // A hint whose wait was cancelled is not lost.
        rounds.not_before = Instant::now();
        rounds.next_round = rounds.next_round.min(rounds.not_before);
        timeout(at_once, rounds.wait_until_due()).await.unwrap();
        assert!(rounds.queries_resting_orders);
    }

    #[test]
    fn urgent_round_does_not_wait_for_the_next_poll_but_respects_backoff() {
        let now = Instant::now();
        let mut rounds = schedule(now, None);
        rounds.schedule_soon();
        assert!(rounds.next_round < now + RETRY_DELAY);
        rounds.back_off(&ExchangeError::Retry {
            what: "orders",
            reason: "busy".to_owned(),
            after: Some(POLL_INTERVAL),
        });
        assert!(rounds.next_round >= now + POLL_INTERVAL);
        rounds.schedule_soon();
        assert!(rounds.next_round >= now + RETRY_DELAY);
        assert!(rounds.next_round < now + POLL_INTERVAL);
        rounds.back_off(&ExchangeError::Rejected {
            what: "orders",
            reason: "a key that is revoked".to_owned(),
        });
        rounds.schedule_soon();
        assert!(rounds.next_round >= now + REJECTED_RETRY_DELAY);
    }
}
