//! One book in memory: its journal, its state and its indicators. [`Book::decide`] is the only way to change
//! it: decide, append, apply, publish, act.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use exchange::Verdict;
use protocol::heartbeat::ComponentState;
use protocol::ids::{BookKey, SubjectToken};
use protocol::report::WaitReport;
use protocol::time::UtcMs;
use runtime::components::ComponentHandle;
use runtime::failpoint;
use runtime::journal::{AppendError, BatchPosition, Journal};
use runtime::outbox::OutboxCursor;
use rust_decimal::Decimal;
use trader_core::book::{
    BookEvent, BookRecord, BookState, DecisionInputs, EntryPermission, ExecutionEvent, decide,
};
use trader_core::candle::Candle;
use trader_core::market_state::MarketState;
use trader_core::orders::OrderCallOutcome;
use trader_core::symbol_filters::{SymbolFilters, is_filter_error};

use crate::app::context::Context;
use crate::books::core_calls::CallGuard;

/// Why the task of a book ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BookTaskEnd {
    /// The shutdown was requested.
    Stopped,
    /// Another process has written to the book's journal.
    Lost(String),
    /// The book stops trading until an operator unhalts it. The book manager journals it, unless the task has.
    Halted(String),
    /// The exchange's time is before the book's newest candle: the journal belongs to another market.
    MarketChanged(String),
    /// The symbol was removed from the settings, and its position is closed.
    WoundDown,
}

/// Longest wait for the symbol's rules before an order is rounded again.
const RULES_DEADLINE: Duration = Duration::from_secs(3);
/// Delay before a failed call to the exchange is repeated.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Whether the candles of a book's symbol arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeedState {
    /// Candles arrive.
    Fresh,
    /// No candle has arrived since this time of the exchange.
    Stale {
        /// End of the newest candle.
        since: UtcMs,
    },
}

pub(super) struct Book {
    pub(super) ctx: Arc<Context>,
    pub(super) symbol: SubjectToken,
    pub(super) key: BookKey,
    /// Filters with which the book was recovered.
    pub(super) known_filters: SymbolFilters,
    pub(super) component: Arc<ComponentHandle>,
    pub(super) journal: Journal,
    pub(super) outbox_cursor: Arc<OutboxCursor>,
    pub(super) state: BookState,
    pub(super) market_state: MarketState,
    /// The newest candle since this process has the book.
    pub(super) last_candle: Option<Candle>,
    /// When the last snapshot was stored; `None` before the first.
    pub(super) last_snapshot_at: Option<Instant>,
    /// Whether candles arrive: `None` before the first event of the feed, else since when they do not.
    pub(super) feed_state: Option<FeedState>,
    pub(super) ready: bool,
    /// Since when the book is stalled, if so. The operator is notified of the begin and the end.
    pub(super) failing_since: Option<Instant>,
    /// Failed calls in a row, by which the next wait is computed.
    pub(super) verdict: Verdict,
    /// Position on the exchange that the book did not open: positive long, negative short, in base units; `None` if there is
    /// none.
    pub(super) external_position: Option<Decimal>,
    /// Why the exchange does not trade the symbol, and since when; `None` while it does.
    pub(super) obstacle: Option<(String, Instant)>,
    /// What the book waits for before it can follow the market.
    pub(super) waits_for: Option<WaitReport>,
    /// The last query to the exchange failed. Incoming candles alone do not clear the error state.
    pub(super) last_round_unanswered: bool,
}

impl Book {
    /// Decides on an event, and on the results of the orders that follow from it.
    ///
    /// Each decision is appended to the journal, applied and published before its orders are sent. Stop and
    /// target orders are the exception: they are sent while the decision is appended, because they can only
    /// reduce the position, and a second copy is rejected.
    pub(super) async fn decide(&mut self, event: BookEvent) -> Result<(), BookTaskEnd> {
        let mut events = VecDeque::from([event]);
        while let Some(mut event) = events.pop_front() {
            if is_refused_by_filter(&event) {
                self.read_rules_again(&mut event).await;
            }
            let records = self.decide_records(event);
            if records.is_empty() {
                continue;
            }
            let protect =
                Self::send_protective_orders(Arc::clone(&self.ctx), self.symbol.clone(), &records);
            let (stored, protected) = tokio::join!(self.append_records(&records), protect);
            let place = stored?;
            self.apply_records(&records)?;
            self.publish_record_events(&place, &records);
            events.extend(protected.into_iter().map(|sent| self.order_finished(sent)));
            let sent = self.send_stored_orders(&records).await;
            events.extend(sent.into_iter().map(|sent| self.order_finished(sent)));
        }
        Ok(())
    }

    /// Applies records that are stored.
    pub(super) fn apply_records(&mut self, records: &[BookRecord]) -> Result<(), BookTaskEnd> {
        self.state.apply_all(records).map_err(|error| {
            BookTaskEnd::Halted(format!("bug: own record does not apply: {error}"))
        })?;
        for record in records {
            self.log_record(record);
        }
        Ok(())
    }

    pub(super) fn decide_records(&self, event: BookEvent) -> Vec<BookRecord> {
        let filters = self.filters();
        let _call = self.begin_core_call();
        if let BookEvent::CandleClosed { .. } = event {
            failpoint::spin(self.symbol.as_str());
            failpoint::panic(self.symbol.as_str());
        }
        decide(&self.state, &self.ctx.config, &filters, event)
    }

    /// Has the symbol's rules read again before a decision on an order that a filter refused.
    async fn read_rules_again(&self, event: &mut BookEvent) {
        tracing::warn!(symbol = %self.symbol, "order refused by a filter; reading the symbol's rules again");
        let is_read = self.ctx.symbol_rules.read_again(RULES_DEADLINE).await;
        if !is_read {
            tracing::warn!(symbol = %self.symbol, "symbol's rules not read; the known ones are used");
        }
        if let BookEvent::Execution(ExecutionEvent::OrderCallFinished { now, .. }) = event {
            // The next order is dated by the decision, and the reading took time.
            *now = self.exchange_time_or(*now).await;
        }
    }

    /// The newest filters of the symbol that the exchange has listed.
    fn filters(&self) -> SymbolFilters {
        let newest = self.ctx.symbol_rules.filters(&self.symbol);
        newest.unwrap_or_else(|| self.known_filters.clone())
    }

    /// Marks a call to the core for the hang detector. The guard is held during the call, never across an await.
    pub(super) fn begin_core_call(&self) -> CallGuard {
        let calls = &self.ctx.core_calls;
        calls.begin_call(&self.key, self.journal.last_seq())
    }

    pub(super) async fn append_records(
        &mut self,
        records: &[BookRecord],
    ) -> Result<BatchPosition, BookTaskEnd> {
        let (ctx, symbol, component) = (&self.ctx, &self.symbol, &self.component);
        let mut unavailable = None;
        let appended = self
            .journal
            .append(records, self.outbox_cursor.seq(), |error| {
                component.set_state(ComponentState::Retrying);
                ctx.process_status
                    .record_error(symbol.as_str(), format!("journal: {error}"));
                tracing::warn!(%symbol, error, "journal unavailable; waiting before any decision");
                unavailable = Some(error.to_owned());
            })
            .await;
        if let Some(error) = unavailable {
            self.report_failure(&format!("journal: {error}"));
        }
        appended.map_err(|error| match error {
            AppendError::Fenced { .. } => BookTaskEnd::Lost(error.to_string()),
            AppendError::Rejected { .. } => BookTaskEnd::Halted(error.to_string()),
        })
    }

    /// Whether account and symbol permit entries.
    fn entry_permission(&self) -> EntryPermission {
        let by_account = self.ctx.account_monitor.entry_permission(&self.symbol);
        if !matches!(by_account, EntryPermission::Allowed { .. }) {
            return by_account;
        }
        if self.ctx.is_removed(&self.symbol) {
            return EntryPermission::SymbolRemoved;
        }
        if self.external_position.is_some() {
            return EntryPermission::ExternalPosition;
        }
        if self.ctx.symbol_rules.obstacle(&self.symbol).is_some() {
            return EntryPermission::NotTradable;
        }
        by_account
    }

    /// What a decision depends on besides the book, at this time of the exchange.
    pub(super) fn decision_inputs(&self, exchange_time: UtcMs) -> DecisionInputs {
        DecisionInputs {
            exchange_time,
            entry_permission: self.entry_permission(),
            is_exchange_failing: self
                .ctx
                .data_client
                .feed_stats()
                .exchange_failure()
                .is_some(),
        }
    }
}

fn is_refused_by_filter(event: &BookEvent) -> bool {
    matches!(
        event,
        BookEvent::Execution(ExecutionEvent::OrderCallFinished {
            outcome: OrderCallOutcome::Rejected { code, .. },
            ..
        }) if is_filter_error(*code)
    )
}
