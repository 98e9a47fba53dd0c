//! What to record about a run in progress: its health, and the kinds of hang.

use protocol::exit_code::ExitCode;
use protocol::heartbeat::ProcessPhase;
use protocol::redact::redact;

use super::context::DecisionContext;
use super::stop_grace_ms;
use crate::container::{Container, ContainerHealth, FailedCheck, Status};
use crate::liveness::{self, Liveness};
use crate::reason::RestartReason;
use crate::record::UnitRecord;

/// Duration of critical health after which the operator is notified, in milliseconds.
const LONG_CRITICAL_MS: u64 = 15 * 60 * 1_000;
/// Time in phase starting, without waiting for anything, after which a process is hung, in milliseconds.
const START_DEADLINE_MS: u64 = 5 * 60 * 1_000;
/// Time for which Docker must call a unit unhealthy until it is hung, in milliseconds. A busy machine fails a check now
/// and then.
const UNHEALTHY_DEADLINE_MS: u64 = 2 * 60 * 1_000;

/// Processes of one run that are recorded as healthy. A container has one; a sender that changes its boot id with each
/// heartbeat does not fill the journal.
const MAX_BOOTS: u32 = 8;

impl DecisionContext<'_> {
    pub(super) fn check_health(&self, container: &Container) -> Option<UnitRecord> {
        if container.status == Status::Paused {
            return None;
        }
        self.healthy_or_reset()
            .or_else(|| self.duplicate_heartbeats(container))
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
            // A second process under this name sends heartbeats: reported once, and no proof of health.
            Some(_) if self.unit.duplicate_run.as_ref() == self.unit.phase.run() => None,
            Some(_) if self.unit.healthy_boots >= MAX_BOOTS => None,
            _ => Some(UnitRecord::UnitHealthy {
                boot,
                uptime_ms: heartbeat.uptime_ms,
                interval_ms: heartbeat.interval_ms,
                after_ms: self.unit.down_since.map(|since| {
                    let failed_for = self.observed_unit.failed_for(self.now.clock.mono);
                    failed_for.unwrap_or_else(|| self.now.clock.utc.millis_since(since))
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
        .or_else(|| self.detect_lost_feed(observed_since))
        .or_else(|| self.detect_stalled_start())
        .or_else(|| self.detect_unhealthy(container))?;
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

    /// A process that sends heartbeats and stays in phase starting, without a component that waits for something.
    fn detect_stalled_start(&self) -> Option<RestartReason> {
        let liveness = self.observed_unit.liveness.as_ref()?;
        let for_ms = liveness.starting_without_wait_for()?;
        (for_ms > START_DEADLINE_MS).then_some(RestartReason::StartStalled { for_ms })
    }

    /// Docker's health check as a witness. A check that waits for a dependency (exit 69) says that a restart does not
    /// help.
    fn detect_unhealthy(&self, container: &Container) -> Option<RestartReason> {
        let ContainerHealth::Unhealthy(checks) = &container.health else {
            return None;
        };
        let waits = i64::from(ExitCode::Unavailable.number());
        if checks.iter().any(|check| check.exit_code == waits) {
            return None;
        }
        let since = self.observed_unit.unhealthy_since()?;
        let for_ms = self.now.clock.mono.saturating_sub(since);
        let check = checks.last().map(FailedCheck::describe)?;
        (for_ms > UNHEALTHY_DEADLINE_MS).then(|| RestartReason::Unhealthy {
            for_ms,
            check: redact(&check),
        })
    }

    fn duplicate_heartbeats(&self, container: &Container) -> Option<UnitRecord> {
        let is_boot_changing = self.unit.healthy_boots >= MAX_BOOTS;
        let changed = self.observed_unit.liveness.as_ref();
        let changed = changed.map(|liveness| &liveness.heartbeat.boot);
        let other = self
            .observed_unit
            .duplicate_boot()
            .or(changed.filter(|_| is_boot_changing))?;
        (self.unit.duplicate_run.as_ref() != Some(&container.run)).then(|| {
            UnitRecord::DuplicateHeartbeats {
                run: container.run.clone(),
                boot: other.clone(),
            }
        })
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
}
