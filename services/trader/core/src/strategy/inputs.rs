//! Inputs of the strategies.

use crate::indicators::IndicatorValues;
use crate::regime::Regime;

/// Inputs of a strategy at the close of a 30-minute bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StrategyInputs {
    /// Indicators at that bar.
    pub values: IndicatorValues,
    /// Market regime; `None` until enough 4-hour bars are known. Adaptive strategies do not signal then.
    pub regime: Option<Regime>,
}
