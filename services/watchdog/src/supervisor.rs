//! One reign over a project: replay, take over, then wait, decide, append, act, until told to stop or
//! until another watchdog writes. What to decide is the brain's business.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::ids::SubjectToken;
use protocol::subject::Subject;
use protocol::time::UtcMs;
use runtime::bus::Bus;
use runtime::clock;
use runtime::components::{ComponentHandle, ProcessStatus};
use runtime::failpoint;
use runtime::identity::Identity;
use runtime::journal::{BatchPosition, Journal, StoredBatch};
use runtime::leader_election::TermEnd;
use runtime::outbox::{Outbox, OutboxCursor};
use runtime::process::ExitError;
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use watchdog_core::config::SupervisionConfig;
use watchdog_core::decide::{self, wake_at};
use watchdog_core::decision_inputs::DecisionInputs;
use watchdog_core::event_mapping::operator_event;
use watchdog_core::next_action;
use watchdog_core::observed_state::{AffectedUnits, ObservedState, SupervisionEvent};
use watchdog_core::record::{SupervisionRecord, UnitRecord};
use watchdog_core::service_healing::{self, ObservedService};
use watchdog_core::state::SupervisionState;

use crate::action_executor::{ActionExecutor, ActionResult, ContainerAfter};
use crate::command_server::ReceivedCommand;
use crate::container_watcher::DockerScope;
use crate::decision_clock::DecisionClock;
use crate::latch_watcher::WatchedLatches;
use crate::service_healer::{HealNote, HealerHandle, HealerMessage};
use crate::supervision_metrics;

/// The loop turns at least this often: that is how it knows that it was not held up.
const TICK: Duration = Duration::from_millis(1_250);
/// So late after the last tick whatever wakes the loop brings the next one along, and no timer need wake it for that: an
/// echo each second always does.
const MIN_TICK: Duration = Duration::from_millis(750);
/// The name of this part in heartbeats.
pub const COMPONENT: &str = "supervisor";

/// What a reign needs, made once.
pub struct SupervisorDeps {
    /// The bus.
    pub bus: Bus,
    /// The engine, and who we are in it.
    pub docker: DockerScope,
    /// What holds for every unit.
    pub config: SupervisionConfig,
    /// Who we are.
    pub identity: Identity,
    /// For the owner.
    pub outbox: Outbox,
    /// For heartbeats.
    pub progress: Arc<ProcessStatus>,
    /// What is done and seen beside the units; each reign has it for itself.
    pub healer: Arc<Mutex<HealerHandle>>,
}

/// The fold of the journal, its writing end, and what has been seen so far.
pub struct Supervisor {
    deps: Arc<SupervisorDeps>,
    component: Arc<ComponentHandle>,
    journal: Journal,
    outbox_cursor: Arc<OutboxCursor>,
    state: SupervisionState,
    observed: ObservedState,
    executor: ActionExecutor,
    resync: Arc<Notify>,
    /// What only the bus can tell of units that a latch keeps down.
    watched_latches: watch::Sender<WatchedLatches>,
    /// When each unit is to be decided about if nothing happens to it, by our monotonic clock. Kept, because to find it
    /// for every unit at every heartbeat of one would cost a fleet the square of its size.
    wake_times: BTreeMap<SubjectToken, u64>,
    clock: DecisionClock,
    /// When the journal was last written, by the wall clock.
    known_until: UtcMs,
}

impl Supervisor {
    /// Replays the journal, takes it over, tells the owner again what may not have reached him.
    ///
    /// # Errors
    /// [`TermEnd`].
    pub async fn take_over(realm: Arc<SupervisorDeps>) -> Result<Self, TermEnd> {
        let part = realm.progress.component(COMPONENT);
        let subject = Subject::WatchdogJournal(realm.identity.host.clone());
        let writer = realm.identity.boot.clone();
        let wait = |why: &str| {
            part.record_retry();
            realm.progress.record_error(COMPONENT, why);
        };
        let (journal, entries) =
            Journal::replay_with_retry(&realm.bus, &subject, writer, 0, wait).await?;
        let mut state = SupervisionState::default();
        for stored in &entries {
            state.fold(&stored.batch).map_err(|newer| {
                TermEnd::Failed(ExitError::config(format!(
                    "journal sequence {}: {newer}",
                    stored.seq
                )))
            })?;
        }
        let told = entries.iter().map(|s| s.batch.events_published_seq).max();
        let known = entries.iter().map(|s| s.batch.at).max();
        let watch = ObservedState::with_config(realm.config);
        let mut supervisor = Self {
            executor: ActionExecutor::new(realm.docker.docker.clone()),
            deps: realm,
            component: part,
            journal,
            outbox_cursor: OutboxCursor::from_seq(told.unwrap_or(0)),
            state,
            observed: watch,
            resync: Arc::default(),
            watched_latches: watch::Sender::default(),
            wake_times: BTreeMap::new(),
            clock: DecisionClock::start(),
            known_until: known.unwrap_or_else(clock::now),
        };
        supervisor.record_writer(entries).await?;
        Ok(supervisor)
    }

    async fn record_writer(
        &mut self,
        entries: Vec<StoredBatch<SupervisionRecord>>,
    ) -> Result<(), TermEnd> {
        let identity = &self.deps.identity;
        let record = SupervisionRecord::WriterChanged {
            boot: identity.boot.clone(),
            instance: identity.instance.clone(),
            project: identity.host.project.clone(),
            host: identity.host.host.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let untold = entries.iter().filter(|s| s.seq > self.outbox_cursor.seq());
        let untold: Vec<&StoredBatch<SupervisionRecord>> = untold.collect();
        let taken = vec![record];
        let place = self.store(&taken).await?;
        // Oldest first: once a later one is acknowledged, earlier ones count as told.
        for stored in untold {
            self.publish_events(&stored.position(), &stored.batch.records);
        }
        self.publish_events(&place, &taken);
        tracing::info!(project = %self.deps.identity.host.project, units = self.state.units.len(),
            records = entries.len(), "supervising");
        Ok(())
    }

    /// Tells the eye to look at everything anew.
    pub fn resync(&self) -> Arc<Notify> {
        Arc::clone(&self.resync)
    }

    /// What is to be found out on the bus, whenever that changes.
    pub fn watched_latches(&self) -> watch::Receiver<WatchedLatches> {
        self.watched_latches.subscribe()
    }

    /// Up to where the engine's events may be judged already.
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
        let mut beside = Arc::clone(&self.deps.healer).lock_owned().await;
        beside.request_scan();
        let reign = async {
            let mut looked = Instant::now();
            loop {
                let due = self.next_wake(looked);
                let mut is_due = false;
                tokio::select! {
                    biased;
                    Some(event) = events.recv() => self.observe(event).await?,
                    done = self.executor.next_result() => self.on_action_finished(done).await?,
                    Some(order) = commands.recv() => self.execute_command(order).await?,
                    Some(news) = beside.next() => self.on_healer_message(news).await?,
                    () = sleep_until(due.into()) => is_due = true,
                }
                // Beside everything else: in a fleet that beats all the time there is never a second of quiet, and whoever
                // waits for room or was due between two reports would wait for the next look at everything.
                if is_due || looked.elapsed() >= MIN_TICK {
                    looked = Instant::now();
                    self.observe(SupervisionEvent::Ticked).await?;
                    // Not at every event: it is work for every unit, and in a large fleet many beat in a second.
                    supervision_metrics::update(&self.state, &self.observed, self.now().mono);
                }
                self.component.record_iteration();
            }
        };
        match shutdown.run_until_cancelled(reign).await {
            None | Some(Ok(())) => TermEnd::Stopped,
            Some(Err(end)) => end,
        }
    }

    fn now(&self) -> DecisionInputs {
        self.clock.now()
    }

    /// When something may have to be decided, if nothing happens: a tick after the last look at the latest.
    fn next_wake(&self, looked: Instant) -> Instant {
        let now = self.now().mono;
        let next = self.wake_times.values().filter(|wake| **wake > now).min();
        let tick = looked + TICK;
        next.map_or(tick, |wake| tick.min(self.clock.instant_at(*wake)))
    }

    async fn observe(&mut self, event: SupervisionEvent) -> Result<(), TermEnd> {
        let now = self.now();
        match self.observed.observe(&self.state, event, now) {
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

    /// Decide, append, apply, act: in this order, always; again until nothing follows.
    async fn decide(&mut self, unit: &SubjectToken) -> Result<(), TermEnd> {
        failpoint::spin(unit.as_str());
        loop {
            let records = decide::decide(&self.state, &self.observed, unit, self.now());
            if records.is_empty() {
                break;
            }
            self.commit_unit(unit, records).await?;
        }
        if let Some(action) = next_action::due_action(&self.state, &self.observed, unit, self.now())
        {
            tracing::info!(%unit, call = action.as_str(), "calling the engine");
            self.observed.action_started(unit, action.clone());
            self.executor.spawn(unit.clone(), action);
        }
        match wake_at(&self.state, &self.observed, unit, self.now()) {
            Some(wake) => self.wake_times.insert(unit.clone(), wake),
            None => self.wake_times.remove(unit),
        };
        Ok(())
    }

    async fn on_action_finished(&mut self, done: ActionResult) -> Result<(), TermEnd> {
        let ActionResult {
            unit,
            after,
            log_tail: words,
            error,
        } = done;
        if let Some(error) = &error {
            tracing::warn!(%unit, error, "the engine did not do it");
            self.deps
                .progress
                .record_error(COMPONENT, format!("{unit}: {error}"));
        }
        let now = self.now();
        if let Some(words) = words {
            let unit = unit.clone();
            let words = SupervisionEvent::LogRead {
                unit,
                log_tail: words,
            };
            self.observed.observe(&self.state, words, now);
        }
        let seen = match after {
            ContainerAfter::Present(container) => SupervisionEvent::ContainerObserved {
                unit: unit.clone(),
                container,
            },
            ContainerAfter::Removed(container) => SupervisionEvent::ContainerRemoved { container },
            ContainerAfter::Unknown => {
                self.resync.notify_one();
                SupervisionEvent::DockerLost
            }
        };
        self.observed.observe(&self.state, seen, now);
        self.observe(SupervisionEvent::ActionFinished { unit, error })
            .await
    }

    /// The order and what follows from it at once are one journal message; the call comes after it.
    async fn execute_command(&mut self, order: ReceivedCommand) -> Result<(), TermEnd> {
        let now = self.now();
        match decide::apply_command(
            &self.state,
            &self.observed,
            order.command(),
            order.by(),
            now,
        ) {
            Ok((unit, records)) => {
                self.commit_unit(&unit, records).await?;
                order.reply_result(&self.deps.bus, Ok(())).await;
                self.decide(&unit).await
            }
            Err(why) => {
                order.reply_result(&self.deps.bus, Err(why)).await;
                Ok(())
            }
        }
    }

    async fn on_healer_message(&mut self, news: HealerMessage) -> Result<(), TermEnd> {
        match news {
            HealerMessage::Note(note) => self.store_heal_note(note).await,
            HealerMessage::ServicesObserved(services) => {
                self.record_service_starts(&services).await
            }
        }
    }

    /// Stores which services run anew, whoever started them.
    async fn record_service_starts(&mut self, services: &[ObservedService]) -> Result<(), TermEnd> {
        let at = self.now().utc;
        let begun = services.iter().filter_map(|patient| {
            let known = self.state.services.get(&patient.name);
            let service = patient.name.clone();
            let fact = service_healing::detect_start(known, patient, at)?;
            Some(SupervisionRecord::Service {
                service,
                at,
                record: fact,
            })
        });
        let begun: Vec<SupervisionRecord> = begun.collect();
        if begun.is_empty() {
            return Ok(());
        }
        self.commit(begun).await
    }

    /// Stores what was done, or is about to be done, beside the units; not what was withdrawn.
    async fn store_heal_note(&mut self, note: HealNote) -> Result<(), TermEnd> {
        if !note.ack.is_closed() {
            self.commit(vec![note.record]).await?;
            // Withdrawn too late.
            let _ = note.ack.send(());
        }
        Ok(())
    }

    async fn commit_unit(
        &mut self,
        unit: &SubjectToken,
        records: Vec<SupervisionRecord>,
    ) -> Result<(), TermEnd> {
        self.commit(records).await?;
        if let Some(known) = self.state.units.get(unit) {
            self.observed.arm_restart_timer(unit, known, self.now());
        }
        Ok(())
    }

    async fn commit(&mut self, records: Vec<SupervisionRecord>) -> Result<(), TermEnd> {
        let place = self.store(&records).await?;
        self.publish_events(&place, &records);
        Ok(())
    }

    /// Append, then apply.
    async fn store(&mut self, records: &[SupervisionRecord]) -> Result<BatchPosition, TermEnd> {
        let (progress, part) = (&self.deps.progress, &self.component);
        let appended = self
            .journal
            .append(records, self.outbox_cursor.seq(), |why| {
                part.record_retry();
                progress.record_error(COMPONENT, format!("journal: {why}"));
                tracing::warn!(why, "journal not reached; nothing is done until it is");
            })
            .await;
        let place = appended?;
        for record in records {
            self.state.apply(record);
            supervision_metrics::count(record);
            log_record(record);
        }
        let wanted = WatchedLatches::from_state(&self.state);
        self.watched_latches.send_if_modified(|known| {
            let news = *known != wanted;
            *known = wanted;
            news
        });
        Ok(place)
    }

    /// Queues the owner's events of one journal message.
    fn publish_events(&self, place: &BatchPosition, records: &[SupervisionRecord]) {
        let key = format!("watchdog.{}", self.deps.identity.host);
        let bodies = records.iter().map(operator_event);
        self.deps
            .outbox
            .enqueue_journaled(&key, place, bodies, &self.outbox_cursor);
    }
}

fn log_record(record: &SupervisionRecord) {
    let SupervisionRecord::Unit {
        unit, record: fact, ..
    } = record
    else {
        return;
    };
    match fact {
        UnitRecord::RestartScheduled(restart) => tracing::warn!(%unit, reason = %restart.reason,
            attempt = restart.attempt, max = restart.max_restarts, consecutive = restart.consecutive_failures,
            delay_ms = restart.delay_ms, evidence = restart.last_error, "restart scheduled"),
        UnitRecord::StopIntended { reason, .. } => tracing::warn!(%unit, %reason, "stopping"),
        UnitRecord::HangDetected { reason, .. } => tracing::warn!(%unit, %reason, "only observed"),
        UnitRecord::Quarantined {
            reason,
            restarts,
            consecutive_failures: consecutive,
            ..
        } => tracing::error!(%unit,
            %reason, restarts, consecutive, "given up: manual intervention required"),
        UnitRecord::RestartPolicyUnreadable { error: why, .. } => {
            tracing::warn!(%unit, why, "flags not understood");
        }
        UnitRecord::Started { by, .. } => tracing::info!(%unit, ?by, "runs"),
        UnitRecord::UnitHealthy { after_ms, .. } => tracing::info!(%unit, after_ms, "healthy"),
        UnitRecord::Stopped {
            exit_code: exit,
            by,
            ..
        } => {
            tracing::info!(%unit, exit, by, "stopped by a person");
        }
        UnitRecord::Ended {
            exit_code: exit,
            reason: why,
            ..
        } => tracing::info!(%unit, exit, ?why, "ended"),
        UnitRecord::Commanded { command: order, by } => {
            tracing::info!(%unit, order = order.as_str(), by, "ordered");
        }
        UnitRecord::HoldSet { by, reason: why } => tracing::info!(%unit, by, why, "held"),
        UnitRecord::Released {
            by,
            restarts_reset: total,
        } => tracing::info!(%unit, by, total, "released"),
        UnitRecord::HealthCritical {
            for_ms,
            reason: why,
        } => {
            tracing::warn!(%unit, for_ms, why, "critical for long");
        }
        UnitRecord::HealthCriticalEnded => tracing::info!(%unit, "no longer critical"),
        UnitRecord::LatchSeen(latch) => {
            tracing::info!(%unit, account = %latch.account, latch = latch.id, "kept down by a latch");
        }
        UnitRecord::Unlatched {
            latch,
            by,
            reason: why,
        } => {
            tracing::info!(%unit, latch = latch.id, by, why, "latch ended: it may start");
        }
        UnitRecord::FailuresReset { .. } => tracing::info!(%unit, "failures forgiven"),
        UnitRecord::RestartPolicyRead(policy) => tracing::info!(%unit, ?policy, "flags read"),
        UnitRecord::ContainerRemoved => tracing::info!(%unit, "container removed"),
        // The call that follows is logged; a log is not repeated in another.
        UnitRecord::StartIntended { .. } | UnitRecord::LogRead { .. } => {}
    }
}
