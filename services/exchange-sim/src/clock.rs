//! The exchange's clock: faster than the wall's, never backwards, held while nobody listens if so
//! wished. Pure: the wall's time comes in with each call. Not here: its state file (`anchor.rs`).

use std::time::{Duration, Instant};

use clap::ValueEnum;

/// When exchange time stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hold {
    /// Until the first kline subscriber ever; then it runs for good.
    FirstSubscriber,
    /// Whenever nobody is subscribed to a kline stream.
    NoSubscribers,
    /// Never: it runs from the start.
    Never,
}

/// What a clock starts from.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    /// Exchange time, UTC ms.
    pub exchange_ms: i64,
    /// Whether it has been set running before.
    pub running: bool,
    /// Where it stops for good, UTC ms.
    pub ends_ms: Option<i64>,
}

/// Exchange time as a line through the last point at which it started or stopped.
#[derive(Debug)]
pub struct Clock {
    speed: f64,
    hold: Hold,
    from_exchange_ms: i64,
    from_wall: Instant,
    running: bool,
    ends_ms: Option<i64>,
}

impl Clock {
    /// A clock at `beginning`, which runs `speed` times as fast as the wall's.
    pub fn new(beginning: Beginning, speed: f64, hold: Hold, wall: Instant) -> Self {
        let running = match hold {
            Hold::Never => true,
            Hold::FirstSubscriber => beginning.running,
            Hold::NoSubscribers => false,
        };
        Self {
            speed,
            hold,
            from_exchange_ms: beginning.exchange_ms,
            from_wall: wall,
            running,
            ends_ms: beginning.ends_ms,
        }
    }

    /// Exchange time, UTC ms.
    pub fn now(&self, wall: Instant) -> i64 {
        let now = if self.running {
            let elapsed = wall.saturating_duration_since(self.from_wall);
            self.from_exchange_ms
                .saturating_add(span_ms(elapsed, self.speed))
        } else {
            self.from_exchange_ms
        };
        self.ends_ms.map_or(now, |end| now.min(end))
    }

    /// Whether time passes.
    pub fn runs(&self, wall: Instant) -> bool {
        self.running && !self.ended(wall)
    }

    /// Whether the market's end is reached.
    pub fn ended(&self, wall: Instant) -> bool {
        self.ends_ms.is_some_and(|end| self.now(wall) >= end)
    }

    /// Whether it has been set running: what a restart must know.
    pub const fn running(&self) -> bool {
        self.running
    }

    /// Hears how many kline subscribers there are; says whether it started or stopped for it.
    pub fn subscribers(&mut self, count: usize, wall: Instant) -> bool {
        let should_run = match self.hold {
            Hold::Never => true,
            Hold::FirstSubscriber => self.running || count > 0,
            Hold::NoSubscribers => count > 0,
        };
        if should_run == self.running {
            return false;
        }
        self.from_exchange_ms = self.now(wall);
        self.from_wall = wall;
        self.running = should_run;
        true
    }

    /// Wall time until exchange time `then_ms`; `None` while time stands.
    pub fn wall_until(&self, then_ms: i64, wall: Instant) -> Option<Duration> {
        if !self.runs(wall) {
            return None;
        }
        let ahead = u32::try_from(then_ms.saturating_sub(self.now(wall)).max(0)).ok()?;
        Some(Duration::from_secs_f64(
            f64::from(ahead) / 1_000.0 / self.speed,
        ))
    }
}

/// `wall` of wall time in exchange milliseconds, rounded down.
#[allow(
    clippy::cast_possible_truncation,
    reason = "float to integer saturates, which is the right end for an absurd span"
)]
pub fn span_ms(wall: Duration, speed: f64) -> i64 {
    (wall.as_secs_f64() * speed * 1_000.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGINNING: Beginning = Beginning {
        exchange_ms: 1_000_000,
        running: false,
        ends_ms: None,
    };

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn held_until_the_first_subscriber_it_then_runs_for_good() {
        let t = Instant::now();
        let mut clock = Clock::new(BEGINNING, 60.0, Hold::FirstSubscriber, t);
        assert_eq!(clock.now(after(t, 5_000)), 1_000_000);
        assert!(clock.subscribers(1, after(t, 5_000)));
        assert_eq!(clock.now(after(t, 6_000)), 1_060_000);
        assert!(!clock.subscribers(0, after(t, 6_000)));
        assert_eq!(clock.now(after(t, 7_000)), 1_120_000);
    }

    #[test]
    fn held_without_subscribers_it_stands_again_when_the_last_leaves() {
        let t = Instant::now();
        let mut clock = Clock::new(BEGINNING, 10.0, Hold::NoSubscribers, t);
        clock.subscribers(2, after(t, 100));
        clock.subscribers(0, after(t, 200));
        assert_eq!(clock.now(after(t, 9_000)), 1_001_000);
        assert_eq!(clock.wall_until(2_000_000, after(t, 9_000)), None);
        clock.subscribers(1, after(t, 9_000));
        assert_eq!(clock.now(after(t, 9_100)), 1_002_000);
    }

    #[test]
    fn it_stops_at_the_end_of_the_market() {
        let t = Instant::now();
        let end = Beginning {
            ends_ms: Some(1_000_500),
            ..BEGINNING
        };
        let clock = Clock::new(end, 1.0, Hold::Never, t);
        assert!(clock.runs(after(t, 499)) && !clock.ended(after(t, 499)));
        assert_eq!(clock.now(after(t, 9_999)), 1_000_500);
        assert!(!clock.runs(after(t, 500)) && clock.ended(after(t, 500)));
    }

    #[test]
    fn it_knows_how_long_to_wait_for_a_moment() {
        let t = Instant::now();
        let clock = Clock::new(BEGINNING, 60.0, Hold::Never, t);
        let wait = clock.wall_until(1_060_000, t).unwrap();
        assert_eq!(wait, Duration::from_secs(1));
    }
}
