//! The task of one book: recovers the book from its journal, takes it over, and follows the market. Every
//! decision is made by `trader_core` and journaled before it takes effect.

mod accounting;
mod book;
mod breakers;
mod entry_settings;
mod execution;
mod position_mismatch;
mod reconcile_error;
mod reconcile_schedule;
mod reconciliation;
pub(crate) mod recovery;
mod reporting;

use std::sync::Arc;
use std::time::Duration;

use exchange::{ExchangeError, FeedEvent, FeedHandle};
use protocol::duration::format_duration;
use protocol::heartbeat::ComponentState;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;
use runtime::journal::StoredBatch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use trader_core::bar_history::{BarHistory, HISTORY_BARS, HISTORY_FOUR_HOURS, HISTORY_HOURS};
use trader_core::book::{BookEvent, BookPhase, BookRecord, EntryPermission, first_needed_candle};
use trader_core::candle::{Candle, Interval};
use trader_core::market_state::BAR;

use self::book::Book;
pub(crate) use self::book::BookTaskEnd;
use self::book::FeedState;
use self::reconcile_schedule::ReconcileSchedule;
use super::warm_up_queue::WarmUpTicket;
use crate::app::context::Context;

/// Interval of the checks of circuit breakers between two candles.
const BREAKER_CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// A snapshot older than this is not continued; the indicators are warmed up from the exchange.
const MAX_CATCH_UP: Duration = Duration::from_hours(24);

/// Trades one book until `shutdown`, until another process takes the book over, or until the book is halted.
pub(crate) async fn run(
    ctx: Arc<Context>,
    symbol: SubjectToken,
    shutdown: CancellationToken,
) -> BookTaskEnd {
    // Boxed: a book with its indicators is large, and every await would move it.
    let joining = Box::pin(async {
        let mut book = Box::new(Book::recover(ctx, symbol).await?);
        let feed = book.subscribe_feed().await?;
        Ok((book, feed))
    });
    // Recovery may be cancelled at any point, as by a crash. After it, only waits are cancelled.
    let ended = match shutdown.run_until_cancelled(joining).await {
        None => return BookTaskEnd::Stopped,
        Some(Err(end)) => Err(end),
        Some(Ok((mut book, mut feed))) => book.run_loop(&mut feed, &shutdown).await,
    };
    ended.err().unwrap_or(BookTaskEnd::Stopped)
}

impl Book {
    /// Records this process as the writer, and publishes the events that may not have been published.
    async fn take_over(
        &mut self,
        batches: Vec<StoredBatch<BookRecord>>,
    ) -> Result<(), BookTaskEnd> {
        let identity = &self.ctx.identity;
        let event = BookEvent::WriterChanged {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
        };
        let unpublished: Vec<StoredBatch<BookRecord>> = batches
            .into_iter()
            .filter(|s| s.seq > self.outbox_cursor.seq())
            .collect();
        let records = self.decide_records(event);
        let place = self.append_records(&records).await?;
        self.apply_records(&records)?;
        // Oldest first: once a later event is acknowledged, the earlier ones count as published.
        for stored in &unpublished {
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

    /// Whether the symbol was removed from the settings and nothing is open.
    fn is_wound_down(&self) -> bool {
        let is_closed = matches!(self.state.phase, BookPhase::Flat | BookPhase::Unopened);
        is_closed && self.ctx.is_removed(&self.symbol)
    }

    /// Allocates the book's share of the capital: opens the book, or changes its capital while it is flat. A removed
    /// symbol has no share.
    async fn offer_capital(&mut self) -> Result<(), BookTaskEnd> {
        if self.ctx.is_removed(&self.symbol) {
            return Ok(());
        }
        let capital = self.ctx.slice;
        self.decide(BookEvent::CapitalAllocated { capital }).await
    }

    /// Warms up the indicators, unless a snapshot has them, and subscribes from the first candle that is needed.
    async fn subscribe_feed(&mut self) -> Result<FeedHandle, BookTaskEnd> {
        self.check_market().await?;
        self.reconcile_first().await?;
        let now = self.resume_or_warm_up().await?;
        let base = self.ctx.config.base;
        // Candles fill orders only on paper.
        let on_paper = self.ctx.execution_client.is_none();
        let unfilled = first_needed_candle(&self.state).filter(|_| on_paper);
        let from = [unfilled, self.market_state.next_bar_open()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| base.open_of(now));
        let feed = self
            .ctx
            .data_client
            .subscribe(self.symbol.clone(), from)
            .await
            .map_err(|_| BookTaskEnd::Stopped)?;
        self.ctx.account_monitor.wait_until_known().await;
        if let Some(signal) = self.market_state.last_signal() {
            let inputs = self.entry_inputs(now).await;
            self.decide(BookEvent::SignalFound { signal, inputs })
                .await?;
        }
        self.ready = base.close_of(from) > now;
        self.update_registry();
        Ok(feed)
    }

    /// Ends the book if the exchange's time is before the book's newest candle. Nothing is decided before that.
    async fn check_market(&mut self) -> Result<(), BookTaskEnd> {
        let newest = recovery::newest_time(&self.state, self.market_state.next_bar_open());
        if newest.is_none() {
            return Ok(());
        }
        loop {
            match self.ctx.data_client.server_time().await {
                Ok(now) => {
                    return recovery::check_same_market(&self.symbol, newest, now)
                        .map_err(BookTaskEnd::MarketChanged);
                }
                Err(error) => self.wait_after_failure(&error).await,
            }
        }
    }

    /// Resumes from the snapshot if it is less than a day old, and warms up otherwise. Returns the exchange's time.
    async fn resume_or_warm_up(&mut self) -> Result<UtcMs, BookTaskEnd> {
        let Some(next) = self.market_state.next_bar_open() else {
            return self.warm_up().await;
        };
        match self.ctx.data_client.server_time().await {
            Ok(now) if now.since(next) <= MAX_CATCH_UP => {
                tracing::info!(symbol = %self.symbol, from = %next, "resumed from snapshot");
                Ok(now)
            }
            // `warm_up` waits for an exchange that does not answer.
            Ok(_) | Err(_) => self.warm_up().await,
        }
    }

    /// Fills the indicators from the exchange's bars. Returns the exchange's time. A live position is managed while the
    /// exchange does not answer with bars.
    async fn warm_up(&mut self) -> Result<UtcMs, BookTaskEnd> {
        let mut schedule = ReconcileSchedule::for_symbol(&self.ctx, &self.symbol);
        let now = self.ctx.data_client.clock().now();
        let ticket = WarmUpTicket {
            is_flat: self.state.position().is_none(),
            next_close: BAR.close_of(BAR.open_of(now)),
            symbol: self.symbol.clone(),
        };
        let _permit = self.ctx.warm_up_queue.enter(ticket).await;
        loop {
            match self.fetch_bars().await {
                Ok((now, history)) => {
                    let call = self.begin_core_call();
                    let warm = self.market_state.warm_up(&history);
                    drop(call);
                    let fault = match warm {
                        Ok(()) => {
                            self.stop_waiting();
                            return Ok(now);
                        }
                        Err(fault) => ExchangeError::retry("candles", fault.to_string()),
                    };
                    self.wait_after_failure(&fault).await;
                }
                Err(error) => self.wait_after_failure(&error).await,
            }
            self.manage_while_waiting(&mut schedule).await?;
        }
    }

    /// Queries the exchange for a live position whose book cannot follow the market yet, and closes it if the account is
    /// latched.
    async fn manage_while_waiting(
        &mut self,
        schedule: &mut ReconcileSchedule,
    ) -> Result<(), BookTaskEnd> {
        if self.is_wound_down() {
            return Err(BookTaskEnd::WoundDown);
        }
        if self.ctx.execution_client.is_none() || matches!(self.state.phase, BookPhase::Flat) {
            return Ok(());
        }
        self.schedule_if_urgent(schedule);
        if schedule.is_due() {
            self.run_round(schedule).await?;
        }
        if self.ctx.account_monitor.is_latched() {
            self.close_all().await?;
        }
        Ok(())
    }

    async fn fetch_bars(&self) -> Result<(UtcMs, BarHistory), ExchangeError> {
        let client = &self.ctx.data_client;
        let now = client.server_time().await?;
        let fetch =
            |interval, count| client.closed_candles(&self.symbol, interval, None, count, now);
        let history = BarHistory {
            bars: fetch(BAR, HISTORY_BARS).await?,
            hours: fetch(Interval::H1, HISTORY_HOURS).await?,
            four_hours: fetch(Interval::H4, HISTORY_FOUR_HOURS).await?,
        };
        Ok((now, history))
    }

    /// Follows the market until `shutdown`.
    async fn run_loop(
        &mut self,
        feed: &mut FeedHandle,
        shutdown: &CancellationToken,
    ) -> Result<(), BookTaskEnd> {
        let account = Arc::clone(&self.ctx.account_monitor);
        let mut schedule = ReconcileSchedule::for_symbol(&self.ctx, &self.symbol);
        let mut breaker_checks = interval(BREAKER_CHECK_INTERVAL);
        breaker_checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closing = false;
        loop {
            if self.is_wound_down() {
                return Err(BookTaskEnd::WoundDown);
            }
            self.schedule_if_urgent(&mut schedule);
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.drain_orders(&mut schedule).await,
                () = account.wait_until_latched(), if !closing => {
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
                _ = breaker_checks.tick() => {
                    self.check_breakers().await?;
                    continue;
                }
                event = feed.recv() => event,
            };
            // The feed ends with the process; which of the two is noticed first is random.
            let Some(event) = event else {
                return self.drain_orders(&mut schedule).await;
            };
            match event {
                FeedEvent::Candle(candle) => {
                    let is_caught_up = feed.is_caught_up();
                    self.feed_state.get_or_insert(FeedState::Fresh);
                    self.on_candle_closed(candle, feed.market_now()).await?;
                    let closed = self.ctx.config.base.close_of(candle.open_time);
                    let stats = self.ctx.data_client.feed_stats();
                    stats.record_handled(&self.symbol, closed);
                    self.ready |= is_caught_up;
                    self.stop_waiting();
                    if closing {
                        self.close_all().await?;
                    }
                }
                FeedEvent::Stale { since } => {
                    self.component.set_state(ComponentState::Retrying);
                    self.feed_state = Some(FeedState::Stale { since });
                    let reason = format!("no candle since {since}");
                    self.report_failure(&reason);
                    self.wait_for(reason);
                    self.check_breakers().await?;
                }
                FeedEvent::Recovered { after } => {
                    self.feed_state = Some(FeedState::Fresh);
                    tracing::info!(symbol = %self.symbol, after = %format_duration(after), "candle stream recovered");
                }
                FeedEvent::Refused { reason } => {
                    self.component.set_state(ComponentState::Retrying);
                    self.report_failure(&reason);
                    self.wait_for(reason);
                }
            }
            self.update_registry();
        }
    }

    /// Closes the open position at the newest price, because the account is latched.
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
        let outcome = self.market_state.candle_closed(&candle);
        drop(call);
        let signal = match outcome {
            Ok(outcome) => {
                bar_closed = outcome.bar_closed;
                if outcome.bridged > 0 {
                    let missing = outcome.bridged;
                    tracing::warn!(symbol = %self.symbol, missing, until = %candle.open_time, "the exchange has no candles of this time: bridged at the last close");
                }
                if let Some(gap) = outcome.gap {
                    self.report_failure(&format!("{gap:?}: warming up the indicators again"));
                    self.warm_up().await?;
                }
                outcome.signal
            }
            Err(error) => {
                // The candle still counts for an open position; only its signal is lost.
                self.report_failure(&error.to_string());
                None
            }
        };
        self.last_candle = Some(candle);
        let inputs = if signal.is_some() {
            self.entry_inputs(market_now).await
        } else {
            self.decision_inputs(self.exchange_time_or(market_now).await)
        };
        self.decide(BookEvent::CandleClosed {
            candle,
            signal,
            inputs,
        })
        .await?;
        if inputs.entry_permission == EntryPermission::OtherSettings {
            self.prepare_again().await;
        }
        if matches!(self.state.phase, BookPhase::Flat) && self.state.capital != self.ctx.slice {
            self.offer_capital().await?;
        }
        self.report_obstacle();
        self.component.record_iteration();
        if !self.last_round_unanswered {
            self.report_recovery();
        }
        if bar_closed {
            self.check_breakers().await?;
            self.store_snapshot().await;
        }
        Ok(())
    }
}
