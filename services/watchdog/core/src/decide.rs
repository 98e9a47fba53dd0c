//! What to record about a unit: the table in the crate's root. Changes nothing itself.

mod restart;

use protocol::command::UnitCommand;
use protocol::heartbeat::ProcessPhase as BeatPhase;
use protocol::ids::SubjectToken;
use restart::RunEnd;

use crate::command_rules;
use crate::container::{Container, Exit, Run, Status};
use crate::decision_inputs::DecisionInputs;
use crate::exit_policy::{ExitAction, exit_action, may_restart_at_once};
use crate::liveness::{self, Liveness};
use crate::observed_state::{ObservedContainer, ObservedState, ObservedUnit};
use crate::phase::UnitPhase;
use crate::policy::RestartPolicy;
use crate::record::{
    Latch, NoRestartReason, QuarantineReason, RestartReason, RunCommand, StartedBy,
    SupervisionRecord, UnitRecord,
};
use crate::redact::redact;
use crate::state::SupervisionState;
use crate::unit::{PendingCommand, Unit};

/// A stop that a person asked for is recorded this long after the end: until then a `docker restart`
/// shows its second half, and an engine that is going down takes us along.
const STOP_SETTLE_MS: u64 = 1_000;
/// Who says for so long that it is critical gets no better by itself: the owner should look.
const LONG_CRITICAL_MS: u64 = 15 * 60 * 1_000;
/// How long the end of a log is waited for before a unit is given up: reading it takes less.
const LOG_WAIT_MS: u64 = 3_000;
/// No chain of records of one instant is longer.
const MAX_CHAIN_LENGTH: usize = 8;

/// Decides about one unit. All records belong into one journal message; empty when nothing changes.
pub fn decide(
    state: &SupervisionState,
    observed: &ObservedState,
    name: &SubjectToken,
    now: DecisionInputs,
) -> Vec<SupervisionRecord> {
    decide_chain(state, observed, name, now, None)
}

/// Decides about an order of a person: the order and what follows from it at once.
///
/// # Errors
/// Why it is turned down, in one line for who gave it.
pub fn apply_command(
    state: &SupervisionState,
    observed: &ObservedState,
    command: &UnitCommand,
    by: &str,
    now: DecisionInputs,
) -> Result<(SubjectToken, Vec<SupervisionRecord>), String> {
    let name = command.unit().ok_or("it is no order")?;
    let paused = observed.unit(name).is_some_and(ObservedUnit::is_paused);
    let fact = command_rules::evaluate(state.units.get(name), paused, command, by)?;
    Ok((
        name.clone(),
        decide_chain(state, observed, name, now, Some(fact)),
    ))
}

/// The facts of one instant, each deciding over what the one before has made of the unit.
fn decide_chain(
    state: &SupervisionState,
    watch: &ObservedState,
    name: &SubjectToken,
    now: DecisionInputs,
    mut first: Option<UnitRecord>,
) -> Vec<SupervisionRecord> {
    let unseen = ObservedUnit::default();
    let sight = watch.unit(name).unwrap_or(&unseen);
    let mut unit = state.units.get(name).cloned().unwrap_or_default();
    let mut records = Vec::new();
    while records.len() < MAX_CHAIN_LENGTH {
        let desk = DecisionContext {
            name,
            state,
            unit: &unit,
            observed_state: watch,
            observed_unit: sight,
            now,
        };
        let Some(fact) = first.take().or_else(|| desk.next_record()) else {
            break;
        };
        unit.apply(now.utc, &fact);
        records.push(SupervisionRecord::Unit {
            unit: name.clone(),
            at: now.utc,
            record: fact,
        });
    }
    records
}

/// When to decide about this unit again if nothing happens before, by the monotonic clock.
pub fn wake_at(
    state: &SupervisionState,
    observed: &ObservedState,
    name: &SubjectToken,
    now: DecisionInputs,
) -> Option<u64> {
    let (unit, sight) = (state.units.get(name)?, observed.unit(name)?);
    let ObservedContainer::Present(here) = &sight.container else {
        return None;
    };
    match &unit.phase {
        UnitPhase::RestartPending { .. } if unit.hold.is_some() => None,
        UnitPhase::RestartPending { .. } => sight.restart_due_at(unit, now),
        UnitPhase::Running(run) if sight.is_stop_requested(run) && !here.is_alive() => {
            sight.ended_since(run).map(|ended| ended + STOP_SETTLE_MS)
        }
        UnitPhase::Running(_) if here.status == Status::Running => {
            let watched = observed.observed_since(sight);
            Some(
                liveness::hung_at(
                    sight.liveness.as_ref(),
                    watched,
                    unit.healthy_since.as_ref(),
                ) + 1,
            )
        }
        UnitPhase::Stopping { .. } => Some(sight.stop_retry_at()),
        UnitPhase::Running(run) => sight.ended_since(run).map(|ended| ended + LOG_WAIT_MS),
        _ => None,
    }
}

/// Who is not heard gets no time: a frozen process cannot use it, and one that only the bus does not hear could
/// journal nothing of a good end. Every part is made to be killed.
const fn stop_grace_ms(reason: &RestartReason, usual_ms: u64) -> u64 {
    match reason {
        RestartReason::HeartbeatLost { .. } | RestartReason::NoFirstHeartbeat { .. } => 0,
        _ => usual_ms,
    }
}

struct DecisionContext<'a> {
    name: &'a SubjectToken,
    state: &'a SupervisionState,
    unit: &'a Unit,
    observed_state: &'a ObservedState,
    observed_unit: &'a ObservedUnit,
    now: DecisionInputs,
}

impl DecisionContext<'_> {
    /// The next fact, or none.
    fn next_record(&self) -> Option<UnitRecord> {
        match &self.observed_unit.container {
            ObservedContainer::Unknown => None,
            ObservedContainer::Missing => match self.unit.phase {
                UnitPhase::Unknown | UnitPhase::Gone => None,
                _ => Some(UnitRecord::ContainerRemoved),
            },
            ObservedContainer::Present(here) => self
                .late_log()
                .or_else(|| self.policy_change(here))
                .or_else(|| self.container_record(here)),
        }
    }

    /// What came too late to be kept with its restart.
    fn late_log(&self) -> Option<UnitRecord> {
        let wordless = self.unit.unexplained_failure.as_ref()?;
        self.observed_unit.log_tail_of(&wordless.run)?.to_record()
    }

    fn policy_change(&self, here: &Container) -> Option<UnitRecord> {
        let known = self.unit.policy.as_ref();
        match &here.policy {
            Ok(read) => (known != Some(read)).then(|| UnitRecord::RestartPolicyRead(read.clone())),
            Err(why) => {
                let container = &here.run.container;
                (self.unit.unreadable_container.as_ref() != Some(container)).then(|| {
                    UnitRecord::RestartPolicyUnreadable {
                        container: container.clone(),
                        error: why.clone(),
                        observed_only: known.is_none(),
                    }
                })
            }
        }
    }

    fn container_record(&self, here: &Container) -> Option<UnitRecord> {
        match here.status {
            Status::Created | Status::InTransition => None,
            Status::Running | Status::Paused => self.on_running(here),
            Status::Exited(exit) => self
                .on_ended(here, exit)
                .filter(|fact| !self.waits_for_log(here, fact)),
        }
    }

    /// Who is given up is told of with what it said last, also where that is read behind the end, because a restart
    /// might have followed at once.
    fn waits_for_log(&self, here: &Container, fact: &UnitRecord) -> bool {
        let given_up = matches!(fact, UnitRecord::Quarantined { .. });
        let unread =
            may_restart_at_once(here) && self.observed_unit.log_tail_of(&here.run).is_none();
        let ended = self.observed_unit.ended_since(&here.run);
        given_up && unread && ended.is_some_and(|ended| self.now.mono < ended + LOG_WAIT_MS)
    }

    fn on_running(&self, here: &Container) -> Option<UnitRecord> {
        match &self.unit.phase {
            UnitPhase::Running(run) if *run == here.run => self
                .commanded_stop(here)
                .or_else(|| self.check_health(here)),
            // Its end is journaled: what we see is older than that, or about to end.
            phase if phase.run() == Some(&here.run) => None,
            _ => Some(self.started(here)),
        }
    }

    fn started(&self, here: &Container) -> UnitRecord {
        let by = match &self.unit.phase {
            UnitPhase::Unknown => StartedBy::AlreadyRunning,
            UnitPhase::Starting { run } if run.container == here.run.container => {
                StartedBy::Watchdog
            }
            _ => StartedBy::Operator,
        };
        let run = here.run.clone();
        UnitRecord::Started { run, by }
    }

    /// What a person ordered; one that is paused has to wait until it is not.
    fn commanded_stop(&self, here: &Container) -> Option<UnitRecord> {
        let asked = self.pending_command()?;
        (here.status == Status::Running).then(|| UnitRecord::StopIntended {
            run: here.run.clone(),
            reason: RestartReason::Commanded {
                by: asked.by.clone(),
            },
            grace_ms: here.grace_ms,
        })
    }

    /// The order under way; none while the unit is held.
    fn pending_command(&self) -> Option<&PendingCommand> {
        self.unit
            .pending_command
            .as_ref()
            .filter(|_| self.unit.hold.is_none())
    }

    fn check_health(&self, here: &Container) -> Option<UnitRecord> {
        if here.status == Status::Paused {
            return None;
        }
        self.healthy_or_reset()
            .or_else(|| self.critical_change())
            .or_else(|| self.detect_hang(here))
    }

    fn healthy_or_reset(&self) -> Option<UnitRecord> {
        let Liveness {
            heartbeat: beat, ..
        } = self.observed_unit.liveness.as_ref()?;
        if beat.phase != BeatPhase::Running {
            return None;
        }
        let boot = beat.boot.clone();
        match &self.unit.healthy_since {
            Some(healthy) if healthy.boot == boot => self.failures_reset(),
            _ => Some(UnitRecord::UnitHealthy {
                boot,
                uptime_ms: beat.uptime_ms,
                interval_ms: beat.interval_ms,
                after_ms: self.unit.down_since.map(|since| {
                    let span = self.now.utc.since(since);
                    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
                }),
            }),
        }
    }

    /// Told once, until it says otherwise.
    fn critical_change(&self) -> Option<UnitRecord> {
        let pulse = self.observed_unit.liveness.as_ref()?;
        match (pulse.critical_for(), self.unit.is_critical_reported) {
            (Some(for_ms), false) if for_ms >= LONG_CRITICAL_MS => {
                Some(UnitRecord::HealthCritical {
                    for_ms,
                    reason: redact(
                        pulse
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
        let forgiven = self
            .unit
            .healthy_since
            .as_ref()
            .is_some_and(|h| h.has_reset_failures);
        let earned = !forgiven && self.unit.consecutive_failures > 0 && self.was_long_healthy();
        earned.then(|| UnitRecord::FailuresReset {
            healthy_ms: self.healthy_ms(),
        })
    }

    fn was_long_healthy(&self) -> bool {
        u128::from(self.healthy_ms()) >= self.unit.min_healthy_run().as_millis()
    }

    /// How long the process is healthy by its own monotonic clock.
    fn healthy_ms(&self) -> u64 {
        let pulse = self.observed_unit.liveness.as_ref();
        match (pulse, &self.unit.healthy_since) {
            (
                Some(Liveness {
                    heartbeat: beat, ..
                }),
                Some(healthy),
            ) if beat.boot == healthy.boot => beat.uptime_ms.saturating_sub(healthy.uptime_ms),
            _ => 0,
        }
    }

    fn detect_hang(&self, here: &Container) -> Option<UnitRecord> {
        let mono = self.now.mono;
        if !self.observed_state.is_docker_reachable() || self.observed_state.is_bus_blind(mono) {
            return None;
        }
        let watched = self.observed_state.observed_since(self.observed_unit);
        let known = self.unit.healthy_since.as_ref();
        let reason =
            liveness::detect_hang(self.observed_unit.liveness.as_ref(), watched, known, mono)
                .or_else(|| self.detect_lost_feed(watched))?;
        let run = here.run.clone();
        if self.allowed_policy().is_ok() && self.unit.hold.is_none() {
            let grace_ms = stop_grace_ms(&reason, here.grace_ms);
            return Some(UnitRecord::StopIntended {
                run,
                reason,
                grace_ms,
            });
        }
        (self.unit.hang_reported.as_ref() != Some(&run))
            .then_some(UnitRecord::HangDetected { run, reason })
    }

    /// It reaches its market no more, and it is not the market.
    fn detect_lost_feed(&self, watched: u64) -> Option<RestartReason> {
        let pulse = self.observed_unit.liveness.as_ref()?;
        let for_ms = pulse.feed_lost_for(watched)?;
        let account = pulse.heartbeat.account.as_ref()?;
        let other = self
            .observed_state
            .peer_with_candles(account, self.now.mono)?
            .clone();
        Some(RestartReason::MarketDataLost {
            for_ms,
            peer: other,
        })
    }

    fn on_ended(&self, here: &Container, exit: Exit) -> Option<UnitRecord> {
        let same = self.unit.phase.run() == Some(&here.run);
        if let (true, Some(asked)) = (same, self.pending_command()) {
            return self.on_commanded_exit(&here.run, exit, asked);
        }
        match &self.unit.phase {
            UnitPhase::Unknown | UnitPhase::Gone if exit.code == 0 => Some(UnitRecord::Ended {
                run: here.run.clone(),
                exit_code: 0,
                reason: NoRestartReason::BeforeSupervision,
            }),
            UnitPhase::Unknown | UnitPhase::Gone => self.on_exit(here, exit),
            UnitPhase::Running(_) if same => self.on_exit(here, exit),
            UnitPhase::Stopping { reason, .. } if same => {
                Some(self.on_own_stop(&here.run, exit, reason))
            }
            UnitPhase::RestartPending { run, .. } if same => {
                let due = self.observed_unit.restart_due_at(self.unit, self.now)?;
                (due <= self.now.mono && self.may_start())
                    .then(|| UnitRecord::StartIntended { run: run.clone() })
            }
            UnitPhase::Starting { .. } if same => self.on_start_failed(here),
            UnitPhase::Quarantined {
                reason: QuarantineReason::AccountLatched,
                ..
            } if same => match &self.unit.latch {
                None => self.seen_latch(here),
                Some(latch) => self.on_unlatched(latch),
            },
            // A run that we did not see begin: by now it has also ended.
            _ => (!same).then(|| self.started(here)),
        }
    }

    /// The latch that it ended for, by the last heartbeat of this run.
    fn seen_latch(&self, here: &Container) -> Option<UnitRecord> {
        let beat = &self.observed_unit.liveness.as_ref()?.heartbeat;
        let latch = beat
            .latch
            .as_ref()
            .filter(|_| beat.fits_run(here.start_time))?;
        Some(UnitRecord::LatchSeen(latch.clone()))
    }

    /// An operator ended that very latch: that is leave to start it.
    fn on_unlatched(&self, latch: &Latch) -> Option<UnitRecord> {
        let (by, why) = self.observed_state.unlatched(latch)?;
        Some(UnitRecord::Unlatched {
            latch: latch.clone(),
            by: by.clone(),
            reason: why.clone(),
        })
    }

    /// It is down while a person wants it stopped, or started anew. A start under way comes first.
    fn on_commanded_exit(
        &self,
        run: &Run,
        exit: Exit,
        asked: &PendingCommand,
    ) -> Option<UnitRecord> {
        if self.observed_unit.in_flight.is_some()
            && matches!(self.unit.phase, UnitPhase::Starting { .. })
        {
            return None;
        }
        let run = run.clone();
        Some(match asked.command {
            RunCommand::Stop => UnitRecord::Stopped {
                run,
                exit_code: exit.code,
                by: Some(asked.by.clone()),
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

    /// What its flags allow, or why nothing may be done.
    fn allowed_policy(&self) -> Result<&RestartPolicy, NoRestartReason> {
        match &self.unit.policy {
            None => Err(NoRestartReason::NoPolicy),
            Some(policy) if !policy.auto_restart => Err(NoRestartReason::NoAutoRestart),
            Some(policy) => Ok(policy),
        }
    }

    fn on_exit(&self, here: &Container, exit: Exit) -> Option<UnitRecord> {
        let run = here.run.clone();
        if self.observed_unit.is_stop_requested(&run) {
            let settled = self.observed_unit.ended_since(&run)? + STOP_SETTLE_MS <= self.now.mono;
            let exit = exit.code;
            return settled.then_some(UnitRecord::Stopped {
                run,
                exit_code: exit,
                by: None,
            });
        }
        let end = RunEnd::from_exit(&run, exit);
        Some(match self.allowed_policy() {
            Err(why) => end.ended(why),
            Ok(_) if self.unit.hold.is_some() => end.ended(NoRestartReason::OnHold),
            Ok(policy) => match exit_action(exit, policy) {
                ExitAction::Finished => end.ended(NoRestartReason::Finished),
                ExitAction::NextCycle => self.next_cycle(policy, &end),
                ExitAction::Failure(_)
                    if self
                        .observed_state
                        .ended_with_docker(self.observed_unit, here, exit) =>
                {
                    self.restart_after_docker_outage(policy, &end)
                }
                ExitAction::Failure(reason) => self.failure(policy, &end, reason),
                ExitAction::Quarantine(why) => {
                    let reason = RestartReason::ExitNotRestartable { code: exit.code };
                    self.quarantine(&end, why, reason, self.unit.consecutive_failures)
                }
            },
        })
    }

    fn on_own_stop(&self, run: &Run, exit: Exit, reason: &RestartReason) -> UnitRecord {
        let end = RunEnd::from_exit(run, exit);
        match self.allowed_policy() {
            Err(why) => end.ended(why),
            Ok(policy) => self.failure(policy, &end, reason.clone()),
        }
    }

    fn on_start_failed(&self, here: &Container) -> Option<UnitRecord> {
        let error = self
            .observed_unit
            .start_failure(self.unit.starts)?
            .to_owned();
        let end = RunEnd {
            run: &here.run,
            code: None,
            uptime_ms: 0,
        };
        Some(match self.allowed_policy() {
            Err(_) => end.ended(NoRestartReason::StartFailed),
            Ok(policy) => self.failure(policy, &end, RestartReason::StartFailed { error }),
        })
    }
}
