//! The newest time that the exchange has sent. Entry point: [`ExchangeClock`]. Trading timers follow it, because
//! a simulated exchange may run faster than wall time, or pause.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::time::UtcMs;
use tokio::sync::watch;

/// A time further ahead of the newest one, or further behind it, is not believed at once. Messages of a live exchange
/// come within seconds.
const FAR: Duration = Duration::from_mins(1);
/// A clock that is ahead is set back once the exchange has sent earlier times only, for this monotonic time.
const SET_BACK_AFTER: Duration = Duration::from_secs(10);
/// Fewest times that set the clock back.
const FEWEST_EARLIER: u32 = 3;

/// The newest exchange time seen in a stream or a REST answer. Cheap to clone.
///
/// It is not carried forward between two sightings: it lags the exchange by at most the time
/// since the last message, and by seconds while a stream is silent.
///
/// One wrong time does not move it: a time far ahead is believed with the next one that confirms it. The clock goes
/// back only if it is far ahead itself: after ten seconds in which the exchange has sent nothing but times far
/// behind it.
#[derive(Debug, Clone)]
pub struct ExchangeClock {
    newest: watch::Sender<UtcMs>,
    sightings: Arc<Mutex<Sightings>>,
}

impl Default for ExchangeClock {
    fn default() -> Self {
        Self {
            newest: watch::Sender::new(UtcMs(0)),
            sightings: Arc::default(),
        }
    }
}

impl ExchangeClock {
    /// The newest exchange time seen; the epoch while there is none.
    pub fn now(&self) -> UtcMs {
        *self.newest.borrow()
    }

    /// A receiver that wakes when the exchange's time changes.
    pub fn watch(&self) -> watch::Receiver<UtcMs> {
        self.newest.subscribe()
    }

    /// Records a time that the exchange sent. A time before the newest changes nothing, unless all times are far
    /// behind it for a while.
    pub fn advance_to(&self, at: UtcMs) {
        self.record(at, Instant::now());
    }

    fn record(&self, at: UtcMs, received_at: Instant) {
        self.newest.send_if_modified(|newest| {
            let believed = self.sightings().record(*newest, at, received_at);
            if let Some(believed) = believed {
                *newest = believed;
            }
            believed.is_some()
        });
    }

    /// The newest time, carried forward by the monotonic time since it was received; `None` if that is more than
    /// `most`, or if the time is doubted. It dates a call; trading timers follow [`Self::now`].
    pub fn carried(&self, most: Duration) -> Option<UtcMs> {
        let newest = self.newest.borrow();
        let age = self.sightings().received_at?.elapsed();
        (age <= most).then(|| newest.plus(age))
    }

    /// Stops carrying the newest time forward: the exchange has said that it is not its time.
    pub fn doubt(&self) {
        self.sightings().received_at = None;
    }

    fn sightings(&self) -> MutexGuard<'_, Sightings> {
        self.sightings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known about the times that the exchange has sent.
#[derive(Debug, Default)]
struct Sightings {
    /// When the newest time was received; `None` while there is none, or when it is doubted.
    received_at: Option<Instant>,
    /// A time far ahead that the next one may confirm.
    unconfirmed: Option<UtcMs>,
    /// Times far behind the newest one since a time near it was seen; `None` without one.
    earlier: Option<EarlierTimes>,
}

/// Consecutive times far behind the newest one.
#[derive(Debug, Clone, Copy)]
struct EarlierTimes {
    since: Instant,
    /// When the last of them was received.
    received_at: Instant,
    count: u32,
    latest: UtcMs,
}

impl Sightings {
    /// The time that the clock shows from now on; `None` if it does not change.
    fn record(&mut self, newest: UtcMs, at: UtcMs, received_at: Instant) -> Option<UtcMs> {
        let is_far = |one: UtcMs, other: UtcMs| one > other.plus(FAR);
        if is_far(newest, at) {
            return self.record_earlier(at, received_at);
        }
        self.earlier = None;
        let is_first = newest == UtcMs(0);
        let is_confirmed = self.unconfirmed.is_some_and(|unconfirmed| at > unconfirmed);
        if !is_first && !is_confirmed && is_far(at, newest) {
            self.unconfirmed = Some(at);
            return None;
        }
        self.unconfirmed = None;
        (at > newest).then(|| self.believe(at, received_at))
    }

    /// A time far behind the newest one is late, or the newest one was wrong.
    fn record_earlier(&mut self, at: UtcMs, received_at: Instant) -> Option<UtcMs> {
        let span = |from: Instant| received_at.saturating_duration_since(from);
        // After a silence, late messages are no sign yet.
        let known = self
            .earlier
            .filter(|e| span(e.received_at) < SET_BACK_AFTER);
        let earlier = EarlierTimes {
            since: known.map_or(received_at, |e| e.since),
            received_at,
            count: known.map_or(1, |e| e.count.saturating_add(1)),
            latest: known.map_or(at, |e| e.latest.max(at)),
        };
        self.earlier = Some(earlier);
        let is_lasting = span(earlier.since) >= SET_BACK_AFTER && earlier.count >= FEWEST_EARLIER;
        is_lasting.then(|| self.believe(earlier.latest, received_at))
    }

    fn believe(&mut self, at: UtcMs, received_at: Instant) -> UtcMs {
        *self = Self {
            received_at: Some(received_at),
            ..Self::default()
        };
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const YEAR_2100: UtcMs = UtcMs(4_102_444_800_000);
    const START: i64 = 1_764_547_200_000;

    #[test]
    fn clock_does_not_go_back_and_wakes_only_for_news() {
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

    #[test]
    fn one_far_future_time_does_not_stop_the_clock() {
        let clock = ExchangeClock::default();
        clock.advance_to(UtcMs(START));
        let watch = clock.watch();
        clock.advance_to(YEAR_2100);
        assert_eq!(clock.now(), UtcMs(START));
        assert!(!watch.has_changed().unwrap());
        clock.advance_to(UtcMs(START + 250));
        assert_eq!(clock.now(), UtcMs(START + 250));
        // The same wrong message twice confirms nothing.
        clock.advance_to(YEAR_2100);
        clock.advance_to(YEAR_2100);
        assert_eq!(clock.now(), UtcMs(START + 250));
        clock.advance_to(UtcMs(START + 500));
        assert_eq!(clock.now(), UtcMs(START + 500));
    }

    #[test]
    fn clock_jumps_after_an_outage_with_the_second_message() {
        let clock = ExchangeClock::default();
        clock.advance_to(UtcMs(START));
        clock.advance_to(UtcMs(START + 30 * MINUTE));
        assert_eq!(clock.now(), UtcMs(START));
        clock.advance_to(UtcMs(START + 30 * MINUTE + 1));
        assert_eq!(clock.now(), UtcMs(START + 30 * MINUTE + 1));
    }

    #[test]
    fn clock_that_began_in_the_far_future_is_set_back_after_a_while() {
        let clock = ExchangeClock::default();
        let start = Instant::now();
        clock.record(YEAR_2100, start);
        let mut watch = clock.watch();
        watch.mark_unchanged();
        for second in 1..=10_i64 {
            let received_at = start + Duration::from_secs(second.unsigned_abs());
            clock.record(UtcMs(START + second * 1_000), received_at);
        }
        assert_eq!(clock.now(), YEAR_2100, "nine seconds are not enough");
        clock.record(UtcMs(START + 11_000), start + Duration::from_secs(11));
        assert_eq!(clock.now(), UtcMs(START + 11_000));
        assert!(watch.has_changed().unwrap());
    }

    #[test]
    fn late_messages_do_not_set_the_clock_back() {
        let clock = ExchangeClock::default();
        let start = Instant::now();
        for second in 0..60_i64 {
            let received_at = start + Duration::from_secs(second.unsigned_abs());
            clock.record(UtcMs(START + second * 1_000), received_at);
            // Three messages that have waited for two minutes.
            for late in 0..3 {
                let at = START + second * 1_000 + late - 2 * MINUTE;
                clock.record(UtcMs(at), received_at);
            }
        }
        assert_eq!(clock.now(), UtcMs(START + 59_000));
        // After a silence, the first messages are late ones.
        let received_at = start + Duration::from_mins(10);
        for late in 0..3 {
            clock.record(UtcMs(START - 2 * MINUTE + late), received_at);
        }
        assert_eq!(clock.now(), UtcMs(START + 59_000));
    }
}
