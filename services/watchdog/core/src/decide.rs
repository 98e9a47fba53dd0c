//! What to record about a unit, by the table in the crate documentation. Entry point: [`decide`].

mod context;
mod restart;

use context::DecisionContext;
use protocol::command::UnitCommand;
use protocol::heartbeat::ProcessPhase;
use protocol::ids::SubjectToken;
use protocol::redact::redact;
use restart::RunEnd;

use crate::command_rules;
use crate::container::{Container, Exit, Run, Status};
use crate::decision_inputs::DecisionInputs;
use crate::exit_policy::{ExitAction, exit_action, may_restart_at_once};
use crate::liveness::{self, Liveness};
use crate::model::{Latch, RunCommand, StartedBy};
use crate::observed_state::{ObservedContainer, ObservedState, ObservedUnit};
use crate::phase::UnitPhase;
use crate::reason::{NoRestartReason, QuarantineReason, RestartReason};
use crate::record::{SupervisionRecord, UnitRecord};
use crate::restart_policy::RestartPolicy;
use crate::state::SupervisionState;
use crate::unit::PendingCommand;

/// Delay between the end of an operator's stop and its record. Within it a `docker restart` shows its start, and a
/// Docker daemon that shuts down stops the watchdog as well.
const STOP_SETTLE_MS: u64 = 1_000;
/// Duration of critical health after which the operator is notified, in milliseconds.
const LONG_CRITICAL_MS: u64 = 15 * 60 * 1_000;
/// Longest wait for a log before a quarantine is recorded, in milliseconds. Reading a log takes less.
const LOG_WAIT_MS: u64 = 3_000;
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

/// The records of a command: the command and what follows from it at once.
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
    let name = command.unit().ok_or("it is no order")?;
    let paused = observed.unit(name).is_some_and(ObservedUnit::is_paused);
    let record = command_rules::evaluate(state.units.get(name), paused, command, by)?;
    Ok((
        name.clone(),
        decide_chain(state, observed, name, now, Some(record)),
    ))
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
            if observed_unit.is_stop_requested(run) && !container.is_alive() =>
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
        match &self.observed_unit.container {
            ObservedContainer::Unknown => None,
            ObservedContainer::Missing => match self.unit.phase {
                UnitPhase::Unknown | UnitPhase::Gone => None,
                _ => Some(UnitRecord::ContainerRemoved),
            },
            ObservedContainer::Present(container) => self
                .late_log()
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
            Status::Created | Status::InTransition => None,
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
                .commanded_stop(container)
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
        let run = container.run.clone();
        UnitRecord::Started { run, by }
    }

    /// The stop of a command. A paused container has to be unpaused first.
    fn commanded_stop(&self, container: &Container) -> Option<UnitRecord> {
        let pending = self.pending_command()?;
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

    fn check_health(&self, container: &Container) -> Option<UnitRecord> {
        if container.status == Status::Paused {
            return None;
        }
        self.healthy_or_reset()
            .or_else(|| self.critical_change())
            .or_else(|| self.detect_hang(container))
    }

    fn healthy_or_reset(&self) -> Option<UnitRecord> {
        let Liveness { heartbeat, .. } = self.observed_unit.liveness.as_ref()?;
        if heartbeat.phase != ProcessPhase::Running {
            return None;
        }
        let boot = heartbeat.boot.clone();
        match &self.unit.healthy_since {
            Some(healthy) if healthy.boot == boot => self.failures_reset(),
            _ => Some(UnitRecord::UnitHealthy {
                boot,
                uptime_ms: heartbeat.uptime_ms,
                interval_ms: heartbeat.interval_ms,
                after_ms: self.unit.down_since.map(|since| {
                    let span = self.now.clock.utc.since(since);
                    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
                }),
            }),
        }
    }

    /// The start or the end of long critical health, each recorded once.
    fn critical_change(&self) -> Option<UnitRecord> {
        let liveness = self.observed_unit.liveness.as_ref()?;
        match (liveness.critical_for(), self.unit.is_critical_reported) {
            (Some(for_ms), false) if for_ms >= LONG_CRITICAL_MS => {
                Some(UnitRecord::HealthCritical {
                    for_ms,
                    reason: redact(
                        liveness
                            .heartbeat
                            .critical_reason
                            .as_deref()
                            .unwrap_or_default(),
                    ),
                })
            }
            (None, true) => Some(UnitRecord::HealthCriticalEnded),
            _ => None,
        }
    }

    fn failures_reset(&self) -> Option<UnitRecord> {
        let has_reset = self
            .unit
            .healthy_since
            .as_ref()
            .is_some_and(|h| h.has_reset_failures);
        let is_due = !has_reset && self.unit.consecutive_failures > 0 && self.was_long_healthy();
        is_due.then(|| UnitRecord::FailuresReset {
            healthy_ms: self.healthy_ms(),
        })
    }

    fn detect_hang(&self, container: &Container) -> Option<UnitRecord> {
        let mono = self.now.clock.mono;
        if !self.observed_state.is_docker_reachable() || self.observed_state.is_bus_blind(mono) {
            return None;
        }
        let observed_since = self.observed_state.observed_since(self.observed_unit);
        let known = self.unit.healthy_since.as_ref();
        let reason = liveness::detect_hang(
            self.observed_unit.liveness.as_ref(),
            observed_since,
            known,
            mono,
        )
        .or_else(|| self.detect_lost_feed(observed_since))?;
        let run = container.run.clone();
        if self.allowed_policy().is_ok() && self.unit.hold.is_none() {
            let grace_ms = stop_grace_ms(&reason, container.grace_ms);
            return Some(UnitRecord::StopIntended {
                run,
                reason,
                grace_ms,
            });
        }
        (self.unit.hang_reported.as_ref() != Some(&run))
            .then_some(UnitRecord::HangDetected { run, reason })
    }

    /// Market data that this unit lacks while another unit of the account receives it.
    fn detect_lost_feed(&self, observed_since: u64) -> Option<RestartReason> {
        let liveness = self.observed_unit.liveness.as_ref()?;
        let for_ms = liveness.feed_lost_for(observed_since)?;
        let account = liveness.heartbeat.account.as_ref()?;
        let peer = self
            .observed_state
            .peer_with_candles(account, self.now.clock.mono)?
            .clone();
        Some(RestartReason::MarketDataLost { for_ms, peer })
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
            UnitPhase::Running(_) if same => self.on_exit(container, exit),
            UnitPhase::Stopping { reason, .. } if same => {
                Some(self.on_own_stop(&container.run, exit, reason))
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
                None => self.seen_latch(container),
                Some(latch) => self.on_unlatched(latch),
            },
            // A run whose start was not observed and which has ended by now.
            _ => (!same).then(|| self.started(container)),
        }
    }

    /// The latch that the unit ended for, by the last heartbeat of this run.
    fn seen_latch(&self, container: &Container) -> Option<UnitRecord> {
        let heartbeat = &self.observed_unit.liveness.as_ref()?.heartbeat;
        let latch = heartbeat
            .latch
            .as_ref()
            .filter(|_| heartbeat.fits_run(container.start_time))?;
        Some(UnitRecord::LatchSeen(latch.clone()))
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
        if self.observed_unit.is_stop_requested(&run) {
            let settled =
                self.observed_unit.ended_since(&run)? + STOP_SETTLE_MS <= self.now.clock.mono;
            let exit = exit.code;
            return settled.then_some(UnitRecord::Stopped {
                run,
                exit_code: exit,
                by: None,
            });
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
