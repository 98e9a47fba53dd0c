//! The exchange's time as far as it has been heard. Trading timers follow it, because a simulated
//! exchange may run faster than the wall, or stand still.

use protocol::time::UtcMs;
use tokio::sync::watch;

/// The newest exchange time seen in a stream or a REST answer; never goes back. Cheap to clone.
///
/// It is not carried forward between two sightings: it lags the exchange by at most the time
/// since the last message, and by seconds while a stream is silent.
#[derive(Debug, Clone)]
pub struct MarketClock {
    newest: watch::Sender<UtcMs>,
}

impl Default for MarketClock {
    fn default() -> Self {
        Self {
            newest: watch::Sender::new(UtcMs(0)),
        }
    }
}

impl MarketClock {
    /// The newest exchange time seen; the epoch while nothing was heard.
    pub fn now(&self) -> UtcMs {
        *self.newest.borrow()
    }

    /// For those who wait until the exchange's time has moved.
    pub fn watch(&self) -> watch::Receiver<UtcMs> {
        self.newest.subscribe()
    }

    /// Takes in a sighting; an older one than the newest changes nothing.
    pub(crate) fn saw(&self, at: UtcMs) {
        self.newest.send_if_modified(|newest| {
            let newer = at > *newest;
            if newer {
                *newest = at;
            }
            newer
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back_and_wakes_only_for_news() {
        let clock = MarketClock::default();
        let mut watch = clock.clone().watch();
        clock.saw(UtcMs(5));
        assert!(watch.has_changed().unwrap());
        watch.mark_unchanged();
        clock.saw(UtcMs(3));
        clock.saw(UtcMs(5));
        assert_eq!(clock.now(), UtcMs(5));
        assert!(!watch.has_changed().unwrap());
    }
}
