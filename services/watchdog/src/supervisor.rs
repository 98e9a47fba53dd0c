//! One reign over a project: replay, take over, then wait, decide, append, act, until told to stop or
//! until another watchdog writes. What to decide is the brain's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ids::Token;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::clock;
use runtime::events::{Confirmed, Events};
use runtime::failpoint;
use runtime::guard::TurnEnd;
use runtime::identity::Identity;
use runtime::journal::{Journal, Place, Stored};
use runtime::process::Stop;
use runtime::progress::{PartProgress, Progress};
use supervision::act;
use supervision::decide::{self, wake_at};
use supervision::events::owner_event;
use supervision::healing::{self, Patient};
use supervision::moment::Moment;
use supervision::record::{Fact, Record};
use supervision::rules::Rules;
use supervision::state::State;
use supervision::watch::{Event, Scope, Watch};
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::eye::Sight;
use crate::hands::{After, Done, Hands};
use crate::healer::{Handover, News, Note};
use crate::leave::Wanted;
use crate::moments::Moments;
use crate::numbers;
use crate::orders::Order;

/// The loop turns at least this often: that is how it knows that it was not held up.
const TICK: Duration = Duration::from_millis(1_250);
/// So late after the last tick whatever wakes the loop brings the next one along, and no timer need wake it for that: an
/// echo each second always does.
const NEARLY_A_TICK: Duration = Duration::from_millis(750);
/// The name of this part in heartbeats.
pub const PART: &str = "supervisor";

/// What a reign needs, made once.
pub struct Realm {
    /// The bus.
    pub bus: Bus,
    /// The engine, and who we are in it.
    pub sight: Sight,
    /// The compose project.
    pub project: Token,
    /// What holds for every unit.
    pub rules: Rules,
    /// Who we are.
    pub identity: Identity,
    /// For the owner.
    pub events: Events,
    /// For heartbeats.
    pub progress: Arc<Progress>,
    /// What is done and seen beside the units; each reign has it for itself.
    pub beside: Arc<Mutex<Handover>>,
}

/// The fold of the journal, its writing end, and what has been seen so far.
pub struct Supervisor {
    realm: Arc<Realm>,
    part: Arc<PartProgress>,
    journal: Journal,
    confirmed: Arc<Confirmed>,
    state: State,
    watch: Watch,
    hands: Hands,
    look_again: Arc<Notify>,
    /// What only the bus can tell of units that a latch keeps down.
    wanted: watch::Sender<Wanted>,
    /// When each unit is to be decided about if nothing happens to it, by our monotonic clock. Kept, because to find it
    /// for every unit at every heartbeat of one would cost a fleet the square of its size.
    wakes: BTreeMap<Token, u64>,
    moments: Moments,
    /// When the journal was last written, by the wall clock.
    known: UtcMs,
}

impl Supervisor {
    /// Replays the journal, takes it over, tells the owner again what may not have reached him.
    ///
    /// # Errors
    /// [`TurnEnd`].
    pub async fn take_over(realm: Arc<Realm>) -> Result<Self, TurnEnd> {
        let part = realm.progress.part(PART);
        let subject = Subject::WatchdogJournal(realm.project.clone());
        let writer = realm.identity.boot.clone();
        let wait = |why: &str| {
            part.waits();
            realm.progress.error(PART, why);
        };
        let (journal, entries) =
            Journal::replay_patiently(&realm.bus, &subject, writer, 0, wait).await?;
        let mut state = State::default();
        for stored in &entries {
            state.fold(&stored.entry).map_err(|newer| {
                TurnEnd::Failed(Stop::config(format!(
                    "journal sequence {}: {newer}",
                    stored.seq
                )))
            })?;
        }
        let told = entries.iter().map(|s| s.entry.confirmed).max();
        let known = entries.iter().map(|s| s.entry.at).max();
        let watch = Watch::under(realm.rules);
        let mut supervisor = Self {
            hands: Hands::new(realm.sight.engine.clone()),
            realm,
            part,
            journal,
            confirmed: Confirmed::from(told.unwrap_or(0)),
            state,
            watch,
            look_again: Arc::default(),
            wanted: watch::Sender::default(),
            wakes: BTreeMap::new(),
            moments: Moments::begin(),
            known: known.unwrap_or_else(clock::now),
        };
        supervisor.claim(entries).await?;
        Ok(supervisor)
    }

    async fn claim(&mut self, entries: Vec<Stored<Record>>) -> Result<(), TurnEnd> {
        let identity = &self.realm.identity;
        let record = Record::OwnerTookOver {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
            project: self.realm.project.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let untold = entries.iter().filter(|s| s.seq > self.confirmed.seq());
        let untold: Vec<&Stored<Record>> = untold.collect();
        let taken = vec![record];
        let place = self.store(&taken).await?;
        // Oldest first: once a later one is acknowledged, earlier ones count as told.
        for stored in untold {
            self.tell(&stored.place(), &stored.entry.records);
        }
        self.tell(&place, &taken);
        tracing::info!(project = %self.realm.project, units = self.state.units.len(),
            records = entries.len(), "supervising");
        Ok(())
    }

    /// Tells the eye to look at everything anew.
    pub fn look_again(&self) -> Arc<Notify> {
        Arc::clone(&self.look_again)
    }

    /// What is to be found out on the bus, whenever that changes.
    pub fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    /// Up to where the engine's events may be judged already.
    pub const fn known(&self) -> UtcMs {
        self.known
    }

    /// Supervises until `stop`, or until another watchdog writes.
    pub async fn reign(
        mut self,
        mut reports: mpsc::Receiver<Event>,
        mut orders: mpsc::Receiver<Order>,
        stop: CancellationToken,
    ) -> TurnEnd {
        let mut beside = Arc::clone(&self.realm.beside).lock_owned().await;
        beside.begin();
        let reign = async {
            let mut looked = Instant::now();
            loop {
                let due = self.due(looked);
                let mut is_due = false;
                tokio::select! {
                    biased;
                    Some(event) = reports.recv() => self.take_in(event).await?,
                    done = self.hands.ended() => self.call_ended(done).await?,
                    Some(order) = orders.recv() => self.obey(order).await?,
                    Some(news) = beside.next() => self.hear_of_services(news).await?,
                    () = sleep_until(due.into()) => is_due = true,
                }
                // Beside everything else: in a fleet that beats all the time there is never a second of quiet, and whoever
                // waits for room or was due between two reports would wait for the next look at everything.
                if is_due || looked.elapsed() >= NEARLY_A_TICK {
                    looked = Instant::now();
                    self.take_in(Event::Ticked).await?;
                    // Not at every event: it is work for every unit, and in a large fleet many beat in a second.
                    numbers::show(&self.state, &self.watch, self.now().mono);
                }
                self.part.turn();
            }
        };
        match stop.run_until_cancelled(reign).await {
            None | Some(Ok(())) => TurnEnd::Stopped,
            Some(Err(end)) => end,
        }
    }

    fn now(&self) -> Moment {
        self.moments.now()
    }

    /// When something may have to be decided, if nothing happens: a tick after the last look at the latest.
    fn due(&self, looked: Instant) -> Instant {
        let now = self.now().mono;
        let next = self.wakes.values().filter(|wake| **wake > now).min();
        let tick = looked + TICK;
        next.map_or(tick, |wake| tick.min(self.moments.at(*wake)))
    }

    async fn take_in(&mut self, event: Event) -> Result<(), TurnEnd> {
        let now = self.now();
        match self.watch.take_in(&self.state, event, now) {
            Scope::Nobody => Ok(()),
            Scope::One(unit) => self.decide(&unit).await,
            Scope::All => {
                let units: Vec<Token> = self.watch.units().cloned().collect();
                for unit in units {
                    self.decide(&unit).await?;
                }
                Ok(())
            }
        }
    }

    /// Decide, append, apply, act: in this order, always; again until nothing follows.
    async fn decide(&mut self, unit: &Token) -> Result<(), TurnEnd> {
        failpoint::spin(unit.as_str());
        loop {
            let records = decide::decide(&self.state, &self.watch, unit, self.now());
            if records.is_empty() {
                break;
            }
            self.commit_of(unit, records).await?;
        }
        if let Some(action) = act::due(&self.state, &self.watch, unit, self.now()) {
            tracing::info!(%unit, call = action.as_str(), "calling the engine");
            self.watch.launched(unit, action.clone());
            self.hands.begin(unit.clone(), action);
        }
        match wake_at(&self.state, &self.watch, unit, self.now()) {
            Some(wake) => self.wakes.insert(unit.clone(), wake),
            None => self.wakes.remove(unit),
        };
        Ok(())
    }

    async fn call_ended(&mut self, done: Done) -> Result<(), TurnEnd> {
        let Done {
            unit,
            after,
            words,
            error,
        } = done;
        if let Some(error) = &error {
            tracing::warn!(%unit, error, "the engine did not do it");
            self.realm.progress.error(PART, format!("{unit}: {error}"));
        }
        let now = self.now();
        if let Some(words) = words {
            let unit = unit.clone();
            let words = Event::LastWords { unit, words };
            self.watch.take_in(&self.state, words, now);
        }
        let seen = match after {
            After::Here(container) => Event::Seen {
                unit: unit.clone(),
                container,
            },
            After::Removed(container) => Event::Removed { container },
            After::Unknown => {
                self.look_again.notify_one();
                Event::EngineLost
            }
        };
        self.watch.take_in(&self.state, seen, now);
        self.take_in(Event::Acted { unit, error }).await
    }

    /// The order and what follows from it at once are one journal message; the call comes after it.
    async fn obey(&mut self, order: Order) -> Result<(), TurnEnd> {
        let now = self.now();
        match decide::obey(&self.state, &self.watch, order.what(), order.by(), now) {
            Ok((unit, records)) => {
                self.commit_of(&unit, records).await?;
                order.answer(&self.realm.bus, Ok(())).await;
                self.decide(&unit).await
            }
            Err(why) => {
                order.answer(&self.realm.bus, Err(why)).await;
                Ok(())
            }
        }
    }

    async fn hear_of_services(&mut self, news: News) -> Result<(), TurnEnd> {
        match news {
            News::Done(note) => self.note(note).await,
            News::Seen(services) => self.note_begun(&services).await,
        }
    }

    /// Stores which services run anew, whoever started them.
    async fn note_begun(&mut self, services: &[Patient]) -> Result<(), TurnEnd> {
        let at = self.now().utc;
        let begun = services.iter().filter_map(|patient| {
            let known = self.state.services.get(&patient.name);
            let service = patient.name.clone();
            let fact = healing::began(known, patient, at)?;
            Some(Record::Service { service, at, fact })
        });
        let begun: Vec<Record> = begun.collect();
        if begun.is_empty() {
            return Ok(());
        }
        self.commit(begun).await
    }

    /// Stores what was done, or is about to be done, beside the units; not what was withdrawn.
    async fn note(&mut self, note: Note) -> Result<(), TurnEnd> {
        if !note.stored.is_closed() {
            self.commit(vec![note.record]).await?;
            // Withdrawn too late.
            let _ = note.stored.send(());
        }
        Ok(())
    }

    async fn commit_of(&mut self, unit: &Token, records: Vec<Record>) -> Result<(), TurnEnd> {
        self.commit(records).await?;
        if let Some(known) = self.state.units.get(unit) {
            self.watch.arm(unit, known, self.now());
        }
        Ok(())
    }

    async fn commit(&mut self, records: Vec<Record>) -> Result<(), TurnEnd> {
        let place = self.store(&records).await?;
        self.tell(&place, &records);
        Ok(())
    }

    /// Append, then apply.
    async fn store(&mut self, records: &[Record]) -> Result<Place, TurnEnd> {
        let (progress, part) = (&self.realm.progress, &self.part);
        let appended = self
            .journal
            .append(records, self.confirmed.seq(), |why| {
                part.waits();
                progress.error(PART, format!("journal: {why}"));
                tracing::warn!(why, "journal not reached; nothing is done until it is");
            })
            .await;
        let place = appended?;
        for record in records {
            self.state.apply(record);
            numbers::count(record);
            log(record);
        }
        let wanted = Wanted::of(&self.state);
        self.wanted.send_if_modified(|known| {
            let news = *known != wanted;
            *known = wanted;
            news
        });
        Ok(place)
    }

    /// Queues the owner's events of one journal message.
    fn tell(&self, place: &Place, records: &[Record]) {
        let key = format!("watchdog.{}", self.realm.project);
        let bodies = records.iter().map(owner_event);
        self.realm
            .events
            .tell_journaled(&key, place, bodies, &self.confirmed);
    }
}

fn log(record: &Record) {
    let Record::Unit { unit, fact, .. } = record else {
        return;
    };
    match fact {
        Fact::RestartScheduled(restart) => tracing::warn!(%unit, reason = %restart.reason,
            attempt = restart.attempt, max = restart.max, consecutive = restart.consecutive,
            delay_ms = restart.delay_ms, evidence = restart.evidence, "restart scheduled"),
        Fact::StopIntended { reason, .. } => tracing::warn!(%unit, %reason, "stopping"),
        Fact::HangObserved { reason, .. } => tracing::warn!(%unit, %reason, "only observed"),
        Fact::Quarantined {
            reason,
            restarts,
            consecutive,
            ..
        } => tracing::error!(%unit,
            %reason, restarts, consecutive, "given up: manual intervention required"),
        Fact::PolicyUnreadable { why, .. } => tracing::warn!(%unit, why, "flags not understood"),
        Fact::Started { by, .. } => tracing::info!(%unit, ?by, "runs"),
        Fact::Healthy { after_ms, .. } => tracing::info!(%unit, after_ms, "healthy"),
        Fact::Stopped { exit, by, .. } => {
            tracing::info!(%unit, exit, by, "stopped by a person");
        }
        Fact::Ended { exit, why, .. } => tracing::info!(%unit, exit, ?why, "ended"),
        Fact::Ordered { order, by } => tracing::info!(%unit, order = order.as_str(), by, "ordered"),
        Fact::Held { by, why } => tracing::info!(%unit, by, why, "held"),
        Fact::Released { by, total } => tracing::info!(%unit, by, total, "released"),
        Fact::CriticalForLong { for_ms, why } => {
            tracing::warn!(%unit, for_ms, why, "critical for long");
        }
        Fact::CriticalNoMore => tracing::info!(%unit, "no longer critical"),
        Fact::LatchKnown(latch) => {
            tracing::info!(%unit, account = %latch.account, latch = latch.id, "kept down by a latch");
        }
        Fact::Unlatched { latch, by, why } => {
            tracing::info!(%unit, latch = latch.id, by, why, "latch ended: it may start");
        }
        Fact::FailuresForgiven { .. } => tracing::info!(%unit, "failures forgiven"),
        Fact::PolicyRead(policy) => tracing::info!(%unit, ?policy, "flags read"),
        Fact::Gone => tracing::info!(%unit, "container removed"),
        // The call that follows is logged; a log is not repeated in another.
        Fact::StartIntended { .. } | Fact::WordsFound { .. } => {}
    }
}
