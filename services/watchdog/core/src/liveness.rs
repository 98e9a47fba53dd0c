//! Whether a unit's heartbeat says that it hangs: by its silence, or by a part that stands still while
//! the heart beats on. Both are judged by our own monotonic clock, and only while we ourselves can hear.

use std::collections::BTreeMap;

use protocol::heartbeat::{ComponentState, Health, Heartbeat, ProcessPhase};
use protocol::ids::{AccountKey, SubjectToken};
use protocol::time::UtcMs;

use crate::feed_connectivity::{ConnectivitySpan, FeedConnectivity};
use crate::format::format_seconds;
use crate::model::HealthySince;
use crate::model::Latch;
use crate::reason::RestartReason;

/// A unit is silent once this many of its own intervals have passed without a heartbeat: two after
/// the first one missed.
const MAX_MISSED_INTERVALS: u64 = 3;
/// A process that has not beaten once by then never will, in milliseconds. One that says it is
/// starting may take longer: it waits for something, and says so.
const FIRST_HEARTBEAT_MS: u64 = 120_000;
/// Heartbeats in a row that show a part at the same turn before it counts as standing still: one of them
/// alone may have come late.
const STALLED_HEARTBEATS: u32 = 3;
/// A heartbeat may say that its process is this much older than the engine says, in milliseconds.
const CLOCK_TOLERANCE_MS: i64 = 1_000;

/// What of a heartbeat a verdict needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatSample {
    /// The process that beats.
    pub boot: SubjectToken,
    /// Where in its life that is.
    pub phase: ProcessPhase,
    /// When it was made, by the sender's wall clock.
    pub at: UtcMs,
    /// The process's age, in milliseconds.
    pub uptime_ms: u64,
    /// Time between two, in milliseconds.
    pub interval_ms: u64,
    /// Errors since boot.
    pub errors: u64,
    /// The newest of them, one line.
    pub last_error: Option<String>,
    /// It says that it does not do what it is there for, and why.
    pub critical_reason: Option<String>,
    /// The latch that closes the account it trades for.
    pub latch: Option<Latch>,
    /// The account it trades for; who trades for the same reaches the same market.
    pub account: Option<AccountKey>,
    /// How it reaches that; none if it needs no candles.
    pub feed_connectivity: Option<FeedConnectivity>,
    /// The parts that are well and promise to turn.
    pub components: BTreeMap<String, ProgressDeadline>,
}

/// A part's counter, and how soon it must have moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressDeadline {
    /// So far.
    pub iterations: u64,
    /// At least one more within this time, in milliseconds.
    pub deadline_ms: u64,
}

impl From<&Heartbeat> for HeartbeatSample {
    fn from(heartbeat: &Heartbeat) -> Self {
        Self {
            boot: heartbeat.boot.clone(),
            phase: heartbeat.phase,
            at: heartbeat.at,
            uptime_ms: heartbeat.uptime_ms,
            interval_ms: heartbeat.interval_ms,
            errors: heartbeat.errors,
            last_error: heartbeat.last_error.as_ref().map(|e| e.text.clone()),
            critical_reason: critical_reason(heartbeat),
            latch: latch(heartbeat),
            account: heartbeat.account.clone(),
            feed_connectivity: FeedConnectivity::from_heartbeat(heartbeat),
            components: progress_deadlines(heartbeat),
        }
    }
}

fn critical_reason(heartbeat: &Heartbeat) -> Option<String> {
    let critical = heartbeat.health == Some(Health::Critical);
    critical.then(|| heartbeat.health_reason.clone().unwrap_or_default())
}

fn latch(heartbeat: &Heartbeat) -> Option<Latch> {
    Some(Latch {
        account: heartbeat.account.clone()?,
        id: heartbeat.latch_id.clone()?,
    })
}

/// A part that says it is in trouble is tried again and may take its time.
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
    /// What it says, in a few words.
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

    /// Whether its process can be the one that the engine started at `began`.
    pub fn fits_run(&self, start_time: UtcMs) -> bool {
        let age = i64::try_from(self.uptime_ms).unwrap_or(i64::MAX);
        let boot_time = self.at.0.saturating_sub(age);
        boot_time.saturating_add(CLOCK_TOLERANCE_MS) >= start_time.0
    }
}

/// The newest heartbeat, and when we heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    /// The heartbeat.
    pub heartbeat: HeartbeatSample,
    /// By our monotonic clock, in milliseconds.
    pub received_at: u64,
    /// Since when it says without a break that it is critical.
    critical_since: Option<u64>,
    /// Since when each part that promises to turn stands where it stands.
    component_progress: BTreeMap<String, StalledComponent>,
    /// Since when it reaches its market, or does not.
    connectivity_span: Option<ConnectivitySpan>,
}

/// A part that has not turned since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StalledComponent {
    iterations: u64,
    /// When we first heard of this turn.
    since: u64,
    /// Heartbeats that told of it.
    heartbeats: u32,
}

impl Liveness {
    /// The pulse after this heartbeat, given the one before it.
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
        let previous_span = unbroken.and_then(|before| before.connectivity_span);
        let connectivity_span = heartbeat
            .feed_connectivity
            .map(|now| ConnectivitySpan::from_previous(previous_span, now, received_at));
        Self {
            heartbeat,
            received_at,
            critical_since,
            component_progress,
            connectivity_span,
        }
    }

    /// For how long it has said, in every heartbeat, that its attempts to reach its market fail; none if it says
    /// otherwise, or not for long enough. What was before `observed_since` proves nothing.
    pub fn feed_lost_for(&self, observed_since: u64) -> Option<u64> {
        let now = self.heartbeat.feed_connectivity?;
        let failing = self
            .connectivity_span?
            .failing_for(now, self.received_at, observed_since);
        failing.filter(|_| self.heartbeat.phase == ProcessPhase::Running)
    }

    /// Whether the candles of this account's market have come to it, without a single failed attempt, for as long as
    /// another must have gone without, and still do.
    pub fn has_candles(&self, account: &AccountKey, mono: u64) -> bool {
        let steady = self
            .connectivity_span
            .is_some_and(|reach| reach.is_steady(self.received_at));
        steady
            && self.heartbeat.account.as_ref() == Some(account)
            && self.heartbeat.phase == ProcessPhase::Running
            && mono <= self.next_heartbeat_due()
    }

    /// A heartbeat that comes later than this comes after a silence.
    const fn next_heartbeat_due(&self) -> u64 {
        let limit_ms = self
            .heartbeat
            .interval_ms
            .saturating_mul(MAX_MISSED_INTERVALS);
        self.received_at.saturating_add(limit_ms)
    }

    /// For how long it has said, in every heartbeat, that it is critical.
    pub fn critical_for(&self) -> Option<u64> {
        self.critical_since
            .map(|since| self.received_at.saturating_sub(since))
    }

    /// A part that has stood still for longer than it promised, though the heart beats on. What was
    /// before `observed_since` proves nothing.
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

    /// What it says, in one line.
    pub fn describe(&self, mono: u64) -> String {
        let age = mono.saturating_sub(self.received_at);
        format!(
            "last heartbeat {} s before the failure: {}",
            format_seconds(age),
            self.heartbeat.describe()
        )
    }
}

/// The instant at which a run counts as hung if nothing is heard until then.
///
/// `observed_since` is since when we can hear this run at all, `known_until` what the journal says of its
/// heartbeats: a watchdog that has just begun need not wait for them as for those of a new process.
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

/// How a hang shows, at `mono`.
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
