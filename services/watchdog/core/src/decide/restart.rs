//! What follows from the end of a run: the next cycle, a restart after a delay, or a quarantine.

use std::time::Duration;

use protocol::redact::redact;
use protocol::time::UtcMs;

use super::context::DecisionContext;
use crate::backoff::{self, MAX_CONSECUTIVE_FAILURES};
use crate::container::{Exit, Run};
use crate::evidence::Evidence;
use crate::reason::{NoRestartReason, QuarantineReason, RestartReason};
use crate::record::{Restart, UnitRecord};
use crate::restart_policy::RestartPolicy;

impl DecisionContext<'_> {
    pub(super) fn next_cycle(&self, policy: &RestartPolicy, end: &RunEnd<'_>) -> UnitRecord {
        let reason = RestartReason::CycleFinished;
        if self.unit.restarts >= policy.max_restarts {
            return self.quarantine(end, QuarantineReason::MaxRestarts, reason, 0);
        }
        let delay = policy.base_delay();
        self.restart(policy, end, reason, 0, delay)
    }

    /// A restart without a delay and without counting it.
    pub(super) fn restart_after_docker_outage(
        &self,
        policy: &RestartPolicy,
        end: &RunEnd<'_>,
    ) -> UnitRecord {
        let code = end.code.unwrap_or_default();
        let (reason, in_a_row) = (
            RestartReason::DockerOutage { code },
            self.unit.consecutive_failures,
        );
        self.restart(policy, end, reason, in_a_row, Duration::ZERO)
    }

    pub(super) fn failure(
        &self,
        policy: &RestartPolicy,
        end: &RunEnd<'_>,
        reason: RestartReason,
    ) -> UnitRecord {
        let consecutive_failures = self.unit.consecutive_failures.saturating_add(1);
        if self.unit.restarts >= policy.max_restarts {
            return self.quarantine(
                end,
                QuarantineReason::MaxRestarts,
                reason,
                consecutive_failures,
            );
        }
        if consecutive_failures > MAX_CONSECUTIVE_FAILURES {
            return self.quarantine(
                end,
                QuarantineReason::ConsecutiveFailures,
                reason,
                consecutive_failures,
            );
        }
        if self.is_over_restart_budget() {
            return self.quarantine(
                end,
                QuarantineReason::RestartBudget,
                reason,
                consecutive_failures,
            );
        }
        let at_once = policy.fast_first && consecutive_failures == 1 && self.was_long_healthy();
        let delay = if at_once {
            Duration::ZERO
        } else {
            backoff::delay(policy.base_delay(), consecutive_failures)
        };
        self.restart(policy, end, reason, consecutive_failures, delay)
    }

    /// Whether another restart would exceed the budget of the window.
    fn is_over_restart_budget(&self) -> bool {
        let Some(budget) = self.observed_state.config().restart_budget else {
            return false;
        };
        let is_within_window = |at: &&UtcMs| self.now.clock.utc.since(**at) < budget.window();
        self.unit
            .recent_restarts
            .iter()
            .filter(is_within_window)
            .count()
            >= usize::from(budget.restarts)
    }

    fn restart(
        &self,
        policy: &RestartPolicy,
        end: &RunEnd<'_>,
        reason: RestartReason,
        consecutive_failures: u32,
        delay: Duration,
    ) -> UnitRecord {
        let delay = if policy.jitter {
            backoff::jittered(delay, self.now.random)
        } else {
            delay
        };
        let liveness = self.observed_unit.liveness.as_ref();
        UnitRecord::RestartScheduled(Restart {
            run: end.run.clone(),
            attempt: self
                .unit
                .restarts
                .saturating_add(u32::from(reason.is_counted())),
            max_restarts: policy.max_restarts,
            reason,
            consecutive_failures,
            uptime_ms: end.uptime_ms,
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            exit_code: end.code,
            last_error: liveness.map(|liveness| redact(&liveness.describe(self.now.clock.mono))),
            evidence: self.evidence(end.run),
        })
    }

    pub(super) fn quarantine(
        &self,
        end: &RunEnd<'_>,
        quarantine_reason: QuarantineReason,
        reason: RestartReason,
        consecutive_failures: u32,
    ) -> UnitRecord {
        UnitRecord::Quarantined {
            run: end.run.clone(),
            quarantine_reason,
            reason,
            restarts: self.unit.restarts,
            consecutive_failures,
            evidence: self.evidence(end.run),
        }
    }

    fn evidence(&self, run: &Run) -> Option<Box<Evidence>> {
        let evidence = self.observed_unit.evidence(run, self.now);
        (evidence != Evidence::default()).then(|| Box::new(evidence))
    }
}

/// The end of a run. `code` is `None` if the container never started.
pub(super) struct RunEnd<'a> {
    pub(super) run: &'a Run,
    pub(super) code: Option<i64>,
    pub(super) uptime_ms: u64,
}

impl<'a> RunEnd<'a> {
    pub(super) const fn from_exit(run: &'a Run, exit: Exit) -> Self {
        Self {
            run,
            code: Some(exit.code),
            uptime_ms: exit.uptime_ms,
        }
    }

    pub(super) fn ended(&self, quarantine_reason: NoRestartReason) -> UnitRecord {
        UnitRecord::Ended {
            run: self.run.clone(),
            exit_code: self.code.unwrap_or_default(),
            reason: quarantine_reason,
        }
    }
}
