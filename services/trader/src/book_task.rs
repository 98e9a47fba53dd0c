//! One book's task: recover from its journal, take it over, follow the market, journal each decision
//! before it counts. What to decide is the engine's business.

mod execution;
mod recovery;
mod reporting;
mod unhalt;

pub(crate) use recovery::read_book_state;
pub(crate) use unhalt::pending_unhalt;
pub use unhalt::{UnhaltArgs, run as release};

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::heartbeat::{BookSummary, ComponentState};
use protocol::ids::{BookKey, SubjectToken};
use protocol::time::UtcMs;
use runtime::components::ComponentHandle;
use runtime::failpoint;
use runtime::journal::{AppendError, BatchPosition, Journal, StoredBatch};
use runtime::outbox::OutboxCursor;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;
use trader_core::book::{
    BookEvent, BookPhase, BookRecord, BookState, DecisionInputs, decide, first_needed_candle,
};
use trader_core::candle::{Candle, Interval};
use trader_core::market_state::{BAR, BarHistory, MarketState};
use trader_core::symbol_filters::SymbolFilters;

use self::execution::ReconcileSchedule;
use crate::book_registry::RegistryEntry;
use crate::context::Context;
use crate::core_calls::CallGuard;
use crate::market::{FeedEvent, FeedHandle, MarketError};

/// Warm-up bars asked for, of each interval: Binance's largest page.
const WARM_UP_BARS: usize = 1500;
/// A view from a snapshot that is further behind is warmed up anew instead of caught up with.
const MAX_CATCH_UP: Duration = Duration::from_hours(24);
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why a book's task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookTaskEnd {
    /// It was told to.
    Stopped,
    /// Another process writes its journal.
    Lost(String),
    /// A person must look.
    Halted(String),
    /// The same, and its journal says so since an earlier owner: the owner has been told of it.
    StillHalted(String),
}

/// Trades one book until `shutdown`, until another owns it, or until a person must look.
pub async fn run(
    ctx: Arc<Context>,
    symbol: SubjectToken,
    shutdown: CancellationToken,
) -> BookTaskEnd {
    // On the heap: a book with its indicators is large, and every await would carry it along.
    let joining = Box::pin(async {
        let mut book = Box::new(Book::recover(ctx, symbol).await?);
        let feed = book.subscribe_feed().await?;
        Ok((book, feed))
    });
    // Recovery may be cut at any point, as by a crash. After it only waits are.
    let ended = match shutdown.run_until_cancelled(joining).await {
        None => return BookTaskEnd::Stopped,
        Some(Err(end)) => Err(end),
        Some(Ok((mut book, mut feed))) => book.run_loop(&mut feed, &shutdown).await,
    };
    ended.err().unwrap_or(BookTaskEnd::Stopped)
}

/// A halted book, as the board shows it.
pub fn halted_entry(book: &BookKey, reason: &str) -> RegistryEntry {
    RegistryEntry {
        summary: BookSummary {
            book: book.clone(),
            equity: Decimal::ZERO,
            position_quantity: Decimal::ZERO,
            trades: 0,
            halt_reason: Some(reason.to_owned()),
        },
        report: None,
        flat: false,
        ready: true,
    }
}

struct Book {
    ctx: Arc<Context>,
    symbol: SubjectToken,
    key: BookKey,
    filters: SymbolFilters,
    component: Arc<ComponentHandle>,
    journal: Journal,
    outbox_cursor: Arc<OutboxCursor>,
    state: BookState,
    market_state: MarketState,
    /// The newest candle that was taken in since this process has the book.
    last_candle: Option<Candle>,
    snapshot_schedule: recovery::SnapshotSchedule,
    volatility_breaker_tripped: bool,
    ready: bool,
    /// Since when it does not get on, if so: the owner hears of its begin and its end.
    failing_since: Option<Instant>,
    /// The last look at the exchange was not answered: candles that come do not make it well again.
    last_round_unanswered: bool,
}

impl Book {
    async fn take_over(
        &mut self,
        entries: Vec<StoredBatch<BookRecord>>,
    ) -> Result<(), BookTaskEnd> {
        let identity = &self.ctx.identity;
        let event = BookEvent::WriterChanged {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
        };
        let untold = entries
            .into_iter()
            .filter(|s| s.seq > self.outbox_cursor.seq());
        let untold: Vec<StoredBatch<BookRecord>> = untold.collect();
        let records = self.decide_records(event);
        let place = self.append_records(&records).await?;
        self.apply_records(&records)?;
        // Oldest first: once a later one is acknowledged, earlier ones count as told.
        for stored in &untold {
            self.publish_record_events(&stored.position(), &stored.batch.records);
        }
        self.publish_record_events(&place, &records);
        self.offer_capital().await?;
        tracing::info!(
            symbol = %self.symbol,
            phase = self.state.phase.as_str(),
            equity = %self.state.equity,
            trades = self.state.trades,
            "book recovered"
        );
        self.update_registry();
        Ok(())
    }

    /// Its share of the capital: opens it, or changes it while it is flat.
    async fn offer_capital(&mut self) -> Result<(), BookTaskEnd> {
        let capital = self.ctx.slice;
        self.decide(BookEvent::CapitalAllocated { capital }).await
    }

    /// Warms the indicators up, unless a snapshot knows them, and subscribes from the first candle that is still of use.
    async fn subscribe_feed(&mut self) -> Result<FeedHandle, BookTaskEnd> {
        self.reconcile_first().await?;
        let now = self.resume_or_warm_up().await?;
        let base = self.ctx.config.base;
        // On an exchange no candle fills anything.
        let on_paper = self.ctx.execution_client.is_none();
        let unfilled = first_needed_candle(&self.state).filter(|_| on_paper);
        let from = [unfilled, self.market_state.next_bar_open()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| base.open_of(now));
        let feed = self
            .ctx
            .feed
            .subscribe(self.symbol.clone(), from)
            .await
            .map_err(|_| BookTaskEnd::Stopped)?;
        self.volatility_breaker_tripped = self.market_state.is_volatility_breaker_tripped();
        self.ctx.account_monitor.wait_until_known().await;
        if let Some(signal) = self.market_state.last_signal() {
            let now = self.decision_inputs(self.exchange_time_or(now).await);
            self.decide(BookEvent::SignalFound {
                signal,
                inputs: now,
            })
            .await?;
        }
        self.ready = base.close_of(from) > now;
        self.update_registry();
        Ok(feed)
    }

    /// What a decision now depends on.
    fn decision_inputs(&self, market: UtcMs) -> DecisionInputs {
        DecisionInputs {
            exchange_time: market,
            entry_permission: self.ctx.account_monitor.entry_permission(&self.symbol),
            is_exchange_failing: self.ctx.feed.stats().exchange_fails(),
        }
    }

    /// Goes on from a snapshot if that is near enough, and warms up otherwise; returns the exchange's time.
    async fn resume_or_warm_up(&mut self) -> Result<UtcMs, BookTaskEnd> {
        let Some(next) = self.market_state.next_bar_open() else {
            return self.warm_up().await;
        };
        match self.ctx.data_client.server_time().await {
            Ok(now) if now.since(next) <= MAX_CATCH_UP => {
                tracing::info!(symbol = %self.symbol, from = %next, "goes on from its snapshot");
                Ok(now)
            }
            // An exchange that does not answer is waited for there.
            Ok(_) | Err(_) => self.warm_up().await,
        }
    }

    /// Fills the indicators from the exchange's own bars; returns its time.
    async fn warm_up(&mut self) -> Result<UtcMs, BookTaskEnd> {
        loop {
            match self.fetch_bars().await {
                Ok((now, history)) => {
                    let call = self.begin_core_call();
                    let warm = self.market_state.warm_up(&history);
                    drop(call);
                    let fault = match warm {
                        Ok(()) => return Ok(now),
                        Err(fault) => fault.to_string(),
                    };
                    self.report_failure(&fault);
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                Err(MarketError::Retry {
                    what,
                    reason,
                    after,
                }) => {
                    self.report_failure(&format!("{what}: {reason}"));
                    tokio::time::sleep(after.unwrap_or(RETRY_DELAY).max(RETRY_DELAY)).await;
                }
                Err(refused) => return Err(BookTaskEnd::Halted(refused.to_string())),
            }
        }
    }

    async fn fetch_bars(&self) -> Result<(UtcMs, BarHistory), MarketError> {
        let market = &self.ctx.data_client;
        let now = market.server_time().await?;
        let fetch =
            |interval| market.closed_klines(&self.symbol, interval, None, WARM_UP_BARS, now);
        let history = BarHistory {
            bars: fetch(BAR).await?,
            hours: fetch(Interval::H1).await?,
            four_hours: fetch(Interval::H4).await?,
        };
        Ok((now, history))
    }

    async fn run_loop(
        &mut self,
        feed: &mut FeedHandle,
        shutdown: &CancellationToken,
    ) -> Result<(), BookTaskEnd> {
        let standing = Arc::clone(&self.ctx.account_monitor);
        let mut schedule = ReconcileSchedule::for_symbol(&self.ctx, &self.symbol);
        let mut closing = false;
        loop {
            self.schedule_if_urgent(&mut schedule);
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain_orders(&mut schedule).await,
                () = standing.wait_until_latched(), if !closing => {
                    closing = true;
                    self.close_all().await?;
                    continue;
                }
                () = schedule.wait_until_due() => {
                    self.run_round(&mut schedule).await?;
                    if closing {
                        self.close_all().await?;
                    }
                    continue;
                }
                event = feed.recv() => event,
            };
            // A trader that ends ends its feed, too, and who of the two hears of it first is chance.
            let Some(event) = event else {
                return self.drain_orders(&mut schedule).await;
            };
            match event {
                FeedEvent::Candle {
                    candle,
                    market_now,
                    caught_up,
                } => {
                    self.on_candle_closed(candle, market_now).await?;
                    self.ready |= caught_up;
                    if closing {
                        self.close_all().await?;
                    }
                }
                FeedEvent::Stale { since, .. } => {
                    self.component.set_state(ComponentState::Retrying);
                    self.report_failure(&format!("no candle since {since}"));
                }
                FeedEvent::Recovered { after } => {
                    tracing::info!(symbol = %self.symbol, ?after, "candles again");
                }
                FeedEvent::Refused { reason } => return Err(BookTaskEnd::Halted(reason)),
            }
            self.update_registry();
        }
    }

    /// The account is latched: closes what is open, at the newest price there is.
    async fn close_all(&mut self) -> Result<(), BookTaskEnd> {
        if self.ctx.execution_client.is_some() {
            return self.close_at_market().await;
        }
        let Some(candle) = self.last_candle else {
            return Ok(());
        };
        let (at, price) = (candle.open_time, candle.close);
        self.decide(BookEvent::AccountLatched { at, price }).await?;
        self.update_registry();
        Ok(())
    }

    async fn on_candle_closed(
        &mut self,
        candle: Candle,
        market_now: UtcMs,
    ) -> Result<(), BookTaskEnd> {
        let mut bar_closed = false;
        let call = self.begin_core_call();
        let seen = self.market_state.candle_closed(&candle);
        drop(call);
        let signal = match seen {
            Ok(seen) => {
                bar_closed = seen.bar_closed;
                if let Some(gap) = seen.gap {
                    self.report_failure(&format!("{gap:?}: warming up again"));
                    self.warm_up().await?;
                }
                seen.signal
            }
            Err(fault) => {
                // The candle still moves an open position; only its signal is lost.
                self.report_failure(&fault.to_string());
                None
            }
        };
        self.last_candle = Some(candle);
        let now = self.decision_inputs(self.exchange_time_or(market_now).await);
        self.decide(BookEvent::CandleClosed {
            candle,
            signal,
            inputs: now,
        })
        .await?;
        if matches!(self.state.phase, BookPhase::Flat) && self.state.capital != self.ctx.slice {
            self.offer_capital().await?;
        }
        self.component.record_iteration();
        if !self.last_round_unanswered {
            self.report_recovery();
        }
        if bar_closed {
            self.report_volatility_breaker();
            self.store_snapshot().await;
        }
        Ok(())
    }

    /// Decide, append, apply, tell, act: in this order, always. What an order comes back with is decided
    /// next.
    async fn decide(&mut self, event: BookEvent) -> Result<(), BookTaskEnd> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let records = self.decide_records(event);
            if records.is_empty() {
                continue;
            }
            let guards =
                Self::send_protective_orders(Arc::clone(&self.ctx), self.symbol.clone(), &records);
            let (stored, guarded) = tokio::join!(self.append_records(&records), guards);
            let place = stored?;
            self.apply_records(&records)?;
            self.publish_record_events(&place, &records);
            events.extend(guarded);
            events.extend(self.send_stored_orders(&records).await);
        }
        Ok(())
    }

    /// Applies what is stored.
    fn apply_records(&mut self, records: &[BookRecord]) -> Result<(), BookTaskEnd> {
        self.state
            .apply_all(records)
            .map_err(|bad| BookTaskEnd::Halted(format!("bug: own record does not apply: {bad}")))?;
        for record in records {
            self.log_record(record);
        }
        Ok(())
    }

    fn decide_records(&self, event: BookEvent) -> Vec<BookRecord> {
        let _call = self.begin_core_call();
        if let BookEvent::CandleClosed { .. } = event {
            failpoint::spin(self.symbol.as_str());
        }
        decide(&self.state, &self.ctx.config, &self.filters, event)
    }

    /// To be held during a call to the brain, and never across an await.
    fn begin_core_call(&self) -> CallGuard {
        let calls = &self.ctx.core_calls;
        calls.begin_call(&self.key, self.journal.last_seq())
    }

    async fn append_records(
        &mut self,
        records: &[BookRecord],
    ) -> Result<BatchPosition, BookTaskEnd> {
        let (ctx, symbol, part) = (&self.ctx, &self.symbol, &self.component);
        let mut away = None;
        let appended = self
            .journal
            .append(records, self.outbox_cursor.seq(), |why| {
                part.set_state(ComponentState::Retrying);
                ctx.process_status
                    .record_error(symbol.as_str(), format!("journal: {why}"));
                tracing::warn!(%symbol, why, "journal not reached; nothing is done until it is");
                away = Some(why.to_owned());
            })
            .await;
        if let Some(why) = away {
            self.report_failure(&format!("journal: {why}"));
        }
        appended.map_err(|error| match error {
            AppendError::Fenced { .. } => BookTaskEnd::Lost(error.to_string()),
            AppendError::Rejected { .. } => BookTaskEnd::Halted(error.to_string()),
        })
    }
}
