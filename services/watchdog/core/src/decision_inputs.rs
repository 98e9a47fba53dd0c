//! Inputs of a decision that the core cannot read itself: time and randomness.

use protocol::time::ClockReading;

/// One instant and one random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionInputs {
    /// The instant by the wall clock and the monotonic clock.
    pub clock: ClockReading,
    /// Random number from 0 to 999, for jitter.
    pub random: u16,
}
