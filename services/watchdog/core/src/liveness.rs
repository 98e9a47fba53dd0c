//! Whether a unit hangs, by its heartbeats: no heartbeat for too long, or a component without progress. Times are those
//! of the watchdog's monotonic clock.

use std::collections::BTreeMap;

use protocol::duration::format_ms;
use protocol::heartbeat::{ComponentState, Health, Heartbeat, ProcessPhase};
use protocol::ids::{AccountKey, Mode, SubjectToken};

use crate::feed_connectivity::{ConnectivitySpan, FeedConnectivity};
use crate::model::HealthySince;
use crate::model::Latch;
use crate::reason::RestartReason;

/// Shortest and longest heartbeat interval, in milliseconds: the limits of `HEARTBEAT_SECS`.
const MIN_INTERVAL_MS: u64 = 1_000;
const MAX_INTERVAL_MS: u64 = 60_000;
/// Heartbeat intervals without a heartbeat after which a unit counts as hung: two after the first missed one.
const MAX_MISSED_INTERVALS: u64 = 3;
/// Time within which the first heartbeat must arrive, in milliseconds. A process in phase starting sends heartbeats and
/// may take longer.
const FIRST_HEARTBEAT_MS: u64 = 120_000;
/// Heartbeats in a row with an unchanged counter before a component counts as stalled. One alone may be late.
const STALLED_HEARTBEATS: u32 = 3;
/// Tolerance between the age of a process and the length of its run, in milliseconds.
const AGE_TOLERANCE_MS: u64 = 1_000;

/// The part of a heartbeat that decisions need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatSample {
    /// Mode in the subject, which the credential of the sender determines.
    pub mode: Mode,
    /// Boot id of the process.
    pub boot: SubjectToken,
    /// Phase of the process.
    pub phase: ProcessPhase,
    /// Age of the process, in milliseconds.
    pub uptime_ms: u64,
    /// Heartbeat interval, in milliseconds.
    pub interval_ms: u64,
    /// Errors of all components since the start of the process.
    pub errors: u64,
    /// The newest error in one line. `None` if there was none since boot.
    pub last_error: Option<String>,
    /// Reason of critical health. `None` unless the health is critical.
    pub critical_reason: Option<String>,
    /// The latch of the account. `None` if the account is not latched.
    pub latch: Option<Latch>,
    /// The account that the unit trades. Units of one account use the same market.
    pub account: Option<AccountKey>,
    /// Market data connectivity. `None` if the unit needs no candles.
    pub feed_connectivity: Option<FeedConnectivity>,
    /// Components with state ok and a deadline.
    pub components: BTreeMap<String, ProgressDeadline>,
    /// Whether a component waits for something that fails and is retried.
    pub is_waiting: bool,
}

/// The counter of a component and its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressDeadline {
    /// Iterations of the component since the start of the process.
    pub iterations: u64,
    /// Time within which the counter must advance, in milliseconds.
    pub deadline_ms: u64,
}

impl HeartbeatSample {
    /// Sample of a heartbeat that arrived on a subject of this mode. Numbers that decide are limited: a heartbeat can
    /// claim anything.
    pub fn new(mode: Mode, heartbeat: &Heartbeat) -> Self {
        Self {
            mode,
            boot: heartbeat.boot.clone(),
            phase: heartbeat.phase,
            uptime_ms: heartbeat.uptime_ms,
            interval_ms: heartbeat
                .interval_ms
                .clamp(MIN_INTERVAL_MS, MAX_INTERVAL_MS),
            errors: heartbeat.errors,
            last_error: heartbeat.last_error.as_ref().map(|e| e.text.clone()),
            critical_reason: critical_reason(heartbeat),
            latch: latch(mode, heartbeat),
            account: own_account(mode, heartbeat),
            feed_connectivity: FeedConnectivity::from_heartbeat(heartbeat),
            components: progress_deadlines(heartbeat),
            is_waiting: retrying(heartbeat).next().is_some(),
        }
    }
}

/// A process that has not finished its start does not do its work either.
fn critical_reason(heartbeat: &Heartbeat) -> Option<String> {
    if heartbeat.health == Some(Health::Critical) {
        return Some(heartbeat.health_reason.clone().unwrap_or_default());
    }
    if heartbeat.phase != ProcessPhase::Starting {
        return None;
    }
    let waiting: Vec<&str> = retrying(heartbeat).collect();
    Some(match waiting.as_slice() {
        [] => "still starting".to_owned(),
        names => format!("still starting; waiting: {}", names.join(", ")),
    })
}

/// Names of the components that wait for something.
fn retrying(heartbeat: &Heartbeat) -> impl Iterator<Item = &str> {
    let retrying = heartbeat
        .components
        .iter()
        .filter(|(_, component)| component.state == ComponentState::Retrying);
    retrying.map(|(name, _)| name.as_str())
}

/// The account of a heartbeat. `None` also for an account of the other mode, which the sender cannot trade.
fn own_account(mode: Mode, heartbeat: &Heartbeat) -> Option<AccountKey> {
    let account = heartbeat.account.clone();
    account.filter(|account| account.mode == mode)
}

fn latch(mode: Mode, heartbeat: &Heartbeat) -> Option<Latch> {
    Some(Latch {
        account: own_account(mode, heartbeat)?,
        id: heartbeat.latch_id.clone()?,
    })
}

/// A component with another state than ok is retrying and has no deadline.
fn progress_deadlines(heartbeat: &Heartbeat) -> BTreeMap<String, ProgressDeadline> {
    let ok_components = heartbeat
        .components
        .iter()
        .filter(|(_, component)| component.state == ComponentState::Ok);
    let deadlines = ok_components.filter_map(|(name, component)| {
        let iterations = component.iterations;
        let deadline_ms = component.deadline_ms?;
        Some((
            name.clone(),
            ProgressDeadline {
                iterations,
                deadline_ms,
            },
        ))
    });
    deadlines.collect()
}

impl HeartbeatSample {
    /// Phase and errors in one line.
    pub fn describe(&self) -> String {
        let phase = match self.phase {
            ProcessPhase::Starting => "starting",
            ProcessPhase::Running => "running",
            ProcessPhase::Draining => "draining",
            ProcessPhase::Stopped => "stopped",
        };
        let summary = format!("{phase}, {} errors", self.errors);
        match &self.last_error {
            Some(error) => format!("{summary}, last: {error}"),
            None => summary,
        }
    }

    /// Whether the process can be a run of this length in milliseconds: a process is not older than its run.
    pub const fn fits_run_length(&self, run_ms: u64) -> bool {
        self.uptime_ms <= run_ms.saturating_add(AGE_TOLERANCE_MS)
    }
}

/// The newest heartbeat and what the heartbeats before it say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    /// Heartbeat that was received last.
    pub heartbeat: HeartbeatSample,
    /// Reception of the newest heartbeat, by the monotonic clock in milliseconds.
    pub received_at: u64,
    /// Start of uninterrupted critical health.
    critical_since: Option<u64>,
    /// Start of uninterrupted phase starting without a component that waits.
    starting_since: Option<u64>,
    /// Progress of each component with a deadline.
    component_progress: BTreeMap<String, StalledComponent>,
    /// Start and kind of the current market data connectivity.
    connectivity_span: Option<ConnectivitySpan>,
}

/// A component whose counter has not advanced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StalledComponent {
    iterations: u64,
    /// First heartbeat with this counter, by the monotonic clock in milliseconds.
    since: u64,
    /// Heartbeats with this counter.
    heartbeats: u32,
}

impl Liveness {
    /// The liveness after a heartbeat. `before` is the liveness before it.
    pub fn from_previous(
        before: Option<&Self>,
        heartbeat: HeartbeatSample,
        received_at: u64,
    ) -> Self {
        let same_boot = before.filter(|before| before.heartbeat.boot == heartbeat.boot);
        let stalled = heartbeat.components.iter().map(|(name, component)| {
            let known = same_boot.and_then(|before| before.component_progress.get(name));
            let stalled = match known {
                Some(known) if known.iterations == component.iterations => StalledComponent {
                    heartbeats: known.heartbeats.saturating_add(1),
                    ..*known
                },
                _ => StalledComponent {
                    iterations: component.iterations,
                    since: received_at,
                    heartbeats: 1,
                },
            };
            (name.clone(), stalled)
        });
        let component_progress = stalled.collect();
        let unbroken = same_boot.filter(|before| received_at <= before.next_heartbeat_due());
        let critical_since = heartbeat.critical_reason.is_some().then(|| {
            unbroken
                .and_then(|before| before.critical_since)
                .unwrap_or(received_at)
        });
        let is_idle_start = heartbeat.phase == ProcessPhase::Starting && !heartbeat.is_waiting;
        let starting_since = is_idle_start.then(|| {
            unbroken
                .and_then(|before| before.starting_since)
                .unwrap_or(received_at)
        });
        let previous_span = unbroken.and_then(|before| before.connectivity_span);
        let connectivity_span = heartbeat
            .feed_connectivity
            .map(|now| ConnectivitySpan::from_previous(previous_span, now, received_at));
        Self {
            heartbeat,
            received_at,
            critical_since,
            starting_since,
            component_progress,
            connectivity_span,
        }
    }

    /// Whether the process began after this time by the monotonic clock.
    pub const fn began_after(&self, mono: u64) -> bool {
        self.received_at > mono.saturating_add(self.heartbeat.uptime_ms)
    }

    /// Milliseconds for which every heartbeat reported failing attempts to receive market data. `None` if candles
    /// arrive or the time is too short. Time before `observed_since` does not count.
    pub fn feed_lost_for(&self, observed_since: u64) -> Option<u64> {
        let now = self.heartbeat.feed_connectivity?;
        let failing = self
            .connectivity_span?
            .failing_for(now, self.received_at, observed_since);
        failing.filter(|_| self.heartbeat.phase == ProcessPhase::Running)
    }

    /// Whether candles of this account have arrived for as long as a cut-off peer must lack them, and still do.
    pub fn has_candles(&self, account: &AccountKey, mono: u64) -> bool {
        let steady = self
            .connectivity_span
            .is_some_and(|reach| reach.is_steady(self.received_at));
        steady
            && self.heartbeat.account.as_ref() == Some(account)
            && self.heartbeat.phase == ProcessPhase::Running
            && mono <= self.next_heartbeat_due()
    }

    /// A heartbeat after this time ends a gap.
    pub const fn next_heartbeat_due(&self) -> u64 {
        let limit_ms = self
            .heartbeat
            .interval_ms
            .saturating_mul(MAX_MISSED_INTERVALS);
        self.received_at.saturating_add(limit_ms)
    }

    /// Milliseconds for which every heartbeat reported phase starting and no component that waits. `None` in other phases.
    pub fn starting_without_wait_for(&self) -> Option<u64> {
        self.starting_since
            .map(|since| self.received_at.saturating_sub(since))
    }

    /// Milliseconds for which every heartbeat reported critical health. `None` if the health is not critical.
    pub fn critical_for(&self) -> Option<u64> {
        self.critical_since
            .map(|since| self.received_at.saturating_sub(since))
    }

    /// The first component that exceeded its deadline although heartbeats arrive. Time before `observed_since` does not
    /// count.
    pub fn stalled_component(&self, observed_since: u64) -> Option<RestartReason> {
        if self.heartbeat.phase != ProcessPhase::Running {
            return None;
        }
        let is_stalled = |(name, stalled): (&String, &StalledComponent)| {
            let deadline_ms = self.heartbeat.components.get(name)?.deadline_ms;
            let for_ms = self
                .received_at
                .saturating_sub(stalled.since.max(observed_since));
            (for_ms > deadline_ms && stalled.heartbeats >= STALLED_HEARTBEATS).then(|| {
                RestartReason::ComponentStalled {
                    component: name.clone(),
                    for_ms,
                }
            })
        };
        self.component_progress.iter().find_map(is_stalled)
    }

    /// The last heartbeat and its age, in one line.
    pub fn describe(&self, mono: u64) -> String {
        let age = mono.saturating_sub(self.received_at);
        format!(
            "last heartbeat {} before the failure: {}",
            format_ms(age),
            self.heartbeat.describe()
        )
    }
}

/// The time at which a run counts as hung if no heartbeat arrives before.
///
/// `observed_since` is the time from which heartbeats of this run can be received. `known` is what the journal says
/// about earlier heartbeats: a new watchdog process need not wait for them as for those of a new run.
pub fn hung_at(
    liveness: Option<&Liveness>,
    observed_since: u64,
    known: Option<&HealthySince>,
) -> u64 {
    let received_at = liveness.map_or(observed_since, |liveness| {
        liveness.received_at.max(observed_since)
    });
    let interval = liveness.map(|liveness| liveness.heartbeat.interval_ms);
    let limit_ms = match interval.or(known.map(|known| known.interval_ms)) {
        Some(interval) => interval.saturating_mul(MAX_MISSED_INTERVALS),
        None => FIRST_HEARTBEAT_MS,
    };
    received_at.saturating_add(limit_ms)
}

/// The kind of hang at `mono`. `None` if the unit is alive.
pub fn detect_hang(
    liveness: Option<&Liveness>,
    observed_since: u64,
    known: Option<&HealthySince>,
    mono: u64,
) -> Option<RestartReason> {
    if mono <= hung_at(liveness, observed_since, known) {
        return liveness.and_then(|liveness| liveness.stalled_component(observed_since));
    }
    let received_at = liveness.map_or(observed_since, |liveness| {
        liveness.received_at.max(observed_since)
    });
    let for_ms = mono.saturating_sub(received_at);
    Some(match (liveness, known) {
        (None, None) => RestartReason::NoFirstHeartbeat { for_ms },
        _ => RestartReason::HeartbeatLost { for_ms },
    })
}
