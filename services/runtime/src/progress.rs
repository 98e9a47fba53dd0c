//! What a process knows of its own progress: parts that count their turns, the newest error, and how
//! well all that makes it. Heartbeats, the health check, the health report and the metrics read it;
//! every loop writes it. How the grade follows is in `condition`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use protocol::heartbeat::{LastError, Part, PartState, Phase};
use protocol::time::UtcMs;
use tokio::sync::Notify;

use crate::clock;
use crate::condition::{self, Condition, LastHour, Turnings};

/// Shared by every task of a process.
pub struct Progress {
    began: Instant,
    phase: Mutex<Phase>,
    moved_on: Notify,
    parts: Mutex<BTreeMap<String, Arc<PartProgress>>>,
    others: Mutex<BTreeMap<String, Arc<dyn SelfCounting>>>,
    errors: AtomicU64,
    signals: AtomicU64,
    last_error: Mutex<Option<LastError>>,
    critical: OnceLock<Critical>,
    seen: Mutex<Seen>,
}

/// What a service knows of itself that makes it critical at once, in one line.
pub type Critical = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// A part that keeps its own counters.
pub trait SelfCounting: Send + Sync {
    /// Its counters now.
    fn part(&self) -> Part;
    /// Its newest error: when, and one line without a secret.
    fn last_error(&self) -> Option<(UtcMs, String)>;
}

/// What the looks so far have shown.
struct Seen {
    /// Of these errors every one is in the hour, or was.
    errors: u64,
    hour: LastHour,
    turnings: Turnings,
}

/// One part's counters.
#[derive(Default)]
pub struct PartProgress {
    turns: AtomicU64,
    /// Turns, and what was tried in vain within one.
    signs: AtomicU64,
    errors: AtomicU64,
    state: AtomicU8,
    /// Zero: it promises nothing.
    within_ms: AtomicU64,
    turned: Mutex<Option<Instant>>,
}

const OK: u8 = 0;
const RETRYING: u8 = 1;
const STOPPED: u8 = 2;

impl Default for Progress {
    fn default() -> Self {
        let began = Instant::now();
        Self {
            began,
            phase: Mutex::default(),
            moved_on: Notify::default(),
            parts: Mutex::default(),
            others: Mutex::default(),
            errors: AtomicU64::default(),
            signals: AtomicU64::default(),
            last_error: Mutex::default(),
            critical: OnceLock::default(),
            seen: Mutex::new(Seen {
                errors: 0,
                hour: LastHour::new(began),
                turnings: Turnings::default(),
            }),
        }
    }
}

impl Progress {
    /// Since it was made, which a process does first.
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Shows a part that keeps its own counters among the others. Its errors count.
    pub fn include(&self, name: &str, part: Arc<dyn SelfCounting>) {
        locked(&self.others).insert(name.to_owned(), part);
    }

    /// Sets, once, how the service itself finds that it is critical. It is asked at every look, so it
    /// must be quick. It should not own this progress, or neither is ever freed.
    pub fn critical_when(&self, critical: impl Fn() -> Option<String> + Send + Sync + 'static) {
        if self.critical.set(Box::new(critical)).is_err() {
            tracing::warn!("bug: what is critical was said twice; the first counts");
        }
    }

    /// How well the process is now. The hour and the promises are watched by these looks: whoever beats or
    /// reports looks every few seconds.
    pub fn condition(&self) -> Condition {
        self.condition_at(Instant::now())
    }

    /// The same at a given instant, never before an earlier one.
    pub fn condition_at(&self, now: Instant) -> Condition {
        let own = self.critical.get().and_then(|critical| critical());
        let (errors, phase, parts) = (self.errors(), self.phase(), self.parts());
        let mut seen = locked(&self.seen);
        let new = errors.saturating_sub(seen.errors);
        seen.errors = seen.errors.max(errors);
        seen.hour.add(new, now);
        let hangs = seen.turnings.look(phase, &parts, now);
        condition::grade(seen.hour.sum(now), hangs.or(own))
    }

    /// The part of this name, made at first use.
    pub fn part(&self, name: &str) -> Arc<PartProgress> {
        Arc::clone(locked(&self.parts).entry(name.to_owned()).or_default())
    }

    /// Forgets a part that is no longer this process's business.
    pub fn forget(&self, name: &str) {
        locked(&self.parts).remove(name);
    }

    /// Where in its life the process is.
    pub fn phase(&self) -> Phase {
        *locked(&self.phase)
    }

    /// Moves on to the next phase.
    pub fn enter(&self, phase: Phase) {
        *locked(&self.phase) = phase;
        self.moved_on.notify_one();
    }

    /// Returns once a phase has been entered since the last call: for the one who tells it.
    pub async fn moved_on(&self) {
        self.moved_on.notified().await;
    }

    /// Counts a decision to trade.
    pub fn signal(&self) {
        self.signals.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an error of a part and keeps its text. The text must hold no secret.
    pub fn error(&self, part: &str, text: impl Into<String>) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.part(part).errors.fetch_add(1, Ordering::Relaxed);
        *locked(&self.last_error) = Some(LastError {
            at: clock::now(),
            part: part.to_owned(),
            text: text.into(),
        });
    }

    /// Decisions to trade since boot.
    pub fn signals(&self) -> u64 {
        self.signals.load(Ordering::Relaxed)
    }

    /// Errors since boot.
    pub fn errors(&self) -> u64 {
        let others = locked(&self.others);
        let theirs = others.values().map(|part| part.part().errors);
        theirs.fold(self.errors.load(Ordering::Relaxed), u64::saturating_add)
    }

    /// The newest error.
    pub fn last_error(&self) -> Option<LastError> {
        let own = locked(&self.last_error).clone();
        let others = locked(&self.others);
        let theirs = others.iter().filter_map(|(name, part)| {
            let (at, text) = part.last_error()?;
            let part = name.clone();
            Some(LastError { at, part, text })
        });
        own.into_iter().chain(theirs).max_by_key(|error| error.at)
    }

    /// All parts as a heartbeat shows them.
    pub fn parts(&self) -> BTreeMap<String, Part> {
        let own = locked(&self.parts);
        let own = own.iter().map(|(name, part)| (name.clone(), part.view()));
        let others = locked(&self.others);
        let theirs = others
            .iter()
            .map(|(name, part)| (name.clone(), part.part()));
        own.chain(theirs).collect()
    }
}

impl PartProgress {
    /// One more turn of this part's loop, which is well.
    pub fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.signs.fetch_add(1, Ordering::Relaxed);
        *locked(&self.turned) = Some(Instant::now());
        self.set(PartState::Ok);
    }

    /// Its loop waits, in the middle of a turn, for something that does not answer yet. To be said at every try.
    pub fn waits(&self) {
        self.signs.fetch_add(1, Ordering::Relaxed);
        self.set(PartState::Retrying);
    }

    /// Signs of life so far: turns, and tries in vain.
    pub fn signs(&self) -> u64 {
        self.signs.load(Ordering::Relaxed)
    }

    /// Promises, in every heartbeat, that while it is well this part turns at least this often: one that
    /// does not hangs.
    pub fn turns_within(&self, span: Duration) {
        let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.within_ms.store(ms, Ordering::Relaxed);
    }

    /// How long ago the last turn was; `None` before the first.
    pub fn idle(&self) -> Option<Duration> {
        locked(&self.turned).map(|at| at.elapsed())
    }

    /// Says how the part is.
    pub fn set(&self, state: PartState) {
        let state = match state {
            PartState::Ok => OK,
            PartState::Retrying => RETRYING,
            PartState::Stopped => STOPPED,
        };
        self.state.store(state, Ordering::Relaxed);
    }

    pub(crate) fn view(&self) -> Part {
        let within_ms = self.within_ms.load(Ordering::Relaxed);
        Part {
            within_ms: (within_ms > 0).then_some(within_ms),
            turns: self.turns.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            state: match self.state.load(Ordering::Relaxed) {
                OK => PartState::Ok,
                RETRYING => PartState::Retrying,
                _ => PartState::Stopped,
            },
        }
    }
}

/// A panic while a counter was held leaves a counter, nothing half-done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::heartbeat::Health;

    const MINUTE: Duration = Duration::from_mins(1);

    fn fail(progress: &Progress, times: usize) {
        for _ in 0..times {
            progress.error("loop", "no answer");
        }
    }

    #[test]
    fn errors_degrade_it_and_an_hour_later_it_has_recovered_by_itself() {
        let progress = Progress::default();
        let begin = Instant::now();
        fail(&progress, 10);
        assert_eq!(progress.condition_at(begin).health, Health::Healthy);
        fail(&progress, 1);
        let degraded = progress.condition_at(begin + MINUTE);
        assert_eq!(
            (degraded.health, degraded.errors_last_hour),
            (Health::Degraded, 11)
        );
        fail(&progress, 40);
        let critical = progress.condition_at(begin + 2 * MINUTE);
        assert_eq!(critical.why.as_deref(), Some("51 errors in the last hour"));
        assert_eq!(critical.health, Health::Critical);
        let recovered = progress.condition_at(begin + 63 * MINUTE);
        assert_eq!(recovered, Condition::default());
        assert_eq!(progress.errors(), 51, "since boot it forgets none");
    }

    #[test]
    fn the_services_own_reason_is_critical_as_long_as_it_is_given() {
        let progress = Progress::default();
        let stale = Arc::new(Mutex::new(None));
        let said = Arc::clone(&stale);
        progress.critical_when(move || locked(&said).clone());
        assert_eq!(progress.condition().health, Health::Healthy);
        *locked(&stale) = Some("candles are stale".to_owned());
        let condition = progress.condition();
        assert_eq!(condition.health, Health::Critical);
        assert_eq!(condition.why.as_deref(), Some("candles are stale"));
        *locked(&stale) = None;
        assert_eq!(progress.condition().health, Health::Healthy);
    }

    #[test]
    fn a_part_that_stands_still_is_critical_until_it_turns() {
        let progress = Progress::default();
        progress.enter(Phase::Running);
        let part = progress.part("loop");
        part.turns_within(Duration::from_secs(5));
        part.turn();
        let begin = Instant::now();
        let at = |s| progress.condition_at(begin + Duration::from_secs(s));
        let health: Vec<Health> = (0..=6).map(|s| at(s).health).collect();
        assert_eq!(health[..6], [Health::Healthy; 6]);
        assert_eq!(health[6], Health::Critical);
        part.turn();
        assert_eq!(at(7).health, Health::Healthy);
    }

    struct Feed;

    impl SelfCounting for Feed {
        fn part(&self) -> Part {
            Part {
                turns: 3,
                errors: 12,
                state: PartState::Retrying,
                within_ms: None,
            }
        }

        fn last_error(&self) -> Option<(UtcMs, String)> {
            Some((UtcMs(i64::MAX), "stream ended".to_owned()))
        }
    }

    #[test]
    fn a_part_that_counts_for_itself_is_shown_and_its_errors_count() {
        let progress = Progress::default();
        fail(&progress, 2);
        progress.include("feed", Arc::new(Feed));
        assert_eq!(progress.errors(), 14);
        assert_eq!(progress.parts()["feed"].turns, 3);
        assert_eq!(progress.parts()["loop"].errors, 2);
        let newest = progress.last_error().unwrap();
        assert_eq!(
            (newest.part.as_str(), newest.text.as_str()),
            ("feed", "stream ended")
        );
        let condition = progress.condition();
        assert_eq!(
            (condition.health, condition.errors_last_hour),
            (Health::Degraded, 14)
        );
    }
}
