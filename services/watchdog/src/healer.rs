//! Starts services beside the units anew when they hang: looks, has it recorded, calls the engine, looks again. Whether
//! one hangs and how seldom it may be started anew is the brain's business.
//!
//! It needs no bus, so that it can heal the bus. What it does is recorded first where the journal takes that in time;
//! where it does not, it waits for longer, does it all the same, and the record follows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protocol::ids::Token;
use runtime::clock;
use supervision::healing::{Healing, Patient, Ward};
use supervision::record::Record;
use tokio::sync::mpsc;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError};
use crate::facts;
use crate::moments::Moments;

/// The engine itself needs longer than this to call anybody unhealthy.
const LOOK: Duration = Duration::from_secs(10);
/// A look that comes later than this says that this machine is busy, or we were: nobody is judged by it.
const LATE: Duration = Duration::from_secs(1);
/// How long a record may take before the call that it announces.
const RECORDED: Duration = Duration::from_secs(5);
/// Without a record so much longer is waited, and up to as long again: another watchdog of the project may be able
/// to record it, or be here without the bus as well.
const UNRECORDED: Duration = Duration::from_secs(10);
/// Records that may wait for the supervisor.
pub const NOTES: usize = 16;

/// A record that the supervisor is to store and tell.
#[derive(Debug)]
pub struct Note {
    /// It.
    pub record: Record,
    /// Where to say that it is; closed if that is wanted no more.
    pub stored: oneshot::Sender<()>,
}

/// Heals until it is told to stop.
pub struct Healer {
    engine: Engine,
    ward: Ward,
    notes: mpsc::Sender<Note>,
    /// Those handed over and not known to be stored, oldest first.
    open: VecDeque<Open>,
    moments: Moments,
}

impl Healer {
    /// One that starts nobody anew within `at_most_every` of their last start.
    pub fn new(engine: Engine, at_most_every: Duration, notes: mpsc::Sender<Note>) -> Self {
        Self {
            engine,
            ward: Ward::new(at_most_every),
            notes,
            open: VecDeque::new(),
            moments: Moments::begin(),
        }
    }

    /// Looks again and again until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looks = async {
            loop {
                let due = ticks.tick().await;
                if due.elapsed() > LATE {
                    continue;
                }
                self.remind();
                if let Err(error) = self.look().await {
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
        let now = self.inspect(&patient.run.container).await?;
        Ok(now.is_some_and(|now| now.run == patient.run && now.hangs().is_some()))
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
