//! What a book says: owner's events of its records, log lines, trouble and recovery, its place on the
//! board. Nothing here decides.

use std::time::Instant;

use engine::book::{BookRecord, Phase};
use engine::breaker::Breaker;
use engine::entry::Refusal;
use engine::events::owner_event;
use engine::summary::{self, Quote, report};
use protocol::event::{Event, EventBody};
use protocol::report::BookReport;
use runtime::clock;
use runtime::journal::Place;

use super::Book;
use crate::board::Entry;

impl Book {
    /// Queues the owner's events of one journal message.
    pub(super) fn tell(&self, place: &Place, records: &[BookRecord]) {
        let bodies = records.iter().map(|record| owner_event(&self.key, record));
        let key = self.key.to_string();
        self.ctx
            .events
            .tell_journaled(&key, place, bodies, &self.confirmed);
    }

    pub(super) fn log(&self, record: &BookRecord) {
        let symbol = &self.symbol;
        match record {
            BookRecord::EntryDecided(entry) => {
                self.ctx.progress.signal();
                tracing::info!(%symbol, strategy = entry.strategy.as_str(), side = %entry.side,
                    quantity = %entry.quantity, reference = %entry.reference, rsi = %entry.rsi,
                    stop = %entry.stop, target = %entry.target, "entry decided");
            }
            BookRecord::PositionOpened(p) => {
                tracing::info!(%symbol, side = %p.side, quantity = %p.quantity, price = %p.price,
                    stop = %p.stop, target = %p.target, "position opened");
            }
            BookRecord::PositionClosed(t) => {
                tracing::info!(%symbol, reason = %t.reason, entry = %t.entry, exit = %t.price,
                    pnl = %t.pnl, equity = %t.equity, "position closed");
            }
            BookRecord::EntryDropped { reason, .. } => {
                tracing::warn!(%symbol, %reason, "entry dropped");
            }
            BookRecord::OwnerTookOver { changes, .. } => {
                for change in changes {
                    tracing::info!(%symbol, change, "configuration changed");
                }
            }
            BookRecord::CapitalChanged { capital } => {
                tracing::info!(%symbol, %capital, "capital changed");
            }
            BookRecord::EntryRefused {
                strategy, reason, ..
            } if *reason != Refusal::StaleSignal => {
                tracing::info!(%symbol, strategy = strategy.as_str(), why = reason.as_str(),
                    "signal refused");
            }
            BookRecord::FundingPaid { amount, .. } => {
                tracing::info!(%symbol, %amount, "funding paid");
            }
            BookRecord::BreakerTripped { breaker, why, .. } => {
                tracing::warn!(%symbol, breaker = breaker.as_str(), why, "circuit breaker tripped");
            }
            BookRecord::EntriesLocked { by, until, why } => {
                tracing::info!(%symbol, by = by.as_str(), %until, why, "no entries for a while");
            }
            BookRecord::OrderIntended(order) => {
                tracing::info!(%symbol, leg = %order.leg, attempt = order.attempt, order = %order.id,
                    kind = %order.kind, "order intended");
            }
            BookRecord::OrderUnclear { id, why, .. } => {
                tracing::warn!(%symbol, leg = %id.leg(), order = %id, why, "order unclear: looked up \
                    until it is known");
            }
            BookRecord::OrderDone { id, fill } => {
                tracing::info!(%symbol, leg = %id.leg(), order = %id, quantity = %fill.quantity,
                    price = %fill.price, "order done");
            }
            BookRecord::OrderGone { id, code, why } => {
                tracing::info!(%symbol, leg = %id.leg(), order = %id, code, why, "order gone");
            }
            BookRecord::OrderWorking { id } => {
                tracing::debug!(%symbol, order = %id, "order is on the exchange");
            }
            BookRecord::BookReleased { who, why } => {
                tracing::warn!(%symbol, who, why, "book released");
            }
            // Stale: every start finds the newest bar long closed.
            BookRecord::EntryRefused { .. }
            | BookRecord::BookOpened { .. }
            | BookRecord::OrderSettled { .. }
            | BookRecord::BookHalted { .. } => {}
        }
    }

    pub(super) fn failed(&mut self, why: &str) {
        tracing::warn!(symbol = %self.symbol, why, "book does not get on");
        self.ctx.progress.error(self.symbol.as_str(), why);
        if self.trouble.is_none() {
            self.trouble = Some(Instant::now());
            self.report(EventBody::PartFailed {
                part: self.symbol.to_string(),
                error: why.to_owned(),
            });
        }
    }

    pub(super) fn well_again(&mut self) {
        if let Some(since) = self.trouble.take() {
            self.report(EventBody::PartRecovered {
                part: self.symbol.to_string(),
                after_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
        }
    }

    /// An event that no journal holds: of this boot, at this moment.
    fn report(&self, body: EventBody) {
        let at = clock::now();
        let (boot, symbol) = (&self.ctx.identity.boot, &self.symbol);
        let id = format!("{boot}:{symbol}:{}:{}", body.kind(), at.0);
        self.ctx.events.tell(Event::new(id, at, body));
    }

    /// Says when the volatility breaker trips or recovers. Its state follows from the market and is in
    /// no journal.
    pub(super) fn tell_turbulence(&mut self) {
        let now = self.view.is_turbulent();
        if std::mem::replace(&mut self.turbulent, now) == now {
            return;
        }
        let (scope, breaker) = (self.key.to_string(), Breaker::Volatility.to_string());
        tracing::info!(symbol = %self.symbol, tripped = now, "volatility breaker");
        self.report(if now {
            EventBody::BreakerTripped {
                scope,
                breaker,
                reason: "the last 30 minutes moved the price more than 3 deviations: new sizes \
                         are halved"
                    .to_owned(),
            }
        } else {
            EventBody::BreakerRecovered { scope, breaker }
        });
    }

    fn compose_report(&self) -> BookReport {
        let base = self.ctx.config.base;
        report(
            &self.key,
            &self.state,
            self.last.as_ref().map(|candle| Quote {
                at: base.close_of(candle.open_time),
                price: candle.close,
            }),
            &self.ctx.identity.instance,
            clock::now(),
        )
    }

    pub(super) fn show(&self) {
        let entry = Entry {
            summary: summary::summary(&self.key, &self.state, self.last.map(|c| c.close)),
            report: Some(self.compose_report()),
            flat: matches!(self.state.phase, Phase::Flat),
            ready: self.ready,
        };
        self.ctx.board.put(&self.symbol, entry);
    }
}
