//! Starts services beside the units anew when they hang: looks, has it recorded, calls the engine, looks again. Whether
//! one hangs and how seldom it may be started anew is the brain's business.
//!
//! It needs no bus, so that it can heal the bus. What it does is recorded first where the journal takes that in time;
//! where it does not, it waits for longer, does it all the same, and the record follows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ids::Token;
use runtime::clock;
use supervision::healing::{Healing, Patient, Ward};
use supervision::record::Record;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError};
use crate::facts;
use crate::moments::Moments;

/// The engine itself needs longer than this to call anybody unhealthy.
const LOOK: Duration = Duration::from_secs(10);
/// Every so many-th look is at those who are well, too.
const EVERYBODY: u32 = 6;
/// A look that comes later than this says that this machine is busy, or we were: nobody is judged by it.
const LATE: Duration = Duration::from_secs(1);
/// How long a record may take before the call that it announces.
const RECORDED: Duration = Duration::from_secs(5);
/// Without a record so much longer is waited, and up to as long again: another watchdog of the project may be able
/// to record it, or be here without the bus as well.
const UNRECORDED: Duration = Duration::from_secs(10);
/// To the engine two restarts of one container are one if the second is asked for before the first is done. A look that
/// took longer than this may be from before another's call that is done by now.
const FRESH: Duration = Duration::from_millis(100);
/// On a machine that is always that slow, healing matters more.
const LOOKS: u32 = 5;
/// Records that may wait for the supervisor.
const NOTES: usize = 16;

/// A record that the supervisor is to store and tell.
pub struct Note {
    /// It.
    pub record: Record,
    /// Where to say that it is; closed if that is wanted no more.
    pub stored: oneshot::Sender<()>,
}

/// What there is for whoever supervises.
pub struct Handover {
    notes: mpsc::Receiver<Note>,
    seen: watch::Receiver<Vec<Patient>>,
    wanted: Arc<Notify>,
}

/// One thing of that.
pub enum News {
    /// To be stored.
    Done(Note),
    /// How every service was a moment ago.
    Seen(Vec<Patient>),
}

impl Handover {
    /// Asks for a look at everybody: what was seen before this reign another one may know better.
    pub fn begin(&mut self) {
        self.seen.mark_unchanged();
        self.wanted.notify_one();
    }

    /// Waits for the next thing; may be dropped before it comes. None if nobody heals any more.
    pub async fn next(&mut self) -> Option<News> {
        tokio::select! {
            biased;
            // First: what was done explains what is seen.
            Some(note) = self.notes.recv() => Some(News::Done(note)),
            Ok(()) = self.seen.changed() => Some(News::Seen(self.seen.borrow_and_update().clone())),
            else => None,
        }
    }
}

/// Heals until it is told to stop.
pub struct Healer {
    engine: Engine,
    ward: Ward,
    notes: mpsc::Sender<Note>,
    seen: watch::Sender<Vec<Patient>>,
    /// Somebody wants everybody to be looked at.
    wanted: Arc<Notify>,
    /// Those handed over and not known to be stored, oldest first.
    open: VecDeque<Open>,
    moments: Moments,
}

impl Healer {
    /// One that starts nobody anew within `at_most_every` of their last start, and what it hands over.
    pub fn new(engine: Engine, at_most_every: Duration) -> (Self, Handover) {
        let (notes, handed_over) = mpsc::channel(NOTES);
        let healer = Self {
            engine,
            ward: Ward::new(at_most_every),
            notes,
            seen: watch::Sender::default(),
            wanted: Arc::default(),
            open: VecDeque::new(),
            moments: Moments::begin(),
        };
        let handover = Handover {
            notes: handed_over,
            seen: healer.seen.subscribe(),
            wanted: Arc::clone(&healer.wanted),
        };
        (healer, handover)
    }

    /// Looks again and again until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let wanted = Arc::clone(&self.wanted);
        let looks = async {
            let mut looks = 0_u32;
            loop {
                let all = tokio::select! {
                    due = ticks.tick() => {
                        if due.elapsed() > LATE {
                            continue;
                        }
                        looks = looks.wrapping_add(1);
                        looks.is_multiple_of(EVERYBODY)
                    }
                    () = wanted.notified() => true,
                };
                self.remind();
                let looked = match self.look().await {
                    Ok(()) if all => self.look_at_everybody().await,
                    looked => looked,
                };
                if let Err(error) = looked {
                    tracing::debug!(%error, "services not looked at");
                }
            }
        };
        stop.run_until_cancelled(looks).await;
    }

    async fn look(&mut self) -> Result<(), EngineError> {
        for id in self.engine.unwell().await? {
            let Some(patient) = self.inspect(&id).await? else {
                continue;
            };
            if let Some(why) = self.ward.due(&patient, self.moments.now()) {
                self.heal(&patient, why).await?;
            }
        }
        for (name, id) in self.ward.awaited() {
            let Some(patient) = self.inspect(&id).await? else {
                self.ward.gone(&name);
                continue;
            };
            if let Some(fact) = self.ward.looked_at(&patient, self.moments.now()) {
                tracing::info!(service = %name, "{}", fact.words());
                self.note(&name, fact);
            }
        }
        Ok(())
    }

    async fn look_at_everybody(&self) -> Result<(), EngineError> {
        let mut seen = Vec::new();
        for id in self.engine.services().await? {
            seen.extend(self.inspect(&id).await?);
        }
        self.seen.send_replace(seen);
        Ok(())
    }

    /// Recorded first, if that can be; then, if it still hangs, started anew.
    async fn heal(&mut self, patient: &Patient, why: String) -> Result<(), EngineError> {
        let (name, found) = (&patient.name, self.moments.now());
        tracing::warn!(service = %name, "{why}");
        let run = patient.run.clone();
        let intended = Healing::RestartIntended { run, why };
        let recorded = self.record(name, intended.clone()).await;
        if !recorded {
            let chance = u32::from(self.moments.now().chance);
            let wait = UNRECORDED + UNRECORDED * chance / 1000;
            tracing::warn!(service = %name, ?wait,
                "the journal does not take it: starting it anew all the same, after a wait");
            sleep(wait).await;
        }
        if !self.still_hangs(patient).await? {
            let error = "it is well again, or somebody else started it".to_owned();
            tracing::info!(service = %name, "{error}");
            if recorded {
                self.note(name, Healing::NotRestarted { error });
            } else {
                self.withdraw(&intended);
            }
            return Ok(());
        }
        self.ward.treated(patient, found);
        self.start_anew(patient).await
    }

    async fn start_anew(&mut self, patient: &Patient) -> Result<(), EngineError> {
        let (name, id) = (&patient.name, &patient.run.container);
        tracing::warn!(service = %name, "calling the engine to start it anew");
        let grace = Duration::from_millis(patient.grace_ms);
        let called = self.engine.restart(id, grace).await;
        // What counts is what an inspection shows.
        let after = self.inspect(id).await?;
        if after.is_some_and(|after| after.run == patient.run) {
            let error = match called {
                Ok(()) => "the engine did not carry it out".to_owned(),
                Err(error) => error.to_string(),
            };
            tracing::error!(service = %name, error, "not started anew");
            self.note(name, Healing::NotRestarted { error });
        }
        Ok(())
    }

    async fn still_hangs(&self, patient: &Patient) -> Result<bool, EngineError> {
        let mut hangs = false;
        for _ in 0..LOOKS {
            let asked = Instant::now();
            let now = self.inspect(&patient.run.container).await?;
            hangs = now.is_some_and(|now| now.run == patient.run && now.hangs().is_some());
            if asked.elapsed() < FRESH {
                break;
            }
        }
        Ok(hangs)
    }

    /// A service's container; none if it was removed, or is none of ours.
    async fn inspect(&self, id: &str) -> Result<Option<Patient>, EngineError> {
        match self.engine.inspect(id).await {
            Ok(found) => Ok(facts::patient(found)),
            Err(EngineError::NoSuchContainer) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it was stored in time. If not it is stored later, unless it is withdrawn.
    async fn record(&mut self, service: &Token, fact: Healing) -> bool {
        self.note(service, fact);
        let until = Instant::now() + RECORDED;
        while !self.open.is_empty() && Instant::now() < until {
            sleep(RECORDED / 50).await;
            self.remind();
        }
        self.open.is_empty()
    }

    /// Whoever is about to store it does so all the same.
    fn withdraw(&mut self, unwanted: &Healing) {
        let is =
            |open: &Open| matches!(&open.record, Record::Service { fact, .. } if fact == unwanted);
        self.open.retain(|open| !is(open));
    }

    /// Hands a record over to be stored. One too many is dropped: the log has it.
    fn note(&mut self, service: &Token, fact: Healing) {
        let record = Record::Service {
            service: service.clone(),
            at: clock::now(),
            fact,
        };
        if self.open.len() >= NOTES {
            tracing::error!(?record, "not recorded: too many wait already");
            return;
        }
        self.open.push_back(Open::unsent(record));
        self.remind();
    }

    /// Forgets what is stored, and hands over again, in order, what was lost on the way.
    fn remind(&mut self) {
        self.open.retain_mut(|open| !open.is_stored());
        for open in &mut self.open {
            if !open.send(&self.notes) {
                return;
            }
        }
    }
}

/// A record that is not known to be stored.
struct Open {
    record: Record,
    /// None if it was not handed over, or whoever had it has dropped it.
    stored: Option<oneshot::Receiver<()>>,
}

impl Open {
    const fn unsent(record: Record) -> Self {
        let stored = None;
        Self { record, stored }
    }

    fn is_stored(&mut self) -> bool {
        let Some(stored) = &mut self.stored else {
            return false;
        };
        match stored.try_recv() {
            Ok(()) => true,
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Closed) => {
                self.stored = None;
                false
            }
        }
    }

    /// Whether it is with the supervisor now.
    fn send(&mut self, notes: &mpsc::Sender<Note>) -> bool {
        if self.stored.is_none() {
            let (stored, waiting) = oneshot::channel();
            let record = self.record.clone();
            if notes.try_send(Note { record, stored }).is_err() {
                return false;
            }
            self.stored = Some(waiting);
        }
        true
    }
}
