//! Compares a live book with the exchange: queries orders with an unknown outcome, repairs what is ours, and
//! halts the book if nothing explains a difference. What follows from the answers is decided in `trader_core`.
//!
//! Events of the user stream are only hints to query; the book acts on answers to queries.

use std::time::{Duration, Instant};

use exchange::ExecutionClient;
use tokio::time::sleep_until;
use trader_core::book::{
    BookEvent, BookPhase, ExecutionEvent, REPLACEMENT_PAUSE, Reconciliation, ReconciliationTask,
    compare_with_exchange, count_failed_exits, funding_unknown_since, is_stop_canceled,
    is_unprotected, reconciliation_tasks, resting_orders,
};
use trader_core::orders::{InstallationId, Order};

use super::accounting::IsClosed;
use super::book::{Book, BookTaskEnd};
use super::reconcile_error::ReconcileError;
use super::reconcile_schedule::ReconcileSchedule;

/// Time between two reconciliations.
const RECONCILE_INTERVAL: Duration = Duration::from_mins(5);
/// The same while an entry that was believed lost may still appear.
const LOST_ENTRY_INTERVAL: Duration = Duration::from_secs(30);
/// Time between two comparisons while the operator may be replacing a stop.
const REPLACEMENT_CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Time a book may use at shutdown to resolve its orders. Longer than `recvWindow`, so that a lost stop order can be
/// sent again; shorter than the shutdown deadline.
const ORDER_DRAIN_TIMEOUT: Duration = Duration::from_secs(6);

impl Book {
    /// Reconciles the journal with the exchange before the first decision.
    pub(super) async fn reconcile_first(&mut self) -> Result<(), BookTaskEnd> {
        let Some(client) = self.ctx.execution_client.clone() else {
            return Ok(());
        };
        let mut rounds = ReconcileSchedule::for_symbol(&self.ctx, &self.symbol);
        loop {
            match self.prepare_and_reconcile(&*client, &mut rounds).await {
                Ok(()) if !rounds.is_mismatched() && !self.has_pending_order() => {
                    self.stop_waiting();
                    return Ok(());
                }
                Ok(()) => rounds.wait_for_recheck().await,
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
        rounds.reconcile_now();
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
                rounds.end_rejections();
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
        } else if self.ctx.execution_client.is_some() && !self.pending_tasks().is_empty() {
            rounds.schedule_accounting();
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
            sleep_until(rounds.next_round().min(until).into()).await;
            self.run_round(rounds).await?;
        }
        Ok(())
    }

    /// Whether the state of an order is pending or the position is unprotected.
    fn is_urgent(&self) -> bool {
        self.ctx.execution_client.is_some()
            && (self.has_pending_order() || is_unprotected(&self.state))
    }

    fn has_pending_order(&self) -> bool {
        let mut tasks = self.pending_tasks().into_iter();
        tasks.any(|task| !task.is_accounting())
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
        if rounds.takes_resting_orders() {
            let orders: Vec<Order> = resting_orders(&self.state).cloned().collect();
            for order in orders {
                self.query_order(client, &order).await?;
            }
        }
        let tasks = reconciliation_tasks(&self.state, now).into_iter();
        for task in tasks.filter(|task| !task.is_accounting()) {
            self.run_task(client, task).await?;
        }
        rounds.reconcile_on_new_failures(count_failed_exits(&self.state));
        if rounds.is_reconciliation_due() {
            self.reconcile(client, rounds).await?;
        }
        self.run_accounting(client, rounds).await?;
        self.update_registry();
        Ok(())
    }

    pub(super) async fn run_task(
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
            ReconciliationTask::QueryCosts(order, fill) => {
                self.query_costs(client, &order, fill).await
            }
            ReconciliationTask::QueryTrades => self.query_trades(client).await,
            ReconciliationTask::QueryFunding { from } => {
                self.query_payments(client, from, IsClosed::Yes).await
            }
        }
    }

    pub(super) async fn query_order(
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
        let now = client.now().await?;
        let found = compare_with_exchange(&self.state, &ours, &view, now);
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
        for order in found.missing_orders.iter().chain(&found.found_orders) {
            self.query_order(client, order).await?;
        }
        self.log_external_orders(rounds, &found);
        if self.has_recent_lost_entry(now) {
            self.query_lost_entries(client).await?;
        }
        match found.position_difference {
            None => rounds.recheck_mismatch(),
            Some(surplus) if surplus.is_zero() => {
                self.set_external_position(None);
                rounds.end_mismatch();
                if self.has_recent_lost_entry(now) {
                    rounds.reconcile_after(LOST_ENTRY_INTERVAL);
                } else {
                    rounds.reconcile_after(RECONCILE_INTERVAL);
                }
                self.follow_protection(rounds, found.is_protected).await?;
            }
            Some(surplus) => {
                self.handle_position_mismatch(client, rounds, surplus)
                    .await?;
            }
        }
        if is_stop_canceled(&self.state) {
            rounds.reconcile_after(REPLACEMENT_CHECK_INTERVAL);
        }
        // Last: what protects the position does not wait for what it costs.
        if let Some(from) = funding_unknown_since(&self.state) {
            self.query_payments(client, from, IsClosed::No).await?;
        }
        Ok(())
    }

    /// Leaves the position to a stop of another client, or misses a stop that nothing replaces.
    async fn follow_protection(
        &mut self,
        rounds: &mut ReconcileSchedule,
        is_protected: bool,
    ) -> Result<(), BookTaskEnd> {
        let lasted = rounds.note_protection(is_protected);
        let event = if is_protected {
            ExecutionEvent::OtherStopFound
        } else if lasted >= REPLACEMENT_PAUSE {
            let now = self.exchange_time_or(self.ctx.data_client.clock().now());
            ExecutionEvent::StopMissing { now: now.await }
        } else {
            rounds.reconcile_after(REPLACEMENT_CHECK_INTERVAL);
            return Ok(());
        };
        self.decide(BookEvent::Execution(event)).await
    }

    fn log_external_orders(&self, rounds: &mut ReconcileSchedule, found: &Reconciliation) {
        if rounds.note_external_orders(found.external_orders) {
            tracing::warn!(symbol = %self.symbol, orders = found.external_orders,
                "external open orders found; ignored");
        }
    }

    pub(super) fn installation_id(&self) -> Option<InstallationId> {
        let live = self.ctx.config.live.as_ref();
        live.map(|live| live.installation_id.clone())
    }

    pub(super) async fn halt(&mut self, reason: String) -> BookTaskEnd {
        let event = BookEvent::Failed {
            reason: reason.clone(),
        };
        match self.decide(event).await {
            Ok(()) => BookTaskEnd::Halted(reason),
            Err(end) => end,
        }
    }
}
