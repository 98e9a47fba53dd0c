//! Reads the clocks and throws the dice for the brain, which has neither.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use runtime::clock;
use watchdog_core::decision_inputs::DecisionInputs;

/// Moments since it was made: that is where their own clock begins.
pub struct DecisionClock(Instant);

impl DecisionClock {
    /// From now on.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// This one.
    pub fn now(&self) -> DecisionInputs {
        let chance = RandomState::new().build_hasher().finish() % 1000;
        DecisionInputs {
            utc: clock::now(),
            mono: u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX),
            random: u16::try_from(chance).unwrap_or_default(),
        }
    }

    /// When a moment's own clock shows this, in milliseconds.
    pub fn instant_at(&self, mono: u64) -> Instant {
        self.0 + Duration::from_millis(mono)
    }
}
