//! Detects loops and calls that make no progress. The detector is a plain thread, because what hangs may block every
//! other thread of the process.
//!
//! [`HangDetector`] polls a source of progress and calls back; [`exit_when_hung`] ends the process when a component
//! makes no progress, so that Docker or the watchdog restarts it: a blocked thread can be freed in no other way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use protocol::duration::format_duration;
use protocol::exit_code::ExitCode;

use crate::components::ComponentHandle;
use crate::exit_error::ExitError;
use crate::process::print_error;

/// Component with no activity at ten polls in a row is hung: 30 s, where an iteration takes milliseconds and every call
/// to the outside fails sooner.
const COMPONENT_LIMITS: HangLimits = HangLimits {
    poll_interval: Duration::from_secs(3),
    max_misses: 10,
};

/// When something without progress counts as hung. Polls are counted, not time, because a process that is frozen or
/// gets no processor time does not poll either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HangLimits {
    /// Time between two polls.
    pub poll_interval: Duration,
    /// Polls in a row without progress after which something is hung.
    pub max_misses: u32,
}

impl HangLimits {
    /// Shortest time without progress after which something is hung.
    pub fn duration(&self) -> Duration {
        self.poll_interval * self.max_misses
    }
}

/// Polls a source of progress on a thread of its own.
pub struct HangDetector {
    limits: HangLimits,
}

impl HangDetector {
    /// Detector with these limits.
    pub const fn new(limits: HangLimits) -> Self {
        Self { limits }
    }

    /// Starts the thread. `progress` returns a counter for each thing that must make progress, by its key; the thread
    /// ends when it returns `None`. `on_hung` is called at each poll at which one or more counters have not changed
    /// for [`HangLimits::max_misses`] polls; it may end the process.
    ///
    /// # Errors
    /// Exit 70 if the thread cannot be started.
    pub fn spawn<K>(
        self,
        mut progress: impl FnMut() -> Option<BTreeMap<K, u64>> + Send + 'static,
        mut on_hung: impl FnMut(Vec<K>) + Send + 'static,
    ) -> Result<(), ExitError>
    where
        K: Ord + Clone + Send + 'static,
    {
        let HangLimits {
            poll_interval,
            max_misses,
        } = self.limits;
        let mut misses = MissCounter::new(max_misses);
        let poll = move || {
            loop {
                thread::sleep(poll_interval);
                let Some(counters) = progress() else {
                    return;
                };
                let hung = misses.observe(counters);
                if !hung.is_empty() {
                    on_hung(hung);
                }
            }
        };
        thread::Builder::new()
            .name("hang-detector".to_owned())
            .spawn(poll)
            .map(|_| ())
            .map_err(|error| ExitError::internal(format!("cannot start a thread: {error}")))
    }
}

/// Ends the process with exit 70 when this component makes no progress. The detector ends with the component.
///
/// # Errors
/// Exit 70 if the thread cannot be started.
#[allow(
    clippy::disallowed_methods,
    reason = "a blocked thread cannot be joined, so main cannot return"
)]
pub fn exit_when_hung(component: &Arc<ComponentHandle>) -> Result<(), ExitError> {
    let component = Arc::downgrade(component);
    HangDetector::new(COMPONENT_LIMITS).spawn(
        move || {
            let component = component.upgrade()?;
            Some(BTreeMap::from([((), component.activity_count())]))
        },
        |_| {
            print_error(&format!(
                "the main loop is hung: no activity for {}; exiting, so that the process is restarted",
                format_duration(COMPONENT_LIMITS.duration())
            ));
            std::process::exit(ExitCode::Internal.number().into());
        },
    )
}

/// Counts, for each key, the polls in a row at which its counter had not changed.
#[derive(Debug)]
struct MissCounter<K> {
    max_misses: u32,
    seen: BTreeMap<K, (u64, u32)>,
}

impl<K: Ord + Clone> MissCounter<K> {
    const fn new(max_misses: u32) -> Self {
        Self {
            max_misses,
            seen: BTreeMap::new(),
        }
    }

    /// Counts one poll; returns the keys that are hung. A key that is missing at one poll starts over.
    fn observe(&mut self, counters: BTreeMap<K, u64>) -> Vec<K> {
        let mut seen = std::mem::take(&mut self.seen);
        for (key, counter) in counters {
            let misses = match seen.remove(&key) {
                Some((last, misses)) if last == counter => misses + 1,
                _ => 0,
            };
            self.seen.insert(key, (counter, misses));
        }
        let hung = self
            .seen
            .iter()
            .filter(|(_, (_, misses))| *misses >= self.max_misses);
        hung.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::heartbeat::ComponentState;

    fn counters(of: &[(u8, u64)]) -> BTreeMap<u8, u64> {
        of.iter().copied().collect()
    }

    #[test]
    fn loop_is_hung_after_many_polls_in_a_row_without_activity() {
        let mut misses = MissCounter::new(10);
        for poll in 1..90 {
            assert!(misses.observe(counters(&[(1, poll / 8)])).is_empty());
        }
        let hung_at = (1..20).find(|_| !misses.observe(counters(&[(1, 77)])).is_empty());
        assert_eq!(hung_at, Some(11));
    }

    #[test]
    fn only_the_key_without_progress_is_hung_and_a_missing_key_starts_over() {
        let mut misses = MissCounter::new(3);
        for poll in 0..3 {
            assert!(misses.observe(counters(&[(1, 0), (2, poll)])).is_empty());
        }
        assert_eq!(misses.observe(counters(&[(1, 0), (2, 9)])), [1]);
        assert!(misses.observe(counters(&[(2, 10)])).is_empty());
        assert!(misses.observe(counters(&[(1, 0)])).is_empty());
    }

    #[test]
    fn detector_calls_back_with_what_is_hung_and_ends_with_its_source() {
        let limits = HangLimits {
            poll_interval: Duration::from_millis(1),
            max_misses: 2,
        };
        let (sender, hung) = std::sync::mpsc::channel();
        let mut polls = 0;
        let progress = move || {
            polls += 1;
            (polls < 6).then(|| counters(&[(7, 0)]))
        };
        HangDetector::new(limits)
            .spawn(progress, move |keys| sender.send(keys).unwrap())
            .unwrap();
        let hung: Vec<Vec<u8>> = hung.into_iter().collect();
        assert_eq!(hung, [[7], [7], [7]]);
    }

    #[test]
    fn component_that_waits_is_active_and_retrying() {
        let component = ComponentHandle::default();
        component.record_iteration();
        component.record_retry();
        assert_eq!(component.activity_count(), 2);
        assert_eq!(component.status().state, ComponentState::Retrying);
    }
}
