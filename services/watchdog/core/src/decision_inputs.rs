//! Inputs of a decision that the core cannot read itself: time and randomness.

use protocol::time::UtcMs;

/// One instant by two clocks, and one random number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionInputs {
    /// Wall clock, for records. It may jump.
    pub utc: UtcMs,
    /// Monotonic clock in milliseconds since a start that each process chooses.
    pub mono: u64,
    /// Random number from 0 to 999, for jitter.
    pub random: u16,
}
