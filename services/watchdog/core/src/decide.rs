//! What to record about a unit, by the table in the crate documentation. Entry point: [`decide`].

mod attention;
mod blindness;
mod context;
mod restart;
mod running;

pub use attention::deferred_reply;
pub use blindness::blindness_record;

use context::DecisionContext;
use protocol::command::UnitCommand;
use protocol::ids::SubjectToken;
use restart::RunEnd;

use crate::command_rules;
use crate::container::{Container, Exit, Run, Status};
use crate::decision_inputs::DecisionInputs;
use crate::exit_policy::{ExitAction, exit_action, may_restart_at_once};
use crate::liveness;
use crate::model::{Latch, RunCommand, StartedBy};
use crate::observed_state::{ObservedContainer, ObservedState, ObservedUnit};
use crate::phase::UnitPhase;
use crate::reason::{NoRestartReason, QuarantineReason, RestartReason};
use crate::record::{SupervisionRecord, UnitRecord};
use crate::restart_policy::RestartPolicy;
use crate::service_healing;
use crate::state::SupervisionState;
use crate::stop_request::StopVerdict;
use crate::unit::PendingCommand;

/// Delay between the end of an operator's stop and its record. Within it a `docker restart` shows its start, and a
/// Docker daemon that shuts down stops the watchdog as well.
const STOP_SETTLE_MS: u64 = 1_000;
/// Longest wait for a log before a quarantine is recorded, in milliseconds. Reading a log takes less.
const LOG_WAIT_MS: u64 = 3_000;
/// Rounds of one decision. More are a bug: each round would append to the journal without end.
const MAX_ROUNDS: usize = 16;
/// Maximum number of records of one decision.
const MAX_CHAIN_LENGTH: usize = 8;

/// The records of one unit that follow from the journal and the observations. All of them belong into one journal
/// message. Empty if nothing changes.
pub fn decide(
    state: &SupervisionState,
    observed: &ObservedState,
    name: &SubjectToken,
    now: DecisionInputs,
) -> Vec<SupervisionRecord> {
    decide_chain(state, observed, name, now, None)
}

/// The records of a command about a unit or a service: the command and what follows from it at once.
///
/// # Errors
/// The rejection in one line.
pub fn apply_command(
    state: &SupervisionState,
    observed: &ObservedState,
    command: &UnitCommand,
    by: &str,
    now: DecisionInputs,
) -> Result<(SubjectToken, Vec<SupervisionRecord>), String> {
    let name = command.unit().ok_or("not a command about a unit")?;
    if let (None, Some(service)) = (state.units.get(name), state.services.get(name)) {
        let record = service_healing::evaluate_command(name, service, command, by)?;
        let record = SupervisionRecord::Service {
            service: name.clone(),
            at: now.clock.utc,
            record,
        };
        return Ok((name.clone(), vec![record]));
    }
    let paused = observed.unit(name).is_some_and(ObservedUnit::is_paused);
    let is_deferred = observed.obstacle(name).is_some();
    let record = command_rules::evaluate(state.units.get(name), paused, command, by, is_deferred)?;
    Ok((
        name.clone(),
        decide_chain(state, observed, name, now, Some(record)),
    ))
}

/// The record that stops a decision without end: the unit is put on hold, and the operator is notified.
pub fn halt(name: &SubjectToken, now: DecisionInputs) -> SupervisionRecord {
    SupervisionRecord::Unit {
        unit: name.clone(),
        at: now.clock.utc,
        record: UnitRecord::DecisionHalted,
    }
}

/// The records of one round of a decision. A decision comes to rest after a few rounds; one that does not is halted.
///
/// `rounds` counts the rounds of this decision that gave records. Empty if the decision has come to rest.
pub fn decide_round(
    state: &SupervisionState,
    observed: &ObservedState,
    name: &SubjectToken,
    now: DecisionInputs,
    rounds: usize,
) -> Vec<SupervisionRecord> {
    let records = decide(state, observed, name, now);
    if !records.is_empty() && rounds >= MAX_ROUNDS {
        return vec![halt(name, now)];
    }
    records
}

/// Records until nothing follows. Each record is decided on the state that the record before has produced.
fn decide_chain(
    state: &SupervisionState,
    observed: &ObservedState,
    name: &SubjectToken,
    now: DecisionInputs,
    mut first: Option<UnitRecord>,
) -> Vec<SupervisionRecord> {
    let unobserved = ObservedUnit::default();
    let observed_unit = observed.unit(name).unwrap_or(&unobserved);
    let mut unit = state.units.get(name).cloned().unwrap_or_default();
    let mut records = Vec::new();
    while records.len() < MAX_CHAIN_LENGTH {
        let context = DecisionContext {
            name,
            state,
            unit: &unit,
            observed_state: observed,
            observed_unit,
            now,
        };
        let Some(record) = first.take().or_else(|| context.next_record()) else {
            break;
        };
        unit.apply(now.clock.utc, &record);
        records.push(SupervisionRecord::Unit {
            unit: name.clone(),
            at: now.clock.utc,
            record,
        });
    }
    records
}

/// Time of the next decision about a unit if no event comes before, by the monotonic clock. `None` if only an event
/// changes anything.
pub fn wake_at(
    state: &SupervisionState,
    observed: &ObservedState,
    name: &SubjectToken,
    now: DecisionInputs,
) -> Option<u64> {
    let (unit, observed_unit) = (state.units.get(name)?, observed.unit(name)?);
    let ObservedContainer::Present(container) = &observed_unit.container else {
        return None;
    };
    match &unit.phase {
        UnitPhase::RestartPending { .. } if unit.hold.is_some() => None,
        UnitPhase::RestartPending { .. } => observed_unit.restart_due_at(unit, now),
        UnitPhase::Running(run)
            if !container.is_alive()
                && observed_unit.stop_verdict(run) != StopVerdict::NotRequested =>
        {
            observed_unit
                .ended_since(run)
                .map(|ended| ended + STOP_SETTLE_MS)
        }
        UnitPhase::Running(_) if container.status == Status::Running => {
            let observed_since = observed.observed_since(observed_unit);
            Some(
                liveness::hung_at(
                    observed_unit.liveness.as_ref(),
                    observed_since,
                    unit.healthy_since.as_ref(),
                ) + 1,
            )
        }
        UnitPhase::Stopping { .. } => Some(observed_unit.stop_retry_at()),
        UnitPhase::Running(run) => observed_unit
            .ended_since(run)
            .map(|ended| ended + LOG_WAIT_MS),
        _ => None,
    }
}

/// Time between SIGTERM and SIGKILL. Zero without heartbeats: a frozen process cannot use the time, and a process
/// without the bus cannot journal a clean shutdown.
const fn stop_grace_ms(reason: &RestartReason, usual_ms: u64) -> u64 {
    match reason {
        RestartReason::HeartbeatLost { .. } | RestartReason::NoFirstHeartbeat { .. } => 0,
        _ => usual_ms,
    }
}

impl DecisionContext<'_> {
    /// The next record. `None` if nothing follows.
    fn next_record(&self) -> Option<UnitRecord> {
        if self.unit.is_halted {
            return None;
        }
        self.expired_command().or_else(|| self.container_decision())
    }

    fn container_decision(&self) -> Option<UnitRecord> {
        match &self.observed_unit.container {
            ObservedContainer::Unknown => None,
            ObservedContainer::Missing => match self.unit.phase {
                UnitPhase::Unknown => None,
                UnitPhase::Gone => self.lasting_removal(),
                _ => Some(UnitRecord::ContainerRemoved),
            },
            ObservedContainer::Excluded(excluded) => {
                self.not_supervised(&excluded.container, &excluded.reason)
            }
            ObservedContainer::Present(container) => self
                .stop_failure(container)
                .or_else(|| self.late_log())
                .or_else(|| self.policy_change(container))
                .or_else(|| self.container_record(container)),
        }
    }

    /// The log of a failure whose restart was decided before the log was read.
    fn late_log(&self) -> Option<UnitRecord> {
        let failure = self.unit.unexplained_failure.as_ref()?;
        let log_tail = self.observed_unit.log_tail_of(&failure.run)?;
        let (log, log_error) = log_tail.to_parts()?;
        let run = log_tail.run.clone();
        Some(UnitRecord::LogRead {
            run,
            log,
            log_error,
        })
    }

    fn policy_change(&self, container: &Container) -> Option<UnitRecord> {
        let known = self.unit.policy.as_ref();
        match &container.policy {
            Ok(read) => (known != Some(read)).then(|| UnitRecord::RestartPolicyRead(read.clone())),
            Err(error) => {
                let container = &container.run.container;
                (self.unit.unreadable_container.as_ref() != Some(container)).then(|| {
                    UnitRecord::RestartPolicyUnreadable {
                        container: container.clone(),
                        error: error.clone(),
                        observed_only: known.is_none(),
                    }
                })
            }
        }
    }

    fn container_record(&self, container: &Container) -> Option<UnitRecord> {
        match container.status {
            Status::Created => self.not_started(container),
            Status::InTransition => None,
            Status::Running | Status::Paused => self.on_running(container),
            Status::Exited(exit) => self
                .on_ended(container, exit)
                .filter(|record| !self.waits_for_log(container, record)),
        }
    }

    /// Whether a quarantine waits for the log, which is part of the notification. Needed where the log is read after
    /// the end, because a restart might have followed at once.
    fn waits_for_log(&self, container: &Container, record: &UnitRecord) -> bool {
        let is_quarantine = matches!(record, UnitRecord::Quarantined { .. });
        let is_log_unread = may_restart_at_once(container)
            && self.observed_unit.log_tail_of(&container.run).is_none();
        let ended = self.observed_unit.ended_since(&container.run);
        is_quarantine
            && is_log_unread
            && ended.is_some_and(|ended| self.now.clock.mono < ended + LOG_WAIT_MS)
    }

    fn on_running(&self, container: &Container) -> Option<UnitRecord> {
        match &self.unit.phase {
            UnitPhase::Running(run) if *run == container.run => self
                .stop_request_change(container)
                .or_else(|| self.commanded_stop(container))
                .or_else(|| self.check_health(container)),
            // The end of this run is journaled: the observation is older, or the run is about to end.
            phase if phase.run() == Some(&container.run) => None,
            _ => Some(self.started(container)),
        }
    }

    fn started(&self, container: &Container) -> UnitRecord {
        let by = match &self.unit.phase {
            UnitPhase::Unknown => StartedBy::AlreadyRunning,
            UnitPhase::Starting { run } if run.container == container.run.container => {
                StartedBy::Watchdog
            }
            _ => StartedBy::Operator,
        };
        UnitRecord::Started {
            run: container.run.clone(),
            by,
            config: Some(container.config.clone()),
        }
    }

    /// The stop of a command. A paused container has to be unpaused first.
    fn commanded_stop(&self, container: &Container) -> Option<UnitRecord> {
        let pending = self.pending_command()?;
        if self.observed_state.obstacle(self.name).is_some() {
            return None;
        }
        (container.status == Status::Running).then(|| UnitRecord::StopIntended {
            run: container.run.clone(),
            reason: RestartReason::Commanded {
                by: pending.by.clone(),
            },
            grace_ms: container.grace_ms,
        })
    }

    /// The command in progress. `None` while the unit is on hold.
    fn pending_command(&self) -> Option<&PendingCommand> {
        self.unit
            .pending_command
            .as_ref()
            .filter(|_| self.unit.hold.is_none())
    }

    fn on_ended(&self, container: &Container, exit: Exit) -> Option<UnitRecord> {
        let same = self.unit.phase.run() == Some(&container.run);
        if let (true, Some(pending)) = (same, self.pending_command()) {
            return self.on_commanded_exit(&container.run, exit, pending);
        }
        match &self.unit.phase {
            UnitPhase::Unknown | UnitPhase::Gone if exit.code == 0 => Some(UnitRecord::Ended {
                run: container.run.clone(),
                exit_code: 0,
                reason: NoRestartReason::BeforeSupervision,
            }),
            UnitPhase::Unknown | UnitPhase::Gone => self.on_exit(container, exit),
            UnitPhase::Running(_) if same => self
                .stop_request_change(container)
                .or_else(|| self.on_exit(container, exit)),
            UnitPhase::Stopping { reason, .. } if same => {
                Some(self.on_own_stop(&container.run, exit, reason))
            }
            UnitPhase::RestartPending { run, .. }
                if same
                    && self.unit.failed_run.as_ref() == Some(run)
                    && self.observed_unit.stop_verdict(run) == StopVerdict::Requested =>
            {
                Some(UnitRecord::Stopped {
                    run: run.clone(),
                    exit_code: exit.code,
                    by: None,
                })
            }
            UnitPhase::RestartPending { run, .. } if same => {
                let due = self.observed_unit.restart_due_at(self.unit, self.now)?;
                (due <= self.now.clock.mono && self.may_start())
                    .then(|| UnitRecord::StartIntended { run: run.clone() })
            }
            UnitPhase::Starting { .. } if same => self.on_start_failed(container),
            UnitPhase::Quarantined {
                reason: QuarantineReason::AccountLatched,
                ..
            } if same => match &self.unit.latch {
                None => {
                    let run_ms = container.exit()?.uptime_ms;
                    self.seen_latch(run_ms).map(UnitRecord::LatchSeen)
                }
                Some(latch) => self.on_unlatched(latch),
            },
            // A run whose start was not observed and which has ended by now.
            _ => (!same).then(|| self.started(container)),
        }
    }

    /// The latch that the unit ended for, by the last heartbeat of this run.
    fn seen_latch(&self, run_ms: u64) -> Option<Latch> {
        let heartbeat = &self.observed_unit.liveness.as_ref()?.heartbeat;
        let latch = heartbeat.latch.as_ref();
        latch.filter(|_| heartbeat.fits_run_length(run_ms)).cloned()
    }

    /// The end of that latch by an operator, which permits a start.
    fn on_unlatched(&self, latch: &Latch) -> Option<UnitRecord> {
        let (by, reason) = self.observed_state.unlatched(latch)?;
        Some(UnitRecord::Unlatched {
            latch: latch.clone(),
            by: by.clone(),
            reason: reason.clone(),
        })
    }

    /// The end of a run under a command. A start in progress is finished first.
    fn on_commanded_exit(
        &self,
        run: &Run,
        exit: Exit,
        pending: &PendingCommand,
    ) -> Option<UnitRecord> {
        if self.observed_unit.in_flight.is_some()
            && matches!(self.unit.phase, UnitPhase::Starting { .. })
        {
            return None;
        }
        let is_start = pending.command != RunCommand::Stop;
        if is_start && self.observed_state.obstacle(self.name).is_some() {
            return None;
        }
        let run = run.clone();
        Some(match pending.command {
            RunCommand::Stop => UnitRecord::Stopped {
                run,
                exit_code: exit.code,
                by: Some(pending.by.clone()),
            },
            RunCommand::Start | RunCommand::Restart => UnitRecord::StartIntended { run },
        })
    }

    fn may_start(&self) -> bool {
        let free = self.observed_state.is_docker_reachable() && self.unit.hold.is_none();
        free && self
            .observed_state
            .has_start_slot(self.state, self.name, self.now)
    }

    /// The restart policy.
    ///
    /// # Errors
    /// The reason why the unit is not restarted.
    fn allowed_policy(&self) -> Result<&RestartPolicy, NoRestartReason> {
        match &self.unit.policy {
            None => Err(NoRestartReason::NoPolicy),
            Some(policy) if !policy.auto_restart => Err(NoRestartReason::NoAutoRestart),
            Some(policy) => Ok(policy),
        }
    }

    fn on_exit(&self, container: &Container, exit: Exit) -> Option<UnitRecord> {
        let run = container.run.clone();
        let verdict = self.observed_unit.stop_verdict(&run);
        let settles_at = self
            .observed_unit
            .ended_since(&run)
            .map(|ended| ended.saturating_add(STOP_SETTLE_MS));
        let has_settled = settles_at.is_none_or(|at| at <= self.now.clock.mono);
        match verdict {
            StopVerdict::Undecided | StopVerdict::Requested if !has_settled => return None,
            StopVerdict::NotRequested | StopVerdict::Undecided
                if !self.is_recorded_stop(container, exit, verdict) => {}
            StopVerdict::NotRequested | StopVerdict::Undecided | StopVerdict::Requested => {
                return Some(UnitRecord::Stopped {
                    run,
                    exit_code: exit.code,
                    by: None,
                });
            }
        }
        let end = RunEnd::from_exit(&run, exit);
        Some(match self.allowed_policy() {
            Err(reason) => end.ended(reason),
            Ok(_) if self.unit.hold.is_some() => end.ended(NoRestartReason::OnHold),
            Ok(policy) => match exit_action(exit, policy) {
                ExitAction::Finished => end.ended(NoRestartReason::Finished),
                ExitAction::NextCycle => self.next_cycle(policy, &end),
                ExitAction::Failure(_)
                    if self.observed_state.ended_with_docker(
                        self.observed_unit,
                        container,
                        exit,
                    ) =>
                {
                    self.restart_after_docker_outage(policy, &end)
                }
                ExitAction::Failure(reason) => self.failure(policy, &end, reason),
                ExitAction::Quarantine(quarantine_reason) => {
                    let reason = RestartReason::ExitNotRestartable { code: exit.code };
                    self.quarantine(
                        &end,
                        quarantine_reason,
                        reason,
                        self.unit.consecutive_failures,
                    )
                }
            },
        })
    }

    fn on_own_stop(&self, run: &Run, exit: Exit, reason: &RestartReason) -> UnitRecord {
        let end = RunEnd::from_exit(run, exit);
        match self.allowed_policy() {
            Err(reason) => end.ended(reason),
            Ok(policy) => self.failure(policy, &end, reason.clone()),
        }
    }

    fn on_start_failed(&self, container: &Container) -> Option<UnitRecord> {
        let error = self
            .observed_unit
            .start_failure(self.unit.starts)?
            .to_owned();
        let end = RunEnd {
            run: &container.run,
            code: None,
            uptime_ms: 0,
        };
        Some(match self.allowed_policy() {
            Err(_) => end.ended(NoRestartReason::StartFailed),
            Ok(policy) => self.failure(policy, &end, RestartReason::StartFailed { error }),
        })
    }
}
