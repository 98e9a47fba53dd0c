//! What a process knows of its own progress: parts that count their turns, and the newest error.
//! Heartbeats and the health check read it; every loop writes it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::heartbeat::{LastError, Part, PartState, Phase};
use tokio::sync::Notify;

use crate::clock;

/// Shared by every task of a process.
#[derive(Default)]
pub struct Progress {
    phase: Mutex<Phase>,
    moved_on: Notify,
    parts: Mutex<BTreeMap<String, Arc<PartProgress>>>,
    errors: AtomicU64,
    signals: AtomicU64,
    last_error: Mutex<Option<LastError>>,
}

/// One part's counters.
#[derive(Default)]
pub struct PartProgress {
    turns: AtomicU64,
    errors: AtomicU64,
    state: AtomicU8,
    /// Zero: it promises nothing.
    within_ms: AtomicU64,
    turned: Mutex<Option<Instant>>,
}

const OK: u8 = 0;
const RETRYING: u8 = 1;
const STOPPED: u8 = 2;

impl Progress {
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
        self.errors.load(Ordering::Relaxed)
    }

    /// The newest error.
    pub fn last_error(&self) -> Option<LastError> {
        locked(&self.last_error).clone()
    }

    /// All parts as a heartbeat shows them.
    pub fn parts(&self) -> BTreeMap<String, Part> {
        locked(&self.parts)
            .iter()
            .map(|(name, part)| (name.clone(), part.view()))
            .collect()
    }
}

impl PartProgress {
    /// One more turn of this part's loop, which is well.
    pub fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        *locked(&self.turned) = Some(Instant::now());
        self.set(PartState::Ok);
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

    fn view(&self) -> Part {
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
