//! A book on an exchange: sends what was decided, asks what became of it, and holds what the exchange
//! shows against the journal. What follows from the answers is the engine's business.
//!
//! The user stream is only a hint to look: what is believed was asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use tokio::sync::watch;
use tokio::time::sleep_until;
use trader_core::book::{
    BookEvent, BookPhase, BookRecord, ExecutionEvent, ExitReason, Reconciliation,
    ReconciliationTask, compare_with_exchange, count_failed_exits, funding_unknown_since,
    is_unprotected, reconciliation_tasks, resting_orders,
};
use trader_core::orders::{InstallationId, Order, OrderStatus};

use super::{Book, BookTaskEnd, RETRY_DELAY};
use crate::context::Context;
use crate::market::MarketError;
use crate::venue::BinanceExecutionClient;

/// While something is to be asked.
const URGENT_DELAY: Duration = Duration::from_millis(100);
/// While all is as it should be, and no hint comes.
const POLL_INTERVAL: Duration = Duration::from_secs(30);
/// Between two looks at everything.
const RECONCILE_INTERVAL: Duration = Duration::from_mins(5);
/// Between two looks at an exchange that refuses to be asked: a key that is valid no more, for instance.
const REJECTED_RETRY_DELAY: Duration = Duration::from_secs(10);
/// Between two looks at a disagreement: a fill between two answers makes one that is none.
const MISMATCH_RECHECK_DELAY: Duration = Duration::from_secs(2);
/// How long a book that is told to end goes on for the sake of what it began: less than it is given, and longer than
/// an order without an answer can still be taken, so that a stop that was lost is sent again.
const ORDER_DRAIN_TIMEOUT: Duration = Duration::from_secs(6);
/// Looks at a disagreement before it is believed.
const MISMATCHES_TO_BELIEVE: u8 = 3;

/// When this book looks at the exchange next. On paper never.
pub(super) struct ReconcileSchedule {
    hints: Option<watch::Receiver<u64>>,
    next_round: Instant,
    /// After a failure not before this, however urgent.
    not_before: Instant,
    /// When what rests is looked up without a hint.
    next_poll: Instant,
    /// A hint came, or it is time: what rests is looked up too.
    queries_resting_orders: bool,
    next_reconciliation: Instant,
    mismatches: u8,
    external_orders: usize,
    failures: usize,
}

/// Why a round was not finished.
enum ReconcileError {
    /// The exchange did not answer.
    Market(MarketError),
    /// The book ends.
    End(BookTaskEnd),
}

impl From<MarketError> for ReconcileError {
    fn from(error: MarketError) -> Self {
        Self::Market(error)
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
                .map(|venue| venue.hints(symbol)),
            next_round: now + POLL_INTERVAL,
            not_before: now,
            next_poll: now + POLL_INTERVAL,
            queries_resting_orders: false,
            next_reconciliation: now,
            mismatches: 0,
            external_orders: 0,
            failures: 0,
        }
    }

    /// Waits until a look is due. Safe to drop while it waits.
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
                    // One fill makes several hints: none of them ends the rest after a failure.
                    self.schedule_no_later_than(now);
                }
                // Without hints (the stream's part is being restarted) by the clock.
                sleep_until(self.next_round.into()).await;
            }
        }
    }

    /// It is not put off.
    fn schedule_soon(&mut self) {
        self.schedule_no_later_than(Instant::now() + URGENT_DELAY);
    }

    /// The next look comes no later than this, but never into the rest after a failure.
    fn schedule_no_later_than(&mut self, at: Instant) {
        self.next_round = self.next_round.min(at.max(self.not_before));
    }

    /// The exchange did not answer, and says when it may: that is for what is not urgent. Or it will not
    /// answer this account: then nothing is urgent.
    fn back_off(&mut self, error: &MarketError) {
        let (rest, pause) = match error {
            MarketError::Retry { after, .. } => {
                (RETRY_DELAY, after.unwrap_or(RETRY_DELAY).max(RETRY_DELAY))
            }
            _ => (REJECTED_RETRY_DELAY, REJECTED_RETRY_DELAY),
        };
        let now = Instant::now();
        self.queries_resting_orders = true;
        self.not_before = now + rest;
        self.next_round = now + pause;
    }

    fn recheck_mismatch(&mut self) {
        self.next_reconciliation = Instant::now() + MISMATCH_RECHECK_DELAY;
        self.next_round = self.next_round.min(self.next_reconciliation);
    }

    /// A guard or an exit more that came to nothing: everything is looked at now.
    fn reconcile_on_new_failures(&mut self, failures: usize) {
        if std::mem::replace(&mut self.failures, failures) < failures {
            self.next_reconciliation = Instant::now();
        }
    }

    /// A round begins. One that was only hurried leaves alone what rests.
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
    /// Brings journal and exchange together before anything is decided.
    pub(super) async fn reconcile_first(&mut self) -> Result<(), BookTaskEnd> {
        let Some(venue) = self.ctx.execution_client.clone() else {
            return Ok(());
        };
        let mut rounds = ReconcileSchedule::for_symbol(&self.ctx, &self.symbol);
        loop {
            match self.prepare_and_reconcile(&venue, &mut rounds).await {
                Ok(()) if rounds.mismatches == 0 && self.pending_tasks().is_empty() => {
                    return Ok(());
                }
                Ok(()) => tokio::time::sleep(URGENT_DELAY).await,
                Err(ReconcileError::End(end)) => return Err(end),
                Err(ReconcileError::Market(error)) => self.wait_after_failure(&error).await?,
            }
        }
    }

    async fn prepare_and_reconcile(
        &mut self,
        venue: &BinanceExecutionClient,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), ReconcileError> {
        if matches!(self.state.phase, BookPhase::Unopened | BookPhase::Flat) {
            venue.prepare(&self.symbol, self.ctx.leverage()).await?;
        }
        rounds.queries_resting_orders = true;
        rounds.next_reconciliation = Instant::now();
        self.reconcile_round(venue, rounds).await
    }

    async fn wait_after_failure(&mut self, error: &MarketError) -> Result<(), BookTaskEnd> {
        match error {
            MarketError::Retry { after, .. } => {
                self.report_failure(&error.to_string());
                tokio::time::sleep(after.unwrap_or(RETRY_DELAY).max(RETRY_DELAY)).await;
                Ok(())
            }
            refused => Err(BookTaskEnd::Halted(refused.to_string())),
        }
    }

    /// One look at the exchange, and when to look again.
    pub(super) async fn run_round(
        &mut self,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), BookTaskEnd> {
        let Some(venue) = self.ctx.execution_client.clone() else {
            return Ok(());
        };
        rounds.begin_round();
        match self.reconcile_round(&venue, rounds).await {
            Ok(()) => {
                self.last_round_unanswered = false;
                Ok(())
            }
            Err(ReconcileError::End(end)) => Err(end),
            Err(ReconcileError::Market(error)) => {
                self.last_round_unanswered = true;
                self.report_failure(&error.to_string());
                rounds.back_off(&error);
                Ok(())
            }
        }
    }

    /// After anything happened: what is to be asked, or tried again, is not put off.
    pub(super) fn schedule_if_urgent(&self, rounds: &mut ReconcileSchedule) {
        if self.is_urgent() {
            rounds.schedule_soon();
        }
    }

    /// Before it ends: looks up what is unclear and guards what is open, for a while. Who comes next may come
    /// late.
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

    /// Something is to be asked, or tried again.
    fn is_urgent(&self) -> bool {
        self.ctx.execution_client.is_some()
            && (!self.pending_tasks().is_empty() || is_unprotected(&self.state))
    }

    fn pending_tasks(&self) -> Vec<ReconciliationTask> {
        reconciliation_tasks(&self.state, self.ctx.feed.clock().now())
    }

    async fn reconcile_round(
        &mut self,
        venue: &BinanceExecutionClient,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), ReconcileError> {
        let now = venue.now().await?;
        self.decide(BookEvent::Execution(ExecutionEvent::Ticked { now }))
            .await?;
        if rounds.queries_resting_orders {
            let orders: Vec<Order> = resting_orders(&self.state).cloned().collect();
            for order in orders {
                self.query_order(venue, &order).await?;
            }
            rounds.queries_resting_orders = false;
        }
        for task in reconciliation_tasks(&self.state, now) {
            self.run_task(venue, task).await?;
        }
        rounds.reconcile_on_new_failures(count_failed_exits(&self.state));
        if Instant::now() >= rounds.next_reconciliation {
            self.reconcile(venue, rounds).await?;
        }
        self.update_registry();
        Ok(())
    }

    async fn run_task(
        &mut self,
        venue: &BinanceExecutionClient,
        task: ReconciliationTask,
    ) -> Result<(), ReconcileError> {
        match task {
            ReconciliationTask::QueryOrder(order) => self.query_order(venue, &order).await,
            ReconciliationTask::CancelOrder(order) => {
                venue.cancel(&self.symbol, &order).await?;
                self.query_order(venue, &order).await
            }
            ReconciliationTask::QueryFunding { from } => self.query_payments(venue, from).await,
        }
    }

    async fn query_order(
        &mut self,
        venue: &BinanceExecutionClient,
        order: &Order,
    ) -> Result<(), ReconcileError> {
        let answer = venue.query_order(&self.symbol, order).await?;
        let now = venue.now().await?;
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
        venue: &BinanceExecutionClient,
        from: UtcMs,
    ) -> Result<(), ReconcileError> {
        let now = venue.now().await?;
        let payments = venue.payments(&self.symbol, from, now).await?;
        let event = ExecutionEvent::FundingReceived { payments, now };
        Ok(self.decide(BookEvent::Execution(event)).await?)
    }

    /// Holds the exchange's view against the journal: mends what is ours, leaves alone what is not, and halts
    /// the book if they disagree and nothing explains it.
    async fn reconcile(
        &mut self,
        venue: &BinanceExecutionClient,
        rounds: &mut ReconcileSchedule,
    ) -> Result<(), ReconcileError> {
        let Some(ours) = self.installation_id() else {
            return Ok(());
        };
        let view = venue.exchange_view(&self.symbol).await?;
        let found = compare_with_exchange(&self.state, &ours, &view);
        if let Some(foreign) = &found.foreign_installation {
            let reason = format!(
                "orders of another installation ({foreign}) rest on the exchange: one account, one \
                 installation"
            );
            return Err(self.halt(reason).await.into());
        }
        for orphan in &found.orphans {
            tracing::warn!(symbol = %self.symbol, order = orphan.client_order_id,
                "an order of ours that nobody wants: cancelled");
            venue.cancel_open(&self.symbol, orphan).await?;
        }
        for order in &found.missing_orders {
            self.query_order(venue, order).await?;
        }
        self.log_external_orders(rounds, &found);
        if let Some(from) = funding_unknown_since(&self.state) {
            self.query_payments(venue, from).await?;
        }
        match found.position_difference {
            None => rounds.recheck_mismatch(),
            Some(surplus) if surplus.is_zero() => {
                rounds.mismatches = 0;
                rounds.next_reconciliation = Instant::now() + RECONCILE_INTERVAL;
            }
            Some(surplus) => {
                self.handle_position_mismatch(venue, rounds, surplus)
                    .await?;
            }
        }
        Ok(())
    }

    /// The exchange holds something else than the journal says. Trades that are not ours may explain it.
    async fn handle_position_mismatch(
        &mut self,
        venue: &BinanceExecutionClient,
        rounds: &mut ReconcileSchedule,
        surplus: Decimal,
    ) -> Result<(), ReconcileError> {
        rounds.mismatches += 1;
        rounds.recheck_mismatch();
        tracing::warn!(symbol = %self.symbol, %surplus, look = rounds.mismatches,
            "the exchange's position is not the journal's");
        if rounds.mismatches < MISMATCHES_TO_BELIEVE {
            return Ok(());
        }
        for event in self.find_external_closes(venue).await? {
            self.decide(BookEvent::Execution(event)).await?;
        }
        let view = venue.exchange_view(&self.symbol).await?;
        let ours = self.installation_id();
        let left = ours
            .and_then(|ours| compare_with_exchange(&self.state, &ours, &view).position_difference);
        if left.is_none_or(|surplus| surplus.is_zero()) {
            rounds.mismatches = 0;
            return Ok(());
        }
        let reason = format!(
            "the exchange holds {} of {}, {} more than the journal knows of, and no trade explains it",
            view.position, self.symbol, surplus
        );
        Err(self.halt(reason).await.into())
    }

    /// Trades against the open position that none of its orders made, while none of these filled.
    async fn find_external_closes(
        &self,
        venue: &BinanceExecutionClient,
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
        let now = venue.now().await?;
        let trades = venue.trades_since(&self.symbol, entered).await?;
        let events = crate::venue::fills_against(position.side, &trades);
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
                "orders that are not ours rest on the exchange: left alone");
        }
    }

    fn installation_id(&self) -> Option<InstallationId> {
        let terms = self.ctx.config.live.as_ref();
        terms.map(|terms| terms.installation_id.clone())
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

    /// The account is latched: closes what is open, at the market.
    pub(super) async fn close_at_market(&mut self) -> Result<(), BookTaskEnd> {
        let now = self.exchange_time_or(self.ctx.feed.clock().now()).await;
        let why = ExitReason::AccountLatched;
        self.decide(BookEvent::Execution(ExecutionEvent::CloseRequested {
            reason: why,
            now,
        }))
        .await
    }

    /// The exchange's time, for who may send an order: as fresh as can be had, since one that is signed with
    /// an old time is refused. On paper what was heard is enough.
    pub(super) async fn exchange_time_or(&self, heard: UtcMs) -> UtcMs {
        match &self.ctx.execution_client {
            None => heard,
            Some(venue) => venue.now().await.unwrap_or(heard).max(heard),
        }
    }

    /// Sends stop and target of this message, while it is being stored: they are in the entry's decision, can
    /// only close, and sent twice are refused once.
    pub(super) async fn send_protective_orders(
        ctx: Arc<Context>,
        symbol: SubjectToken,
        records: &[BookRecord],
    ) -> Vec<BookEvent> {
        let guards = intended_orders(records).filter(|order| order.leg.is_conditional());
        send_orders(&ctx, &symbol, guards).await
    }

    /// Sends the other orders of a message that is stored.
    pub(super) async fn send_stored_orders(&self, records: &[BookRecord]) -> Vec<BookEvent> {
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
}

fn intended_orders(records: &[BookRecord]) -> impl Iterator<Item = &Order> {
    records.iter().filter_map(|record| match record {
        BookRecord::OrderIntended(order) => Some(order),
        _ => None,
    })
}

/// One after the other, the stop first: of two at once neither is sooner.
async fn send_orders<'a>(
    ctx: &Context,
    symbol: &SubjectToken,
    orders: impl Iterator<Item = &'a Order>,
) -> Vec<BookEvent> {
    let Some(venue) = &ctx.execution_client else {
        return Vec::new();
    };
    let mut answered = Vec::new();
    for order in orders {
        let answer = venue.place(symbol, order).await;
        tracing::info!(%symbol, leg = %order.leg, order = %order.client_order_id, %answer, "order sent");
        let now = venue.now().await.unwrap_or_else(|_| ctx.feed.clock().now());
        let id = order.client_order_id.clone();
        answered.push(BookEvent::Execution(ExecutionEvent::OrderCallFinished {
            client_order_id: id,
            outcome: answer,
            now,
        }));
    }
    answered
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Those of a book that is well, at this time.
    fn schedule(now: Instant, hints: Option<watch::Receiver<u64>>) -> ReconcileSchedule {
        ReconcileSchedule {
            hints,
            next_round: now + POLL_INTERVAL,
            not_before: now,
            next_poll: now + POLL_INTERVAL,
            queries_resting_orders: false,
            next_reconciliation: now + RECONCILE_INTERVAL,
            mismatches: 0,
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
        rounds.back_off(&MarketError::Refused {
            what: "orders",
            reason: "a key that is revoked".to_owned(),
        });
        for count in 2..4 {
            hint.send_replace(count);
            assert!(timeout(at_once, rounds.wait_until_due()).await.is_err());
        }
        // What was dropped while it waited is not forgotten.
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
        rounds.back_off(&MarketError::Retry {
            what: "orders",
            reason: "busy".to_owned(),
            after: Some(POLL_INTERVAL),
        });
        assert!(rounds.next_round >= now + POLL_INTERVAL);
        rounds.schedule_soon();
        assert!(rounds.next_round >= now + RETRY_DELAY);
        assert!(rounds.next_round < now + POLL_INTERVAL);
        rounds.back_off(&MarketError::Refused {
            what: "orders",
            reason: "a key that is revoked".to_owned(),
        });
        rounds.schedule_soon();
        assert!(rounds.next_round >= now + REJECTED_RETRY_DELAY);
    }
}
