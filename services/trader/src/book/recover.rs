//! How a book comes back: from its newest snapshot and the journal behind it, or from the whole journal.
//! And how the next snapshot is stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::book::{BookRecord, BookState, Phase};
use engine::events::owner_event;
use engine::market::MarketView;
use protocol::VERSION;
use protocol::heartbeat::PartState;
use protocol::ids::{BookKey, Token};
use protocol::subject::Subject;
use runtime::bus::Bus;
use runtime::events::Confirmed;
use runtime::identity::boot_id;
use runtime::journal::{Journal, ReplayError, Stored};
use runtime::progress::PartProgress;
use runtime::snapshot::{self, Snapshot};
use serde::{Deserialize, Serialize};

use super::{Book, BookEnd};
use crate::context::Context;

/// Version of [`Kept`]: another one is not read, and the whole journal is.
const SCHEMA: u16 = 1;
/// Not more often than this, however fast the market's clock runs.
const EVERY: Duration = Duration::from_secs(15);

/// When the last snapshot was stored.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    last: Option<Instant>,
}

/// What a snapshot holds.
#[derive(Deserialize)]
struct Kept {
    state: BookState,
    view: MarketView,
}

#[derive(Serialize)]
struct ToKeep<'a> {
    state: &'a BookState,
    view: &'a MarketView,
}

/// A book as it was left.
struct Found {
    journal: Journal,
    state: BookState,
    view: Option<MarketView>,
    confirmed: u64,
    /// What the owner may not have heard.
    untold: Vec<Stored<BookRecord>>,
}

impl Found {
    /// Tells the owner of a book that nobody takes over what may not have reached him.
    fn tell(&self, ctx: &Context, key: &BookKey) {
        let confirmed = Confirmed::from(self.confirmed);
        let id = key.to_string();
        for stored in &self.untold {
            let records = stored.entry.records.iter();
            let bodies = records.map(|record| owner_event(key, record));
            ctx.events
                .tell_journaled(&id, &stored.place(), bodies, &confirmed);
        }
    }
}

impl Book {
    /// Finds the book as it was left, takes it over, tells the owner again what may not have reached him.
    pub(super) async fn recover(ctx: Arc<Context>, symbol: Token) -> Result<Self, BookEnd> {
        let part = ctx.progress.part(symbol.as_str());
        let key = ctx.account.book(symbol.clone());
        let halted = |why: String| BookEnd::Halted(why);
        let rules = ctx
            .rules
            .get(&symbol)
            .cloned()
            .ok_or_else(|| halted(format!("no rules for {symbol}")))?;
        let (base, strategies) = (ctx.config.base, &ctx.config.strategies);
        let new_view =
            MarketView::new(base, strategies.clone()).map_err(|fault| halted(fault.to_string()))?;
        let found = find(&ctx, &key, &part).await?;
        if let Phase::Halted { reason, .. } = &found.state.phase {
            found.tell(&ctx, &key);
            return Err(BookEnd::StillHalted(reason.clone()));
        }
        let kept_view = found
            .view
            .and_then(|v| v.restored(base, strategies.clone()));
        let mut book = Self {
            symbol,
            key,
            rules,
            part,
            journal: found.journal,
            confirmed: Confirmed::from(found.confirmed),
            state: found.state,
            view: kept_view.unwrap_or(new_view),
            last: None,
            snapshots: Snapshots::default(),
            turbulent: false,
            ready: false,
            trouble: None,
            unanswered: false,
            ctx,
        };
        book.take_over(found.untold).await?;
        Ok(book)
    }

    /// Stores what a restart would otherwise have to read the whole journal and the market's past for.
    /// One that fails is made up for by the next.
    pub(super) async fn store_snapshot(&mut self) {
        let now = Instant::now();
        let early = |last: Instant| now.duration_since(last) < EVERY;
        if self.snapshots.last.is_some_and(early) || !self.ctx.bus.is_connected() {
            return;
        }
        let Some(mark) = self.journal.mark() else {
            return;
        };
        self.snapshots.last = Some(now);
        let snapshot = Snapshot {
            v: VERSION,
            schema: SCHEMA,
            mark,
            confirmed: self.confirmed.seq(),
            state: ToKeep {
                state: &self.state,
                view: &self.view,
            },
        };
        let subject = Subject::BookSnapshot(self.key.clone());
        if let Err(why) = snapshot::store(&self.ctx.bus, &subject, &snapshot).await {
            tracing::debug!(symbol = %self.symbol, why, "snapshot not stored");
        }
    }
}

/// A book as its journal has it. Reads only: the writing end is dropped before anything is appended.
///
/// # Errors
/// One line.
pub(crate) async fn read(bus: &Bus, key: &BookKey) -> Result<BookState, String> {
    let subject = Subject::BookJournal(key.clone());
    let (_, entries) = Journal::replay::<BookRecord>(bus, &subject, boot_id())
        .await
        .map_err(|error| error.to_string())?;
    let mut state = BookState::default();
    for stored in &entries {
        state.fold(&stored.entry).map_err(|bad| bad.to_string())?;
    }
    Ok(state)
}

/// From the newest snapshot on, or everything if that is not to be used.
async fn find(ctx: &Context, key: &BookKey, part: &PartProgress) -> Result<Found, BookEnd> {
    let subject = Subject::BookSnapshot(key.clone());
    if let Some(kept) = snapshot::load::<Kept>(&ctx.bus, &subject, SCHEMA).await {
        // Events that were not acknowledged then are told again: they are read too.
        let from = kept.mark.seq.min(kept.confirmed.saturating_add(1));
        let (journal, entries) = replay(ctx, key, part, from).await?;
        if entries.iter().any(|stored| stored.is(&kept.mark)) {
            let after = kept.mark.seq;
            let Kept { state, view } = kept.state;
            return fold(journal, state, Some(view), after, kept.confirmed, entries);
        }
        tracing::warn!(book = %key, seq = kept.mark.seq,
            "snapshot does not belong to this journal; all of it is read");
    }
    let (journal, entries) = replay(ctx, key, part, 0).await?;
    fold(journal, BookState::default(), None, 0, 0, entries)
}

fn fold(
    journal: Journal,
    mut state: BookState,
    view: Option<MarketView>,
    after: u64,
    confirmed: u64,
    entries: Vec<Stored<BookRecord>>,
) -> Result<Found, BookEnd> {
    for stored in entries.iter().filter(|stored| stored.seq > after) {
        state
            .fold(&stored.entry)
            .map_err(|bad| BookEnd::Halted(format!("journal sequence {}: {bad}", stored.seq)))?;
    }
    let told = entries.iter().map(|s| s.entry.confirmed).max();
    let confirmed = confirmed.max(told.unwrap_or(0));
    Ok(Found {
        journal,
        state,
        view,
        confirmed,
        untold: entries.into_iter().filter(|s| s.seq > confirmed).collect(),
    })
}

/// Reads the journal, for as long as it takes.
async fn replay(
    ctx: &Context,
    key: &BookKey,
    part: &PartProgress,
    from: u64,
) -> Result<(Journal, Vec<Stored<BookRecord>>), BookEnd> {
    let subject = Subject::BookJournal(key.clone());
    let writer = ctx.identity.boot.clone();
    let replayed = Journal::replay_patiently(&ctx.bus, &subject, writer, from, |why| {
        part.set(PartState::Retrying);
        ctx.progress.error(key.symbol.as_str(), why);
    });
    let unreadable = |error: ReplayError| BookEnd::Halted(error.to_string());
    replayed.await.map_err(unreadable)
}
