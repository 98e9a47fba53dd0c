//! The observations of one unit: its container, its heartbeats, the call in flight.

use std::collections::VecDeque;

use protocol::heartbeat::ProcessPhase;
use protocol::ids::SubjectToken;
use protocol::time::UtcMs;

use crate::config::RestartBudget;
use crate::container::{Container, ContainerHealth, Run, Status};
use crate::decision_inputs::DecisionInputs;
use crate::evidence::{Evidence, LogTail, RecentHeartbeats};
use crate::liveness::{HeartbeatSample, Liveness};
use crate::model::Action;
use crate::phase::UnitPhase;
use crate::stop_request::{ObservedStop, StopRequest, StopVerdict};
use crate::unit::Unit;

/// A container with the label for supervision that cannot be supervised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcludedContainer {
    /// Name under which the container is listed.
    pub unit: SubjectToken,
    /// Id of the container.
    pub container: String,
    /// Why it is not supervised, in one line.
    pub reason: String,
}

/// Heartbeats of a second process, each between two of the first one, after which it is reported. A new run sends one or
/// two before it is observed.
const DUPLICATE_HEARTBEATS: u32 = 4;
/// Time after which an observed run cannot be confused with the run before, in milliseconds.
const RUN_CONFIRMED_MS: u64 = 5_000;
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
    /// First observation of the run, or of its end of a pause, by the monotonic clock.
    pub(crate) observed_since: u64,
    stop: Option<ObservedStop>,
    /// Docker cannot describe the container: since when by the monotonic clock, and the error.
    unjudged: Option<(u64, String)>,
    /// Time since when there is no container, by the monotonic clock.
    missing_since: Option<u64>,
    /// Start of Docker's `unhealthy` without a break, by the monotonic clock.
    unhealthy_since: Option<u64>,
    /// First observation of the container in its present state, by the monotonic clock.
    status_since: u64,
    /// Acceptance of the command that waits for Docker, by the monotonic clock.
    command_deferred_at: Option<u64>,
    /// Whether the unit was down when its timers were set last. `None` before.
    was_down: Option<bool>,
    /// Detection of the failure from which the unit has not recovered, by the monotonic clock.
    failed_at: Option<u64>,
    ended_run: Option<(Run, u64)>,
    /// The run that had ended when it was first observed.
    pub(super) found_ended_run: Option<Run>,
    pub(super) failed_start: Option<(u64, String)>,
    stop_retry_at: u64,
    /// Failed stop calls of this run in a row, and the last error.
    failed_stops: Option<(u32, String)>,
    /// The newest heartbeat of a second process under this name, and how many came while the first one sent its own.
    pub(super) duplicate: Option<(Liveness, u32)>,
    /// Times of the restarts after failures, by the monotonic clock.
    restart_times: VecDeque<u64>,
    restart_timer: Option<RestartTimer>,
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
    /// There is a container that may not be supervised, with its id and the reason.
    Excluded(ExcludedContainer),
    /// The container as inspected.
    Present(Container),
}

/// A restart delay, measured by the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RestartTimer {
    since: UtcMs,
    restarts: u32,
    delay_ms: u64,
    due_at: u64,
}

impl ObservedUnit {
    /// Whether `docker pause` has frozen the container.
    pub fn is_paused(&self) -> bool {
        matches!(&self.container, ObservedContainer::Present(container) if container.status == Status::Paused)
    }

    /// Whether an operator requested the end of this run.
    pub fn stop_verdict(&self, run: &Run) -> StopVerdict {
        let stop = self.stop.as_ref().filter(|stop| stop.run == *run);
        match (stop, self.ended_since(run)) {
            (Some(stop), Some(ended_at)) => stop.verdict(ended_at),
            _ => StopVerdict::NotRequested,
        }
    }

    /// Time since the detection of the failure from which the unit has not recovered, in milliseconds. `None` without
    /// one, or if an earlier process detected it.
    pub fn failed_for(&self, mono: u64) -> Option<u64> {
        self.failed_at.map(|at| mono.saturating_sub(at))
    }

    /// Last time by the monotonic clock at which an end of this run follows from an operator's request. `None` if there
    /// is no request.
    pub fn stop_deadline(&self, run: &Run) -> Option<u64> {
        let stop = self.stop.as_ref().filter(|stop| stop.run == *run);
        stop.and_then(ObservedStop::deadline)
    }

    /// Whether this run had ended when this process first observed it.
    pub fn was_found_ended(&self, run: &Run) -> bool {
        self.found_ended_run.as_ref() == Some(run)
    }

    /// Why Docker cannot describe the container, in one line. `None` if it can.
    pub fn obstacle(&self) -> Option<&str> {
        self.unjudged.as_ref().map(|(_, error)| error.as_str())
    }

    /// Since when Docker cannot describe the container, by the monotonic clock. `None` if it can.
    pub(super) fn unjudged_since(&self) -> Option<u64> {
        self.unjudged.as_ref().map(|(since, _)| *since)
    }

    /// Since when there is no container, by the monotonic clock. `None` if there is one.
    pub const fn missing_since(&self) -> Option<u64> {
        self.missing_since
    }

    /// Since when Docker calls the container unhealthy without a break, by the monotonic clock.
    pub const fn unhealthy_since(&self) -> Option<u64> {
        self.unhealthy_since
    }

    /// First observation of the container in its present state, by the monotonic clock.
    pub const fn status_since(&self) -> u64 {
        self.status_since
    }

    /// Acceptance of the command that waits for Docker, by the monotonic clock; 0 for one accepted by an earlier process.
    pub fn command_deferred_at(&self) -> u64 {
        self.command_deferred_at.unwrap_or_default()
    }

    /// First observation of the end of this run, by the monotonic clock.
    pub fn ended_since(&self, run: &Run) -> Option<u64> {
        let (ended, since) = self.ended_run.as_ref()?;
        (ended == run).then_some(*since)
    }

    /// Failed stop calls of this run in a row, and the last error. `None` if the last call did not fail.
    pub fn stop_failure(&self) -> Option<(u32, &str)> {
        let (failures, error) = self.failed_stops.as_ref()?;
        Some((*failures, error))
    }

    /// Boot id of a second process that sends heartbeats under this name. `None` if there is none.
    pub fn duplicate_boot(&self) -> Option<&SubjectToken> {
        let (liveness, heartbeats) = self.duplicate.as_ref()?;
        (*heartbeats >= DUPLICATE_HEARTBEATS).then_some(&liveness.heartbeat.boot)
    }

    /// Restarts after failures that this process decided, by the monotonic clock, oldest first.
    pub fn restart_times(&self) -> impl ExactSizeIterator<Item = u64> {
        self.restart_times.iter().copied()
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
            | ObservedContainer::Excluded(_)
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

    pub(super) fn arm_timers(&mut self, unit: &Unit, now: DecisionInputs) {
        let due = self.restart_due_at(unit, now);
        self.restart_timer = due.map(|due_at| RestartTimer {
            since: unit.since,
            restarts: unit.restarts,
            delay_ms: unit.phase.delay_ms(),
            due_at,
        });
        // Of a failure that the journal knew when this process began, the time is not known.
        self.failed_at = match (unit.down_since, self.was_down) {
            (None, _) => None,
            (Some(_), Some(false)) => Some(now.clock.mono),
            (Some(_), _) => self.failed_at,
        };
        self.was_down = Some(unit.down_since.is_some());
        let pending = unit.pending_command.as_ref();
        self.command_deferred_at = pending
            .is_some_and(|pending| pending.is_deferred)
            .then(|| self.command_deferred_at.unwrap_or(now.clock.mono));
    }

    pub(super) fn note_restart(&mut self, now: DecisionInputs) {
        self.restart_times.push_back(now.clock.mono);
        if self.restart_times.len() > usize::from(RestartBudget::MAX_RESTARTS) {
            self.restart_times.pop_front();
        }
    }

    /// Docker has the container and could not describe it. What was observed before stays, and is out of date.
    pub(super) fn on_inspection_failed(
        &mut self,
        container: &str,
        error: String,
        now: DecisionInputs,
    ) {
        let is_other = matches!(&self.container,
            ObservedContainer::Present(known) if known.run.container != container && known.is_alive());
        if !is_other {
            let since = self.unjudged_since().unwrap_or(now.clock.mono);
            self.unjudged = Some((since, error));
            self.missing_since = None;
        }
    }

    pub(super) fn on_removed(&mut self, now: DecisionInputs) {
        self.container = ObservedContainer::Missing;
        self.unjudged = None;
        self.missing_since.get_or_insert(now.clock.mono);
    }

    /// A container of the unit that is supervised counts more than one that is not.
    pub(super) fn on_excluded(&mut self, excluded: &ExcludedContainer) {
        let is_other = matches!(&self.container,
            ObservedContainer::Present(known) if known.run.container != excluded.container && known.is_alive());
        if !is_other {
            self.unjudged = None;
            self.missing_since = None;
            self.container = ObservedContainer::Excluded(excluded.clone());
        }
    }

    pub(super) fn on_stop_requested(
        &mut self,
        request: &StopRequest,
        own_stop_run: Option<&Run>,
        now: DecisionInputs,
    ) {
        let ObservedContainer::Present(container) = &self.container else {
            return;
        };
        // Docker's clock may have jumped since the start. A long observation of this run, or its place in Docker's
        // history, is as good.
        let is_run_confirmed = container.is_alive()
            && now.clock.mono.saturating_sub(self.observed_since) > RUN_CONFIRMED_MS;
        let is_of_this_run = request.at >= container.start_time
            || if request.is_of_last_run {
                container.exit().is_some()
            } else {
                is_run_confirmed
            };
        if !is_of_this_run || own_stop_run == Some(&container.run) {
            return;
        }
        if let Some(stop) = ObservedStop::new(container, &request.evidence, now.clock.mono) {
            self.stop = Some(match self.stop.take() {
                Some(known) => known.merge(stop, !request.is_of_last_run),
                None => stop,
            });
        }
    }

    pub(super) fn observe_container(&mut self, new: Container, now: DecisionInputs) {
        let is_known_id = matches!(&self.container,
            ObservedContainer::Present(known) if known.run.container == new.run.container);
        if is_known_id || new.is_alive() {
            self.unjudged = None;
        }
        self.missing_since = None;
        if self.previous_run.as_ref() == Some(&new.run) {
            return;
        }
        let old = match &self.container {
            ObservedContainer::Present(old) if !replaces(old, &new) => return,
            ObservedContainer::Present(old) => Some(old.clone()),
            ObservedContainer::Unknown
            | ObservedContainer::Missing
            | ObservedContainer::Excluded(_) => None,
        };
        self.unjudged = None;
        let is_same_state = old
            .as_ref()
            .is_some_and(|old| old.run == new.run && old.status == new.status);
        if !is_same_state {
            self.status_since = now.clock.mono;
        }
        self.note_health(&new, now);
        self.drop_heartbeats_of_other_mode(new.mode);
        let was_unpaused = old.as_ref().is_some_and(|old| old.status == Status::Paused);
        let is_new_run = old.as_ref().is_none_or(|old| old.run != new.run);
        let is_first = old.is_none();
        if is_new_run {
            let previous_end = old.as_ref().and_then(|old| self.ended_since(&old.run));
            self.on_new_run(&new, previous_end);
            self.stop_retry_at = 0;
            self.failed_stops = None;
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

    fn note_health(&mut self, new: &Container, now: DecisionInputs) {
        self.unhealthy_since = match &new.health {
            ContainerHealth::Unhealthy(_) => Some(self.unhealthy_since.unwrap_or(now.clock.mono)),
            ContainerHealth::Healthy | ContainerHealth::Unknown => None,
        };
    }

    /// Heartbeats received before the new run was observed may already be from it: their process began after the
    /// observed end of the run before. Clocks of two processes are not compared.
    fn on_new_run(&mut self, new: &Container, previous_end: Option<u64>) {
        let is_from_new_run = |liveness: &Liveness| {
            new.is_alive() && previous_end.is_some_and(|end| liveness.began_after(end))
        };
        let second = self.duplicate.take().map(|(liveness, _)| liveness);
        if let Some(liveness) = self.liveness.take_if(|liveness| !is_from_new_run(liveness)) {
            self.recent_heartbeats = RecentHeartbeats::default();
            self.liveness = second.filter(is_from_new_run);
            // Late heartbeats of a run whose end was observed are dropped. Nothing else is: a process that is not known
            // to have ended may be this run, and its next heartbeat shows it.
            self.previous_boot = previous_end.map(|_| liveness.heartbeat.boot);
        }
    }

    pub(super) fn on_heartbeat(&mut self, heartbeat: HeartbeatSample, now: DecisionInputs) {
        if self.previous_boot.as_ref() == Some(&heartbeat.boot) {
            return;
        }
        let is_of_second_process = self.liveness.as_ref().is_some_and(|first| {
            first.heartbeat.boot != heartbeat.boot
                && now.clock.mono <= first.next_heartbeat_due()
                && !matches!(
                    first.heartbeat.phase,
                    ProcessPhase::Draining | ProcessPhase::Stopped
                )
        });
        if is_of_second_process {
            let known = self.duplicate.take();
            let heartbeats = known
                .as_ref()
                .filter(|(known, _)| known.heartbeat.boot == heartbeat.boot)
                .map_or(0, |(_, heartbeats)| *heartbeats);
            let before = known.map(|(liveness, _)| liveness);
            let liveness = Liveness::from_previous(before.as_ref(), heartbeat, now.clock.mono);
            self.duplicate = Some((liveness, heartbeats.saturating_add(1)));
        } else {
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
                let before = self.failed_stops.take().map_or(0, |(failures, _)| failures);
                self.failed_stops = error.map(|error| (before.saturating_add(1), error));
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
