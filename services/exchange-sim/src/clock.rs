//! Clock of the exchange: runs at a multiple of wall time, never backwards, and can be paused while there are no
//! subscribers. Pure: wall time comes with each call.

use std::time::{Duration, Instant};

use clap::ValueEnum;

/// When the clock is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClockPause {
    /// Until the first kline subscriber; the clock then runs permanently.
    UntilFirstSubscriber,
    /// Whenever there is no kline subscriber.
    WithoutSubscribers,
    /// Never: the clock runs from the start.
    Never,
}

/// Start of a clock.
#[derive(Debug, Clone, Copy)]
pub struct ClockStart {
    /// Exchange time, UTC ms.
    pub exchange_ms: i64,
    /// Whether the clock has been started before.
    pub running: bool,
    /// End of the market at which the clock stops, UTC ms; `None` for no end.
    pub ends_ms: Option<i64>,
}

/// Exchange time as a linear function of wall time since the last start or stop.
#[derive(Debug)]
pub struct Clock {
    speed: f64,
    pause: ClockPause,
    from_exchange_ms: i64,
    from_wall: Instant,
    running: bool,
    ends_ms: Option<i64>,
}

impl Clock {
    /// A clock at `clock_start` that runs `speed` times as fast as wall time.
    pub fn new(start: ClockStart, speed: f64, pause: ClockPause, wall: Instant) -> Self {
        let running = match pause {
            ClockPause::Never => true,
            ClockPause::UntilFirstSubscriber => start.running,
            ClockPause::WithoutSubscribers => false,
        };
        Self {
            speed,
            pause,
            from_exchange_ms: start.exchange_ms,
            from_wall: wall,
            running,
            ends_ms: start.ends_ms,
        }
    }

    /// Exchange time, UTC ms.
    pub fn now(&self, wall: Instant) -> i64 {
        let now = if self.running {
            let elapsed = wall.saturating_duration_since(self.from_wall);
            self.from_exchange_ms
                .saturating_add(exchange_elapsed_ms(elapsed, self.speed))
        } else {
            self.from_exchange_ms
        };
        self.ends_ms.map_or(now, |end| now.min(end))
    }

    /// Whether the clock runs.
    pub fn is_advancing(&self, wall: Instant) -> bool {
        self.running && !self.has_ended(wall)
    }

    /// Whether the end of the market is reached.
    pub fn has_ended(&self, wall: Instant) -> bool {
        self.ends_ms.is_some_and(|end| self.now(wall) >= end)
    }

    /// Whether the clock has been started, for the state file.
    pub const fn is_running(&self) -> bool {
        self.running
    }

    /// Sets the number of kline subscribers; returns whether the clock started or stopped.
    pub fn update_subscribers(&mut self, count: usize, wall: Instant) -> bool {
        let should_run = match self.pause {
            ClockPause::Never => true,
            ClockPause::UntilFirstSubscriber => self.running || count > 0,
            ClockPause::WithoutSubscribers => count > 0,
        };
        if should_run == self.running {
            return false;
        }
        self.from_exchange_ms = self.now(wall);
        self.from_wall = wall;
        self.running = should_run;
        true
    }

    /// Wall time until exchange time `then_ms`; `None` while the clock is paused.
    pub fn wall_until(&self, then_ms: i64, wall: Instant) -> Option<Duration> {
        if !self.is_advancing(wall) {
            return None;
        }
        let ahead = u32::try_from(then_ms.saturating_sub(self.now(wall)).max(0)).ok()?;
        Some(Duration::from_secs_f64(
            f64::from(ahead) / 1_000.0 / self.speed,
        ))
    }
}

/// Exchange time that passes in `wall`, in milliseconds, rounded down.
#[allow(
    clippy::cast_possible_truncation,
    reason = "float to integer saturates, which is the right end for an absurd span"
)]
pub fn exchange_elapsed_ms(wall: Duration, speed: f64) -> i64 {
    (wall.as_secs_f64() * speed * 1_000.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: ClockStart = ClockStart {
        exchange_ms: 1_000_000,
        running: false,
        ends_ms: None,
    };

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn clock_paused_until_the_first_subscriber_then_runs_for_good() {
        let t = Instant::now();
        let mut clock = Clock::new(START, 60.0, ClockPause::UntilFirstSubscriber, t);
        assert_eq!(clock.now(after(t, 5_000)), 1_000_000);
        assert!(clock.update_subscribers(1, after(t, 5_000)));
        assert_eq!(clock.now(after(t, 6_000)), 1_060_000);
        assert!(!clock.update_subscribers(0, after(t, 6_000)));
        assert_eq!(clock.now(after(t, 7_000)), 1_120_000);
    }

    #[test]
    fn clock_without_subscribers_pauses_again_when_the_last_leaves() {
        let t = Instant::now();
        let mut clock = Clock::new(START, 10.0, ClockPause::WithoutSubscribers, t);
        clock.update_subscribers(2, after(t, 100));
        clock.update_subscribers(0, after(t, 200));
        assert_eq!(clock.now(after(t, 9_000)), 1_001_000);
        assert_eq!(clock.wall_until(2_000_000, after(t, 9_000)), None);
        clock.update_subscribers(1, after(t, 9_000));
        assert_eq!(clock.now(after(t, 9_100)), 1_002_000);
    }

    #[test]
    fn clock_stops_at_the_end_of_the_market() {
        let t = Instant::now();
        let end = ClockStart {
            ends_ms: Some(1_000_500),
            ..START
        };
        let clock = Clock::new(end, 1.0, ClockPause::Never, t);
        assert!(clock.is_advancing(after(t, 499)) && !clock.has_ended(after(t, 499)));
        assert_eq!(clock.now(after(t, 9_999)), 1_000_500);
        assert!(!clock.is_advancing(after(t, 500)) && clock.has_ended(after(t, 500)));
    }

    #[test]
    fn clock_computes_the_wall_time_until_an_exchange_time() {
        let t = Instant::now();
        let clock = Clock::new(START, 60.0, ClockPause::Never, t);
        let wait = clock.wall_until(1_060_000, t).unwrap();
        assert_eq!(wait, Duration::from_secs(1));
    }
}
