//! The keeper: the one instance that adds up what all books are worth, remembers the peaks, and latches
//! the account when a critical breaker trips. Standing by and taking over is the guard's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::account::{AccountEvent, AccountRecord, AccountState, Pause, decide, owner_event};
use protocol::VERSION;
use protocol::ids::Token;
use protocol::operator::Word;
use protocol::report::{AccountReport, BookReport, LatchReport, PauseReport};
use protocol::subject::Subject;
use runtime::events::Confirmed;
use runtime::guard::{Guard, TurnEnd};
use runtime::journal::{Journal, Place, Stored};
use runtime::process::Stop;
use runtime::progress::PartProgress;
use runtime::reports::{Keep, publish};
use runtime::{clock, streams};
use rust_decimal::Decimal;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::operator;
use super::retired::{self, Retired};
use crate::context::Context;

const LOOK: Duration = Duration::from_secs(1);
/// What it says is renewed at least so often: others wait a minute before they distrust it.
const RENEW: Duration = Duration::from_secs(10);
/// A book with a position whose report is older is worth nobody knows what.
const FRESH: Duration = Duration::from_mins(1);

/// Keeps the account whenever no other instance does, until `stop`.
///
/// # Errors
/// What a person must look at.
pub async fn run(ctx: Arc<Context>, stop: CancellationToken) -> Result<(), Stop> {
    let part = ctx.progress.part("keeper");
    let lease = Subject::AccountLease(ctx.account.clone());
    let guard = Guard::new(ctx.bus.clone(), &lease, &ctx.identity);
    let turn = || turn(&ctx, &part, &stop);
    guard.take_turns(&part, || {}, &stop, turn).await
}

async fn turn(ctx: &Context, part: &PartProgress, stop: &CancellationToken) -> TurnEnd {
    match Keeper::take_over(ctx, part).await {
        Ok(keeper) => keeper.keep(part, stop).await,
        Err(end) => end,
    }
}

struct Keeper<'a> {
    ctx: &'a Context,
    journal: Journal,
    confirmed: Arc<Confirmed>,
    state: AccountState,
    books: BTreeMap<Token, Heard>,
    retired: Retired,
    told: Option<(AccountReport, Instant)>,
    /// Sequence of the last operator's word that was looked at.
    heard: u64,
}

/// A book's newest report, and when it was first seen.
struct Heard {
    seq: u64,
    report: BookReport,
    seen: Instant,
}

impl<'a> Keeper<'a> {
    async fn take_over(ctx: &'a Context, part: &PartProgress) -> Result<Self, TurnEnd> {
        let subject = Subject::AccountJournal(ctx.account.clone());
        let writer = ctx.identity.boot.clone();
        let replayed = Journal::replay_patiently(&ctx.bus, &subject, writer, 0, |why| {
            ctx.progress.error("keeper", why);
            part.turn();
        });
        // Unreadable: no report, so nobody enters; another program may be able to read it.
        let lost = |why: String| TurnEnd::Lost(why);
        let (journal, entries) = replayed.await.map_err(|error| lost(error.to_string()))?;
        let mut state = AccountState::default();
        for stored in &entries {
            state
                .fold(&stored.entry)
                .map_err(|error| lost(format!("journal sequence {}: {error}", stored.seq)))?;
        }
        let told = entries.iter().map(|s| s.entry.confirmed).max();
        let mut keeper = Self {
            ctx,
            journal,
            confirmed: Confirmed::from(told.unwrap_or(0)),
            state,
            books: BTreeMap::new(),
            retired: retired::read(ctx).await.map_err(lost)?,
            told: None,
            heard: 0,
        };
        keeper.begin(entries).await?;
        Ok(keeper)
    }

    async fn begin(&mut self, entries: Vec<Stored<AccountRecord>>) -> Result<(), TurnEnd> {
        let identity = &self.ctx.identity;
        let event = AccountEvent::TookOver {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
        };
        let told = self.confirmed.seq();
        self.on(event).await?;
        for stored in entries.into_iter().filter(|s| s.seq > told) {
            self.tell(&stored.place(), &stored.entry.records);
        }
        tracing::info!(account = %self.ctx.account, latched = self.state.latch.is_some(),
            "keeps the account");
        Ok(())
    }

    async fn keep(mut self, part: &PartProgress, stop: &CancellationToken) -> TurnEnd {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(end) = self.look().await {
                return end;
            }
            part.turn();
        }
        TurnEnd::Stopped
    }

    /// One look at the operator's words and at every book.
    async fn look(&mut self) -> Result<(), TurnEnd> {
        self.hear().await?;
        if let Err(why) = self.read_books().await {
            // The bus is away: what it says grows old by itself.
            tracing::debug!(why, "books not read");
            return Ok(());
        }
        let (capital, equity) = self.worth();
        let at = self.ctx.feed.clock().now();
        self.on(AccountEvent::Valued {
            at,
            capital,
            equity,
        })
        .await?;
        self.report().await;
        Ok(())
    }

    /// Carries out what operators said since the last time.
    async fn hear(&mut self) -> Result<(), TurnEnd> {
        let words = match self.new_words().await {
            Ok(words) => words,
            Err(why) => {
                tracing::debug!(why, "operators' journal not read");
                return Ok(());
            }
        };
        for (seq, word) in words {
            let at = self.ctx.feed.clock().now();
            self.on(AccountEvent::Said { at, seq, word }).await?;
            self.heard = seq;
        }
        Ok(())
    }

    /// The whole journal is read only when there is something new in it.
    async fn new_words(&self) -> Result<Vec<(u64, Word)>, String> {
        let Context { bus, account, .. } = self.ctx;
        let subject = Subject::OperatorJournal(account.clone()).to_string();
        let newest = bus.newest(streams::JOURNAL, &subject).await?;
        let heard = self.heard.max(self.state.carried_out);
        if newest.is_none_or(|newest| newest.seq <= heard) {
            return Ok(Vec::new());
        }
        let mut words = operator::words(bus, account).await?;
        words.retain(|(seq, _)| *seq > heard);
        Ok(words)
    }

    async fn read_books(&mut self) -> Result<(), String> {
        let now = Instant::now();
        for symbol in self.ctx.rules.keys() {
            let subject = Subject::BookReport(self.ctx.account.book(symbol.clone())).to_string();
            let Some(newest) = self.ctx.bus.newest(streams::REPORTS, &subject).await? else {
                continue;
            };
            let known = self.books.get(symbol);
            if known.is_some_and(|heard| heard.seq == newest.seq) {
                continue;
            }
            match serde_json::from_slice(&newest.payload) {
                Ok(report) => {
                    let seq = newest.seq;
                    let heard = Heard {
                        seq,
                        report,
                        seen: now,
                    };
                    self.books.insert(symbol.clone(), heard);
                }
                Err(error) => self
                    .ctx
                    .progress
                    .error("keeper", format!("{subject}: {error}")),
            }
        }
        Ok(())
    }

    /// Capital and equity of all books. One that never reported has its share of the capital.
    fn worth(&self) -> (Decimal, Decimal) {
        let (mut capital, mut equity) = (Decimal::ZERO, Decimal::ZERO);
        for symbol in self.ctx.rules.keys() {
            let heard = self
                .books
                .get(symbol)
                .map(|h| (h.report.capital, h.report.equity));
            let (began, now) = heard.unwrap_or((self.ctx.slice, self.ctx.slice));
            capital = capital.saturating_add(began);
            equity = equity.saturating_add(now);
        }
        (capital, equity.saturating_add(self.retired.earned))
    }

    fn unknown(&self, now: Instant) -> Vec<Token> {
        let lost = |(_, heard): &(&Token, &Heard)| {
            heard.report.position.is_some() && now.duration_since(heard.seen) > FRESH
        };
        let lost = self.books.iter().filter(lost).map(|(symbol, _)| symbol);
        lost.chain(&self.retired.open).cloned().collect()
    }

    /// Decide, append, apply, tell.
    async fn on(&mut self, event: AccountEvent) -> Result<(), TurnEnd> {
        let records = decide(&self.state, event.clone());
        if !records.is_empty() {
            let progress = &self.ctx.progress;
            let retrying = |why: &str| progress.error("keeper", format!("journal: {why}"));
            let place = self
                .journal
                .append(&records, self.confirmed.seq(), retrying)
                .await?;
            for record in &records {
                self.state.apply(record);
                self.log(record);
            }
            self.tell(&place, &records);
        }
        self.state.notice(&event);
        Ok(())
    }

    fn log(&self, record: &AccountRecord) {
        let account = &self.ctx.account;
        match record {
            AccountRecord::Founded { .. }
            | AccountRecord::KeeperTookOver { .. }
            | AccountRecord::Valued(_) => {}
            AccountRecord::Latched(latch) => {
                tracing::error!(%account, latch = latch.id, equity = %latch.equity,
                    peak = %latch.peak, "EMERGENCY STOP: closing everything");
            }
            AccountRecord::Unlatched(word) => {
                tracing::warn!(%account, latch = word.latch, who = word.said.who,
                    why = word.said.why, "latch ended by an operator");
            }
            AccountRecord::Paused(Pause { symbol, said }) => {
                let books = symbol.as_ref().map_or("every one", Token::as_str);
                tracing::warn!(%account, books, who = said.who, why = said.why,
                    "entries paused by an operator");
            }
            AccountRecord::Resumed(Pause { symbol, said }) => {
                let books = symbol.as_ref().map_or("every one", Token::as_str);
                tracing::warn!(%account, books, who = said.who, why = said.why,
                    "entries resumed by an operator");
            }
        }
    }

    fn tell(&self, place: &Place, records: &[AccountRecord]) {
        let account = &self.ctx.account;
        let bodies = records.iter().map(|record| owner_event(account, record));
        let key = format!("account.{account}");
        self.ctx
            .events
            .tell_journaled(&key, place, bodies, &self.confirmed);
    }

    /// Says how the account is, when that changed or the last time is too long ago.
    async fn report(&mut self) {
        let Some(value) = self.state.value.or(self.state.stored) else {
            return;
        };
        let now = Instant::now();
        let told = self.told.as_ref();
        let due = told.is_none_or(|(_, at)| now.duration_since(*at) >= RENEW);
        let report = AccountReport {
            v: VERSION,
            at: clock::now(),
            instance: self.ctx.identity.instance.clone(),
            seq: self.journal.last_seq(),
            equity: value.equity,
            peak: value.peak,
            day_peak: value.day_peak,
            latch: self.state.latch.as_ref().map(|latch| LatchReport {
                id: latch.id.clone(),
                breaker: latch.cause.to_string(),
                at: latch.at,
            }),
            unknown: self.unknown(now),
            words: self.heard.max(self.state.carried_out),
            pauses: self.state.pauses.iter().map(pause_report).collect(),
        };
        let news = told.is_none_or(|(last, _)| {
            (&last.latch, &last.unknown, last.words)
                != (&report.latch, &report.unknown, report.words)
        });
        if !due && !news {
            return;
        }
        let subject = Subject::AccountReport(self.ctx.account.clone());
        match publish(&self.ctx.bus, &subject, &report, Keep::Newest).await {
            Ok(seq) => {
                // Our own books need not wait until it is read back.
                self.ctx.standing.heard(seq, report.clone(), report.words);
                self.told = Some((report, now));
            }
            Err(why) => tracing::debug!(why, "account not reported"),
        }
    }
}

fn pause_report(Pause { symbol, said }: &Pause) -> PauseReport {
    PauseReport {
        symbol: symbol.clone(),
        who: said.who.clone(),
        why: said.why.clone(),
    }
}
