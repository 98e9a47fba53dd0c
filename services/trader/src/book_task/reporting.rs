//! What a book says: owner's events of its records, log lines, trouble and recovery, its place on the
//! board. Nothing here decides.

use std::time::Instant;

use protocol::event::{Event, EventBody};
use protocol::report::BookReport;
use runtime::clock;
use runtime::journal::BatchPosition;
use trader_core::book::{BookPhase, BookRecord};
use trader_core::book_status::{self, PricePoint, report};
use trader_core::circuit_breaker::Breaker;
use trader_core::entry::SignalRejection;
use trader_core::event_mapping::operator_event;

use super::Book;
use crate::book_registry::RegistryEntry;

impl Book {
    /// Queues the owner's events of one journal message.
    pub(super) fn publish_record_events(&self, place: &BatchPosition, records: &[BookRecord]) {
        let bodies = records
            .iter()
            .map(|record| operator_event(&self.key, record));
        let key = self.key.to_string();
        self.ctx
            .outbox
            .enqueue_journaled(&key, place, bodies, &self.outbox_cursor);
    }

    pub(super) fn log_record(&self, record: &BookRecord) {
        let symbol = &self.symbol;
        match record {
            BookRecord::EntryDecided(entry) => {
                self.ctx.process_status.record_entry_decided();
                tracing::info!(%symbol, strategy = entry.strategy.as_str(), side = %entry.side,
                    quantity = %entry.quantity, reference = %entry.reference_price, rsi = %entry.rsi,
                    stop = %entry.stop_price, target = %entry.target_price, "entry decided");
            }
            BookRecord::PositionOpened(p) => {
                tracing::info!(%symbol, side = %p.side, quantity = %p.quantity, price = %p.entry_price,
                    stop = %p.stop_price, target = %p.target_price, "position opened");
            }
            BookRecord::PositionClosed(t) => {
                tracing::info!(%symbol, reason = %t.reason, entry = %t.entry_price, exit = %t.exit_price,
                    pnl = %t.pnl, equity = %t.equity, "position closed");
            }
            BookRecord::EntryDropped { reason, .. } => {
                tracing::warn!(%symbol, %reason, "entry dropped");
            }
            BookRecord::WriterChanged {
                config_changes: changes,
                ..
            } => {
                for change in changes {
                    tracing::info!(%symbol, change, "configuration changed");
                }
            }
            BookRecord::CapitalChanged { capital } => {
                tracing::info!(%symbol, %capital, "capital changed");
            }
            BookRecord::SignalRejected {
                strategy, reason, ..
            } if *reason != SignalRejection::StaleSignal => {
                tracing::info!(%symbol, strategy = strategy.as_str(), why = reason.as_str(),
                    "signal refused");
            }
            BookRecord::FundingPaid { amount, .. } => {
                tracing::info!(%symbol, %amount, "funding paid");
            }
            BookRecord::BreakerTripped {
                breaker,
                reason: why,
                ..
            } => {
                tracing::warn!(%symbol, breaker = breaker.as_str(), why, "circuit breaker tripped");
            }
            BookRecord::EntriesLocked {
                lock: by,
                until,
                reason: why,
            } => {
                tracing::info!(%symbol, by = by.as_str(), %until, why, "no entries for a while");
            }
            BookRecord::OrderIntended(order) => {
                tracing::info!(%symbol, leg = %order.leg, attempt = order.attempt, order = %order.client_order_id,
                    kind = %order.order_type, "order intended");
            }
            BookRecord::OrderOutcomeUnknown {
                client_order_id: id,
                error: why,
                ..
            } => {
                tracing::warn!(%symbol, leg = %id.leg(), order = %id, why, "order unclear: looked up \
                    until it is known");
            }
            BookRecord::OrderFilled {
                client_order_id: id,
                fill,
            } => {
                tracing::info!(%symbol, leg = %id.leg(), order = %id, quantity = %fill.quantity,
                    price = %fill.price, "order done");
            }
            BookRecord::OrderClosedUnfilled {
                client_order_id: id,
                code,
                reason: why,
            } => {
                tracing::info!(%symbol, leg = %id.leg(), order = %id, code, why, "order gone");
            }
            BookRecord::OrderAccepted {
                client_order_id: id,
            } => {
                tracing::debug!(%symbol, order = %id, "order is on the exchange");
            }
            BookRecord::BookUnhalted {
                by: who,
                reason: why,
            } => {
                tracing::warn!(%symbol, who, why, "book released");
            }
            // Stale: every start finds the newest bar long closed.
            BookRecord::SignalRejected { .. }
            | BookRecord::BookOpened { .. }
            | BookRecord::OrderCostsRecorded { .. }
            | BookRecord::BookHalted { .. } => {}
        }
    }

    pub(super) fn report_failure(&mut self, why: &str) {
        tracing::warn!(symbol = %self.symbol, why, "book does not get on");
        self.ctx
            .process_status
            .record_error(self.symbol.as_str(), why);
        if self.failing_since.is_none() {
            self.failing_since = Some(Instant::now());
            self.publish_event(EventBody::ComponentFailed {
                component: self.symbol.to_string(),
                error: why.to_owned(),
            });
        }
    }

    pub(super) fn report_recovery(&mut self) {
        if let Some(since) = self.failing_since.take() {
            self.publish_event(EventBody::ComponentRecovered {
                component: self.symbol.to_string(),
                after_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
        }
    }

    /// An event that no journal holds: of this boot, at this moment.
    fn publish_event(&self, body: EventBody) {
        let at = clock::now();
        let (boot, symbol) = (&self.ctx.identity.boot, &self.symbol);
        let id = format!("{boot}:{symbol}:{}:{}", body.kind(), at.0);
        self.ctx.outbox.enqueue(Event::new(id, at, body));
    }

    /// Says when the volatility breaker trips or recovers. Its state follows from the market and is in
    /// no journal.
    pub(super) fn report_volatility_breaker(&mut self) {
        let now = self.market_state.is_volatility_breaker_tripped();
        if std::mem::replace(&mut self.volatility_breaker_tripped, now) == now {
            return;
        }
        let (scope, breaker) = (self.key.to_string(), Breaker::Volatility.to_string());
        tracing::info!(symbol = %self.symbol, tripped = now, "volatility breaker");
        self.publish_event(if now {
            EventBody::BreakerTripped {
                scope,
                breaker,
                reason: "the last 30 minutes moved the price more than 3 deviations: new sizes \
                         are halved"
                    .to_owned(),
            }
        } else {
            EventBody::BreakerReset { scope, breaker }
        });
    }

    fn build_report(&self) -> BookReport {
        let base = self.ctx.config.base;
        report(
            &self.key,
            &self.state,
            self.last_candle.as_ref().map(|candle| PricePoint {
                at: base.close_of(candle.open_time),
                price: candle.close,
            }),
            &self.ctx.identity.instance,
            clock::now(),
        )
    }

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
        };
        self.ctx.book_registry.put(&self.symbol, entry);
    }
}
