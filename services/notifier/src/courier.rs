//! One turn as the notifier that tells the owner: replay, take over, then wait, decide, append, act,
//! until told to stop or until another notifier writes. What to decide is the brain's business.

mod notices;
mod owner;

use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::decide::{self, Outcome};
use delivery::fallback;
use delivery::hear::Carried;
use delivery::heartbeat;
use delivery::lifeline::Absence;
use delivery::moment::Moment;
use delivery::pace::Pace;
use delivery::record::Record;
use delivery::state::State;
use delivery::vigil::Vigil;
use protocol::heartbeat::PartState;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::clock;
use runtime::events::{Confirmed, Events};
use runtime::guard::TurnEnd;
use runtime::identity::Identity;
use runtime::journal::Journal;
use runtime::process::Stop;
use runtime::progress::{PartProgress, Progress};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::channel::Channel;
use crate::deadman::Switch;
use crate::fallback::Fallback;
use crate::inbox::Batch;
use crate::lifeline::Watch;
use crate::resend::Wish;
use crate::{reports, updates};

/// The loop turns at least this often.
const TICK: Duration = Duration::from_secs(1);
/// When told to stop: time for what is still coming in and going out.
const LAST_ROUND: Duration = Duration::from_secs(5);
/// Nothing came in for this long: nobody else is saying goodbye.
const QUIET: Duration = Duration::from_millis(1_500);
/// The name of this part in heartbeats.
pub const PART: &str = "courier";

/// What telling needs, made once.
pub struct Desk {
    /// The bus.
    pub bus: Bus,
    /// The way to the owner.
    pub channel: Channel,
    /// The second one, for criticals.
    pub fallback: Option<Fallback>,
    /// The dead man's switch.
    pub switch: Option<Switch>,
    /// What tells that the bus is away; used by one turn at a time.
    pub watch: Mutex<Watch>,
    /// When it was away last.
    pub absence: watch::Receiver<Option<Absence>>,
    /// What the courier last saw.
    pub seen: watch::Sender<Seen>,
    /// Who we are.
    pub identity: Identity,
    /// What everybody may know of the owner's orders.
    pub events: Events,
    /// For heartbeats.
    pub progress: Arc<Progress>,
    /// Time between two heartbeat messages, in milliseconds.
    pub heartbeat_ms: u64,
}

/// What a courier lets others see of its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// The watchdog is heard within its time.
    pub watchdog: bool,
    /// Since when the oldest critical waits that Telegram has not taken.
    pub oldest_critical: Option<UtcMs>,
    /// The last delivery did what it should.
    pub delivers: bool,
    /// The chat to write to.
    pub chat: Option<i64>,
}

/// What comes in from outside.
pub struct Heard {
    /// Events from the bus.
    pub events: mpsc::Receiver<Batch>,
    /// What people say to the bot.
    pub said: mpsc::Receiver<updates::Batch>,
    /// What is to be sent again.
    pub wishes: mpsc::Receiver<Wish>,
}

/// The fold of the journal, its writing end, and the call under way.
pub struct Courier {
    desk: Arc<Desk>,
    part: Arc<PartProgress>,
    journal: Journal,
    state: State,
    pace: Pace,
    calls: JoinSet<Outcome>,
    /// The same for the fallback.
    detour: Pace,
    detours: JoinSet<Outcome>,
    owner: owner::Desk,
    /// Answers to pressed buttons: nothing depends on them.
    asides: JoinSet<()>,
    /// The order that is being carried out; one at a time.
    orders: JoinSet<Carried>,
    confirmed: Arc<Confirmed>,
    began: Instant,
    heard: Instant,
    vigil: Vigil,
    look_at: u64,
    /// The newest period that needs no heartbeat any more.
    period: u64,
    /// The last call did not do what it should.
    troubled: bool,
}

impl Courier {
    /// Replays the journal and takes it over.
    ///
    /// # Errors
    /// [`TurnEnd`].
    pub async fn take_over(desk: Arc<Desk>) -> Result<Self, TurnEnd> {
        let writer = desk.identity.boot.clone();
        let wait = |why: &str| desk.progress.error(PART, why);
        let replayed =
            Journal::replay_patiently(&desk.bus, &Subject::NotifierJournal, writer, 0, wait).await;
        let (journal, entries) = replayed?;
        let mut state = State::default();
        for stored in &entries {
            state.fold(&stored.entry).map_err(|newer| {
                let line = format!("journal sequence {}: version {}", stored.seq, newer.0);
                TurnEnd::Failed(Stop::config(format!("{line} is newer than this program's")))
            })?;
        }
        let confirmed = owner::retell(&desk.events, &entries);
        let now = clock::now();
        let mut courier = Self {
            part: desk.progress.part(PART),
            pace: Pace::new(desk.channel.limits()),
            calls: JoinSet::new(),
            detour: Pace::new(fallback::LIMITS),
            detours: JoinSet::new(),
            owner: owner::Desk::default(),
            asides: JoinSet::new(),
            orders: JoinSet::new(),
            confirmed,
            began: Instant::now(),
            heard: Instant::now(),
            vigil: Vigil::new(0),
            look_at: 0,
            period: heartbeat::told_until(state.heartbeat, now, desk.heartbeat_ms),
            troubled: false,
            journal,
            state,
            desk,
        };
        let identity = &courier.desk.identity;
        let (boot, instance) = (identity.boot.clone(), identity.instance.clone());
        let version = env!("CARGO_PKG_VERSION");
        let records = decide::take_over(&courier.state, boot, instance, version, now);
        courier.commit(records).await?;
        tracing::info!(
            to = courier.desk.channel.as_str(),
            waiting = courier.state.waiting.len(),
            sent = courier.state.totals.sent,
            "telling the owner"
        );
        Ok(courier)
    }

    /// Tells until `stop`, then what is left and still comes in, for a few seconds.
    pub async fn deliver(mut self, mut heard: Heard, stop: CancellationToken) -> TurnEnd {
        let telling = async {
            while !stop.is_cancelled() {
                self.turn(&mut heard, &stop).await?;
            }
            self.pace.hurry();
            self.heard = Instant::now();
            let never = CancellationToken::new();
            while !self.has_told_all() {
                self.turn(&mut heard, &never).await?;
            }
            Ok(())
        };
        let patience_is_over = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_ROUND).await;
        };
        // Between two turns nothing is under way; a turn is cut off only when patience is over.
        tokio::select! {
            biased;
            told = telling => told.err().unwrap_or(TurnEnd::Stopped),
            () = patience_is_over => {
                tracing::warn!("left with something untold; it is told after the next start");
                TurnEnd::Stopped
            }
        }
    }

    fn has_told_all(&self) -> bool {
        let State {
            waiting, sending, ..
        } = &self.state;
        let quiet = self.orders.is_empty() && self.heard.elapsed() > QUIET;
        waiting.is_empty() && sending.is_none() && quiet
    }

    /// Begins what is due, waits for the next thing to happen, and records it.
    async fn turn(&mut self, heard: &mut Heard, stop: &CancellationToken) -> Result<(), TurnEnd> {
        self.note_absence(None).await?;
        self.tell_held().await?;
        self.end_silences().await?;
        self.tell_heartbeat().await?;
        self.keep_vigil().await?;
        self.hear_next().await?;
        self.begin_next().await?;
        self.begin_detour().await?;
        let wait = self.patience();
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            ended = next_end(&mut self.calls) => self.call_ended(ended).await?,
            ended = next_end(&mut self.detours) => self.detour_ended(ended).await?,
            ended = next_end(&mut self.orders) => self.order_ended(ended).await?,
            Some(batch) = heard.said.recv(), if self.owner.is_free() && !stop.is_cancelled() => {
                self.owner.listen(batch);
            }
            Some(wish) = heard.wishes.recv() => self.send_again(wish).await?,
            Some(batch) = heard.events.recv() => self.take_in(batch).await?,
            () = tokio::time::sleep(wait) => {}
        }
        self.part.turn();
        self.show();
        if self.troubled {
            self.part.set(PartState::Retrying);
        }
        Ok(())
    }

    fn show(&self) {
        let chat = self.desk.channel.chat();
        self.desk.seen.send_replace(Seen {
            watchdog: self.vigil.is_heard(self.now().mono),
            oldest_critical: fallback::oldest(&self.state),
            delivers: !self.troubled,
            chat: chat.map(|set| self.state.chat(set)),
        });
    }

    fn now(&self) -> Moment {
        Moment {
            utc: clock::now(),
            mono: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How long nothing has to be decided.
    fn patience(&self) -> Duration {
        let wake = decide::wake_at(&self.state, &self.pace);
        let wait = wake.map(|wake| Duration::from_millis(wake.saturating_sub(self.now().mono)));
        wait.map_or(TICK, |wait| wait.min(TICK))
    }

    async fn take_in(&mut self, batch: Batch) -> Result<(), TurnEnd> {
        self.heard = Instant::now();
        // The bus brings something: it is back, whoever looks at it may not have noticed yet.
        self.note_absence(Some(clock::now())).await?;
        let chat = self.desk.channel.chat().map(|set| self.state.chat(set));
        for records in decide::take_in(&self.state, &batch.news, chat, clock::now()) {
            self.commit(records).await?;
        }
        // Journaled, or known from before.
        batch.acknowledge().await;
        Ok(())
    }

    /// Decide, append, apply, act: in this order, always.
    async fn begin_next(&mut self) -> Result<(), TurnEnd> {
        let now = self.now();
        self.pace.waits(decide::others_wait(&self.state), now.mono);
        let Some(record) = decide::next(&self.state, &self.pace, now) else {
            return Ok(());
        };
        self.commit(vec![record]).await?;
        let Some(mut message) = decide::due(&self.state, clock::now()) else {
            return Ok(());
        };
        self.pace.sent(self.now().mono);
        let channel = self.desk.channel.clone();
        let chat = channel.chat().map(|set| self.state.chat(set));
        message.chat = message.chat.map(|chat| self.state.chat(chat));
        let bus = self.desk.bus.clone();
        self.calls.spawn(async move {
            let png = if message.picture {
                reports::picture(&bus).await
            } else {
                None
            };
            channel.send(chat, &message, png.as_deref()).await
        });
        Ok(())
    }

    /// The same order over the fallback, if there is one.
    async fn begin_detour(&mut self) -> Result<(), TurnEnd> {
        let Some(way) = self.desk.fallback.clone() else {
            return Ok(());
        };
        let (shut, now) = (self.pace.is_shut(), self.now());
        let Some(record) = fallback::next(&self.state, shut, &self.detour, now) else {
            return Ok(());
        };
        self.commit(vec![record]).await?;
        let Some(parcel) = fallback::due(&self.state, clock::now()) else {
            return Ok(());
        };
        self.detour.sent(self.now().mono);
        self.detours.spawn(async move { way.send(&parcel).await });
        Ok(())
    }

    async fn detour_ended(&mut self, ended: Result<Outcome, JoinError>) -> Result<(), TurnEnd> {
        let outcome = as_outcome(ended);
        self.detour.ended(&outcome, self.now().mono);
        match outcome.trouble() {
            None => tracing::warn!("a critical went over the fallback: Telegram does not take it"),
            Some(why) => {
                tracing::error!(why, "a critical did not go over the fallback");
                self.desk.progress.error(PART, format!("fallback: {why}"));
            }
        }
        self.commit(vec![fallback::ended(&outcome)]).await
    }

    async fn call_ended(&mut self, ended: Result<Outcome, JoinError>) -> Result<(), TurnEnd> {
        let outcome = as_outcome(ended);
        self.pace.ended(&outcome, self.now().mono);
        self.log(&outcome);
        self.commit(vec![decide::ended(&outcome)]).await
    }

    fn log(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Sent { message } => tracing::debug!(message, "told"),
            Outcome::Unknown { why } => {
                tracing::warn!(
                    why,
                    "a message may have arrived or not; it is repeated, marked"
                );
            }
            Outcome::Returned { why, wait_ms } => {
                tracing::warn!(why, wait_ms, "a message did not arrive; it waits");
            }
            Outcome::Closed { why } => {
                tracing::error!(
                    why,
                    "nothing can be told until a person mends this; it waits"
                );
            }
            Outcome::Refused { why } => {
                let heads = self.state.sending.iter().flat_map(|s| s.letters.values());
                let heads: Vec<&str> = heads.map(|w| w.letter.head.as_str()).collect();
                tracing::error!(
                    why,
                    ?heads,
                    "refused for what it says; it is not sent again"
                );
            }
            Outcome::Migrated { from, to } => {
                tracing::warn!(
                    from,
                    to,
                    "the chat has moved; set TELEGRAM_CHAT_ID to the new one"
                );
            }
        }
        let trouble = outcome.trouble();
        self.troubled = trouble.is_some();
        if let Some(why) = trouble {
            self.desk.progress.error(PART, why);
        }
    }

    async fn commit(&mut self, records: Vec<Record>) -> Result<(), TurnEnd> {
        let (progress, part) = (&self.desk.progress, &self.part);
        let confirmed = self.confirmed.seq();
        let appended = self.journal.append(&records, confirmed, |why| {
            part.set(PartState::Retrying);
            progress.error(PART, format!("journal: {why}"));
            tracing::warn!(why, "journal not reached; nothing is told until it is");
        });
        let place = appended.await?;
        for record in &records {
            self.state.apply(place.at, record);
        }
        owner::tell(&self.desk.events, &place, &records, &self.confirmed);
        Ok(())
    }
}

fn as_outcome(ended: Result<Outcome, JoinError>) -> Outcome {
    ended.unwrap_or_else(|error| Outcome::Unknown {
        why: format!("bug: {error}"),
    })
}

async fn next_end<T: 'static>(calls: &mut JoinSet<T>) -> Result<T, JoinError> {
    match calls.join_next().await {
        Some(ended) => ended,
        None => std::future::pending().await,
    }
}
