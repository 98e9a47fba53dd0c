//! When something is decided, as the body read it off its clocks.

use protocol::time::UtcMs;

/// One instant by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// Wall clock: for records and people. May jump.
    pub utc: UtcMs,
    /// Milliseconds on a clock that never jumps; its zero is this process's own.
    pub mono: u64,
}
