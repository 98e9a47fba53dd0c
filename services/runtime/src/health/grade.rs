//! Health grade of a process, from the errors of the last hour and stalled components. Time is an argument of every
//! call.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::heartbeat::{ComponentState, ComponentStatus, Health, ProcessPhase};

/// Errors in an hour above which a process is degraded.
pub const DEGRADED_ABOVE: u64 = 10;
/// Errors in an hour above which a process is critical.
pub const CRITICAL_ABOVE: u64 = 50;
/// Buckets of the sliding hour, one a minute.
const MINUTES: usize = 60;
const MINUTE: Duration = Duration::from_mins(1);
/// Calls that must see the same iteration before a component counts as stalled: after a pause of the whole process the
/// first call may come before the component's next iteration.
const MIN_POLLS: u32 = 3;
/// Calls within this time count as one.
const MIN_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Health of a process with its reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthGrade {
    /// Grade of the process.
    pub health: Health,
    /// Why the health is not healthy, in one line; `None` if it is.
    pub reason: Option<String>,
    /// Errors of the last hour, to the minute.
    pub errors_last_hour: u64,
}

/// Grades a process by the errors of the last hour, and by a reason that makes it critical whatever their number.
pub fn grade_health(errors_last_hour: u64, critical: Option<String>) -> HealthGrade {
    let health = if critical.is_some() || errors_last_hour > CRITICAL_ABOVE {
        Health::Critical
    } else if errors_last_hour > DEGRADED_ABOVE {
        Health::Degraded
    } else {
        Health::Healthy
    };
    let many = || format!("{errors_last_hour} errors in the last hour");
    HealthGrade {
        health,
        reason: critical.or_else(|| (health != Health::Healthy).then(many)),
        errors_last_hour,
    }
}

/// Counts events of the last hour in sixty buckets of a minute each.
#[derive(Debug, Clone)]
pub struct SlidingHour {
    /// Start of minute 0.
    origin: Instant,
    /// Newest minute that was counted.
    newest_minute: u64,
    /// Counts by minute, modulo their number.
    buckets: [u64; MINUTES],
}

impl SlidingHour {
    /// Creates an hour without events; minute 0 starts at `now`.
    pub const fn new(now: Instant) -> Self {
        Self {
            origin: now,
            newest_minute: 0,
            buckets: [0; MINUTES],
        }
    }

    /// Counts events at an instant.
    pub fn add(&mut self, count: u64, now: Instant) {
        self.advance(now);
        let bucket = &mut self.buckets[slot(self.newest_minute)];
        *bucket = bucket.saturating_add(count);
    }

    /// Number of events in this minute and the 59 before it.
    pub fn sum(&mut self, now: Instant) -> u64 {
        self.advance(now);
        self.buckets.iter().copied().fold(0, u64::saturating_add)
    }

    fn advance(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.origin);
        let minute = since.as_secs() / MINUTE.as_secs();
        let passed = minute
            .saturating_sub(self.newest_minute)
            .min(MINUTES as u64);
        for ago in 0..passed {
            self.buckets[slot(minute - ago)] = 0;
        }
        self.newest_minute = self.newest_minute.max(minute);
    }
}

fn slot(minute: u64) -> usize {
    // Less than MINUTES.
    usize::try_from(minute % MINUTES as u64).unwrap_or(0)
}

/// Detects components that exceed their deadline.
#[derive(Debug, Default)]
pub struct StallDetector(BTreeMap<String, StalledComponent>);

/// Last iteration of a component, and when it was first seen.
#[derive(Debug, Clone, Copy)]
struct StalledComponent {
    iterations: u64,
    since: Instant,
    last_polled: Instant,
    polls: u32,
}

impl StallDetector {
    /// Checks all components; returns the first stalled one, in one line. Only a running process is judged: before, its
    /// components wait; after, they end.
    pub fn check(
        &mut self,
        phase: ProcessPhase,
        parts: &BTreeMap<String, ComponentStatus>,
        now: Instant,
    ) -> Option<String> {
        let is_judged = |part: &ComponentStatus| {
            phase == ProcessPhase::Running && part.state == ComponentState::Ok
        };
        self.0
            .retain(|name, _| parts.get(name).is_some_and(is_judged));
        let mut stalled = None;
        for (name, part) in parts.iter().filter(|(_, part)| is_judged(part)) {
            let Some(within_ms) = part.deadline_ms else {
                continue;
            };
            let within = Duration::from_millis(within_ms);
            let stood = self.stalled_for(name, part.iterations, now);
            if stalled.is_none() && stood.is_some_and(|stood| stood > within) {
                stalled = Some(format!("{name} has made no iteration within {within:?}"));
            }
        }
        stalled
    }

    /// How long a component has been at this iteration; `None` after too few calls.
    fn stalled_for(&mut self, name: &str, turns: u64, now: Instant) -> Option<Duration> {
        let new = StalledComponent {
            iterations: turns,
            since: now,
            last_polled: now,
            polls: 1,
        };
        let standing = self.0.entry(name.to_owned()).or_insert(new);
        if standing.iterations != turns {
            *standing = new;
        } else if now.saturating_duration_since(standing.last_polled) >= MIN_POLL_INTERVAL {
            standing.last_polled = now;
            standing.polls = standing.polls.saturating_add(1);
        }
        (standing.polls >= MIN_POLLS).then(|| now.saturating_duration_since(standing.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn health_grade_follows_from_errors_and_critical_reason() {
        use Health::{Critical, Degraded, Healthy};
        let stale = Some("candles are 10 minutes old");
        let eleven = Some("11 errors in the last hour");
        let fifty_one = Some("51 errors in the last hour");
        for (errors, critical, health, why) in [
            (0, None, Healthy, None),
            (10, None, Healthy, None),
            (11, None, Degraded, eleven),
            (50, None, Degraded, Some("50 errors in the last hour")),
            (51, None, Critical, fifty_one),
            (0, stale, Critical, stale),
            (11, stale, Critical, stale),
            (51, stale, Critical, stale),
        ] {
            let expected = HealthGrade {
                health,
                reason: why.map(str::to_owned),
                errors_last_hour: errors,
            };
            assert_eq!(grade_health(errors, critical.map(str::to_owned)), expected);
        }
    }

    #[test]
    fn sliding_hour_forgets_minute_by_minute() {
        let begin = Instant::now();
        let mut hour = SlidingHour::new(begin);
        hour.add(5, begin);
        assert_eq!(hour.sum(begin), 5);
        hour.add(7, begin + 30 * MINUTE);
        for (minutes, left) in [(30, 12), (59, 12), (60, 7), (89, 7), (90, 0)] {
            assert_eq!(hour.sum(begin + minutes * MINUTE), left, "{minutes}");
        }
    }

    #[test]
    fn sliding_hour_is_empty_after_days_and_counts_on() {
        let begin = Instant::now();
        let mut hour = SlidingHour::new(begin);
        for minute in 0..60 {
            hour.add(1, begin + minute * MINUTE);
        }
        assert_eq!(hour.sum(begin + 59 * MINUTE), 60);
        let later = begin + Duration::from_hours(72);
        assert_eq!(hour.sum(later), 0);
        hour.add(3, later);
        assert_eq!(hour.sum(later + 59 * MINUTE), 3);
        assert_eq!(hour.sum(later + 60 * MINUTE), 0);
    }

    /// Counts every minute of three hours in the plain way.
    #[test]
    fn sliding_hour_equals_a_list_of_all_minutes() {
        let begin = Instant::now();
        let mut hour = SlidingHour::new(begin);
        let mut all: Vec<u64> = Vec::new();
        for minute in 0..180_u64 {
            let count = minute * minute % 7;
            let now = begin + MINUTE * u32::try_from(minute).unwrap() + SECOND;
            hour.add(count, now);
            all.push(count);
            let expected: u64 = all.iter().rev().take(MINUTES).sum();
            assert_eq!(hour.sum(now), expected, "{minute}");
        }
    }

    fn component(
        turns: u64,
        state: ComponentState,
        within_ms: Option<u64>,
    ) -> BTreeMap<String, ComponentStatus> {
        let part = ComponentStatus {
            iterations: turns,
            errors: 0,
            state,
            deadline_ms: within_ms,
        };
        BTreeMap::from([("feed".to_owned(), part)])
    }

    /// Result of one call a second for a component that does not change.
    fn stalled_after(
        seconds: u32,
        phase: ProcessPhase,
        parts: &BTreeMap<String, ComponentStatus>,
    ) -> Option<String> {
        let begin = Instant::now();
        let mut turnings = StallDetector::default();
        (0..=seconds).fold(None, |_, s| {
            turnings.check(phase, parts, begin + s * SECOND)
        })
    }

    #[test]
    fn stall_detector_judges_only_ok_components_of_a_running_process() {
        let promised = Some(10_000);
        let broken = Some("feed has made no iteration within 10s".to_owned());
        for (seconds, phase, state, within, expected) in [
            (
                10,
                ProcessPhase::Running,
                ComponentState::Ok,
                promised,
                None,
            ),
            (
                11,
                ProcessPhase::Running,
                ComponentState::Ok,
                promised,
                broken,
            ),
            (99, ProcessPhase::Running, ComponentState::Ok, None, None),
            (
                99,
                ProcessPhase::Running,
                ComponentState::Retrying,
                promised,
                None,
            ),
            (
                99,
                ProcessPhase::Running,
                ComponentState::Stopped,
                promised,
                None,
            ),
            (
                99,
                ProcessPhase::Starting,
                ComponentState::Ok,
                promised,
                None,
            ),
            (
                99,
                ProcessPhase::Draining,
                ComponentState::Ok,
                promised,
                None,
            ),
        ] {
            let found = stalled_after(seconds, phase, &component(7, state, within));
            assert_eq!(found, expected, "{seconds} {phase:?} {state:?}");
        }
    }

    #[test]
    fn stall_detector_ignores_a_pause_of_the_whole_process() {
        let begin = Instant::now();
        let mut turnings = StallDetector::default();
        let mut look = |turns, at: Duration| {
            let parts = component(turns, ComponentState::Ok, Some(10_000));
            turnings.check(ProcessPhase::Running, &parts, begin + at)
        };
        assert_eq!(look(7, Duration::ZERO), None);
        // Stopped for an hour; two who look wake up before the part does.
        let woken = Duration::from_hours(1);
        assert_eq!(look(7, woken), None);
        assert_eq!(look(7, woken + Duration::from_millis(1)), None);
        assert_eq!(look(8, woken + SECOND), None);
        // From here on it really hangs.
        for second in 2..=11 {
            assert_eq!(look(8, woken + second * SECOND), None, "{second}");
        }
        assert!(look(8, woken + 12 * SECOND).is_some());
        assert_eq!(look(9, woken + 13 * SECOND), None, "it recovers by itself");
    }
}
