//! What has been seen since this process began: containers, heartbeats, signs of our own blindness,
//! calls under way. Nothing here is journaled; all of it is seen again after a restart.

mod unit;

pub use unit::{ObservedContainer, ObservedUnit};

use std::collections::BTreeMap;

use protocol::ids::{AccountKey, SubjectToken};
use protocol::time::UtcMs;

use self::unit::RestartTimer;
use crate::config::SupervisionConfig;
use crate::container::{Container, Exit};
use crate::decision_inputs::DecisionInputs;
use crate::docker_outage::{DockerOutage, LOST_CONTAINER_EXIT};
use crate::evidence::LogTail;
use crate::liveness::HeartbeatSample;
use crate::model::Action;
use crate::model::Latch;
use crate::phase::UnitPhase;
use crate::state::SupervisionState;
use crate::unit::Unit;

/// After a second without a heartbeat an echo over the bus is asked for; neither for longer than this, and the bus
/// carries nothing, or our own loop was held up: either way what we did not hear proves nothing.
const BUS_BLIND_MS: u64 = 2_000;
/// After the bus was away everybody needs time to find it again.
const RECONNECT_GRACE_MS: u64 = 10_000;
/// Who was started and is not heard of counts as on its way up for so long.
const MAX_STARTING_MS: u64 = 15_000;
/// A run that we have watched for this long is not confused with the one before.
const RUN_CONFIRMED_MS: u64 = 5_000;

/// Something was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SupervisionEvent {
    /// Everything, after each connection to the engine and now and then.
    Listed {
        /// Every container of every unit.
        containers: Vec<(SubjectToken, Container)>,
        /// Stops asked for while nobody watched.
        stop_requests: Vec<StopRequest>,
    },
    /// One container.
    ContainerObserved {
        /// Whose.
        unit: SubjectToken,
        /// As the engine shows it now.
        container: Container,
    },
    /// A container was removed.
    ContainerRemoved {
        /// Its id.
        container: String,
    },
    /// The engine was told to stop a container.
    StopRequested(StopRequest),
    /// The engine cannot be reached: what we know of containers is old.
    DockerLost,
    /// It went down and came back; what it shows of that time is reported behind this.
    DockerRecovered(DockerOutage),
    /// A heartbeat.
    HeartbeatReceived {
        /// Whose.
        unit: SubjectToken,
        /// What it says.
        heartbeat: HeartbeatSample,
    },
    /// The end of the log of a run that has ended.
    LogRead {
        /// Whose.
        unit: SubjectToken,
        /// What it says.
        log_tail: LogTail,
    },
    /// An operator ended a latch.
    Unlatched {
        /// Which.
        latch: Latch,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Our own message came back over the bus.
    BusEchoed,
    /// A call has ended.
    ActionFinished {
        /// For which unit.
        unit: SubjectToken,
        /// Why it failed, if so.
        error: Option<String>,
    },
    /// Time passed.
    Ticked,
}

/// The engine was told to stop a container, or to send it SIGTERM or SIGINT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRequest {
    /// The container's id.
    pub container: String,
    /// When, by the engine's wall clock.
    pub at: UtcMs,
}

/// For whom an event may change a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AffectedUnits {
    /// Nobody.
    None,
    /// This unit.
    One(SubjectToken),
    /// Every unit.
    All,
}

/// Everything seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedState {
    config: SupervisionConfig,
    units: BTreeMap<SubjectToken, ObservedUnit>,
    is_docker_reachable: bool,
    /// When it was away last.
    docker_outage: Option<DockerOutage>,
    last_echo: Option<u64>,
    /// Since when silence means something.
    listening_since: u64,
    /// Latches that operators ended: who and why, of those that keep a unit down.
    ended_latches: BTreeMap<Latch, (String, String)>,
}

impl ObservedState {
    /// Nothing seen yet; these rules hold.
    pub fn with_config(config: SupervisionConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// What holds for every unit.
    pub const fn config(&self) -> &SupervisionConfig {
        &self.config
    }

    /// Whether a unit other than this one may be started now: not while enough of them are on their way up.
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

    /// Being started, or started by us and not heard of yet; who is never heard of blocks nobody for long.
    fn is_starting(&self, name: &SubjectToken, unit: &Unit, now: DecisionInputs) -> bool {
        match unit.phase {
            UnitPhase::Starting { .. } => unit.hold.is_none(),
            UnitPhase::Running(_) => {
                let observed_since = self
                    .unit(name)
                    .map_or(0, |observed_unit| observed_unit.observed_since);
                let lately = now.mono.saturating_sub(observed_since) < MAX_STARTING_MS;
                unit.is_started_by_us && unit.healthy_since.is_none() && lately
            }
            _ => false,
        }
    }

    /// Takes in what was seen.
    pub fn observe(
        &mut self,
        state: &SupervisionState,
        event: SupervisionEvent,
        now: DecisionInputs,
    ) -> AffectedUnits {
        match event {
            SupervisionEvent::Listed {
                containers,
                stop_requests,
            } => {
                self.on_listed(state, containers, now);
                for request in stop_requests {
                    self.on_stop_requested(state, &request, now);
                }
                AffectedUnits::All
            }
            SupervisionEvent::ContainerObserved { unit, container } => {
                self.unit_mut(&unit).observe_container(container, now);
                AffectedUnits::One(unit)
            }
            SupervisionEvent::ContainerRemoved { container } => self.on_removed(&container),
            SupervisionEvent::StopRequested(request) => {
                self.on_stop_requested(state, &request, now)
            }
            SupervisionEvent::DockerLost => {
                self.is_docker_reachable = false;
                AffectedUnits::None
            }
            SupervisionEvent::DockerRecovered(outage) => {
                self.docker_outage = Some(outage);
                AffectedUnits::None
            }
            SupervisionEvent::HeartbeatReceived { unit, heartbeat } => {
                self.note_bus_alive(now);
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
                    Some(action) if is_reachable => {
                        observed_unit.on_action_finished(&action, error, starts, now);
                    }
                    Some(_) | None => {}
                }
                AffectedUnits::One(unit)
            }
            SupervisionEvent::Ticked => AffectedUnits::All,
        }
    }

    /// Notes that a call is made.
    pub fn action_started(&mut self, unit: &SubjectToken, action: Action) {
        let observed_unit = self.unit_mut(unit);
        observed_unit.failed_start = None;
        observed_unit.in_flight = Some(action);
    }

    /// Begins to measure the wait of a unit by our own clock, unless it is measured already.
    pub fn arm_restart_timer(&mut self, name: &SubjectToken, unit: &Unit, now: DecisionInputs) {
        let observed_unit = self.unit_mut(name);
        observed_unit.restart_timer =
            observed_unit
                .restart_due_at(unit, now)
                .map(|due| RestartTimer {
                    since: unit.since,
                    restarts: unit.restarts,
                    delay_ms: unit.phase.delay_ms(),
                    due_at: due,
                });
    }

    /// What is seen of a unit.
    pub fn unit(&self, unit: &SubjectToken) -> Option<&ObservedUnit> {
        self.units.get(unit)
    }

    /// Every unit seen.
    pub fn units(&self) -> impl Iterator<Item = &SubjectToken> {
        self.units.keys()
    }

    /// Whether the engine answers.
    pub const fn is_docker_reachable(&self) -> bool {
        self.is_docker_reachable
    }

    /// Whether a run ended because the engine did: while we know it was away, or else by its own word, before we came.
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

    /// Whether silence on the bus may be ours.
    pub fn is_bus_blind(&self, mono: u64) -> bool {
        self.last_echo
            .is_none_or(|echo| mono.saturating_sub(echo) > BUS_BLIND_MS)
    }

    /// A unit to which the candles of this account's market come.
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

    /// Since when silence of this unit means something.
    pub fn observed_since(&self, observed_unit: &ObservedUnit) -> u64 {
        observed_unit.observed_since.max(self.listening_since)
    }

    fn unit_mut(&mut self, unit: &SubjectToken) -> &mut ObservedUnit {
        self.units.entry(unit.clone()).or_default()
    }

    /// Who ended this latch, and why, if anybody did.
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

    /// The bus has just carried something to us.
    fn note_bus_alive(&mut self, now: DecisionInputs) {
        if self.is_bus_blind(now.mono) {
            let grace = if self.last_echo.is_some() {
                RECONNECT_GRACE_MS
            } else {
                0
            };
            self.listening_since = self.listening_since.max(now.mono.saturating_add(grace));
        }
        self.last_echo = Some(now.mono);
    }

    fn on_listed(
        &mut self,
        state: &SupervisionState,
        containers: Vec<(SubjectToken, Container)>,
        now: DecisionInputs,
    ) {
        self.is_docker_reachable = true;
        let there = |unit: &SubjectToken| containers.iter().any(|(other, _)| other == unit);
        let known: Vec<SubjectToken> = state
            .units
            .keys()
            .chain(self.units.keys())
            .cloned()
            .collect();
        for unit in known.into_iter().filter(|unit| !there(unit)) {
            self.unit_mut(&unit).container = ObservedContainer::Missing;
        }
        for (unit, container) in containers {
            self.unit_mut(&unit).observe_container(container, now);
        }
    }

    fn on_removed(&mut self, container: &str) -> AffectedUnits {
        match self.find_unit(container) {
            Some(unit) => {
                self.unit_mut(&unit).container = ObservedContainer::Missing;
                AffectedUnits::One(unit)
            }
            None => AffectedUnits::None,
        }
    }

    /// A person's wish, unless it is our own stop that shows.
    fn on_stop_requested(
        &mut self,
        state: &SupervisionState,
        request: &StopRequest,
        now: DecisionInputs,
    ) -> AffectedUnits {
        let Some(unit) = self.find_unit(&request.container) else {
            return AffectedUnits::None;
        };
        let phase = state.units.get(&unit).map(|unit| &unit.phase);
        let observed_unit = self.unit_mut(&unit);
        let is_own_stop = matches!(observed_unit.in_flight, Some(Action::Stop { .. }))
            || matches!(phase, Some(UnitPhase::Stopping { .. }));
        if let (ObservedContainer::Present(container), false) =
            (&observed_unit.container, is_own_stop)
        {
            // The engine's clock may have jumped since the start; a long look at this run is as good.
            let is_run_confirmed = container.is_alive()
                && now.mono.saturating_sub(observed_unit.observed_since) > RUN_CONFIRMED_MS;
            if is_run_confirmed || request.at >= container.start_time {
                observed_unit.stop_requested_run = Some(container.run.clone());
            }
        }
        AffectedUnits::One(unit)
    }

    fn find_unit(&self, id: &str) -> Option<SubjectToken> {
        let holds = |observed_unit: &ObservedUnit| match &observed_unit.container {
            ObservedContainer::Present(container) => container.run.container == id,
            ObservedContainer::Unknown | ObservedContainer::Missing => false,
        };
        let found = self
            .units
            .iter()
            .find(|(_, observed_unit)| holds(observed_unit));
        found.map(|(unit, _)| unit.clone())
    }
}
