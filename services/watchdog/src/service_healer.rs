//! Restarts hung Compose services: inspects them, requests a record, calls Docker, inspects again.
//!
//! The healer needs no bus, so that it can heal the bus. A restart is journaled first if the journal takes the record
//! in time. Otherwise the healer waits longer, restarts the service, and the record follows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;
use runtime::clock;
use runtime::leader_election::LeaderSightings;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use watchdog_core::model::JournaledHealing;
use watchdog_core::record::ServiceRecord;
use watchdog_core::record::SupervisionRecord;
use watchdog_core::service_healing::{Heal, HealLimiter, ObservedService};

use crate::decision_clock::DecisionClock;
use crate::docker::{DockerClient, DockerError};
use crate::inspect;

/// Interval of checks. Docker takes longer to report a container as unhealthy.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// One check in this number inspects the healthy services, too.
const FULL_SCAN_EVERY: u32 = 6;
/// A check that comes later than this is skipped: the machine or the process was busy.
const MAX_TICK_DELAY: Duration = Duration::from_secs(1);
/// Time that the record of a restart may take.
const RECORD_DEADLINE: Duration = Duration::from_secs(5);
/// Wait before a restart without a record, extended by up to its own length. Another watchdog of the project may be
/// able to record it, or may be without the bus as well.
const UNRECORDED_DELAY: Duration = Duration::from_secs(10);
/// Longest inspection that is trusted. Docker merges two restarts of a container if the second is requested before the
/// first is done. An inspection that took longer may be from before another watchdog's restart.
const MAX_INSPECTION_TIME: Duration = Duration::from_millis(100);
/// Inspections after which a slow one is trusted.
const MAX_INSPECTIONS: u32 = 5;
/// Age of the last sight of another leader within which its own healer acts. A lease is read every 3 s.
const LEADER_SIGHT: Duration = Duration::from_secs(10);
/// Records that may wait for the supervisor.
const NOTE_QUEUE: usize = 16;

/// A record for the supervisor to store.
pub struct HealNote {
    /// Record that the supervisor appends.
    pub record: SupervisionRecord,
    /// Acknowledges that the record was stored. Closed if the record was withdrawn.
    pub ack: oneshot::Sender<()>,
}

/// What the journal says about the healing of each service.
pub type HealingByService = BTreeMap<SubjectToken, JournaledHealing>;

/// Receives the healer's messages.
pub struct HealerHandle {
    notes: mpsc::Receiver<HealNote>,
    services: watch::Receiver<Vec<ObservedService>>,
    scan_requested: Arc<Notify>,
}

/// A message of the healer.
pub enum HealerMessage {
    /// A record to store.
    Note(Box<HealNote>),
    /// All services as just inspected.
    ServicesObserved(Vec<ObservedService>),
}

impl HealerHandle {
    /// Requests an inspection of all services. What was seen in an earlier term may be out of date.
    pub fn request_scan(&mut self) {
        self.services.mark_unchanged();
        self.scan_requested.notify_one();
    }

    /// The next message. `None` if the healer has ended. Safe to cancel.
    pub async fn next(&mut self) -> Option<HealerMessage> {
        tokio::select! {
            biased;
            // Notes come first: what was done explains what is observed.
            Some(note) = self.notes.recv() => Some(HealerMessage::Note(Box::new(note))),
            Ok(()) = self.services.changed() => Some(HealerMessage::ServicesObserved(self.services.borrow_and_update().clone())),
            else => None,
        }
    }
}

/// Restarts services that hang, also while the bus is what hangs.
pub struct ServiceHealer {
    docker: DockerClient,
    limiter: HealLimiter,
    /// What the journal says, as far as this process has read it.
    journaled: watch::Receiver<HealingByService>,
    /// Sights of another watchdog that is the leader.
    leader_sightings: LeaderSightings,
    notes: mpsc::Sender<HealNote>,
    services: watch::Sender<Vec<ObservedService>>,
    /// Requests an inspection of all services.
    scan_requested: Arc<Notify>,
    /// Records that are not known to be stored, oldest first.
    unconfirmed: VecDeque<UnconfirmedRecord>,
    clock: DecisionClock,
}

impl ServiceHealer {
    /// A healer that restarts no service within `min_interval` of its last start, and its handle. `journaled` is what the
    /// supervisor has read from the journal; `leader_sightings` says whether another watchdog leads.
    pub fn new(
        docker: DockerClient,
        min_interval: Duration,
        journaled: watch::Receiver<HealingByService>,
        leader_sightings: LeaderSightings,
    ) -> (Self, HealerHandle) {
        let (notes, note_receiver) = mpsc::channel(NOTE_QUEUE);
        let healer = Self {
            docker,
            limiter: HealLimiter::new(min_interval),
            journaled,
            leader_sightings,
            notes,
            services: watch::Sender::default(),
            scan_requested: Arc::default(),
            unconfirmed: VecDeque::new(),
            clock: DecisionClock::start(),
        };
        let handle = HealerHandle {
            notes: note_receiver,
            services: healer.services.subscribe(),
            scan_requested: Arc::clone(&healer.scan_requested),
        };
        (healer, handle)
    }

    /// Checks the services until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut ticks = interval(CHECK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let scan_requested = Arc::clone(&self.scan_requested);
        let scans = async {
            let mut scans = 0_u32;
            loop {
                let is_full_scan = tokio::select! {
                    due = ticks.tick() => {
                        if due.elapsed() > MAX_TICK_DELAY {
                            continue;
                        }
                        scans = scans.wrapping_add(1);
                        scans.is_multiple_of(FULL_SCAN_EVERY)
                    }
                    () = scan_requested.notified() => true,
                };
                self.resend_unconfirmed();
                let result = match self.check_services().await {
                    Ok(()) if is_full_scan => self.scan_all().await,
                    result => result,
                };
                if let Err(error) = result {
                    tracing::debug!(%error, "services not inspected");
                }
            }
        };
        shutdown.run_until_cancelled(scans).await;
    }

    async fn check_services(&mut self) -> Result<(), DockerError> {
        self.limiter.on_journal(&self.journaled.borrow_and_update());
        for id in self.docker.list_unhealthy().await? {
            let Some(service) = self.inspect(&id).await? else {
                continue;
            };
            self.act(&service).await?;
        }
        for (name, id) in self.limiter.pending_recoveries() {
            match self.inspect(&id).await? {
                Some(service) => self.observe(&service),
                None => self.limiter.forget(&name),
            }
        }
        Ok(())
    }

    /// Restarts a service that hangs, or gives up. Leaves it to another watchdog that is known to lead.
    async fn act(&mut self, service: &ObservedService) -> Result<(), DockerError> {
        if self.leader_sightings.has_seen_within(LEADER_SIGHT) {
            return Ok(());
        }
        match self.limiter.decide(service, self.clock.now().clock.mono) {
            Some(Heal::Restart(reason)) => self.heal(service, reason).await,
            Some(Heal::GiveUp(record)) => {
                tracing::error!(service = %service.name, "service quarantined; restarts do not help");
                self.queue_record(&service.name, record);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn observe(&mut self, service: &ObservedService) {
        let mono = self.clock.now().clock.mono;
        if let Some(record) = self.limiter.observe(service, mono) {
            tracing::info!(service = %service.name, event = record.describe(), "service healthy");
            self.queue_record(&service.name, record);
        }
    }

    async fn scan_all(&mut self) -> Result<(), DockerError> {
        let mut services = Vec::new();
        for id in self.docker.list_services().await? {
            if let Some(service) = self.inspect(&id).await? {
                self.observe(&service);
                services.push(service);
            }
        }
        self.services.send_replace(services);
        Ok(())
    }

    /// Journals the restart if possible, then restarts the service if it still hangs.
    async fn heal(&mut self, service: &ObservedService, reason: String) -> Result<(), DockerError> {
        let (name, found) = (&service.name, self.clock.now().clock.mono);
        tracing::warn!(service = %name, reason, "service is hung");
        let run = service.run.clone();
        let intended = ServiceRecord::RestartIntended { run, reason };
        let recorded = self.record_in_time(name, intended.clone()).await;
        if !recorded {
            let random = u32::from(self.clock.now().random);
            let wait = UNRECORDED_DELAY + UNRECORDED_DELAY * random / 1000;
            tracing::warn!(service = %name, delay_s = wait.as_secs(),
                "journal unavailable; restarting the service without a journal record after a delay");
            sleep(wait).await;
        }
        if !self.is_still_hung(service).await? {
            let error = "service is healthy again or was restarted by another process".to_owned();
            tracing::info!(service = %name, reason = error, "service not restarted");
            if recorded {
                self.queue_record(name, ServiceRecord::RestartFailed { error });
            } else {
                self.withdraw(&intended);
            }
            return Ok(());
        }
        let now = self.clock.now().clock.mono;
        self.limiter.record_heal(service, found, now);
        self.restart(service).await
    }

    async fn restart(&mut self, service: &ObservedService) -> Result<(), DockerError> {
        let (name, id) = (&service.name, &service.run.container);
        tracing::warn!(service = %name, "restarting service");
        let grace = Duration::from_millis(service.grace_ms);
        let result = self.docker.restart(id, grace).await;
        // What counts is what an inspection shows.
        let after = self.inspect(id).await?;
        if after.is_some_and(|after| after.run == service.run) {
            let error = match result {
                Ok(()) => "Docker did not restart the container".to_owned(),
                Err(error) => error.to_string(),
            };
            tracing::error!(service = %name, error, "service restart failed");
            self.queue_record(name, ServiceRecord::RestartFailed { error });
        }
        Ok(())
    }

    async fn is_still_hung(&self, service: &ObservedService) -> Result<bool, DockerError> {
        let mut is_hung = false;
        for _ in 0..MAX_INSPECTIONS {
            let started = Instant::now();
            let now = self.inspect(&service.run.container).await?;
            is_hung = now.is_some_and(|now| now.run == service.run && now.hang_reason().is_some());
            if started.elapsed() < MAX_INSPECTION_TIME {
                break;
            }
        }
        Ok(is_hung)
    }

    /// Inspects a service. `None` if it was removed or is not to be healed.
    async fn inspect(&self, id: &str) -> Result<Option<ObservedService>, DockerError> {
        match self.docker.inspect(id).await {
            Ok(found) => Ok(inspect::parse_service(found)),
            Err(DockerError::NoSuchContainer) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a record was stored in time. Otherwise it is stored later, unless it is withdrawn.
    async fn record_in_time(&mut self, service: &SubjectToken, record: ServiceRecord) -> bool {
        self.queue_record(service, record);
        let until = Instant::now() + RECORD_DEADLINE;
        while !self.unconfirmed.is_empty() && Instant::now() < until {
            sleep(RECORD_DEADLINE / 50).await;
            self.resend_unconfirmed();
        }
        self.unconfirmed.is_empty()
    }

    /// Withdraws a record. A supervisor that is about to store it stores it all the same.
    fn withdraw(&mut self, unwanted: &ServiceRecord) {
        let is = |pending: &UnconfirmedRecord| matches!(&pending.record, SupervisionRecord::Service { record, .. } if record == unwanted);
        self.unconfirmed.retain(|pending| !is(pending));
    }

    /// Queues a record for the supervisor. A record too many is dropped.
    fn queue_record(&mut self, service: &SubjectToken, record: ServiceRecord) {
        let record = SupervisionRecord::Service {
            service: service.clone(),
            at: clock::now(),
            record,
        };
        if self.unconfirmed.len() >= NOTE_QUEUE {
            tracing::error!(%service, "service record dropped: queue is full");
            return;
        }
        self.unconfirmed
            .push_back(UnconfirmedRecord::unsent(record));
        self.resend_unconfirmed();
    }

    /// Drops stored records and sends again, in order, what was lost.
    fn resend_unconfirmed(&mut self) {
        self.unconfirmed.retain_mut(|pending| !pending.is_stored());
        for pending in &mut self.unconfirmed {
            if !pending.send(&self.notes) {
                return;
            }
        }
    }
}

/// A record that is not known to be stored.
struct UnconfirmedRecord {
    record: SupervisionRecord,
    /// `None` if the record was not sent, or its receiver has dropped it.
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

    /// Whether the record is with the supervisor now.
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
