//! A book on an exchange: sends what was decided, asks what became of it, and holds what the exchange
//! shows against the journal. What follows from the answers is the engine's business.
//!
//! The user stream is only a hint to look: what is believed was asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::book::{
    BookEvent, BookRecord, ExitReason, Findings, LiveEvent, Phase, Task, compare, failures,
    is_unguarded, payments_from, resting, tasks,
};
use engine::orders::{Deployment, Fate, Order};
use protocol::ids::Token;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::{Book, BookEnd, RETRY};
use crate::context::Context;
use crate::market::MarketError;
use crate::venue::Venue;

/// While something is to be asked.
const SOON: Duration = Duration::from_millis(100);
/// While all is as it should be, and no hint comes.
const POLL: Duration = Duration::from_secs(30);
/// Between two looks at everything.
const RECONCILE: Duration = Duration::from_mins(5);
/// Between two looks at an exchange that refuses to be asked: a key that is valid no more, for instance.
const REFUSED: Duration = Duration::from_secs(10);
/// Between two looks at a disagreement: a fill between two answers makes one that is none.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long a book that is told to end goes on for the sake of what it began: less than it is given, and longer than
/// an order without an answer can still be taken, so that a stop that was lost is sent again.
const SETTLE: Duration = Duration::from_secs(6);
/// Looks at a disagreement before it is believed.
const LOOKS: u8 = 3;

/// When this book looks at the exchange next. On paper never.
pub(super) struct Rounds {
    hints: Option<watch::Receiver<u64>>,
    next: Instant,
    /// After a failure not before this, however urgent.
    rest: Instant,
    /// When what rests is looked up without a hint.
    poll: Instant,
    /// A hint came, or it is time: what rests is looked up too.
    all: bool,
    reconcile: Instant,
    disagreed: u8,
    strangers: usize,
    failures: usize,
}

/// Why a round was not finished.
enum Cut {
    /// The exchange did not answer.
    Market(MarketError),
    /// The book ends.
    End(BookEnd),
}

impl From<MarketError> for Cut {
    fn from(error: MarketError) -> Self {
        Self::Market(error)
    }
}

impl From<BookEnd> for Cut {
    fn from(end: BookEnd) -> Self {
        Self::End(end)
    }
}

impl Rounds {
    pub(super) fn of(ctx: &Context, symbol: &Token) -> Self {
        let now = Instant::now();
        Self {
            hints: ctx.venue.as_ref().map(|venue| venue.hints(symbol)),
            next: now + POLL,
            rest: now,
            poll: now + POLL,
            all: false,
            reconcile: now,
            disagreed: 0,
            strangers: 0,
            failures: 0,
        }
    }

    /// Waits until a look is due. Safe to drop while it waits.
    pub(super) async fn due(&mut self) {
        let Some(hints) = &mut self.hints else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = sleep_until(self.next.into()) => {}
            changed = hints.changed() => {
                let now = Instant::now();
                self.all = true;
                self.reconcile = now;
                if changed.is_ok() {
                    // One fill makes several hints: none of them ends the rest after a failure.
                    self.by(now);
                }
                // Without hints (the stream's part is being restarted) by the clock.
                sleep_until(self.next.into()).await;
            }
        }
    }

    /// It is not put off.
    fn hurry(&mut self) {
        self.by(Instant::now() + SOON);
    }

    /// The next look comes no later than this, but never into the rest after a failure.
    fn by(&mut self, at: Instant) {
        self.next = self.next.min(at.max(self.rest));
    }

    /// The exchange did not answer, and says when it may: that is for what is not urgent. Or it will not
    /// answer this account: then nothing is urgent.
    fn failed(&mut self, error: &MarketError) {
        let (rest, pause) = match error {
            MarketError::Retry { after, .. } => (RETRY, after.unwrap_or(RETRY).max(RETRY)),
            _ => (REFUSED, REFUSED),
        };
        let now = Instant::now();
        self.all = true;
        self.rest = now + rest;
        self.next = now + pause;
    }

    fn look_again(&mut self) {
        self.reconcile = Instant::now() + LOOK_AGAIN;
        self.next = self.next.min(self.reconcile);
    }

    /// A guard or an exit more that came to nothing: everything is looked at now.
    fn doubt(&mut self, failures: usize) {
        if std::mem::replace(&mut self.failures, failures) < failures {
            self.reconcile = Instant::now();
        }
    }

    /// A round begins. One that was only hurried leaves alone what rests.
    fn begin(&mut self) {
        let now = Instant::now();
        self.all |= now >= self.poll;
        if self.all {
            self.poll = now + POLL;
        }
        self.next = self.poll;
    }
}

impl Book {
    /// Brings journal and exchange together before anything is decided.
    pub(super) async fn reconcile_first(&mut self) -> Result<(), BookEnd> {
        let Some(venue) = self.ctx.venue.clone() else {
            return Ok(());
        };
        let mut rounds = Rounds::of(&self.ctx, &self.symbol);
        loop {
            match self.meet(&venue, &mut rounds).await {
                Ok(()) if rounds.disagreed == 0 && self.asked_for().is_empty() => return Ok(()),
                Ok(()) => tokio::time::sleep(SOON).await,
                Err(Cut::End(end)) => return Err(end),
                Err(Cut::Market(error)) => self.not_answered(&error).await?,
            }
        }
    }

    async fn meet(&mut self, venue: &Venue, rounds: &mut Rounds) -> Result<(), Cut> {
        if matches!(self.state.phase, Phase::Unopened | Phase::Flat) {
            venue.prepare(&self.symbol, self.ctx.leverage()).await?;
        }
        rounds.all = true;
        rounds.reconcile = Instant::now();
        self.look(venue, rounds).await
    }

    async fn not_answered(&mut self, error: &MarketError) -> Result<(), BookEnd> {
        match error {
            MarketError::Retry { after, .. } => {
                self.failed(&error.to_string());
                tokio::time::sleep(after.unwrap_or(RETRY).max(RETRY)).await;
                Ok(())
            }
            refused => Err(BookEnd::Halted(refused.to_string())),
        }
    }

    /// One look at the exchange, and when to look again.
    pub(super) async fn round(&mut self, rounds: &mut Rounds) -> Result<(), BookEnd> {
        let Some(venue) = self.ctx.venue.clone() else {
            return Ok(());
        };
        rounds.begin();
        match self.look(&venue, rounds).await {
            Ok(()) => {
                self.unanswered = false;
                Ok(())
            }
            Err(Cut::End(end)) => Err(end),
            Err(Cut::Market(error)) => {
                self.unanswered = true;
                self.failed(&error.to_string());
                rounds.failed(&error);
                Ok(())
            }
        }
    }

    /// After anything happened: what is to be asked, or tried again, is not put off.
    pub(super) fn hurry(&self, rounds: &mut Rounds) {
        if self.is_urgent() {
            rounds.hurry();
        }
    }

    /// Before it ends: looks up what is unclear and guards what is open, for a while. Who comes next may come
    /// late.
    pub(super) async fn settle(&mut self, rounds: &mut Rounds) -> Result<(), BookEnd> {
        let until = Instant::now() + SETTLE;
        while self.is_urgent() && Instant::now() < until {
            self.hurry(rounds);
            sleep_until(rounds.next.min(until).into()).await;
            self.round(rounds).await?;
        }
        Ok(())
    }

    /// Something is to be asked, or tried again.
    fn is_urgent(&self) -> bool {
        self.ctx.venue.is_some() && (!self.asked_for().is_empty() || is_unguarded(&self.state))
    }

    fn asked_for(&self) -> Vec<Task> {
        tasks(&self.state, self.ctx.feed.clock().now())
    }

    async fn look(&mut self, venue: &Venue, rounds: &mut Rounds) -> Result<(), Cut> {
        let now = venue.now().await?;
        self.decide(BookEvent::Live(LiveEvent::Looked { now }))
            .await?;
        if rounds.all {
            let orders: Vec<Order> = resting(&self.state).cloned().collect();
            for order in orders {
                self.ask(venue, &order).await?;
            }
            rounds.all = false;
        }
        for task in tasks(&self.state, now) {
            self.perform(venue, task).await?;
        }
        rounds.doubt(failures(&self.state));
        if Instant::now() >= rounds.reconcile {
            self.reconcile(venue, rounds).await?;
        }
        self.show();
        Ok(())
    }

    async fn perform(&mut self, venue: &Venue, task: Task) -> Result<(), Cut> {
        match task {
            Task::LookUp(order) => self.ask(venue, &order).await,
            Task::Cancel(order) => {
                venue.cancel(&self.symbol, &order).await?;
                self.ask(venue, &order).await
            }
            Task::Payments { from } => self.ask_payments(venue, from).await,
        }
    }

    async fn ask(&mut self, venue: &Venue, order: &Order) -> Result<(), Cut> {
        let answer = venue.look_up(&self.symbol, order).await?;
        let now = venue.now().await?;
        let id = order.id.clone();
        let event = LiveEvent::Answered { id, answer, now };
        Ok(self.decide(BookEvent::Live(event)).await?)
    }

    async fn ask_payments(&mut self, venue: &Venue, from: UtcMs) -> Result<(), Cut> {
        let now = venue.now().await?;
        let payments = venue.payments(&self.symbol, from, now).await?;
        let event = LiveEvent::Paid { payments, now };
        Ok(self.decide(BookEvent::Live(event)).await?)
    }

    /// Holds the exchange's view against the journal: mends what is ours, leaves alone what is not, and halts
    /// the book if they disagree and nothing explains it.
    async fn reconcile(&mut self, venue: &Venue, rounds: &mut Rounds) -> Result<(), Cut> {
        let Some(ours) = self.deployment() else {
            return Ok(());
        };
        let view = venue.view(&self.symbol).await?;
        let found = compare(&self.state, &ours, &view);
        if let Some(foreign) = &found.foreign {
            let reason = format!(
                "orders of another installation ({foreign}) rest on the exchange: one account, one \
                 installation"
            );
            return Err(self.halt(reason).await.into());
        }
        for orphan in &found.orphans {
            tracing::warn!(symbol = %self.symbol, order = orphan.client_id,
                "an order of ours that nobody wants: cancelled");
            venue.cancel_open(&self.symbol, orphan).await?;
        }
        for order in &found.missing {
            self.ask(venue, order).await?;
        }
        self.note_strangers(rounds, &found);
        if let Some(from) = payments_from(&self.state) {
            self.ask_payments(venue, from).await?;
        }
        match found.surplus {
            None => rounds.look_again(),
            Some(surplus) if surplus.is_zero() => {
                rounds.disagreed = 0;
                rounds.reconcile = Instant::now() + RECONCILE;
            }
            Some(surplus) => self.disagree(venue, rounds, surplus).await?,
        }
        Ok(())
    }

    /// The exchange holds something else than the journal says. Trades that are not ours may explain it.
    async fn disagree(
        &mut self,
        venue: &Venue,
        rounds: &mut Rounds,
        surplus: Decimal,
    ) -> Result<(), Cut> {
        rounds.disagreed += 1;
        rounds.look_again();
        tracing::warn!(symbol = %self.symbol, %surplus, look = rounds.disagreed,
            "the exchange's position is not the journal's");
        if rounds.disagreed < LOOKS {
            return Ok(());
        }
        for event in self.elsewhere(venue).await? {
            self.decide(BookEvent::Live(event)).await?;
        }
        let view = venue.view(&self.symbol).await?;
        let ours = self.deployment();
        let left = ours.and_then(|ours| compare(&self.state, &ours, &view).surplus);
        if left.is_none_or(|surplus| surplus.is_zero()) {
            rounds.disagreed = 0;
            return Ok(());
        }
        let reason = format!(
            "the exchange holds {} of {}, {} more than the journal knows of, and no trade explains it",
            view.position, self.symbol, surplus
        );
        Err(self.halt(reason).await.into())
    }

    /// Trades against the open position that none of its orders made, while none of these filled.
    async fn elsewhere(&self, venue: &Venue) -> Result<Vec<LiveEvent>, Cut> {
        let Phase::Open(position) = &self.state.phase else {
            return Ok(Vec::new());
        };
        let entry = self.state.orders.first();
        let Some(entered) = entry.and_then(|o| o.fill()).map(|fill| fill.at) else {
            return Ok(Vec::new());
        };
        if self.state.orders.iter().skip(1).any(|o| o.fill().is_some()) {
            return Ok(Vec::new());
        }
        let now = venue.now().await?;
        let trades = venue.trades_since(&self.symbol, entered).await?;
        let events = crate::venue::against(position.side, &trades);
        let event = |(order, fill)| LiveEvent::ClosedElsewhere { order, fill, now };
        Ok(events.into_iter().map(event).collect())
    }

    fn note_strangers(&self, rounds: &mut Rounds, found: &Findings) {
        if std::mem::replace(&mut rounds.strangers, found.strangers) != found.strangers {
            tracing::warn!(symbol = %self.symbol, orders = found.strangers,
                "orders that are not ours rest on the exchange: left alone");
        }
    }

    fn deployment(&self) -> Option<Deployment> {
        let terms = self.ctx.config.live.as_ref();
        terms.map(|terms| terms.deployment.clone())
    }

    async fn halt(&mut self, reason: String) -> BookEnd {
        let event = BookEvent::Failed {
            reason: reason.clone(),
        };
        match self.decide(event).await {
            Ok(()) => BookEnd::Halted(reason),
            Err(end) => end,
        }
    }

    /// The account is latched: closes what is open, at the market.
    pub(super) async fn close_now(&mut self) -> Result<(), BookEnd> {
        let now = self.exchange_time(self.ctx.feed.clock().now()).await;
        let why = ExitReason::AccountLatched;
        self.decide(BookEvent::Live(LiveEvent::CloseNow { why, now }))
            .await
    }

    /// The exchange's time, for who may send an order: as fresh as can be had, since one that is signed with
    /// an old time is refused. On paper what was heard is enough.
    pub(super) async fn exchange_time(&self, heard: UtcMs) -> UtcMs {
        match &self.ctx.venue {
            None => heard,
            Some(venue) => venue.now().await.unwrap_or(heard).max(heard),
        }
    }

    /// Sends stop and target of this message, while it is being stored: they are in the entry's decision, can
    /// only close, and sent twice are refused once.
    pub(super) async fn send_guards(
        ctx: Arc<Context>,
        symbol: Token,
        records: &[BookRecord],
    ) -> Vec<BookEvent> {
        let guards = intended(records).filter(|order| order.leg.is_conditional());
        send_all(&ctx, &symbol, guards).await
    }

    /// Sends the other orders of a message that is stored.
    pub(super) async fn send_stored(&self, records: &[BookRecord]) -> Vec<BookEvent> {
        let wanted = |order: &&Order| {
            let tracked = self.state.order(&order.id);
            !order.leg.is_conditional() && tracked.is_some_and(|o| o.fate == Fate::Intended)
        };
        send_all(&self.ctx, &self.symbol, intended(records).filter(wanted)).await
    }
}

fn intended(records: &[BookRecord]) -> impl Iterator<Item = &Order> {
    records.iter().filter_map(|record| match record {
        BookRecord::OrderIntended(order) => Some(order),
        _ => None,
    })
}

/// One after the other, the stop first: of two at once neither is sooner.
async fn send_all<'a>(
    ctx: &Context,
    symbol: &Token,
    orders: impl Iterator<Item = &'a Order>,
) -> Vec<BookEvent> {
    let Some(venue) = &ctx.venue else {
        return Vec::new();
    };
    let mut answered = Vec::new();
    for order in orders {
        let answer = venue.place(symbol, order).await;
        tracing::info!(%symbol, leg = %order.leg, order = %order.id, %answer, "order sent");
        let now = venue.now().await.unwrap_or_else(|_| ctx.feed.clock().now());
        let id = order.id.clone();
        answered.push(BookEvent::Live(LiveEvent::Answered { id, answer, now }));
    }
    answered
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Those of a book that is well, at this time.
    fn rounds(now: Instant, hints: Option<watch::Receiver<u64>>) -> Rounds {
        Rounds {
            hints,
            next: now + POLL,
            rest: now,
            poll: now + POLL,
            all: false,
            reconcile: now + RECONCILE,
            disagreed: 0,
            strangers: 0,
            failures: 0,
        }
    }

    #[tokio::test]
    async fn a_hint_is_followed_at_once_but_does_not_end_the_rest_after_a_failure() {
        let at_once = Duration::from_millis(100);
        let (hint, hints) = watch::channel(0);
        let mut rounds = rounds(Instant::now(), Some(hints));
        hint.send_replace(1);
        timeout(at_once, rounds.due()).await.unwrap();
        rounds.failed(&MarketError::Refused {
            what: "orders",
            reason: "a key that is revoked".to_owned(),
        });
        for count in 2..4 {
            hint.send_replace(count);
            assert!(timeout(at_once, rounds.due()).await.is_err());
        }
        // What was dropped while it waited is not forgotten.
        rounds.rest = Instant::now();
        rounds.next = rounds.next.min(rounds.rest);
        timeout(at_once, rounds.due()).await.unwrap();
        assert!(rounds.all);
    }

    #[test]
    fn what_is_urgent_does_not_wait_for_the_next_poll_but_after_a_failure_it_rests_a_second() {
        let now = Instant::now();
        let mut rounds = rounds(now, None);
        rounds.hurry();
        assert!(rounds.next < now + RETRY);
        rounds.failed(&MarketError::Retry {
            what: "orders",
            reason: "busy".to_owned(),
            after: Some(POLL),
        });
        assert!(rounds.next >= now + POLL);
        rounds.hurry();
        assert!(rounds.next >= now + RETRY);
        assert!(rounds.next < now + POLL);
        rounds.failed(&MarketError::Refused {
            what: "orders",
            reason: "a key that is revoked".to_owned(),
        });
        rounds.hurry();
        assert!(rounds.next >= now + REFUSED);
    }
}
