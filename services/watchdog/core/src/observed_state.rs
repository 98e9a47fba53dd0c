//! Observed state: containers, heartbeats, bus connectivity, calls in flight. Not journaled; rebuilt after a restart.

mod blindness;
mod heartbeat_source;
mod unit;

pub use blindness::{Blindness, Obstacle};

pub use unit::{ExcludedContainer, ObservedContainer, ObservedUnit};

use std::collections::{BTreeMap, BTreeSet};

use protocol::ids::{AccountKey, SubjectToken};

use crate::config::SupervisionConfig;
use crate::container::{Container, Exit};
use crate::decision_inputs::DecisionInputs;
use crate::docker_outage::{DockerOutage, LOST_CONTAINER_EXIT};
use crate::evidence::LogTail;
use crate::liveness::HeartbeatSample;
use crate::model::Action;
use crate::model::Latch;
use crate::phase::UnitPhase;
use crate::record::{SupervisionRecord, UnitRecord};
use crate::state::SupervisionState;
use crate::stop_request::{StopEvidence, StopRequest};
use crate::unit::Unit;

/// Longest time without a heartbeat or an echo, in milliseconds. The watchdog asks for an echo after one second. Beyond
/// this time the bus carries nothing or the watchdog's loop was delayed, so a missing heartbeat proves nothing.
const BUS_BLIND_MS: u64 = 2_000;
/// Time that units get to reconnect after a bus outage, in milliseconds.
const RECONNECT_GRACE_MS: u64 = 10_000;
/// Time for which a unit without a heartbeat counts as starting, in milliseconds.
const MAX_STARTING_MS: u64 = 15_000;

/// One observation, as input of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisionEvent {
    /// All containers, after each connection to Docker and periodically.
    Listed(ContainerList),
    /// Docker has the container of a unit and could not describe it. Other units are not affected.
    InspectionFailed(FailedInspection),
    /// One container was inspected.
    ContainerObserved {
        /// Unit to which the container belongs.
        unit: SubjectToken,
        /// The container as Docker reports it now.
        container: Container,
    },
    /// A container was removed.
    ContainerRemoved {
        /// Id of the container.
        container: String,
    },
    /// A stop of a container was requested from Docker.
    StopRequested(StopRequest),
    /// Docker is unreachable, with the error in one line. The known containers are out of date.
    DockerLost(String),
    /// Docker was down and is up again. Observations of that time follow this event.
    DockerRecovered(DockerOutage),
    /// A heartbeat was received.
    HeartbeatReceived {
        /// Unit that sent the heartbeat.
        unit: SubjectToken,
        /// Content of the heartbeat, as far as decisions need it.
        heartbeat: HeartbeatSample,
    },
    /// The log of an ended run was read.
    LogRead {
        /// The unit that wrote the log.
        unit: SubjectToken,
        /// The end of the log.
        log_tail: LogTail,
    },
    /// An operator ended a latch.
    Unlatched {
        /// Latch that the operator ended.
        latch: Latch,
        /// Operator who ended it.
        by: String,
        /// Reason that the operator gave.
        reason: String,
    },
    /// The watchdog's own echo came back over the bus.
    BusEchoed,
    /// A Docker call ended.
    ActionFinished {
        /// The unit of the call.
        unit: SubjectToken,
        /// Error of the call. `None` if it succeeded.
        error: Option<String>,
    },
    /// A timer of the watchdog is due; nothing was observed.
    Ticked,
}

/// All containers of the units at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerList {
    /// The container of every unit, as far as Docker could describe it.
    pub containers: Vec<(SubjectToken, Container)>,
    /// Units whose container exists and could not be described.
    pub unjudged: Vec<FailedInspection>,
    /// Units whose container may not be supervised.
    pub excluded: Vec<ExcludedContainer>,
    /// Stops of the last runs by Docker's history.
    pub stop_requests: Vec<StopRequest>,
}

/// An inspection that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedInspection {
    /// Unit to which the container belongs.
    pub unit: SubjectToken,
    /// Id of the container.
    pub container: String,
    /// The error in one line.
    pub error: String,
}

/// The units whose decision an event may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AffectedUnits {
    /// The event changes no decision.
    None,
    /// The decision about this unit only.
    One(SubjectToken),
    /// The decision about every unit, such as after a Docker outage.
    All,
}

/// Observations of all units, of Docker and of the bus.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedState {
    config: SupervisionConfig,
    units: BTreeMap<SubjectToken, ObservedUnit>,
    is_docker_reachable: bool,
    /// Start of the time in which Docker is unreachable, by the monotonic clock, and the error. The process begins in it.
    docker_lost: Option<(u64, String)>,
    /// Stops of containers that are not known yet.
    unclaimed_stops: BTreeMap<String, StopRequest>,
    /// The last Docker outage.
    docker_outage: Option<DockerOutage>,
    /// Start of the recorded blindness, by the monotonic clock. `None` if an earlier process recorded it.
    blind_since: Option<u64>,
    last_echo: Option<u64>,
    /// Time from which a missing heartbeat counts.
    listening_since: u64,
    /// Latches that operators ended, as far as they keep a unit stopped: operator and reason.
    ended_latches: BTreeMap<Latch, (String, String)>,
}

impl ObservedState {
    /// A state without observations.
    pub fn with_config(config: SupervisionConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// The settings that apply to every unit.
    pub const fn config(&self) -> &SupervisionConfig {
        &self.config
    }

    /// Whether this unit may start now. `false` while enough other units are starting.
    pub fn has_start_slot(
        &self,
        state: &SupervisionState,
        name: &SubjectToken,
        now: DecisionInputs,
    ) -> bool {
        let others = state.units.iter().filter(|(other, _)| *other != name);
        let starting = others.filter(|(other, unit)| self.is_starting(other, unit, now));
        starting.count() < usize::try_from(self.config.max_starting).unwrap_or(usize::MAX)
    }

    /// Whether a unit is starting, or was started by the watchdog and sent no heartbeat yet. The latter holds for a
    /// limited time, so that a dead unit does not block others.
    fn is_starting(&self, name: &SubjectToken, unit: &Unit, now: DecisionInputs) -> bool {
        match unit.phase {
            UnitPhase::Starting { .. } => unit.hold.is_none(),
            UnitPhase::Running(_) => {
                let observed_since = self
                    .unit(name)
                    .map_or(0, |observed_unit| observed_unit.observed_since);
                let lately = now.clock.mono.saturating_sub(observed_since) < MAX_STARTING_MS;
                unit.is_started_by_us && unit.healthy_since.is_none() && lately
            }
            _ => false,
        }
    }

    /// Adds an observation. Returns the units to decide about.
    pub fn observe(
        &mut self,
        state: &SupervisionState,
        event: SupervisionEvent,
        now: DecisionInputs,
    ) -> AffectedUnits {
        match event {
            SupervisionEvent::Listed(list) => {
                self.on_listed(state, list, now);
                AffectedUnits::All
            }
            SupervisionEvent::InspectionFailed(failed) => {
                self.unit_mut(&failed.unit).on_inspection_failed(
                    &failed.container,
                    failed.error,
                    now,
                );
                AffectedUnits::One(failed.unit)
            }
            SupervisionEvent::ContainerObserved { unit, container } => {
                let id = container.run.container.clone();
                self.unit_mut(&unit).observe_container(container, now);
                if let Some(request) = self.unclaimed_stops.remove(&id) {
                    self.on_stop_requested(state, &request, now);
                }
                AffectedUnits::One(unit)
            }
            SupervisionEvent::ContainerRemoved { container } => self.on_removed(&container, now),
            SupervisionEvent::StopRequested(request) if request.is_of_last_run => {
                self.keep_unclaimed(request);
                AffectedUnits::None
            }
            SupervisionEvent::StopRequested(request) => {
                self.on_stop_requested(state, &request, now)
            }
            SupervisionEvent::DockerLost(error) => {
                self.is_docker_reachable = false;
                let since = self
                    .docker_lost
                    .take()
                    .map_or(now.clock.mono, |lost| lost.0);
                self.docker_lost = Some((since, error));
                AffectedUnits::None
            }
            SupervisionEvent::DockerRecovered(outage) => {
                self.docker_outage = Some(outage);
                AffectedUnits::None
            }
            SupervisionEvent::HeartbeatReceived { unit, heartbeat } => {
                self.note_bus_alive(now);
                if !self.accepts_heartbeat(state, &unit, heartbeat.mode, now) {
                    return AffectedUnits::None;
                }
                self.unit_mut(&unit).on_heartbeat(heartbeat, now);
                AffectedUnits::One(unit)
            }
            SupervisionEvent::LogRead { unit, log_tail } => {
                self.unit_mut(&unit).log_tail = Some(log_tail);
                AffectedUnits::One(unit)
            }
            SupervisionEvent::Unlatched { latch, by, reason } => {
                self.on_unlatched(state, latch, by, reason)
            }
            SupervisionEvent::BusEchoed => {
                self.note_bus_alive(now);
                AffectedUnits::None
            }
            SupervisionEvent::ActionFinished { unit, error } => {
                let starts = state.units.get(&unit).map_or(0, |unit| unit.starts);
                let is_reachable = self.is_docker_reachable;
                let observed_unit = self.unit_mut(&unit);
                match observed_unit.in_flight.take() {
                    // An unreachable Docker has rejected nothing: the result shows in the next list.
                    Some(action)
                        if is_reachable
                            && (matches!(action, Action::Stop { .. })
                                || observed_unit.obstacle().is_none()) =>
                    {
                        observed_unit.on_action_finished(&action, error, starts, now);
                    }
                    Some(_) | None => {}
                }
                AffectedUnits::One(unit)
            }
            SupervisionEvent::Ticked => AffectedUnits::All,
        }
    }

    /// Notes that a call is in flight.
    pub fn action_started(&mut self, unit: &SubjectToken, action: Action) {
        let observed_unit = self.unit_mut(unit);
        observed_unit.failed_start = None;
        observed_unit.in_flight = Some(action);
    }

    /// Measures what records have begun by the monotonic clock: restart delays, restarts within a time, commands that
    /// wait. Called after each change of the state.
    pub fn on_applied(
        &mut self,
        state: &SupervisionState,
        records: &[SupervisionRecord],
        now: DecisionInputs,
    ) {
        for record in records {
            let (unit, record) = match record {
                SupervisionRecord::Unit { unit, record, .. } => (unit, record),
                SupervisionRecord::BlindnessBegan { .. } => {
                    let for_ms = self.blindness(now.clock.mono).map(|known| known.for_ms);
                    let for_ms = for_ms.unwrap_or_default();
                    self.blind_since = Some(now.clock.mono.saturating_sub(for_ms));
                    continue;
                }
                _ => continue,
            };
            let Some(known) = state.units.get(unit) else {
                continue;
            };
            let observed_unit = self.unit_mut(unit);
            observed_unit.arm_timers(known, now);
            if let UnitRecord::RestartScheduled(restart) = record
                && restart.reason.is_failure()
            {
                observed_unit.note_restart(now);
            }
        }
    }

    /// The observations of a unit. `None` if it was never observed.
    pub fn unit(&self, unit: &SubjectToken) -> Option<&ObservedUnit> {
        self.units.get(unit)
    }

    /// Names of all units that were observed since the start, in order.
    pub fn units(&self) -> impl Iterator<Item = &SubjectToken> {
        self.units.keys()
    }

    /// Whether Docker answered last.
    pub const fn is_docker_reachable(&self) -> bool {
        self.is_docker_reachable
    }

    /// Whether a run ended because Docker did: during an observed outage, or with the exit code of a lost container
    /// before the first list.
    pub fn ended_with_docker(
        &self,
        observed_unit: &ObservedUnit,
        container: &Container,
        exit: Exit,
    ) -> bool {
        let outage = self.docker_outage.as_ref();
        let found = observed_unit.found_ended_run.as_ref() == Some(&container.run);
        found && exit.code == LOST_CONTAINER_EXIT
            || outage.is_some_and(|outage| outage.explains_exit(container, exit))
    }

    /// Whether a missing heartbeat may be due to the watchdog's own connection.
    pub fn is_bus_blind(&self, mono: u64) -> bool {
        self.last_echo
            .is_none_or(|echo| mono.saturating_sub(echo) > BUS_BLIND_MS)
    }

    /// A unit of this account that receives candles.
    pub fn peer_with_candles(&self, account: &AccountKey, mono: u64) -> Option<&SubjectToken> {
        let mut sights = self.units.iter();
        let has = |observed_unit: &ObservedUnit| {
            let liveness = observed_unit.liveness.as_ref();
            liveness.is_some_and(|liveness| liveness.has_candles(account, mono))
        };
        sights
            .find(|(_, observed_unit)| has(observed_unit))
            .map(|(name, _)| name)
    }

    /// Time from which a missing heartbeat of this unit counts.
    pub fn observed_since(&self, observed_unit: &ObservedUnit) -> u64 {
        observed_unit.observed_since.max(self.listening_since)
    }

    fn unit_mut(&mut self, unit: &SubjectToken) -> &mut ObservedUnit {
        self.units.entry(unit.clone()).or_default()
    }

    /// Operator and reason of the end of a latch. `None` if it was not ended.
    pub fn unlatched(&self, latch: &Latch) -> Option<&(String, String)> {
        self.ended_latches.get(latch)
    }

    fn on_unlatched(
        &mut self,
        state: &SupervisionState,
        latch: Latch,
        by: String,
        reason: String,
    ) -> AffectedUnits {
        self.ended_latches.insert(latch, (by, reason));
        let is_awaited =
            |latch: &Latch| state.latched_units().any(|(_, known)| known == Some(latch));
        self.ended_latches.retain(|latch, _| is_awaited(latch));
        AffectedUnits::All
    }

    /// Notes that the bus has carried a message.
    fn note_bus_alive(&mut self, now: DecisionInputs) {
        if self.is_bus_blind(now.clock.mono) {
            let grace = if self.last_echo.is_some() {
                RECONNECT_GRACE_MS
            } else {
                0
            };
            self.listening_since = self
                .listening_since
                .max(now.clock.mono.saturating_add(grace));
        }
        self.last_echo = Some(now.clock.mono);
    }

    fn on_listed(&mut self, state: &SupervisionState, list: ContainerList, now: DecisionInputs) {
        self.is_docker_reachable = true;
        self.docker_lost = None;
        let mut listed: BTreeSet<SubjectToken> = BTreeSet::new();
        listed.extend(list.containers.iter().map(|(unit, _)| unit.clone()));
        listed.extend(list.unjudged.iter().map(|failed| failed.unit.clone()));
        listed.extend(list.excluded.iter().map(|excluded| excluded.unit.clone()));
        let known = state.units.keys().chain(self.units.keys());
        let missing: Vec<SubjectToken> = known
            .filter(|unit| !listed.contains(*unit))
            .cloned()
            .collect();
        for unit in missing {
            self.unit_mut(&unit).on_removed(now);
        }
        for excluded in list.excluded {
            self.unit_mut(&excluded.unit).on_excluded(&excluded);
        }
        for failed in list.unjudged {
            self.unit_mut(&failed.unit)
                .on_inspection_failed(&failed.container, failed.error, now);
        }
        for (unit, container) in list.containers {
            self.unit_mut(&unit).observe_container(container, now);
        }
        for (unit, known) in &state.units {
            self.unit_mut(unit).arm_timers(known, now);
        }
        self.unclaimed_stops.clear();
        for request in list.stop_requests {
            self.on_stop_requested(state, &request, now);
            if self.find_unit(&request.container).is_none() {
                self.keep_unclaimed(request);
            }
        }
    }

    /// Keeps a stop for the next inspection of its container. A finished stop counts more than a signal.
    fn keep_unclaimed(&mut self, request: StopRequest) {
        let known = self.unclaimed_stops.get(&request.container);
        if known.is_none_or(|known| known.evidence != StopEvidence::Finished) {
            self.unclaimed_stops
                .insert(request.container.clone(), request);
        }
    }

    fn on_removed(&mut self, container: &str, now: DecisionInputs) -> AffectedUnits {
        self.unclaimed_stops.remove(container);
        match self.find_unit(container) {
            Some(unit) => {
                self.unit_mut(&unit).on_removed(now);
                AffectedUnits::One(unit)
            }
            None => AffectedUnits::None,
        }
    }

    /// Notes an operator's stop, unless it is the watchdog's own.
    fn on_stop_requested(
        &mut self,
        state: &SupervisionState,
        request: &StopRequest,
        now: DecisionInputs,
    ) -> AffectedUnits {
        let Some(unit) = self.find_unit(&request.container) else {
            return AffectedUnits::None;
        };
        let known = state.units.get(&unit);
        let is_stopping =
            known.is_some_and(|unit| matches!(unit.phase, UnitPhase::Stopping { .. }));
        let own_stop_run = known.and_then(|unit| unit.own_stop_run.as_ref());
        let observed_unit = self.unit_mut(&unit);
        let is_own_call = matches!(observed_unit.in_flight, Some(Action::Stop { .. }));
        if !is_stopping && !is_own_call {
            observed_unit.on_stop_requested(request, own_stop_run, now);
        }
        AffectedUnits::One(unit)
    }

    fn find_unit(&self, id: &str) -> Option<SubjectToken> {
        let holds = |observed_unit: &ObservedUnit| match &observed_unit.container {
            ObservedContainer::Present(container) => container.run.container == id,
            ObservedContainer::Unknown
            | ObservedContainer::Missing
            | ObservedContainer::Excluded(_) => false,
        };
        let found = self
            .units
            .iter()
            .find(|(_, observed_unit)| holds(observed_unit));
        found.map(|(unit, _)| unit.clone())
    }
}
