//! The state of one unit, folded from its records.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::time::UtcMs;

use crate::config::RestartBudget;
use crate::container::Run;
use crate::evidence::{Evidence, last_error_line};
use crate::failure_groups::Failures;
use crate::model::{HealthySince, Latch, RunCommand, StartedBy};
use crate::phase::UnitPhase;
use crate::reason::{NoRestartReason, RestartReason};
use crate::record::{Restart, UnitRecord};
use crate::restart_pattern::RecentRestart;
use crate::restart_policy::RestartPolicy;

/// A shorter healthy run never resets the consecutive failures.
const MIN_HEALTHY_RUN: Duration = Duration::from_mins(10);

/// What the journal says about one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts of the journal, each true or false"
)]
pub struct Unit {
    /// The restart policy. `None` until the flags were read.
    pub policy: Option<RestartPolicy>,
    /// Id of the container whose arguments are invalid.
    pub unreadable_container: Option<String>,
    /// Phase that follows from the last records.
    pub phase: UnitPhase,
    /// Start of the phase.
    pub since: UtcMs,
    /// Restarts so far, including finished cycles.
    pub restarts: u32,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Starts intended so far by anything; distinguishes one attempt from the next.
    pub starts: u64,
    /// Delay before the last restart, in milliseconds.
    pub last_delay_ms: u64,
    /// Reason of the last restart or quarantine.
    pub last_reason: Option<RestartReason>,
    /// The error that the unit reported before that.
    pub last_error: Option<String>,
    /// Failures so far, grouped by signature.
    pub failures: Failures,
    /// Detection of the last failure, until the unit is healthy again.
    pub down_since: Option<UtcMs>,
    /// The healthy process. `None` until its first heartbeat in phase running.
    pub healthy_since: Option<HealthySince>,
    /// The hung run that was reported and not stopped.
    pub hang_reported: Option<Run>,
    /// The command in progress.
    pub pending_command: Option<PendingCommand>,
    /// The hold of an operator.
    pub hold: Option<Hold>,
    /// The current run was started by the watchdog.
    pub is_started_by_us: bool,
    /// The last restarts, without finished cycles.
    pub recent_restarts: VecDeque<RecentRestart>,
    /// The current run is the first one of its container, as after a deployment.
    pub is_first_run: bool,
    /// Container of the current run, or of the last one.
    pub last_container: Option<String>,
    /// Processes that were recorded as healthy in the current run.
    pub healthy_boots: u32,
    /// The unit ended on hold: its release starts it.
    pub has_ended_on_hold: bool,
    /// The failure whose restart was decided before its log was read.
    pub unexplained_failure: Option<UnexplainedFailure>,
    /// The latch that the unit ended for.
    pub latch: Option<Latch>,
    /// Long critical health was reported.
    pub is_critical_reported: bool,
    /// The run that the watchdog stops or has stopped itself.
    pub own_stop_run: Option<Run>,
    /// The run whose end was taken for a failure and is answered with a restart.
    pub failed_run: Option<Run>,
    /// The run whose end an operator requested while Docker was up.
    pub stop_requested_run: Option<Run>,
    /// The run whose stop failed and was reported.
    pub stop_failed_run: Option<Run>,
    /// The run in which two processes sent heartbeats under the unit's name.
    pub duplicate_run: Option<Run>,
    /// The container that is not supervised and was reported.
    pub unsupervised_container: Option<String>,
    /// The container was removed although the unit was not stopped before; not reported yet.
    pub is_missed: bool,
    /// Configuration of the last run: image, arguments and settings.
    pub config: Option<String>,
    /// A decision about the unit did not come to rest: nothing is decided until an operator releases it.
    pub is_halted: bool,
}

/// A command in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCommand {
    /// Command that is carried out for the run.
    pub command: RunCommand,
    /// User name of the operator, as given with the command.
    pub by: String,
    /// The command could not be carried out when it was accepted, and expires.
    pub is_deferred: bool,
}

/// A hold: the watchdog does not act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// User name of the operator, as given with the command.
    pub by: String,
    /// Reason that the operator gave.
    pub reason: String,
}

/// A failure whose restart was decided before its log was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnexplainedFailure {
    /// The run that ended.
    pub run: Run,
    /// Time of the restart record.
    at: UtcMs,
    /// Reason of the restart.
    reason: RestartReason,
}

impl Unit {
    /// Changes the state by one journaled record, which happened at `at`.
    pub fn apply(&mut self, at: UtcMs, record: &UnitRecord) {
        match record {
            UnitRecord::RestartPolicyRead(policy) => self.policy = Some(policy.clone()),
            UnitRecord::RestartPolicyUnreadable { container, .. } => {
                self.unreadable_container = Some(container.clone());
            }
            UnitRecord::Started { run, by, config } => {
                self.on_started(at, run, *by);
                self.on_config(config.as_deref());
            }
            UnitRecord::UnitHealthy {
                boot,
                uptime_ms,
                interval_ms,
                ..
            } => self.on_healthy(HealthySince {
                boot: boot.clone(),
                uptime_ms: *uptime_ms,
                interval_ms: *interval_ms,
                has_reset_failures: false,
            }),
            UnitRecord::FailuresReset { .. } => self.reset_failures(),
            UnitRecord::StopIntended {
                run,
                reason,
                grace_ms,
            } => self.on_stop_intended(at, run, reason, *grace_ms),
            UnitRecord::HangDetected { run, .. } => self.hang_reported = Some(run.clone()),
            UnitRecord::RestartScheduled(restart) => self.on_restart_scheduled(at, restart),
            UnitRecord::StartIntended { run } => self.on_start_intended(at, run),
            UnitRecord::Quarantined { .. } => self.on_quarantined(at, record),
            UnitRecord::Stopped { run, .. } => {
                self.enter_down_phase(at, UnitPhase::Stopped { run: run.clone() });
            }
            UnitRecord::Ended { run, reason, .. } => {
                self.enter_down_phase(at, UnitPhase::Ended { run: run.clone() });
                self.has_ended_on_hold = *reason == NoRestartReason::OnHold;
            }
            UnitRecord::Commanded {
                command,
                by,
                is_deferred,
            } => self.on_commanded(at, *command, by, *is_deferred),
            UnitRecord::HoldSet { by, reason } => {
                let (by, reason) = (by.clone(), reason.clone());
                self.hold = Some(Hold { by, reason });
            }
            UnitRecord::Released { restarts_reset, .. } => self.on_released(at, *restarts_reset),
            UnitRecord::HealthCritical { .. } => self.is_critical_reported = true,
            UnitRecord::HealthCriticalEnded => self.is_critical_reported = false,
            UnitRecord::LatchSeen(latch) => self.latch = Some(latch.clone()),
            UnitRecord::Unlatched { .. } => self.on_unlatched(at),
            UnitRecord::LogRead { log, .. } => self.on_log_read(last_error_line(log)),
            UnitRecord::ContainerRemoved => {
                self.is_missed = !matches!(
                    self.phase,
                    UnitPhase::Stopped { .. }
                        | UnitPhase::Ended { .. }
                        | UnitPhase::NotSupervised { .. }
                );
                self.enter_down_phase(at, UnitPhase::Gone);
            }
            _ => self.apply_attention(at, record),
        }
    }

    /// Records about what needs the operator's attention.
    fn apply_attention(&mut self, at: UtcMs, record: &UnitRecord) {
        match record {
            UnitRecord::RemovalConfirmed => self.is_missed = false,
            UnitRecord::NotSupervised { container, reason } => {
                let reason = reason.clone();
                self.is_missed = false;
                self.unsupervised_container = Some(container.clone());
                self.enter_down_phase(at, UnitPhase::NotSupervised { reason });
            }
            UnitRecord::CommandExpired { .. } => self.pending_command = None,
            UnitRecord::StopRequested { run } => self.stop_requested_run = Some(run.clone()),
            UnitRecord::StopRequestExpired { .. } => self.stop_requested_run = None,
            UnitRecord::StopFailed { run, .. } => self.stop_failed_run = Some(run.clone()),
            UnitRecord::DuplicateHeartbeats { run, .. } => self.duplicate_run = Some(run.clone()),
            UnitRecord::DecisionHalted => {
                self.is_halted = true;
                self.hold = Some(Hold {
                    by: "watchdog".to_owned(),
                    reason: "internal error: the decision about this unit does not come to rest"
                        .to_owned(),
                });
            }
            _ => {}
        }
    }

    /// Another configuration is another program: failures in a row belong to the one before. The restarts of the unit
    /// stay.
    fn on_config(&mut self, config: Option<&str>) {
        let Some(config) = config else {
            return;
        };
        if self.config.as_deref().is_some_and(|known| known != config) {
            self.reset_failures();
        }
        self.config = Some(config.to_owned());
    }

    /// How long the unit must be healthy before its consecutive failures are reset.
    pub fn min_healthy_run(&self) -> Duration {
        MIN_HEALTHY_RUN.max(Duration::from_millis(self.last_delay_ms) * 2)
    }

    fn enter_phase(&mut self, at: UtcMs, phase: UnitPhase) {
        self.phase = phase;
        self.since = at;
    }

    fn on_start_intended(&mut self, at: UtcMs, run: &Run) {
        self.starts = self.starts.saturating_add(1);
        self.pending_command
            .take_if(|pending| pending.command != RunCommand::Stop);
        self.enter_phase(at, UnitPhase::Starting { run: run.clone() });
    }

    fn on_quarantined(&mut self, at: UtcMs, record: &UnitRecord) {
        let UnitRecord::Quarantined {
            run,
            quarantine_reason,
            reason,
            consecutive_failures,
            evidence,
            latch,
            ..
        } = record
        else {
            return;
        };
        self.latch.clone_from(latch);
        self.consecutive_failures = *consecutive_failures;
        self.record_failure(at, reason, evidence.as_deref());
        self.down_since.get_or_insert(at);
        let (run, reason) = (run.clone(), *quarantine_reason);
        self.enter_phase(at, UnitPhase::Quarantined { run, reason });
    }

    fn on_stop_intended(&mut self, at: UtcMs, run: &Run, reason: &RestartReason, grace_ms: u64) {
        if !matches!(reason, RestartReason::Commanded { .. }) {
            self.down_since.get_or_insert(at);
        }
        self.own_stop_run = Some(run.clone());
        let (run, reason) = (run.clone(), reason.clone());
        self.enter_phase(
            at,
            UnitPhase::Stopping {
                run,
                reason,
                grace_ms,
            },
        );
    }

    fn on_started(&mut self, at: UtcMs, run: &Run, by: StartedBy) {
        let is_obsolete = |pending: &mut PendingCommand| {
            pending.command == RunCommand::Restart || by != StartedBy::Watchdog
        };
        self.pending_command.take_if(is_obsolete);
        self.has_ended_on_hold = false;
        self.is_started_by_us = by == StartedBy::Watchdog;
        self.is_first_run = self.last_container.as_ref() != Some(&run.container);
        self.last_container = Some(run.container.clone());
        self.healthy_boots = 0;
        self.healthy_since = None;
        self.latch = None;
        self.is_critical_reported = false;
        self.is_missed = false;
        self.unsupervised_container = None;
        self.enter_phase(at, UnitPhase::Running(run.clone()));
    }

    /// A running unit is stopped first. A stopped unit is due at once.
    fn on_commanded(&mut self, at: UtcMs, command: RunCommand, by: &str, is_deferred: bool) {
        let due = match &self.phase {
            UnitPhase::RestartPending { run, .. }
            | UnitPhase::Stopped { run }
            | UnitPhase::Ended { run } => Some(run),
            _ => None,
        };
        if let (RunCommand::Start | RunCommand::Restart, Some(run), false) =
            (command, due.cloned(), is_deferred)
        {
            self.has_ended_on_hold = false;
            self.failed_run = None;
            self.enter_phase(at, UnitPhase::RestartPending { run, delay_ms: 0 });
        } else {
            let by = by.to_owned();
            self.pending_command = Some(PendingCommand {
                command,
                by,
                is_deferred,
            });
        }
    }

    /// The unit is not expected to run.
    fn enter_down_phase(&mut self, at: UtcMs, phase: UnitPhase) {
        self.down_since = None;
        self.pending_command = None;
        self.has_ended_on_hold = false;
        self.enter_phase(at, phase);
    }

    fn on_healthy(&mut self, healthy_since: HealthySince) {
        self.down_since = None;
        self.healthy_boots = self.healthy_boots.saturating_add(1);
        self.healthy_since = Some(healthy_since);
    }

    fn record_failure(&mut self, at: UtcMs, reason: &RestartReason, evidence: Option<&Evidence>) {
        self.last_reason = Some(reason.clone());
        let error = match reason {
            RestartReason::ExitNotRestartable { .. } => evidence.and_then(Evidence::settings_error),
            _ => evidence.and_then(Evidence::error_line),
        };
        self.last_error = error.map(str::to_owned);
        if reason.is_failure() {
            self.failures.add(at, reason, self.last_error.as_deref());
        }
    }

    /// An error in the heartbeats says more than the log.
    fn on_log_read(&mut self, error_line: Option<&str>) {
        let (Some(UnexplainedFailure { at, reason, .. }), Some(error_line)) =
            (self.unexplained_failure.take(), error_line)
        else {
            return;
        };
        if self.last_error.is_none() {
            self.last_error = Some(error_line.to_owned());
            self.failures.attach_error(at, &reason, error_line);
        }
    }

    const fn reset_failures(&mut self) {
        self.consecutive_failures = 0;
        self.last_delay_ms = 0;
        if let Some(healthy_since) = &mut self.healthy_since {
            healthy_since.has_reset_failures = true;
        }
    }

    fn on_restart_scheduled(&mut self, at: UtcMs, restart: &Restart) {
        self.restarts = restart.attempt;
        if restart.reason.is_failure() {
            self.recent_restarts.push_back(RecentRestart {
                at,
                is_after_deployment: self.is_first_run,
            });
            if self.recent_restarts.len() > usize::from(RestartBudget::MAX_RESTARTS) {
                self.recent_restarts.pop_front();
            }
        }
        self.consecutive_failures = restart.consecutive_failures;
        if restart.reason.is_counted() {
            self.last_delay_ms = restart.delay_ms;
        }
        self.record_failure(at, &restart.reason, restart.evidence.as_deref());
        self.unexplained_failure = unexplained_failure(at, restart);
        self.down_since.get_or_insert(at);
        self.failed_run = Some(restart.run.clone());
        let (run, delay_ms) = (restart.run.clone(), restart.delay_ms);
        self.enter_phase(at, UnitPhase::RestartPending { run, delay_ms });
    }

    /// The unit is due at once with its failures reset. A hold stays.
    fn on_unlatched(&mut self, at: UtcMs) {
        let hold = self.hold.take();
        self.on_released(at, false);
        self.hold = hold;
    }

    /// The unit is due at once with its failures reset.
    fn on_released(&mut self, at: UtcMs, reset_restarts: bool) {
        self.consecutive_failures = 0;
        self.last_delay_ms = 0;
        self.latch = None;
        if reset_restarts {
            self.restarts = 0;
        }
        self.hold = None;
        self.failed_run = None;
        self.is_halted = false;
        self.recent_restarts.clear();
        let due = match &self.phase {
            UnitPhase::Quarantined { run, .. } => Some(run.clone()),
            UnitPhase::Ended { run } if self.has_ended_on_hold => Some(run.clone()),
            _ => None,
        };
        if let Some(run) = due {
            self.has_ended_on_hold = false;
            self.enter_phase(at, UnitPhase::RestartPending { run, delay_ms: 0 });
        }
    }
}

/// `None` for a restart that is no failure, or whose log was read.
fn unexplained_failure(at: UtcMs, restart: &Restart) -> Option<UnexplainedFailure> {
    let evidence = restart.evidence.as_deref();
    let is_log_read =
        evidence.is_some_and(|evidence| !evidence.log.is_empty() || evidence.log_error.is_some());
    let is_unexplained = !is_log_read && restart.reason.is_failure();
    is_unexplained.then(|| UnexplainedFailure {
        run: restart.run.clone(),
        at,
        reason: restart.reason.clone(),
    })
}
