//! Status of the process: phase, components with their counters, errors, and the health grade. Heartbeats, the health
//! check, the health log and the metrics read it; every loop writes it. [`crate::health::grade`] computes the grade.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use protocol::heartbeat::{ComponentState, ComponentStatus, LastError, ProcessPhase};
use protocol::time::UtcMs;
use tokio::sync::Notify;

use crate::clock;
use crate::health::grade::{self, HealthGrade, SlidingHour, StallDetector};

/// Status of the process, shared by all tasks.
pub struct ProcessStatus {
    started: Instant,
    phase: Mutex<ProcessPhase>,
    phase_changed: Notify,
    components: Mutex<BTreeMap<String, Arc<ComponentHandle>>>,
    sources: Mutex<BTreeMap<String, Arc<dyn ComponentSource>>>,
    errors: AtomicU64,
    entries_decided: AtomicU64,
    last_error: Mutex<Option<LastError>>,
    critical_check: OnceLock<CriticalCheck>,
    grade_inputs: Mutex<GradeInputs>,
}

/// Check of the service itself: the reason why its health is critical, in one line; `None` if it is not.
pub type CriticalCheck = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// A component that keeps its own counters.
pub trait ComponentSource: Send + Sync {
    /// Counters and state of the component at the time of the call.
    fn component_status(&self) -> ComponentStatus;
    /// Time and text of the newest error, in one line without a secret.
    fn last_error(&self) -> Option<(UtcMs, String)>;
}

/// State of the health grade between two calls.
struct GradeInputs {
    /// Number of errors that `last_hour` has counted.
    errors: u64,
    last_hour: SlidingHour,
    stall_detector: StallDetector,
}

/// Handle of one component.
#[derive(Default)]
pub struct ComponentHandle {
    iterations: AtomicU64,
    /// Iterations and retries within an iteration.
    activity_count: AtomicU64,
    errors: AtomicU64,
    state: AtomicU8,
    /// Deadline in milliseconds; zero for none.
    deadline_ms: AtomicU64,
    last_iteration: Mutex<Option<Instant>>,
}

const OK: u8 = 0;
const RETRYING: u8 = 1;
const STOPPED: u8 = 2;

impl Default for ProcessStatus {
    fn default() -> Self {
        let began = Instant::now();
        Self {
            started: began,
            phase: Mutex::default(),
            phase_changed: Notify::default(),
            components: Mutex::default(),
            sources: Mutex::default(),
            errors: AtomicU64::default(),
            entries_decided: AtomicU64::default(),
            last_error: Mutex::default(),
            critical_check: OnceLock::default(),
            grade_inputs: Mutex::new(GradeInputs {
                errors: 0,
                last_hour: SlidingHour::new(began),
                stall_detector: StallDetector::default(),
            }),
        }
    }
}

impl ProcessStatus {
    /// Time since the status was created, at the start of the process.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Adds a component that keeps its own counters. Its errors count as errors of the process.
    pub fn add_source(&self, name: &str, source: Arc<dyn ComponentSource>) {
        locked(&self.sources).insert(name.to_owned(), source);
    }

    /// Sets the check of the service itself, once. It runs at every grade, so it must be quick; it must not own this status,
    /// or neither is ever freed.
    pub fn set_critical_check(
        &self,
        critical: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) {
        if self.critical_check.set(Box::new(critical)).is_err() {
            tracing::warn!("bug: critical check set twice; the first is kept");
        }
    }

    /// Health grade now. The hour and the deadlines are measured at these calls, so one is needed every few seconds.
    pub fn health_grade(&self) -> HealthGrade {
        self.health_grade_at(Instant::now())
    }

    /// Health grade at an instant, which must not be earlier than that of the last call.
    pub fn health_grade_at(&self, now: Instant) -> HealthGrade {
        let own = self.critical_check.get().and_then(|critical| critical());
        let (errors, phase, parts) = (self.errors(), self.phase(), self.components());
        let mut seen = locked(&self.grade_inputs);
        let new = errors.saturating_sub(seen.errors);
        seen.errors = seen.errors.max(errors);
        seen.last_hour.add(new, now);
        let hangs = seen.stall_detector.check(phase, &parts, now);
        grade::grade_health(seen.last_hour.sum(now), hangs.or(own))
    }

    /// Component of this name, created at first use.
    pub fn component(&self, name: &str) -> Arc<ComponentHandle> {
        Arc::clone(locked(&self.components).entry(name.to_owned()).or_default())
    }

    /// Removes a component that the process no longer has.
    pub fn remove_component(&self, name: &str) {
        locked(&self.components).remove(name);
    }

    /// Phase of the process.
    pub fn phase(&self) -> ProcessPhase {
        *locked(&self.phase)
    }

    /// Changes the phase of the process and wakes [`phase_changed`](Self::phase_changed).
    pub fn enter_phase(&self, phase: ProcessPhase) {
        *locked(&self.phase) = phase;
        self.phase_changed.notify_one();
    }

    /// Returns when a phase has been entered since the last call.
    pub async fn phase_changed(&self) {
        self.phase_changed.notified().await;
    }

    /// Counts a decided entry.
    pub fn record_entry_decided(&self) {
        self.entries_decided.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an error of a component and keeps its text, which must hold no secret.
    pub fn record_error(&self, component: &str, text: impl Into<String>) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.component(component)
            .errors
            .fetch_add(1, Ordering::Relaxed);
        *locked(&self.last_error) = Some(LastError {
            at: clock::now(),
            component: component.to_owned(),
            text: text.into(),
        });
    }

    /// Entries decided since boot.
    pub fn entries_decided(&self) -> u64 {
        self.entries_decided.load(Ordering::Relaxed)
    }

    /// Errors since boot, of all components.
    pub fn errors(&self) -> u64 {
        let others = locked(&self.sources);
        let theirs = others.values().map(|part| part.component_status().errors);
        theirs.fold(self.errors.load(Ordering::Relaxed), u64::saturating_add)
    }

    /// Newest error of all components.
    pub fn last_error(&self) -> Option<LastError> {
        let own = locked(&self.last_error).clone();
        let others = locked(&self.sources);
        let theirs = others.iter().filter_map(|(name, part)| {
            let (at, text) = part.last_error()?;
            let part = name.clone();
            Some(LastError {
                at,
                component: part,
                text,
            })
        });
        own.into_iter().chain(theirs).max_by_key(|error| error.at)
    }

    /// All components by name, as a heartbeat shows them.
    pub fn components(&self) -> BTreeMap<String, ComponentStatus> {
        let own = locked(&self.components);
        let own = own.iter().map(|(name, part)| (name.clone(), part.status()));
        let others = locked(&self.sources);
        let theirs = others
            .iter()
            .map(|(name, part)| (name.clone(), part.component_status()));
        own.chain(theirs).collect()
    }
}

impl ComponentHandle {
    /// Counts an iteration of the loop and sets the state to `ok`.
    pub fn record_iteration(&self) {
        self.iterations.fetch_add(1, Ordering::Relaxed);
        self.activity_count.fetch_add(1, Ordering::Relaxed);
        *locked(&self.last_iteration) = Some(Instant::now());
        self.set_state(ComponentState::Ok);
    }

    /// Records that the loop waits within an iteration for a dependency that does not answer. Call it at every retry.
    pub fn record_retry(&self) {
        self.activity_count.fetch_add(1, Ordering::Relaxed);
        self.set_state(ComponentState::Retrying);
    }

    /// Iterations and retries so far.
    pub fn activity_count(&self) -> u64 {
        self.activity_count.load(Ordering::Relaxed)
    }

    /// Sets the longest time between two iterations while the component is `ok`; a component that exceeds it counts as
    /// stalled.
    pub fn set_deadline(&self, deadline: Duration) {
        let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.deadline_ms.store(ms, Ordering::Relaxed);
    }

    /// Time since the last iteration; `None` before the first.
    pub fn since_last_iteration(&self) -> Option<Duration> {
        locked(&self.last_iteration).map(|at| at.elapsed())
    }

    /// Sets the state of the component.
    pub fn set_state(&self, state: ComponentState) {
        let state = match state {
            ComponentState::Ok => OK,
            ComponentState::Retrying => RETRYING,
            ComponentState::Stopped => STOPPED,
        };
        self.state.store(state, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> ComponentStatus {
        let within_ms = self.deadline_ms.load(Ordering::Relaxed);
        ComponentStatus {
            deadline_ms: (within_ms > 0).then_some(within_ms),
            iterations: self.iterations.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            state: match self.state.load(Ordering::Relaxed) {
                OK => ComponentState::Ok,
                RETRYING => ComponentState::Retrying,
                _ => ComponentState::Stopped,
            },
        }
    }
}

/// Locks a mutex. A panic while it was held leaves a counter behind, which is complete at any time.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::heartbeat::Health;

    const MINUTE: Duration = Duration::from_mins(1);

    fn fail(progress: &ProcessStatus, times: usize) {
        for _ in 0..times {
            progress.record_error("loop", "no answer");
        }
    }

    #[test]
    fn process_is_degraded_by_errors_and_recovers_after_an_hour() {
        let progress = ProcessStatus::default();
        let begin = Instant::now();
        fail(&progress, 10);
        assert_eq!(progress.health_grade_at(begin).health, Health::Healthy);
        fail(&progress, 1);
        let degraded = progress.health_grade_at(begin + MINUTE);
        assert_eq!(
            (degraded.health, degraded.errors_last_hour),
            (Health::Degraded, 11)
        );
        fail(&progress, 40);
        let critical = progress.health_grade_at(begin + 2 * MINUTE);
        assert_eq!(
            critical.reason.as_deref(),
            Some("51 errors in the last hour")
        );
        assert_eq!(critical.health, Health::Critical);
        let recovered = progress.health_grade_at(begin + 63 * MINUTE);
        assert_eq!(recovered, HealthGrade::default());
        assert_eq!(progress.errors(), 51, "since boot it forgets none");
    }

    #[test]
    fn process_is_critical_while_the_service_gives_a_reason() {
        let progress = ProcessStatus::default();
        let stale = Arc::new(Mutex::new(None));
        let said = Arc::clone(&stale);
        progress.set_critical_check(move || locked(&said).clone());
        assert_eq!(progress.health_grade().health, Health::Healthy);
        *locked(&stale) = Some("candles are stale".to_owned());
        let condition = progress.health_grade();
        assert_eq!(condition.health, Health::Critical);
        assert_eq!(condition.reason.as_deref(), Some("candles are stale"));
        *locked(&stale) = None;
        assert_eq!(progress.health_grade().health, Health::Healthy);
    }

    #[test]
    fn stalled_component_is_critical_until_its_next_iteration() {
        let progress = ProcessStatus::default();
        progress.enter_phase(ProcessPhase::Running);
        let part = progress.component("loop");
        part.set_deadline(Duration::from_secs(5));
        part.record_iteration();
        let begin = Instant::now();
        let at = |s| progress.health_grade_at(begin + Duration::from_secs(s));
        let health: Vec<Health> = (0..=6).map(|s| at(s).health).collect();
        assert_eq!(health[..6], [Health::Healthy; 6]);
        assert_eq!(health[6], Health::Critical);
        part.record_iteration();
        assert_eq!(at(7).health, Health::Healthy);
    }

    struct Feed;

    impl ComponentSource for Feed {
        fn component_status(&self) -> ComponentStatus {
            ComponentStatus {
                iterations: 3,
                errors: 12,
                state: ComponentState::Retrying,
                deadline_ms: None,
            }
        }

        fn last_error(&self) -> Option<(UtcMs, String)> {
            Some((UtcMs(i64::MAX), "stream ended".to_owned()))
        }
    }

    #[test]
    fn component_source_is_shown_and_its_errors_count() {
        let progress = ProcessStatus::default();
        fail(&progress, 2);
        progress.add_source("feed", Arc::new(Feed));
        assert_eq!(progress.errors(), 14);
        assert_eq!(progress.components()["feed"].iterations, 3);
        assert_eq!(progress.components()["loop"].errors, 2);
        let newest = progress.last_error().unwrap();
        assert_eq!(
            (newest.component.as_str(), newest.text.as_str()),
            ("feed", "stream ended")
        );
        let condition = progress.health_grade();
        assert_eq!(
            (condition.health, condition.errors_last_hour),
            (Health::Degraded, 14)
        );
    }
}
