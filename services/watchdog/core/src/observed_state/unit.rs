//! The observations of one unit: its container, its heartbeats, the call in flight.

use protocol::ids::SubjectToken;
use protocol::time::UtcMs;

use crate::container::{Container, Run, Status};
use crate::decision_inputs::DecisionInputs;
use crate::evidence::{Evidence, LogTail, RecentHeartbeats};
use crate::liveness::{HeartbeatSample, Liveness};
use crate::model::Action;
use crate::phase::UnitPhase;
use crate::unit::Unit;

/// Time after which a stop is called again if the end of the run was not observed, in milliseconds.
const STOP_RETRY_MS: u64 = 10_000;

/// The observations of one unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedUnit {
    /// Container of the unit, as far as it is known.
    pub container: ObservedContainer,
    /// The newest heartbeat of this run.
    pub liveness: Option<Liveness>,
    /// The call in flight.
    pub in_flight: Option<Action>,
    previous_boot: Option<SubjectToken>,
    /// The run before this one.
    previous_run: Option<Run>,
    pub(super) observed_since: u64,
    pub(super) stop_requested_run: Option<Run>,
    ended_run: Option<(Run, u64)>,
    /// The run that had ended when it was first observed.
    pub(super) found_ended_run: Option<Run>,
    pub(super) failed_start: Option<(u64, String)>,
    stop_retry_at: u64,
    pub(super) restart_timer: Option<RestartTimer>,
    /// The end of the log of the ended run.
    pub(super) log_tail: Option<LogTail>,
    recent_heartbeats: RecentHeartbeats,
}

/// What is known of a unit's container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ObservedContainer {
    /// Docker has not been asked since the start of the watchdog.
    #[default]
    Unknown,
    /// There is no container.
    Missing,
    /// The container as inspected.
    Present(Container),
}

/// A restart delay, measured by the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RestartTimer {
    pub(super) since: UtcMs,
    pub(super) restarts: u32,
    pub(super) delay_ms: u64,
    pub(super) due_at: u64,
}

impl ObservedUnit {
    /// Whether `docker pause` has frozen the container.
    pub fn is_paused(&self) -> bool {
        matches!(&self.container, ObservedContainer::Present(container) if container.status == Status::Paused)
    }

    /// Whether an operator requested a stop of this run.
    pub fn is_stop_requested(&self, run: &Run) -> bool {
        self.stop_requested_run.as_ref() == Some(run)
    }

    /// First observation of the end of this run, by the monotonic clock.
    pub fn ended_since(&self, run: &Run) -> Option<u64> {
        let (ended, since) = self.ended_run.as_ref()?;
        (ended == run).then_some(*since)
    }

    /// The error of the `starts`-th start. `None` if it did not fail.
    pub fn start_failure(&self, starts: u64) -> Option<&str> {
        let (attempt, error) = self.failed_start.as_ref()?;
        (*attempt == starts).then_some(error.as_str())
    }

    /// The evidence of the end of this run.
    pub fn evidence(&self, run: &Run, now: DecisionInputs) -> Evidence {
        let container = match &self.container {
            ObservedContainer::Present(container) if container.run == *run => Some(container),
            ObservedContainer::Present(_)
            | ObservedContainer::Unknown
            | ObservedContainer::Missing => None,
        };
        Evidence::collect(
            container,
            self.log_tail_of(run),
            &self.recent_heartbeats,
            self.liveness.as_ref(),
            now.clock.mono,
        )
    }

    /// The end of this run's log. `None` until it was read.
    pub fn log_tail_of(&self, run: &Run) -> Option<&LogTail> {
        self.log_tail
            .as_ref()
            .filter(|log_tail| log_tail.run == *run)
    }

    /// Time before which no stop is called again.
    pub const fn stop_retry_at(&self) -> u64 {
        self.stop_retry_at
    }

    /// End of the restart delay, by the monotonic clock. `None` if no restart is pending.
    pub fn restart_due_at(&self, unit: &Unit, now: DecisionInputs) -> Option<u64> {
        let remaining = remaining(unit, now)?;
        let same = (unit.since, unit.restarts, unit.phase.delay_ms());
        let timer = self
            .restart_timer
            .filter(|timer| (timer.since, timer.restarts, timer.delay_ms) == same);
        Some(
            timer.map_or(now.clock.mono.saturating_add(remaining), |timer| {
                timer.due_at
            }),
        )
    }

    pub(super) fn observe_container(&mut self, new: Container, now: DecisionInputs) {
        if self.previous_run.as_ref() == Some(&new.run) {
            return;
        }
        let old = match &self.container {
            ObservedContainer::Present(old) if !replaces(old, &new) => return,
            ObservedContainer::Present(old) => Some(old.clone()),
            ObservedContainer::Unknown | ObservedContainer::Missing => None,
        };
        let was_unpaused = old.as_ref().is_some_and(|old| old.status == Status::Paused);
        let is_new_run = old.as_ref().is_none_or(|old| old.run != new.run);
        let is_first = old.is_none();
        if is_new_run {
            self.on_new_run(&new);
            self.stop_retry_at = 0;
            self.previous_run = old.map(|old| old.run);
        }
        if is_first && new.exit().is_some() {
            self.found_ended_run = Some(new.run.clone());
        }
        if is_new_run || was_unpaused {
            self.observed_since = now.clock.mono;
        }
        if new.exit().is_some() && self.ended_since(&new.run).is_none() {
            self.ended_run = Some((new.run.clone(), now.clock.mono));
        }
        self.container = ObservedContainer::Present(new);
    }

    /// A heartbeat received before the new run was observed may already be from it.
    fn on_new_run(&mut self, new: &Container) {
        let fits =
            |liveness: &Liveness| new.is_alive() && liveness.heartbeat.fits_run(new.start_time);
        if let Some(liveness) = self.liveness.take_if(|liveness| !fits(liveness)) {
            self.recent_heartbeats = RecentHeartbeats::default();
            self.previous_boot = Some(liveness.heartbeat.boot);
        }
    }

    pub(super) fn on_heartbeat(&mut self, heartbeat: HeartbeatSample, now: DecisionInputs) {
        if self.previous_boot.as_ref() != Some(&heartbeat.boot) {
            self.recent_heartbeats.push(&heartbeat, now.clock.mono);
            self.liveness = Some(Liveness::from_previous(
                self.liveness.as_ref(),
                heartbeat,
                now.clock.mono,
            ));
        }
    }

    /// A stop is called again if its end is not observed within [`STOP_RETRY_MS`], whatever the call returned.
    pub(super) fn on_action_finished(
        &mut self,
        action: &Action,
        error: Option<String>,
        starts: u64,
        now: DecisionInputs,
    ) {
        match action {
            Action::Start { .. } => self.failed_start = error.map(|error| (starts, error)),
            Action::Stop { .. } => {
                self.stop_retry_at = now.clock.mono.saturating_add(STOP_RETRY_MS);
            }
        }
    }
}

/// Whether `new` replaces `old`. Of two containers of one unit the running one counts. Observations come by two ways,
/// so one that shows a run alive after its end is late.
fn replaces(old: &Container, new: &Container) -> bool {
    if old.run == new.run {
        return old.exit().is_none() || new.exit().is_some() || new.status == Status::InTransition;
    }
    if old.run.container == new.run.container {
        return true;
    }
    match (old.is_alive(), new.is_alive()) {
        (_, true) => true,
        (true, false) => false,
        (false, false) => new.exit().is_some() && new.start_time >= old.start_time,
    }
}

/// The rest of the restart delay in milliseconds, by the wall clock, which may have jumped: never more than the whole
/// delay.
fn remaining(unit: &Unit, now: DecisionInputs) -> Option<u64> {
    let UnitPhase::RestartPending { delay_ms, .. } = unit.phase else {
        return None;
    };
    let passed = now.clock.utc.0.saturating_sub(unit.since.0).max(0);
    Some(delay_ms.saturating_sub(passed.unsigned_abs()))
}
