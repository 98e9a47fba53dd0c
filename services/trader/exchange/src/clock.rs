//! The newest time that the exchange has sent. Entry point: [`ExchangeClock`]. Trading timers follow it, because
//! a simulated exchange may run faster than wall time, or pause.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::time::UtcMs;
use tokio::sync::watch;

/// The newest exchange time seen in a stream or a REST answer; never goes back. Cheap to clone.
///
/// It is not carried forward between two sightings: it lags the exchange by at most the time
/// since the last message, and by seconds while a stream is silent.
#[derive(Debug, Clone)]
pub struct ExchangeClock {
    newest: watch::Sender<UtcMs>,
    /// When the newest time was received; `None` while there is none, or when it is doubted.
    received_at: Arc<Mutex<Option<Instant>>>,
}

impl Default for ExchangeClock {
    fn default() -> Self {
        Self {
            newest: watch::Sender::new(UtcMs(0)),
            received_at: Arc::default(),
        }
    }
}

impl ExchangeClock {
    /// The newest exchange time seen; the epoch while there is none.
    pub fn now(&self) -> UtcMs {
        *self.newest.borrow()
    }

    /// A receiver that wakes when the exchange's time advances.
    pub fn watch(&self) -> watch::Receiver<UtcMs> {
        self.newest.subscribe()
    }

    /// Records a time that the exchange sent. A time before the newest changes nothing.
    pub fn advance_to(&self, at: UtcMs) {
        self.newest.send_if_modified(|newest| {
            let newer = at > *newest;
            if newer {
                *newest = at;
                *self.received_at() = Some(Instant::now());
            }
            newer
        });
    }

    /// The newest time, carried forward by the monotonic time since it was received; `None` if that is more than
    /// `most`, or if the time is doubted. It dates a call; trading timers follow [`Self::now`].
    pub fn carried(&self, most: Duration) -> Option<UtcMs> {
        let newest = self.newest.borrow();
        let age = (*self.received_at())?.elapsed();
        (age <= most).then(|| newest.plus(age))
    }

    /// Stops carrying the newest time forward: the exchange has said that it is not its time.
    pub fn doubt(&self) {
        *self.received_at() = None;
    }

    fn received_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.received_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back_and_wakes_only_for_news() {
        let clock = ExchangeClock::default();
        let mut watch = clock.clone().watch();
        clock.advance_to(UtcMs(5));
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        clock.advance_to(UtcMs(3));
        clock.advance_to(UtcMs(5));
        assert_eq!(clock.now(), UtcMs(5));
        assert!(!watch.has_changed().unwrap());
    }

    #[test]
    fn time_is_carried_forward_no_longer_than_asked_for_and_not_once_it_is_doubted() {
        let clock = ExchangeClock::default();
        let long = Duration::from_mins(1);
        assert_eq!(clock.carried(long), None);
        clock.advance_to(UtcMs(5_000));
        let carried = clock.carried(long).unwrap();
        assert!((5_000..65_000).contains(&carried.0), "{carried}");
        assert_eq!(clock.now(), UtcMs(5_000));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(clock.carried(Duration::from_millis(1)), None);
        clock.doubt();
        assert_eq!(clock.carried(long), None);
    }
}
