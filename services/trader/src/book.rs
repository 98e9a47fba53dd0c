//! One book's task: recover from its journal, take it over, follow the market, journal each decision
//! before it counts. What to decide is the engine's business.

mod live;
mod recover;
mod release;
mod voice;

pub(crate) use recover::read;
pub(crate) use release::unheeded;
pub use release::{ReleaseArgs, run as release};

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::book::{BookEvent, BookRecord, BookState, Now, Phase, decide, resume_from};
use engine::candle::{Candle, Interval};
use engine::market::{BAR, History, MarketView};
use engine::rules::SymbolRules;
use protocol::heartbeat::{BookSummary, PartState};
use protocol::ids::{BookKey, Token};
use protocol::time::UtcMs;
use runtime::events::Confirmed;
use runtime::failpoint;
use runtime::journal::{AppendError, Journal, Place, Stored};
use runtime::progress::PartProgress;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;

use self::live::Rounds;
use crate::board::Entry;
use crate::calls::UnderWay;
use crate::context::Context;
use crate::market::{FeedEvent, FeedHandle, MarketError};

/// Warm-up bars asked for, of each interval: Binance's largest page.
const WARM_UP_BARS: usize = 1500;
/// A view from a snapshot that is further behind is warmed up anew instead of caught up with.
const CATCH_UP: Duration = Duration::from_hours(24);
const RETRY: Duration = Duration::from_secs(1);

/// Why a book's task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookEnd {
    /// It was told to.
    Stopped,
    /// Another process writes its journal.
    Lost(String),
    /// A person must look.
    Halted(String),
    /// The same, and its journal says so since an earlier owner: the owner has been told of it.
    StillHalted(String),
}

/// Trades one book until `stop`, until another owns it, or until a person must look.
pub async fn run(ctx: Arc<Context>, symbol: Token, stop: CancellationToken) -> BookEnd {
    // On the heap: a book with its indicators is large, and every await would carry it along.
    let joining = Box::pin(async {
        let mut book = Box::new(Book::recover(ctx, symbol).await?);
        let feed = book.join_market().await?;
        Ok((book, feed))
    });
    // Recovery may be cut at any point, as by a crash. After it only waits are.
    let ended = match stop.run_until_cancelled(joining).await {
        None => return BookEnd::Stopped,
        Some(Err(end)) => Err(end),
        Some(Ok((mut book, mut feed))) => book.follow(&mut feed, &stop).await,
    };
    ended.err().unwrap_or(BookEnd::Stopped)
}

/// A halted book, as the board shows it.
pub fn halted_entry(book: &BookKey, reason: &str) -> Entry {
    Entry {
        summary: BookSummary {
            book: book.clone(),
            equity: Decimal::ZERO,
            position: Decimal::ZERO,
            trades: 0,
            halted: Some(reason.to_owned()),
        },
        report: None,
        flat: false,
        ready: true,
    }
}

struct Book {
    ctx: Arc<Context>,
    symbol: Token,
    key: BookKey,
    rules: SymbolRules,
    part: Arc<PartProgress>,
    journal: Journal,
    confirmed: Arc<Confirmed>,
    state: BookState,
    view: MarketView,
    /// The newest candle that was taken in since this process has the book.
    last: Option<Candle>,
    snapshots: recover::Snapshots,
    turbulent: bool,
    ready: bool,
    /// Since when it does not get on, if so: the owner hears of its begin and its end.
    trouble: Option<Instant>,
    /// The last look at the exchange was not answered: candles that come do not make it well again.
    unanswered: bool,
}

impl Book {
    async fn take_over(&mut self, entries: Vec<Stored<BookRecord>>) -> Result<(), BookEnd> {
        let identity = &self.ctx.identity;
        let event = BookEvent::TookOver {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
        };
        let untold = entries.into_iter().filter(|s| s.seq > self.confirmed.seq());
        let untold: Vec<Stored<BookRecord>> = untold.collect();
        let records = self.ask_the_brain(event);
        let place = self.append(&records).await?;
        self.take_in(&records)?;
        // Oldest first: once a later one is acknowledged, earlier ones count as told.
        for stored in &untold {
            self.tell(&stored.place(), &stored.entry.records);
        }
        self.tell(&place, &records);
        self.offer_capital().await?;
        tracing::info!(
            symbol = %self.symbol,
            phase = self.state.phase.as_str(),
            equity = %self.state.equity,
            trades = self.state.trades,
            "book recovered"
        );
        self.show();
        Ok(())
    }

    /// Its share of the capital: opens it, or changes it while it is flat.
    async fn offer_capital(&mut self) -> Result<(), BookEnd> {
        let capital = self.ctx.slice;
        self.decide(BookEvent::Opened { capital }).await
    }

    /// Warms the indicators up, unless a snapshot knows them, and subscribes from the first candle that is still of use.
    async fn join_market(&mut self) -> Result<FeedHandle, BookEnd> {
        self.reconcile_first().await?;
        let now = self.see_the_market().await?;
        let base = self.ctx.config.base;
        // On an exchange no candle fills anything.
        let on_paper = self.ctx.venue.is_none();
        let unfilled = resume_from(&self.state).filter(|_| on_paper);
        let from = [unfilled, self.view.next_bar_open()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| base.open_of(now));
        let feed = self
            .ctx
            .feed
            .subscribe(self.symbol.clone(), from)
            .await
            .map_err(|_| BookEnd::Stopped)?;
        self.turbulent = self.view.is_turbulent();
        self.ctx.standing.known().await;
        if let Some(signal) = self.view.last_signal() {
            let now = self.now(self.exchange_time(now).await);
            self.decide(BookEvent::SignalFound { signal, now }).await?;
        }
        self.ready = base.close_of(from) > now;
        self.show();
        Ok(feed)
    }

    /// What a decision now depends on.
    fn now(&self, market: UtcMs) -> Now {
        Now {
            market,
            account: self.ctx.standing.leave(&self.symbol),
            exchange_fails: self.ctx.feed.progress().exchange_fails(),
        }
    }

    /// Goes on from a snapshot if that is near enough, and warms up otherwise; returns the exchange's time.
    async fn see_the_market(&mut self) -> Result<UtcMs, BookEnd> {
        let Some(next) = self.view.next_bar_open() else {
            return self.warm_up().await;
        };
        match self.ctx.market.server_time().await {
            Ok(now) if now.since(next) <= CATCH_UP => {
                tracing::info!(symbol = %self.symbol, from = %next, "goes on from its snapshot");
                Ok(now)
            }
            // An exchange that does not answer is waited for there.
            Ok(_) | Err(_) => self.warm_up().await,
        }
    }

    /// Fills the indicators from the exchange's own bars; returns its time.
    async fn warm_up(&mut self) -> Result<UtcMs, BookEnd> {
        loop {
            match self.fetch_bars().await {
                Ok((now, history)) => {
                    let call = self.call();
                    let warm = self.view.warm_up(&history);
                    drop(call);
                    let fault = match warm {
                        Ok(()) => return Ok(now),
                        Err(fault) => fault.to_string(),
                    };
                    self.failed(&fault);
                    tokio::time::sleep(RETRY).await;
                }
                Err(MarketError::Retry {
                    what,
                    reason,
                    after,
                }) => {
                    self.failed(&format!("{what}: {reason}"));
                    tokio::time::sleep(after.unwrap_or(RETRY).max(RETRY)).await;
                }
                Err(refused) => return Err(BookEnd::Halted(refused.to_string())),
            }
        }
    }

    async fn fetch_bars(&self) -> Result<(UtcMs, History), MarketError> {
        let market = &self.ctx.market;
        let now = market.server_time().await?;
        let fetch =
            |interval| market.closed_klines(&self.symbol, interval, None, WARM_UP_BARS, now);
        let history = History {
            bars: fetch(BAR).await?,
            hours: fetch(Interval::H1).await?,
            quarters: fetch(Interval::H4).await?,
        };
        Ok((now, history))
    }

    async fn follow(
        &mut self,
        feed: &mut FeedHandle,
        stop: &CancellationToken,
    ) -> Result<(), BookEnd> {
        let standing = Arc::clone(&self.ctx.standing);
        let mut rounds = Rounds::of(&self.ctx, &self.symbol);
        let mut closing = false;
        loop {
            self.hurry(&mut rounds);
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return self.settle(&mut rounds).await,
                () = standing.latched(), if !closing => {
                    closing = true;
                    self.close_all().await?;
                    continue;
                }
                () = rounds.due() => {
                    self.round(&mut rounds).await?;
                    if closing {
                        self.close_all().await?;
                    }
                    continue;
                }
                event = feed.recv() => event,
            };
            // A trader that ends ends its feed, too, and who of the two hears of it first is chance.
            let Some(event) = event else {
                return self.settle(&mut rounds).await;
            };
            match event {
                FeedEvent::Candle {
                    candle,
                    market_now,
                    caught_up,
                } => {
                    self.candle_closed(candle, market_now).await?;
                    self.ready |= caught_up;
                    if closing {
                        self.close_all().await?;
                    }
                }
                FeedEvent::Stale { since, .. } => {
                    self.part.set(PartState::Retrying);
                    self.failed(&format!("no candle since {since}"));
                }
                FeedEvent::Recovered { after } => {
                    tracing::info!(symbol = %self.symbol, ?after, "candles again");
                }
                FeedEvent::Refused { reason } => return Err(BookEnd::Halted(reason)),
            }
            self.show();
        }
    }

    /// The account is latched: closes what is open, at the newest price there is.
    async fn close_all(&mut self) -> Result<(), BookEnd> {
        if self.ctx.venue.is_some() {
            return self.close_now().await;
        }
        let Some(candle) = self.last else {
            return Ok(());
        };
        let (at, price) = (candle.open_time, candle.close);
        self.decide(BookEvent::Latched { at, price }).await?;
        self.show();
        Ok(())
    }

    async fn candle_closed(&mut self, candle: Candle, market_now: UtcMs) -> Result<(), BookEnd> {
        let mut bar_closed = false;
        let call = self.call();
        let seen = self.view.candle_closed(&candle);
        drop(call);
        let signal = match seen {
            Ok(seen) => {
                bar_closed = seen.bar_closed;
                if let Some(gap) = seen.gap {
                    self.failed(&format!("{gap:?}: warming up again"));
                    self.warm_up().await?;
                }
                seen.signal
            }
            Err(fault) => {
                // The candle still moves an open position; only its signal is lost.
                self.failed(&fault.to_string());
                None
            }
        };
        self.last = Some(candle);
        let now = self.now(self.exchange_time(market_now).await);
        self.decide(BookEvent::CandleClosed {
            candle,
            signal,
            now,
        })
        .await?;
        if matches!(self.state.phase, Phase::Flat) && self.state.capital != self.ctx.slice {
            self.offer_capital().await?;
        }
        self.part.turn();
        if !self.unanswered {
            self.well_again();
        }
        if bar_closed {
            self.tell_turbulence();
            self.store_snapshot().await;
        }
        Ok(())
    }

    /// Decide, append, apply, tell, act: in this order, always. What an order comes back with is decided
    /// next.
    async fn decide(&mut self, event: BookEvent) -> Result<(), BookEnd> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let records = self.ask_the_brain(event);
            if records.is_empty() {
                continue;
            }
            let guards = Self::send_guards(Arc::clone(&self.ctx), self.symbol.clone(), &records);
            let (stored, guarded) = tokio::join!(self.append(&records), guards);
            let place = stored?;
            self.take_in(&records)?;
            self.tell(&place, &records);
            events.extend(guarded);
            events.extend(self.send_stored(&records).await);
        }
        Ok(())
    }

    /// Applies what is stored.
    fn take_in(&mut self, records: &[BookRecord]) -> Result<(), BookEnd> {
        self.state
            .apply_all(records)
            .map_err(|bad| BookEnd::Halted(format!("bug: own record does not apply: {bad}")))?;
        for record in records {
            self.log(record);
        }
        Ok(())
    }

    fn ask_the_brain(&self, event: BookEvent) -> Vec<BookRecord> {
        let _call = self.call();
        if let BookEvent::CandleClosed { .. } = event {
            failpoint::spin(self.symbol.as_str());
        }
        decide(&self.state, &self.ctx.config, &self.rules, event)
    }

    /// To be held during a call to the brain, and never across an await.
    fn call(&self) -> UnderWay {
        let calls = &self.ctx.calls;
        calls.begin(&self.key, self.journal.last_seq())
    }

    async fn append(&mut self, records: &[BookRecord]) -> Result<Place, BookEnd> {
        let (ctx, symbol, part) = (&self.ctx, &self.symbol, &self.part);
        let mut away = None;
        let appended = self
            .journal
            .append(records, self.confirmed.seq(), |why| {
                part.set(PartState::Retrying);
                ctx.progress
                    .error(symbol.as_str(), format!("journal: {why}"));
                tracing::warn!(%symbol, why, "journal not reached; nothing is done until it is");
                away = Some(why.to_owned());
            })
            .await;
        if let Some(why) = away {
            self.failed(&format!("journal: {why}"));
        }
        appended.map_err(|error| match error {
            AppendError::Lost { .. } => BookEnd::Lost(error.to_string()),
            AppendError::Refused { .. } => BookEnd::Halted(error.to_string()),
        })
    }
}
