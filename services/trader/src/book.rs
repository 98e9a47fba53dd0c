//! One book's task: recover from its journal, take it over, follow the market, journal each decision
//! before it counts. What to decide is the engine's business.

mod voice;

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::book::{BookEvent, BookRecord, BookState, Decision, Phase, decide, resume_from};
use engine::candle::Candle;
use engine::entry::Refusal;
use engine::fixed::Price;
use engine::market::{BAR, MarketView};
use engine::rules::SymbolRules;
use protocol::heartbeat::{BookSummary, PartState};
use protocol::ids::{BookKey, Token};
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::events::Confirmed;
use runtime::journal::{AppendError, Journal, Place, ReplayError, Stored};
use runtime::progress::PartProgress;
use rust_decimal::Decimal;
use tokio_util::sync::CancellationToken;

use crate::board::Entry;
use crate::context::Context;
use crate::market::{FeedEvent, FeedHandle, MarketError};

/// Warm-up bars asked for: Binance's largest page.
const WARM_UP_BARS: usize = 1500;
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
}

/// Trades one book until `stop`, until another owns it, or until a person must look.
pub async fn run(ctx: Arc<Context>, symbol: Token, stop: CancellationToken) -> BookEnd {
    let joining = async {
        let mut book = Book::recover(ctx, symbol).await?;
        let feed = book.join_market().await?;
        Ok((book, feed))
    };
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
    last_price: Option<Price>,
    ready: bool,
    /// Since when it does not get on, if so: the owner hears of its begin and its end.
    trouble: Option<Instant>,
}

impl Book {
    /// Replays the journal, takes it over, tells the owner again what may not have reached him.
    async fn recover(ctx: Arc<Context>, symbol: Token) -> Result<Self, BookEnd> {
        let part = ctx.progress.part(symbol.as_str());
        let key = ctx.account.book(symbol.clone());
        let halted = |why: String| BookEnd::Halted(why);
        let rules = ctx
            .rules
            .get(&symbol)
            .cloned()
            .ok_or_else(|| halted(format!("no rules for {symbol}")))?;
        let view = MarketView::new(ctx.config.base, ctx.strategies.clone())
            .map_err(|fault| halted(fault.to_string()))?;
        let (journal, entries) = replay(&ctx, &key, &part).await?;
        let mut state = BookState::default();
        for stored in &entries {
            state
                .fold(&stored.entry)
                .map_err(|bad| halted(format!("journal sequence {}: {bad}", stored.seq)))?;
        }
        if let Phase::Halted { reason, .. } = &state.phase {
            return Err(halted(reason.clone()));
        }
        let told = entries.iter().map(|s| s.entry.confirmed).max();
        let confirmed = Confirmed::from(told.unwrap_or(0));
        let mut book = Self {
            ctx,
            symbol,
            key,
            rules,
            part,
            journal,
            confirmed,
            state,
            view,
            last_price: None,
            ready: false,
            trouble: None,
        };
        book.take_over(entries).await?;
        Ok(book)
    }

    async fn take_over(&mut self, entries: Vec<Stored<BookRecord>>) -> Result<(), BookEnd> {
        let identity = &self.ctx.identity;
        let event = BookEvent::TookOver {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
        };
        let untold = entries.into_iter().filter(|s| s.seq > self.confirmed.seq());
        let untold: Vec<Stored<BookRecord>> = untold.collect();
        let taken = self.record(event).await?;
        // Oldest first: once a later one is acknowledged, earlier ones count as told.
        for stored in &untold {
            self.tell(&stored.place(), &stored.entry.records);
        }
        if let Some((place, records)) = taken {
            self.tell(&place, &records);
        }
        let capital = self.ctx.slice;
        self.decide(BookEvent::Opened { capital }).await?;
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

    /// Warms the indicators up and subscribes from the first candle that is still of use.
    async fn join_market(&mut self) -> Result<FeedHandle, BookEnd> {
        let now = self.warm_up().await?;
        let base = self.ctx.config.base;
        let from = [resume_from(&self.state), self.view.next_bar_open()]
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
        if let Some(signal) = self.view.last_signal() {
            let market_now = now;
            self.decide(BookEvent::SignalFound { signal, market_now })
                .await?;
        }
        self.ready = base.close_of(from) > now;
        self.show();
        Ok(feed)
    }

    /// Fills the indicators from the exchange's own bars; returns its time.
    async fn warm_up(&mut self) -> Result<UtcMs, BookEnd> {
        loop {
            match self.fetch_bars().await {
                Ok((now, bars)) => {
                    let fault = match self.view.warm_up(&bars) {
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

    async fn fetch_bars(&self) -> Result<(UtcMs, Vec<Candle>), MarketError> {
        let market = &self.ctx.market;
        let now = market.server_time().await?;
        let bars = market
            .closed_klines(&self.symbol, BAR, None, WARM_UP_BARS, now)
            .await?;
        Ok((now, bars))
    }

    async fn follow(
        &mut self,
        feed: &mut FeedHandle,
        stop: &CancellationToken,
    ) -> Result<(), BookEnd> {
        while let Some(Some(event)) = stop.run_until_cancelled(feed.recv()).await {
            match event {
                FeedEvent::Candle {
                    candle,
                    market_now,
                    caught_up,
                } => {
                    self.candle_closed(candle, market_now).await?;
                    self.ready |= caught_up;
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
        Ok(())
    }

    async fn candle_closed(&mut self, candle: Candle, market_now: UtcMs) -> Result<(), BookEnd> {
        let signal = match self.view.candle_closed(&candle) {
            Ok(seen) => {
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
        self.last_price = Some(candle.close);
        self.decide(BookEvent::CandleClosed {
            candle,
            signal,
            market_now,
        })
        .await?;
        self.part.turn();
        self.well_again();
        Ok(())
    }

    /// Decide, append, apply, tell: in this order, always.
    async fn decide(&mut self, event: BookEvent) -> Result<(), BookEnd> {
        if let Some((place, records)) = self.record(event).await? {
            self.tell(&place, &records);
        }
        Ok(())
    }

    /// What was decided, and where it is stored; `None`: nothing was to be done.
    async fn record(
        &mut self,
        event: BookEvent,
    ) -> Result<Option<(Place, Vec<BookRecord>)>, BookEnd> {
        let Decision { records, refusal } =
            decide(&self.state, &self.ctx.config, &self.rules, event);
        match refusal {
            // Every start finds the newest bar long closed.
            None | Some(Refusal::StaleSignal) => {}
            Some(why) => {
                tracing::info!(symbol = %self.symbol, why = why.as_str(), "signal refused");
            }
        }
        if records.is_empty() {
            return Ok(None);
        }
        let place = self.append(&records).await?;
        self.state
            .apply_all(&records)
            .map_err(|bad| BookEnd::Halted(format!("bug: own record does not apply: {bad}")))?;
        for record in &records {
            self.log(record);
        }
        Ok(Some((place, records)))
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

/// Reads the journal, for as long as it takes.
async fn replay(
    ctx: &Context,
    key: &BookKey,
    part: &PartProgress,
) -> Result<(Journal, Vec<Stored<BookRecord>>), BookEnd> {
    let subject = Subject::BookJournal(key.clone());
    let writer = ctx.identity.boot.clone();
    let replayed = Journal::replay_patiently(&ctx.bus, &subject, writer, |why| {
        part.set(PartState::Retrying);
        ctx.progress.error(key.symbol.as_str(), why);
    });
    let unreadable = |error: ReplayError| BookEnd::Halted(error.to_string());
    replayed.await.map_err(unreadable)
}
