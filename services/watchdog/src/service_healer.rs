//! Starts services beside the units anew when they hang: looks, has it recorded, calls the engine, looks again. Whether
//! one hangs and how seldom it may be started anew is the brain's business.
//!
//! It needs no bus, so that it can heal the bus. What it does is recorded first where the journal takes that in time;
//! where it does not, it waits for longer, does it all the same, and the record follows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;
use runtime::clock;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use watchdog_core::record::SupervisionRecord;
use watchdog_core::record::ServiceRecord;
use watchdog_core::service_healing::{HealLimiter, ObservedService};

use crate::decision_clock::DecisionClock;
use crate::docker::{DockerClient, DockerError};
use crate::inspect;

/// The engine itself needs longer than this to call anybody unhealthy.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Every so many-th look is at those who are well, too.
const FULL_SCAN_EVERY: u32 = 6;
/// A look that comes later than this says that this machine is busy, or we were: nobody is judged by it.
const MAX_TICK_DELAY: Duration = Duration::from_secs(1);
/// How long a record may take before the call that it announces.
const RECORD_DEADLINE: Duration = Duration::from_secs(5);
/// Without a record so much longer is waited, and up to as long again: another watchdog of the project may be able
/// to record it, or be here without the bus as well.
const UNRECORDED_DELAY: Duration = Duration::from_secs(10);
/// To the engine two restarts of one container are one if the second is asked for before the first is done. A look that
/// took longer than this may be from before another's call that is done by now.
const MAX_INSPECTION_TIME: Duration = Duration::from_millis(100);
/// On a machine that is always that slow, healing matters more.
const MAX_INSPECTIONS: u32 = 5;
/// Records that may wait for the supervisor.
const NOTE_QUEUE: usize = 16;

/// A record that the supervisor is to store and tell.
pub struct HealNote {
    /// It.
    pub record: SupervisionRecord,
    /// Where to say that it is; closed if that is wanted no more.
    pub ack: oneshot::Sender<()>,
}

/// What there is for whoever supervises.
pub struct HealerHandle {
    notes: mpsc::Receiver<HealNote>,
    services: watch::Receiver<Vec<ObservedService>>,
    scan_requested: Arc<Notify>,
}

/// One thing of that.
pub enum HealerMessage {
    /// To be stored.
    Note(HealNote),
    /// How every service was a moment ago.
    ServicesObserved(Vec<ObservedService>),
}

impl HealerHandle {
    /// Asks for a look at everybody: what was seen before this reign another one may know better.
    pub fn request_scan(&mut self) {
        self.services.mark_unchanged();
        self.scan_requested.notify_one();
    }

    /// Waits for the next thing; may be dropped before it comes. None if nobody heals any more.
    pub async fn next(&mut self) -> Option<HealerMessage> {
        tokio::select! {
            biased;
            // First: what was done explains what is seen.
            Some(note) = self.notes.recv() => Some(HealerMessage::Note(note)),
            Ok(()) = self.services.changed() => Some(HealerMessage::ServicesObserved(self.services.borrow_and_update().clone())),
            else => None,
        }
    }
}

/// Heals until it is told to stop.
pub struct ServiceHealer {
    docker: DockerClient,
    limiter: HealLimiter,
    notes: mpsc::Sender<HealNote>,
    services: watch::Sender<Vec<ObservedService>>,
    /// Somebody wants everybody to be looked at.
    scan_requested: Arc<Notify>,
    /// Those handed over and not known to be stored, oldest first.
    unconfirmed: VecDeque<UnconfirmedRecord>,
    clock: DecisionClock,
}

impl ServiceHealer {
    /// One that starts nobody anew within `min_interval` of their last start, and what it hands over.
    pub fn new(engine: DockerClient, min_interval: Duration) -> (Self, HealerHandle) {
        let (notes, handed_over) = mpsc::channel(NOTE_QUEUE);
        let healer = Self {
            docker: engine,
            limiter: HealLimiter::new(min_interval),
            notes,
            services: watch::Sender::default(),
            scan_requested: Arc::default(),
            unconfirmed: VecDeque::new(),
            clock: DecisionClock::start(),
        };
        let handover = HealerHandle {
            notes: handed_over,
            services: healer.services.subscribe(),
            scan_requested: Arc::clone(&healer.scan_requested),
        };
        (healer, handover)
    }

    /// Looks again and again until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let wanted = Arc::clone(&self.scan_requested);
        let looks = async {
            let mut looks = 0_u32;
            loop {
                let all = tokio::select! {
                    due = ticks.tick() => {
                        if due.elapsed() > MAX_TICK_DELAY {
                            continue;
                        }
                        looks = looks.wrapping_add(1);
                        looks.is_multiple_of(FULL_SCAN_EVERY)
                    }
                    () = wanted.notified() => true,
                };
                self.resend_unconfirmed();
                let looked = match self.check_services().await {
                    Ok(()) if all => self.scan_all().await,
                    looked => looked,
                };
                if let Err(error) = looked {
                    tracing::debug!(%error, "services not looked at");
                }
            }
        };
        shutdown.run_until_cancelled(looks).await;
    }

    async fn check_services(&mut self) -> Result<(), DockerError> {
        for id in self.docker.list_unhealthy().await? {
            let Some(patient) = self.inspect(&id).await? else {
                continue;
            };
            if let Some(why) = self.limiter.restart_reason(&patient, self.clock.now()) {
                self.heal(&patient, why).await?;
            }
        }
        for (name, id) in self.limiter.pending_recoveries() {
            let Some(patient) = self.inspect(&id).await? else {
                self.limiter.forget(&name);
                continue;
            };
            if let Some(fact) = self.limiter.observe(&patient, self.clock.now()) {
                tracing::info!(service = %name, "{}", fact.describe());
                self.queue_record(&name, fact);
            }
        }
        Ok(())
    }

    async fn scan_all(&self) -> Result<(), DockerError> {
        let mut seen = Vec::new();
        for id in self.docker.list_services().await? {
            seen.extend(self.inspect(&id).await?);
        }
        self.services.send_replace(seen);
        Ok(())
    }

    /// Recorded first, if that can be; then, if it still hangs, started anew.
    async fn heal(&mut self, service: &ObservedService, why: String) -> Result<(), DockerError> {
        let (name, found) = (&service.name, self.clock.now());
        tracing::warn!(service = %name, "{why}");
        let run = service.run.clone();
        let intended = ServiceRecord::RestartIntended { run, reason: why };
        let recorded = self.record_in_time(name, intended.clone()).await;
        if !recorded {
            let chance = u32::from(self.clock.now().random);
            let wait = UNRECORDED_DELAY + UNRECORDED_DELAY * chance / 1000;
            tracing::warn!(service = %name, ?wait,
                "the journal does not take it: starting it anew all the same, after a wait");
            sleep(wait).await;
        }
        if !self.is_still_hung(service).await? {
            let error = "it is well again, or somebody else started it".to_owned();
            tracing::info!(service = %name, "{error}");
            if recorded {
                self.queue_record(name, ServiceRecord::RestartFailed { error });
            } else {
                self.withdraw(&intended);
            }
            return Ok(());
        }
        self.limiter.record_heal(service, found);
        self.restart(service).await
    }

    async fn restart(&mut self, service: &ObservedService) -> Result<(), DockerError> {
        let (name, id) = (&service.name, &service.run.container);
        tracing::warn!(service = %name, "calling the engine to start it anew");
        let grace = Duration::from_millis(service.grace_ms);
        let called = self.docker.restart(id, grace).await;
        // What counts is what an inspection shows.
        let after = self.inspect(id).await?;
        if after.is_some_and(|after| after.run == service.run) {
            let error = match called {
                Ok(()) => "the engine did not carry it out".to_owned(),
                Err(error) => error.to_string(),
            };
            tracing::error!(service = %name, error, "not started anew");
            self.queue_record(name, ServiceRecord::RestartFailed { error });
        }
        Ok(())
    }

    async fn is_still_hung(&self, service: &ObservedService) -> Result<bool, DockerError> {
        let mut hangs = false;
        for _ in 0..MAX_INSPECTIONS {
            let asked = Instant::now();
            let now = self.inspect(&service.run.container).await?;
            hangs = now.is_some_and(|now| now.run == service.run && now.hang_reason().is_some());
            if asked.elapsed() < MAX_INSPECTION_TIME {
                break;
            }
        }
        Ok(hangs)
    }

    /// A service's container; none if it was removed, or is none of ours.
    async fn inspect(&self, id: &str) -> Result<Option<ObservedService>, DockerError> {
        match self.docker.inspect(id).await {
            Ok(found) => Ok(inspect::parse_service(found)),
            Err(DockerError::NoSuchContainer) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it was stored in time. If not it is stored later, unless it is withdrawn.
    async fn record_in_time(&mut self, service: &SubjectToken, fact: ServiceRecord) -> bool {
        self.queue_record(service, fact);
        let until = Instant::now() + RECORD_DEADLINE;
        while !self.unconfirmed.is_empty() && Instant::now() < until {
            sleep(RECORD_DEADLINE / 50).await;
            self.resend_unconfirmed();
        }
        self.unconfirmed.is_empty()
    }

    /// Whoever is about to store it does so all the same.
    fn withdraw(&mut self, unwanted: &ServiceRecord) {
        let is = |open: &UnconfirmedRecord| matches!(&open.record, SupervisionRecord::Service { record, .. } if record == unwanted);
        self.unconfirmed.retain(|open| !is(open));
    }

    /// Hands a record over to be stored. One too many is dropped: the log has it.
    fn queue_record(&mut self, service: &SubjectToken, fact: ServiceRecord) {
        let record = SupervisionRecord::Service {
            service: service.clone(),
            at: clock::now(),
            record: fact,
        };
        if self.unconfirmed.len() >= NOTE_QUEUE {
            tracing::error!(?record, "not recorded: too many wait already");
            return;
        }
        self.unconfirmed
            .push_back(UnconfirmedRecord::unsent(record));
        self.resend_unconfirmed();
    }

    /// Forgets what is stored, and hands over again, in order, what was lost on the way.
    fn resend_unconfirmed(&mut self) {
        self.unconfirmed.retain_mut(|open| !open.is_stored());
        for open in &mut self.unconfirmed {
            if !open.send(&self.notes) {
                return;
            }
        }
    }
}

/// A record that is not known to be stored.
struct UnconfirmedRecord {
    record: SupervisionRecord,
    /// None if it was not handed over, or whoever had it has dropped it.
    ack: Option<oneshot::Receiver<()>>,
}

impl UnconfirmedRecord {
    const fn unsent(record: SupervisionRecord) -> Self {
        let ack = None;
        Self { record, ack }
    }

    fn is_stored(&mut self) -> bool {
        let Some(stored) = &mut self.ack else {
            return false;
        };
        match stored.try_recv() {
            Ok(()) => true,
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Closed) => {
                self.ack = None;
                false
            }
        }
    }

    /// Whether it is with the supervisor now.
    fn send(&mut self, notes: &mpsc::Sender<HealNote>) -> bool {
        if self.ack.is_none() {
            let (stored, waiting) = oneshot::channel();
            let record = self.record.clone();
            if notes
                .try_send(HealNote {
                    record,
                    ack: stored,
                })
                .is_err()
            {
                return false;
            }
            self.ack = Some(waiting);
        }
        true
    }
}
