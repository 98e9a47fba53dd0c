//! When something is decided, as the body read it off its clocks and dice.

use protocol::time::UtcMs;

/// One instant by two clocks, and a throw of the dice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecisionInputs {
    /// Wall clock: for records and people. May jump.
    pub utc: UtcMs,
    /// Milliseconds on a clock that never jumps; its zero is this process's own.
    pub mono: u64,
    /// 0 to 999, for jitter.
    pub random: u16,
}
