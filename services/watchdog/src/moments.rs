//! Reads the clocks and throws the dice for the brain, which has neither.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use runtime::clock;
use supervision::moment::Moment;

/// Moments since it was made: that is where their own clock begins.
pub struct Moments(Instant);

impl Moments {
    /// From now on.
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// This one.
    pub fn now(&self) -> Moment {
        let chance = RandomState::new().build_hasher().finish() % 1000;
        Moment {
            utc: clock::now(),
            mono: u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX),
            chance: u16::try_from(chance).unwrap_or_default(),
        }
    }

    /// When a moment's own clock shows this, in milliseconds.
    pub fn at(&self, mono: u64) -> Instant {
        self.0 + Duration::from_millis(mono)
    }
}
