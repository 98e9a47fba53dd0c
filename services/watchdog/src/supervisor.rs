//! One term of supervision: replay, take over, then wait, decide, append, act. Decisions are made by the core.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use protocol::time::{ClockReading, UtcMs};
use runtime::bus::Bus;
use runtime::clock;
use runtime::components::{ComponentHandle, ProcessStatus};
use runtime::failpoint;
use runtime::identity::Identity;
use runtime::journal::{BatchPosition, Journal, StoredBatch};
use runtime::leader_election::{LeaderSightings, TermEnd};
use runtime::outbox::{Outbox, OutboxCursor};
use runtime::process::ExitError;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use watchdog_core::clock_step::ClockStepDetector;
use watchdog_core::command_rules::reply_text;
use watchdog_core::config::SupervisionConfig;
use watchdog_core::decide::{self, wake_at};
use watchdog_core::decision_inputs::DecisionInputs;
use watchdog_core::event_mapping::operator_event;
use watchdog_core::next_action;
use watchdog_core::observed_state::{
    AffectedUnits, FailedInspection, ObservedContainer, ObservedState, Obstacle, SupervisionEvent,
};
use watchdog_core::record::SupervisionRecord;
use watchdog_core::service_healing::{self, ObservedService};
use watchdog_core::state::SupervisionState;

use crate::action_executor::{ActionExecutor, ActionResult, ContainerAfter};
use crate::blindness::SharedBlindness;
use crate::command_server::ReceivedCommand;
use crate::container_watcher::DockerScope;
use crate::decision_clock::DecisionClock;
use crate::latch_watcher::WatchedLatches;
use crate::service_healer::{HealNote, HealerHandle, HealerMessage, HealingByService};
use crate::{record_log, supervision_metrics};

/// Longest interval of the loop. A loop that was delayed is noticed by it.
const TICK: Duration = Duration::from_millis(1_250);
/// Time after the last tick from which any event brings the next tick along, so that no timer is needed. An echo each
/// second always does.
const MIN_TICK: Duration = Duration::from_millis(750);
/// Time after a request to stop in which the supervisor continues: `docker compose stop` stops units at the same time,
/// and their requests have to be recorded.
const LAST_EVENTS_TIME: Duration = Duration::from_secs(1);
/// Name of this component in heartbeats.
pub const COMPONENT: &str = "supervisor";

/// Dependencies of a term.
pub struct SupervisorDeps {
    /// Connection to the bus.
    pub bus: Bus,
    /// Docker, and the watchdog's place in it.
    pub docker: DockerScope,
    /// Settings that the core reads.
    pub config: SupervisionConfig,
    /// Identity of this process.
    pub identity: Identity,
    /// Queue of events that are published until the bus has them.
    pub outbox: Outbox,
    /// Status of this process for heartbeats.
    pub progress: Arc<ProcessStatus>,
    /// The blindness that the heartbeats and the health check report.
    pub blindness: Arc<SharedBlindness>,
    /// Messages of the service healer. Each term locks it.
    pub healer: Arc<Mutex<HealerHandle>>,
    /// What the journal says about services, for the healer.
    pub healing: watch::Sender<HealingByService>,
    /// Sights of another watchdog that is the leader, for the healer.
    pub leader_sightings: LeaderSightings,
}

/// The folded journal, its writing end, and the observations.
pub struct Supervisor {
    deps: Arc<SupervisorDeps>,
    component: Arc<ComponentHandle>,
    journal: Journal,
    outbox_cursor: Arc<OutboxCursor>,
    state: SupervisionState,
    observed: ObservedState,
    executor: ActionExecutor,
    resync: Arc<Notify>,
    /// Latches whose end permits a start.
    watched_latches: watch::Sender<WatchedLatches>,
    /// Time of the next decision about each unit, by the monotonic clock. Kept, because computing it for every unit at
    /// every heartbeat would cost the square of the number of units.
    wake_times: BTreeMap<SubjectToken, u64>,
    /// Time of the last recorded start of each service, by the monotonic clock.
    service_starts: BTreeMap<SubjectToken, u64>,
    clock: DecisionClock,
    clock_steps: ClockStepDetector,
    /// Time of the last batch, by the wall clock.
    known_until: UtcMs,
}

impl Supervisor {
    /// Replays the journal, becomes its writer, and publishes events that may not have been published.
    ///
    /// # Errors
    /// [`TermEnd`].
    pub async fn take_over(deps: Arc<SupervisorDeps>) -> Result<Self, TermEnd> {
        let component = deps.progress.component(COMPONENT);
        let subject = Subject::WatchdogJournal(deps.identity.host.clone());
        let writer = deps.identity.boot.clone();
        let wait = |reason: &str| {
            component.record_retry();
            deps.progress.record_error(COMPONENT, reason);
        };
        let (journal, batches) =
            Journal::replay_with_retry(&deps.bus, &subject, writer, 0, wait).await?;
        let mut state = SupervisionState::default();
        for stored in &batches {
            state.fold(&stored.batch).map_err(|newer| {
                TermEnd::Failed(ExitError::config(format!(
                    "journal sequence {}: {newer}",
                    stored.seq
                )))
            })?;
        }
        let published_seq = batches.iter().map(|s| s.batch.events_published_seq).max();
        let known = batches.iter().map(|s| s.batch.at).max();
        let last_record = batches.last().map(|s| s.batch.at);
        let clock = DecisionClock::start();
        let observed = ObservedState::with_config(deps.config);
        let mut supervisor = Self {
            executor: ActionExecutor::new(deps.docker.docker.clone()),
            deps,
            component,
            journal,
            outbox_cursor: OutboxCursor::from_seq(published_seq.unwrap_or(0)),
            state,
            observed,
            resync: Arc::default(),
            watched_latches: watch::Sender::default(),
            wake_times: BTreeMap::new(),
            service_starts: BTreeMap::new(),
            clock_steps: ClockStepDetector::new(clock.now().clock, last_record),
            clock,
            known_until: known.unwrap_or_else(clock::now),
        };
        supervisor.record_writer(batches).await?;
        Ok(supervisor)
    }

    async fn record_writer(
        &mut self,
        batches: Vec<StoredBatch<SupervisionRecord>>,
    ) -> Result<(), TermEnd> {
        let identity = &self.deps.identity;
        let record = SupervisionRecord::WriterChanged {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
            project: identity.host.project.clone(),
            host: identity.host.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let unpublished = batches.iter().filter(|s| s.seq > self.outbox_cursor.seq());
        let unpublished: Vec<&StoredBatch<SupervisionRecord>> = unpublished.collect();
        let records = vec![record];
        let position = self.store(&records).await?;
        // Oldest first: once a later batch is acknowledged, earlier ones count as published.
        for stored in unpublished {
            self.publish_events(&stored.position(), &stored.batch.records);
        }
        self.publish_events(&position, &records);
        tracing::info!(project = %self.deps.identity.host.project, units = self.state.units.len(),
            records = batches.len(), "supervising");
        Ok(())
    }

    /// Triggers a complete list by the container watcher.
    pub fn resync(&self) -> Arc<Notify> {
        Arc::clone(&self.resync)
    }

    /// The latches to watch, and their changes.
    pub fn watched_latches(&self) -> watch::Receiver<WatchedLatches> {
        self.watched_latches.subscribe()
    }

    /// Time up to which Docker's events are known.
    pub const fn known_until(&self) -> UtcMs {
        self.known_until
    }

    /// Supervises until `shutdown`, or until another watchdog writes.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<SupervisionEvent>,
        mut commands: mpsc::Receiver<ReceivedCommand>,
        shutdown: CancellationToken,
    ) -> TermEnd {
        let mut healer = Arc::clone(&self.deps.healer).lock_owned().await;
        healer.request_scan();
        let term = async {
            let mut last_tick = Instant::now();
            loop {
                let due = self.next_wake(last_tick);
                let mut is_due = false;
                tokio::select! {
                    biased;
                    Some(event) = events.recv() => self.observe(event).await?,
                    done = self.executor.next_result() => self.on_action_finished(done).await?,
                    Some(command) = commands.recv() => self.execute_command(command).await?,
                    Some(message) = healer.next() => self.on_healer_message(message).await?,
                    () = sleep_until(due.into()) => is_due = true,
                }
                // Also without quiet: with many units there is an event all the time, and a unit that waits for a start
                // slot would wait for the next complete list.
                if is_due || last_tick.elapsed() >= MIN_TICK {
                    last_tick = Instant::now();
                    self.detect_clock_step().await?;
                    self.observe(SupervisionEvent::Ticked).await?;
                    // Not at every event: the gauges of all units are set.
                    supervision_metrics::update(&self.state, &self.observed, self.now().clock.mono);
                }
                self.component.record_iteration();
            }
        };
        let stopped = async {
            shutdown.cancelled().await;
            tokio::time::sleep(LAST_EVENTS_TIME).await;
        };
        let ended: Result<(), TermEnd> = tokio::select! {
            biased;
            ended = term => ended,
            () = stopped => Ok(()),
        };
        ended.err().unwrap_or(TermEnd::Stopped)
    }

    fn now(&self) -> DecisionInputs {
        self.clock.now()
    }

    /// Time of the next decision if no event comes, at the latest one tick after the last one.
    fn next_wake(&self, last_tick: Instant) -> Instant {
        let now = self.now().clock.mono;
        let next = self.wake_times.values().filter(|wake| **wake > now).min();
        let tick = last_tick + TICK;
        next.map_or(tick, |wake| tick.min(self.clock.instant_at(*wake)))
    }

    async fn observe(&mut self, event: SupervisionEvent) -> Result<(), TermEnd> {
        let now = self.now();
        // Not at every heartbeat: every unit is inspected.
        let is_about_docker = !matches!(
            event,
            SupervisionEvent::HeartbeatReceived { .. }
                | SupervisionEvent::BusEchoed
                | SupervisionEvent::LogRead { .. }
        );
        let affected = self.observed.observe(&self.state, event, now);
        if is_about_docker {
            self.update_blindness().await?;
        }
        match affected {
            AffectedUnits::None => Ok(()),
            AffectedUnits::One(unit) => self.decide(&unit).await,
            AffectedUnits::All => {
                let units: Vec<SubjectToken> = self.observed.units().cloned().collect();
                for unit in units {
                    self.decide(&unit).await?;
                }
                Ok(())
            }
        }
    }

    /// Records a step of the wall clock. It changes no decision.
    async fn detect_clock_step(&mut self) -> Result<(), TermEnd> {
        let now = self.now().clock;
        let Some(by_ms) = self.clock_steps.observe(now) else {
            return Ok(());
        };
        let record = SupervisionRecord::ClockStepped {
            at: now.utc,
            host: self.deps.identity.host.host.clone(),
            by_ms,
        };
        self.commit(vec![record]).await
    }

    /// Decides, appends, applies and acts, in this order, until nothing follows.
    async fn decide(&mut self, unit: &SubjectToken) -> Result<(), TermEnd> {
        failpoint::spin(unit.as_str());
        for rounds in 0.. {
            let now = self.now();
            let records = decide::decide_round(&self.state, &self.observed, unit, now, rounds);
            if records.is_empty() {
                break;
            }
            self.commit(records).await?;
        }
        if let Some(action) = next_action::due_action(&self.state, &self.observed, unit, self.now())
        {
            tracing::info!(%unit, call = action.as_str(), "docker call started");
            self.observed.action_started(unit, action.clone());
            self.executor.spawn(unit.clone(), action);
        }
        match wake_at(&self.state, &self.observed, unit, self.now()) {
            Some(wake) => self.wake_times.insert(unit.clone(), wake),
            None => self.wake_times.remove(unit),
        };
        Ok(())
    }

    /// Records the begin and the end of a blindness, and publishes it with the heartbeats. Comes before the decisions
    /// about units: what was missed is reported from the state before them.
    async fn update_blindness(&mut self) -> Result<(), TermEnd> {
        let now = self.now();
        if let Some(record) = decide::blindness_record(&self.state, &self.observed, now) {
            self.commit(vec![record]).await?;
        }
        let blindness = self.observed.blindness(now.clock.mono);
        self.deps
            .blindness
            .set(blindness, self.deps.docker.is_guarded);
        Ok(())
    }

    async fn on_action_finished(&mut self, done: ActionResult) -> Result<(), TermEnd> {
        let ActionResult {
            unit,
            after,
            log_tail,
            error,
        } = done;
        if let Some(error) = &error {
            tracing::warn!(%unit, error, "docker call failed");
            self.deps
                .progress
                .record_error(COMPONENT, format!("{unit}: {error}"));
        }
        let now = self.now();
        if let Some(log_tail) = log_tail {
            let unit = unit.clone();
            let log_tail = SupervisionEvent::LogRead { unit, log_tail };
            self.observed.observe(&self.state, log_tail, now);
        }
        if error.is_some() {
            self.resync.notify_one();
        }
        let event = match after {
            ContainerAfter::Watched => None,
            ContainerAfter::Present(container) => Some(SupervisionEvent::ContainerObserved {
                unit: unit.clone(),
                container,
            }),
            ContainerAfter::Removed(container) => {
                Some(SupervisionEvent::ContainerRemoved { container })
            }
            // The list that follows shows whether Docker or this container alone does not answer.
            ContainerAfter::Unknown(error) => {
                self.resync.notify_one();
                let container = self.container_id(&unit);
                container.map(|container| {
                    SupervisionEvent::InspectionFailed(FailedInspection {
                        unit: unit.clone(),
                        container,
                        error,
                    })
                })
            }
        };
        if let Some(event) = event {
            self.observed.observe(&self.state, event, now);
        }
        self.observe(SupervisionEvent::ActionFinished { unit, error })
            .await
    }

    /// Id of the container of a unit. `None` if it is not known.
    fn container_id(&self, unit: &SubjectToken) -> Option<String> {
        match &self.observed.unit(unit)?.container {
            ObservedContainer::Present(container) => Some(container.run.container.clone()),
            _ => None,
        }
    }

    /// A command and what follows from it at once are one batch. The Docker call comes after it.
    async fn execute_command(&mut self, command: ReceivedCommand) -> Result<(), TermEnd> {
        let now = self.now();
        match decide::apply_command(
            &self.state,
            &self.observed,
            command.command(),
            command.by(),
            now,
        ) {
            Ok((unit, records)) => {
                let text = match self.observed.obstacle(&unit) {
                    Some(Obstacle(obstacle)) if command.command().needs_docker() => {
                        decide::deferred_reply(&obstacle)
                    }
                    _ if self.state.services.contains_key(&unit) => {
                        service_healing::reply_text(command.command()).to_owned()
                    }
                    _ => reply_text(self.state.units.get(&unit), command.command()).to_owned(),
                };
                self.commit(records).await?;
                command.reply_result(&self.deps.bus, Ok(&text)).await;
                self.decide(&unit).await
            }
            Err(error) => {
                command.reply_result(&self.deps.bus, Err(error)).await;
                Ok(())
            }
        }
    }

    async fn on_healer_message(&mut self, message: HealerMessage) -> Result<(), TermEnd> {
        match message {
            HealerMessage::Note(note) => self.store_heal_note(*note).await,
            HealerMessage::ServicesObserved(services) => {
                self.record_service_starts(&services).await
            }
        }
    }

    /// Stores the new runs of services.
    async fn record_service_starts(&mut self, services: &[ObservedService]) -> Result<(), TermEnd> {
        let ClockReading { utc: at, mono } = self.now().clock;
        let mut started = Vec::new();
        for observed in services {
            let service = observed.name.clone();
            let known = self.state.services.get(&service);
            let last = self.service_starts.get(&service);
            let since_record = last.map(|last| Duration::from_millis(mono.saturating_sub(*last)));
            if let Some(record) = service_healing::detect_start(known, observed, since_record) {
                self.service_starts.insert(service.clone(), mono);
                started.push(SupervisionRecord::Service {
                    service,
                    at,
                    record,
                });
            }
        }
        if started.is_empty() {
            return Ok(());
        }
        self.commit(started).await
    }

    /// Stores a note of the healer, unless it was withdrawn.
    async fn store_heal_note(&mut self, note: HealNote) -> Result<(), TermEnd> {
        if !note.ack.is_closed() {
            self.commit(vec![note.record]).await?;
            // The note was withdrawn too late.
            let _ = note.ack.send(());
        }
        Ok(())
    }

    async fn commit(&mut self, records: Vec<SupervisionRecord>) -> Result<(), TermEnd> {
        let position = self.store(&records).await?;
        self.publish_events(&position, &records);
        Ok(())
    }

    /// Appends the records to the journal, then applies them to the state.
    async fn store(&mut self, records: &[SupervisionRecord]) -> Result<BatchPosition, TermEnd> {
        let (progress, component) = (&self.deps.progress, &self.component);
        let (blindness, waiting_since) = (&self.deps.blindness, Instant::now());
        let appended = self
            .journal
            .append(records, self.outbox_cursor.seq(), |reason| {
                component.record_retry();
                progress.record_error(COMPONENT, format!("journal: {reason}"));
                blindness.note_journal_failure(reason, waiting_since.elapsed());
                tracing::warn!(
                    error = reason,
                    "journal unavailable; waiting before any decision"
                );
            })
            .await;
        let position = appended?;
        for record in records {
            self.state.apply(record);
            supervision_metrics::count(record);
            record_log::log_record(record);
        }
        self.observed.on_applied(&self.state, records, self.now());
        self.publish_healing();
        let watched = WatchedLatches::from_state(&self.state);
        self.watched_latches.send_if_modified(|known| {
            let message = *known != watched;
            *known = watched;
            message
        });
        Ok(position)
    }

    /// Publishes what the journal says about services to the healer, if it changed.
    fn publish_healing(&self) {
        let healing = self.state.healing();
        self.deps.healing.send_if_modified(|known| {
            let is_changed = *known != healing;
            *known = healing;
            is_changed
        });
    }

    /// Queues the events of one batch.
    fn publish_events(&self, position: &BatchPosition, records: &[SupervisionRecord]) {
        let key = format!("watchdog.{}", self.deps.identity.host);
        let bodies = records.iter().map(operator_event);
        self.deps
            .outbox
            .enqueue_journaled(&key, position, bodies, &self.outbox_cursor);
    }
}
