//! What follows from the end of a run: the next cycle, a restart after a delay, or a quarantine.

use std::time::Duration;

use protocol::redact::redact;

use super::context::DecisionContext;
use crate::backoff::{self, MAX_CONSECUTIVE_FAILURES};
use crate::container::{Exit, Run};
use crate::evidence::Evidence;
use crate::reason::{NoRestartReason, QuarantineReason, RestartReason};
use crate::record::{Restart, UnitRecord};
use crate::restart_pattern::{self, RecentRestart};
use crate::restart_policy::RestartPolicy;

/// Time for which restarts are counted for the trend.
const DAY: Duration = Duration::from_hours(24);

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
        self.restarts_within(budget.window()).len() >= usize::from(budget.restarts)
    }

    /// The restarts after failures within the window with their ages, oldest first. A restart of this process is aged by
    /// the monotonic clock. The age of an earlier one follows from the wall clock; one from the future is new.
    fn restarts_within(&self, window: Duration) -> Vec<(Duration, RecentRestart)> {
        let restarts = &self.unit.recent_restarts;
        let own = self.observed_unit.restart_times();
        // A release has cleared the journaled ones.
        let skipped = own.len().saturating_sub(restarts.len());
        let own = own.skip(skipped);
        let earlier = restarts.len().saturating_sub(own.len());
        let earlier = restarts.iter().take(earlier);
        let earlier = earlier.map(|restart| self.now.clock.utc.since(restart.at));
        let own = own.map(|at| Duration::from_millis(self.now.clock.mono.saturating_sub(at)));
        let aged = earlier.chain(own).zip(restarts.iter().copied());
        aged.filter(|(age, _)| *age < window).collect()
    }

    /// Many restarts within a day, this one included, with their pattern: each alone may be the first of a row. `None`
    /// if they are few.
    fn trend(&self) -> Option<String> {
        let mut restarts = self.restarts_within(DAY);
        let this = RecentRestart {
            at: self.now.clock.utc,
            is_after_deployment: self.unit.is_first_run,
        };
        restarts.push((Duration::ZERO, this));
        let limit = usize::from(self.observed_state.config().restart_warning);
        (restarts.len() > limit).then(|| {
            let pattern = restart_pattern::describe(&restarts);
            format!("{} restarts within 24h{pattern}", restarts.len())
        })
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
        let is_failure = reason.is_failure();
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
            last_error: liveness
                .filter(|_| end.code.is_some())
                .map(|liveness| redact(&liveness.describe(self.now.clock.mono))),
            evidence: self.evidence(end),
            trend: is_failure.then(|| self.trend()).flatten(),
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
            evidence: self.evidence(end),
            latch: (quarantine_reason == QuarantineReason::AccountLatched)
                .then(|| self.seen_latch(end.uptime_ms))
                .flatten(),
        }
    }

    /// What was observed of a run. A start that Docker rejected has no run: what is known is of the run before, and
    /// explains nothing.
    fn evidence(&self, end: &RunEnd<'_>) -> Option<Box<Evidence>> {
        end.code?;
        let evidence = self.observed_unit.evidence(end.run, self.now);
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
