//! Reads the clocks and draws random numbers for the core.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

use runtime::clock::Clock;
use watchdog_core::decision_inputs::DecisionInputs;

/// Source of the core's inputs. Its monotonic clock starts at zero.
pub struct DecisionClock(Clock);

impl DecisionClock {
    /// Starts the monotonic clock at zero.
    pub fn start() -> Self {
        Self(Clock::start())
    }

    /// Inputs of a decision now.
    pub fn now(&self) -> DecisionInputs {
        let random = RandomState::new().build_hasher().finish() % 1000;
        DecisionInputs {
            clock: self.0.read(),
            random: u16::try_from(random).unwrap_or_default(),
        }
    }

    /// The instant at which the monotonic clock shows this many milliseconds.
    pub fn instant_at(&self, mono: u64) -> Instant {
        self.0.instant_at(mono)
    }
}
