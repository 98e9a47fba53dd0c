//! What follows from an end: the next cycle, a restart after its delay, or no restart any more.

use std::time::Duration;

use protocol::time::UtcMs;

use super::Desk;
use crate::backoff::{self, MOST_CONSECUTIVE};
use crate::container::{Exit, Run};
use crate::evidence::Found;
use crate::mask::mask;
use crate::policy::Policy;
use crate::record::{EndedWhy, Fact, Reason, Restart, Why};

impl Desk<'_> {
    pub(super) fn next_cycle(&self, policy: &Policy, end: &End<'_>) -> Fact {
        let reason = Reason::CycleFinished;
        if self.unit.restarts >= policy.max_restarts {
            return self.quarantine(end, Why::MaxRestarts, reason, 0);
        }
        let delay = policy.base_delay();
        self.restart(policy, end, reason, 0, delay)
    }

    /// At once, like whatever else the engine starts again, and at no cost.
    pub(super) fn back_with_the_engine(&self, policy: &Policy, end: &End<'_>) -> Fact {
        let code = end.code.unwrap_or_default();
        let (reason, in_a_row) = (Reason::WithEngine { code }, self.unit.consecutive);
        self.restart(policy, end, reason, in_a_row, Duration::ZERO)
    }

    pub(super) fn failure(&self, policy: &Policy, end: &End<'_>, reason: Reason) -> Fact {
        let consecutive = self.unit.consecutive.saturating_add(1);
        if self.unit.restarts >= policy.max_restarts {
            return self.quarantine(end, Why::MaxRestarts, reason, consecutive);
        }
        if consecutive > MOST_CONSECUTIVE {
            return self.quarantine(end, Why::Consecutive, reason, consecutive);
        }
        if self.is_over_budget() {
            return self.quarantine(end, Why::Budget, reason, consecutive);
        }
        let at_once = policy.fast_first && consecutive == 1 && self.was_long_healthy();
        let delay = if at_once {
            Duration::ZERO
        } else {
            backoff::delay(policy.base_delay(), consecutive)
        };
        self.restart(policy, end, reason, consecutive, delay)
    }

    /// Another restart would be one too many within the window.
    fn is_over_budget(&self) -> bool {
        let Some(budget) = self.watch.rules().budget else {
            return false;
        };
        let within = |at: &&UtcMs| self.now.utc.since(**at) < budget.window();
        self.unit.recent.iter().filter(within).count() >= usize::from(budget.restarts)
    }

    fn restart(
        &self,
        policy: &Policy,
        end: &End<'_>,
        reason: Reason,
        consecutive: u32,
        delay: Duration,
    ) -> Fact {
        let delay = if policy.jitter {
            backoff::jittered(delay, self.now.chance)
        } else {
            delay
        };
        let pulse = self.sight.pulse.as_ref();
        Fact::RestartScheduled(Restart {
            run: end.run.clone(),
            attempt: self
                .unit
                .restarts
                .saturating_add(u32::from(reason.is_counted())),
            max: policy.max_restarts,
            reason,
            consecutive,
            uptime_ms: end.uptime_ms,
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            exit: end.code,
            evidence: pulse.map(|pulse| mask(&pulse.evidence(self.now.mono))),
            found: self.found(end.run),
        })
    }

    pub(super) fn quarantine(
        &self,
        end: &End<'_>,
        why: Why,
        reason: Reason,
        consecutive: u32,
    ) -> Fact {
        Fact::Quarantined {
            run: end.run.clone(),
            why,
            reason,
            restarts: self.unit.restarts,
            consecutive,
            found: self.found(end.run),
        }
    }

    fn found(&self, run: &Run) -> Option<Box<Found>> {
        let found = self.sight.found(run, self.now);
        (found != Found::default()).then(|| Box::new(found))
    }
}

/// The end of a run; without a code if it never began.
pub(super) struct End<'a> {
    pub(super) run: &'a Run,
    pub(super) code: Option<i64>,
    pub(super) uptime_ms: u64,
}

impl<'a> End<'a> {
    pub(super) const fn of(run: &'a Run, exit: Exit) -> Self {
        Self {
            run,
            code: Some(exit.code),
            uptime_ms: exit.uptime_ms,
        }
    }

    pub(super) fn ended(&self, why: EndedWhy) -> Fact {
        Fact::Ended {
            run: self.run.clone(),
            exit: self.code.unwrap_or_default(),
            why,
        }
    }
}
