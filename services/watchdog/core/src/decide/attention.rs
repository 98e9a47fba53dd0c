//! What the operator has to know about a unit although none of its runs ended: a container that is not supervised, that was
//! removed, that never starts or that cannot be stopped, and commands that expired.

use protocol::duration::format_ms;
use protocol::redact::redact;

use super::context::DecisionContext;
use crate::container::{Container, Exit};
use crate::phase::UnitPhase;
use crate::record::UnitRecord;
use crate::stop_request::{SIGNAL_MARGIN_MS, StopVerdict};
use crate::unit::PendingCommand;

/// Time without a container after which the removal is reported, in milliseconds. A new one is created within seconds.
const REMOVAL_REPORT_MS: u64 = 30_000;
/// Time after which a container that was created and not started is reported, in milliseconds.
const NOT_STARTED_MS: u64 = 30_000;
/// Failed stop calls in a row after which the operator is notified. The watchdog continues to try.
const STOP_FAILURES: u32 = 2;
/// Time for which a command waits until it can be carried out, in milliseconds.
pub(crate) const COMMAND_TTL_MS: u64 = 5 * 60 * 1_000;

impl DecisionContext<'_> {
    /// The end of a command that could not be carried out in time.
    pub(super) fn expired_command(&self) -> Option<UnitRecord> {
        let PendingCommand {
            command,
            by,
            is_deferred: true,
        } = self.unit.pending_command.as_ref()?
        else {
            return None;
        };
        let since = self.observed_unit.command_deferred_at();
        let is_expired = self.now.clock.mono.saturating_sub(since) >= COMMAND_TTL_MS;
        is_expired.then(|| UnitRecord::CommandExpired {
            command: *command,
            by: by.clone(),
            after_ms: COMMAND_TTL_MS,
        })
    }

    /// A container that exists and may not be supervised. Recorded once per container and reason.
    pub(super) fn not_supervised(&self, container: &str, reason: &str) -> Option<UnitRecord> {
        let reason = redact(reason);
        let is_known = matches!(&self.unit.phase, UnitPhase::NotSupervised { reason: known, .. } if *known == reason)
            && self.unit.unsupervised_container.as_deref() == Some(container);
        (!is_known).then(|| UnitRecord::NotSupervised {
            container: container.to_owned(),
            reason,
        })
    }

    /// A container that was created and does not start, with Docker's text.
    pub(super) fn not_started(&self, container: &Container) -> Option<UnitRecord> {
        let for_ms = self
            .now
            .clock
            .mono
            .saturating_sub(self.observed_unit.status_since());
        if for_ms < NOT_STARTED_MS {
            return None;
        }
        let reason = match &container.error {
            Some(error) => format!("created and not started: {error}"),
            None => "created and not started".to_owned(),
        };
        self.not_supervised(&container.run.container, &reason)
    }

    /// A removal that no new container followed. A unit that had been stopped or had ended is not missed.
    pub(super) fn lasting_removal(&self) -> Option<UnitRecord> {
        let since = self.observed_unit.missing_since()?;
        let for_ms = self.now.clock.mono.saturating_sub(since);
        (self.unit.is_missed && for_ms >= REMOVAL_REPORT_MS).then_some(UnitRecord::RemovalConfirmed)
    }

    /// An operator's request to stop a run, recorded at once; or its expiry, if the run survived it.
    pub(super) fn stop_request_change(&self, container: &Container) -> Option<UnitRecord> {
        let run = &container.run;
        let mono = self.now.clock.mono;
        let deadline = self.observed_unit.stop_deadline(run);
        if self.unit.stop_requested_run.as_ref() != Some(run) {
            let is_request = deadline.is_some_and(|deadline| mono <= deadline);
            return is_request.then(|| UnitRecord::StopRequested { run: run.clone() });
        }
        // A request of which only the journal is left was made before this process observed the run.
        let known_until = self
            .observed_unit
            .observed_since
            .saturating_add(container.grace_ms);
        let deadline = deadline.unwrap_or(known_until.saturating_add(SIGNAL_MARGIN_MS));
        let has_survived =
            container.is_alive() && self.observed_state.is_docker_reachable() && mono > deadline;
        has_survived.then(|| UnitRecord::StopRequestExpired { run: run.clone() })
    }

    /// Whether an operator's recorded request explains the end of a run that no event of Docker explains, because Docker
    /// or this process went down meanwhile.
    pub(super) fn is_recorded_stop(
        &self,
        container: &Container,
        exit: Exit,
        verdict: StopVerdict,
    ) -> bool {
        let is_recorded = self.unit.stop_requested_run.as_ref() == Some(&container.run);
        let is_unexplained = self.observed_unit.was_found_ended(&container.run)
            && verdict == StopVerdict::NotRequested;
        let with_docker =
            self.observed_state
                .ended_with_docker(self.observed_unit, container, exit);
        is_recorded && (is_unexplained || with_docker)
    }

    /// A run that could not be stopped. Recorded once per run.
    pub(super) fn stop_failure(&self, container: &Container) -> Option<UnitRecord> {
        let UnitPhase::Stopping { run, .. } = &self.unit.phase else {
            return None;
        };
        let (failures, error) = self.observed_unit.stop_failure()?;
        let is_due = failures >= STOP_FAILURES
            && *run == container.run
            && container.is_alive()
            && self.unit.stop_failed_run.as_ref() != Some(run);
        is_due.then(|| UnitRecord::StopFailed {
            run: run.clone(),
            error: redact(error),
        })
    }
}

/// The reply to a command that waits.
pub fn deferred_reply(obstacle: &str) -> String {
    format!(
        "accepted, cannot be carried out yet: {obstacle}; the command expires in {}",
        format_ms(COMMAND_TTL_MS)
    )
}
