//! Markers of events on an equity curve.

use protocol::time::UtcMs;

/// A dot on the curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Time of the dot.
    pub at: UtcMs,
    /// Kind of the dot.
    pub kind: MarkerKind,
}

/// Kind of a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkerKind {
    /// Trade that closed with a profit.
    Gain,
    /// Trade that closed with a loss.
    Loss,
}
