//! What a book reports: events and log lines of its records, failure and recovery, its registry entry.

use std::time::{Duration, Instant};

use exchange::ExchangeError;
use protocol::event::{Event, EventBody};
use protocol::heartbeat::ComponentState;
use protocol::report::{BookReport, WaitReport};
use runtime::clock;
use runtime::journal::BatchPosition;
use trader_core::book::{BookPhase, BookRecord};
use trader_core::book_status::{self, PricePoint, report};
use trader_core::entry::SignalRejection;
use trader_core::event_mapping::operator_event;

use super::book::Book;
use crate::books::book_registry::{RegistryEntry, StopRequirement};

/// Time after which the start of the process does not wait for a book whose calls fail.
const OWN_WAIT: Duration = Duration::from_secs(30);

impl Book {
    /// Queues the events of one batch for the operator.
    pub(super) fn publish_record_events(&self, place: &BatchPosition, records: &[BookRecord]) {
        let bodies = records
            .iter()
            .map(|record| operator_event(&self.key, record));
        let key = self.key.to_string();
        self.ctx
            .outbox
            .enqueue_journaled(&key, place, bodies, &self.outbox_cursor);
    }

    /// Logs a record after it is stored.
    pub(super) fn log_record(&self, record: &BookRecord) {
        let symbol = &self.symbol;
        match record {
            BookRecord::EntryDecided(entry) => {
                self.ctx.process_status.record_entry_decided();
                tracing::info!(%symbol, strategy = entry.strategy.as_str(), side = %entry.side,
                    quantity = %entry.quantity, reference = %entry.reference_price, rsi = %entry.rsi,
                    stop = %entry.stop_price, target = %entry.target_price, "entry decided");
            }
            BookRecord::EntryDropped {
                reason, rejection, ..
            } => {
                let rejection = rejection.as_ref();
                tracing::warn!(%symbol, %reason, code = rejection.map(|r| r.code),
                    text = rejection.map(|r| r.text.as_str()), "entry dropped");
            }
            BookRecord::SignalRejected {
                strategy,
                reason: SignalRejection::StaleSignal,
                bar_close,
            } if !self.ready => {
                self.ctx.book_registry.note_missed_signal(symbol);
                tracing::warn!(%symbol, strategy = strategy.as_str(), bar = %bar_close,
                    "signal missed: its bar closed before the book was ready");
            }
            BookRecord::SignalRejected {
                strategy, reason, ..
            } => {
                tracing::info!(%symbol, strategy = strategy.as_str(), code = reason.as_str(),
                    reason = reason.describe(), "signal rejected");
            }
            BookRecord::BreakerTripped {
                breaker, reason, ..
            } => {
                tracing::warn!(%symbol, breaker = breaker.as_str(), reason, "circuit breaker tripped");
            }
            BookRecord::BreakerReset { breaker, .. } => {
                tracing::info!(%symbol, breaker = breaker.as_str(), "circuit breaker reset");
            }
            BookRecord::EntriesLocked {
                lock,
                until,
                reason,
            } => {
                tracing::info!(%symbol, lock = lock.as_str(), %until, reason, "entries locked");
            }
            BookRecord::WriterChanged { config_changes, .. } => {
                for change in config_changes {
                    tracing::info!(%symbol, change, "configuration changed");
                }
            }
            BookRecord::CapitalChanged { capital } => {
                tracing::info!(%symbol, %capital, "capital changed");
            }
            BookRecord::BookUnhalted { by, reason } => {
                tracing::warn!(%symbol, by, reason, "book unhalted");
            }
            BookRecord::PositionOpened(_)
            | BookRecord::PositionClosed(_)
            | BookRecord::FundingPaid { .. } => self.log_position(record),
            BookRecord::OrderIntended(_)
            | BookRecord::OrderOutcomeUnknown { .. }
            | BookRecord::OrderFilled { .. }
            | BookRecord::OrderClosedUnfilled { .. }
            | BookRecord::OrderAccepted { .. } => self.log_order(record),
            BookRecord::EntryAdopted(lost) => {
                tracing::warn!(%symbol, order = %lost.order.client_order_id,
                    "entry that was believed lost is pending again");
            }
            BookRecord::BookOpened { .. }
            | BookRecord::OrderCostsRecorded { .. }
            | BookRecord::BookHalted { .. } => {}
        }
    }

    fn log_position(&self, record: &BookRecord) {
        let symbol = &self.symbol;
        match record {
            BookRecord::PositionOpened(p) => {
                tracing::info!(%symbol, side = %p.side, quantity = %p.quantity, price = %p.entry_price,
                    stop = %p.stop_price, target = %p.target_price, "position opened");
            }
            BookRecord::PositionClosed(t) => {
                tracing::info!(%symbol, reason = %t.reason, entry = %t.entry_price, exit = %t.exit_price,
                    pnl = %t.pnl, equity = %t.equity, "position closed");
            }
            BookRecord::FundingPaid { amount, .. } => {
                tracing::info!(%symbol, %amount, "funding paid");
            }
            _ => {}
        }
    }

    fn log_order(&self, record: &BookRecord) {
        let symbol = &self.symbol;
        match record {
            BookRecord::OrderIntended(order) => {
                tracing::info!(%symbol, leg = %order.leg, attempt = order.attempt, order = %order.client_order_id,
                    kind = %order.order_type, "order journaled");
            }
            BookRecord::OrderOutcomeUnknown {
                client_order_id: id,
                error,
                ..
            } => {
                tracing::warn!(%symbol, leg = %id.leg(), order = %id, error,
                    "order outcome unknown; querying until resolved");
            }
            BookRecord::OrderFilled {
                client_order_id: id,
                fill,
            } => {
                tracing::info!(%symbol, leg = %id.leg(), order = %id, quantity = %fill.quantity,
                    price = %fill.price, "order filled");
            }
            BookRecord::OrderClosedUnfilled {
                client_order_id: id,
                code,
                reason,
                ..
            } => {
                tracing::info!(%symbol, leg = %id.leg(), order = %id, code, reason,
                    "order closed without fill");
            }
            BookRecord::OrderAccepted {
                client_order_id: id,
            } => {
                tracing::debug!(%symbol, order = %id, "order accepted");
            }
            _ => {}
        }
    }

    /// Logs a failure and counts it. The operator is notified of the first failure since the last recovery.
    pub(super) fn report_failure(&mut self, error: &str) {
        tracing::warn!(symbol = %self.symbol, error, "book is stalled");
        self.ctx
            .process_status
            .record_error(self.symbol.as_str(), error);
        if self.failing_since.is_none() {
            self.failing_since = Some(Instant::now());
            self.publish_event(EventBody::ComponentFailed {
                component: self.symbol.to_string(),
                error: error.to_owned(),
            });
        }
    }

    /// Reports a failed call and waits before it is repeated, with backoff. The exchange's refusal halts no book: it may
    /// pass, and a halted book manages nothing. The others do not wait for a book that was refused, or that fails for long.
    pub(super) async fn wait_after_failure(&mut self, error: &ExchangeError) {
        let wait = self.verdict.record_failure(error, Instant::now());
        self.report_failure(&error.to_string());
        self.component.set_state(ComponentState::Retrying);
        let since = self.failing_since.map(|since| since.elapsed());
        let is_refused = matches!(error, ExchangeError::Rejected { .. });
        if is_refused || since.is_some_and(|since| since >= OWN_WAIT) {
            self.wait_for(error.to_string());
        }
        self.update_registry();
        tokio::time::sleep(wait).await;
    }

    /// Notes what the book waits for before it can follow the market.
    pub(super) fn wait_for(&mut self, reason: String) {
        let since = self.waits_for.take().map(|known| known.since);
        self.waits_for = Some(WaitReport {
            reason,
            since: since.unwrap_or_else(clock::now),
        });
    }

    /// Notes that what the book waited for was answered.
    pub(super) fn stop_waiting(&mut self) {
        self.verdict.record_success();
        self.waits_for = None;
    }

    /// Notifies the operator when the exchange stops or begins to trade the symbol.
    pub(super) fn report_obstacle(&mut self) {
        let now = self.ctx.symbol_rules.obstacle(&self.symbol);
        let component = format!("{} listing", self.symbol);
        match (now, self.obstacle.take()) {
            (Some(error), None) => {
                self.obstacle = Some((error.clone(), Instant::now()));
                self.publish_event(EventBody::ComponentFailed { component, error });
            }
            (None, Some((_, since))) => self.publish_event(EventBody::ComponentRecovered {
                component,
                after_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            }),
            (_, known) => self.obstacle = known,
        }
    }

    /// Notifies the operator of the end of a failure.
    pub(super) fn report_recovery(&mut self) {
        if let Some(since) = self.failing_since.take() {
            self.publish_event(EventBody::ComponentRecovered {
                component: self.symbol.to_string(),
                after_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
        }
    }

    /// Publishes an event that does not follow from the journal.
    fn publish_event(&self, body: EventBody) {
        let at = clock::now();
        let (boot, symbol) = (&self.ctx.identity.boot, &self.symbol);
        let id = format!("{boot}:{symbol}:{}:{}", body.kind(), at.0);
        self.ctx.outbox.enqueue(Event::new(id, at, body));
    }

    fn build_report(&self) -> BookReport {
        let base = self.ctx.config.base;
        let price = self.last_candle.as_ref().map(|candle| PricePoint {
            at: base.close_of(candle.open_time),
            price: candle.close,
        });
        let instance = &self.ctx.identity.instance;
        BookReport {
            waits_for: self.waits_for.clone(),
            ..report(&self.key, &self.state, price, instance, clock::now())
        }
    }

    /// Replaces the book's entry in the registry of this process.
    pub(super) fn update_registry(&self) {
        let entry = RegistryEntry {
            summary: book_status::summary(
                &self.key,
                &self.state,
                self.last_candle.map(|c| c.close),
            ),
            report: Some(self.build_report()),
            flat: matches!(self.state.phase, BookPhase::Flat),
            ready: self.ready,
            waits_for: self.waits_for.as_ref().map(|wait| wait.reason.clone()),
            stop: StopRequirement::of(&self.state, self.ctx.data_client.clock().now()),
        };
        self.ctx.book_registry.put(&self.symbol, entry);
    }
}
