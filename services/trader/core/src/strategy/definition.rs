//! What defines a strategy, and the definitions of all strategies.

use protocol::event::PositionSide;

use super::StrategyInputs;
use crate::regime::{Momentum, Regime, Trend};

/// Everything that the core must know of a strategy.
#[derive(Debug)]
pub(super) struct Definition {
    /// Name in settings, records and events: kebab-case.
    pub(super) name: &'static str,
    /// Letter in client order ids. Unique; the letter of a removed strategy is not used again.
    pub(super) letter: char,
    /// Side of the positions it opens.
    pub(super) side: PositionSide,
    /// Whether its condition depends on the market regime. Such a strategy does not signal while the regime is unknown,
    /// and a volatile regime halves its size.
    pub(super) is_adaptive: bool,
    /// Whether it signals on these inputs.
    pub(super) signals: fn(&StrategyInputs) -> bool,
    /// Distances of its stop and target.
    pub(super) distances: BracketDistances,
}

/// How far stop and target lie from the reference price, and the least reward for the risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BracketDistances {
    /// Distance of the target.
    pub target: TargetRule,
    /// Distance of the stop, in tenths of ATR14.
    pub stop_tenths: i64,
    /// Largest distance of the stop, in basis points (0.01 %) of the reference price; `None` for no limit.
    pub max_stop_bp: Option<i64>,
    /// Least reward per risk, in tenths.
    pub reward_risk_tenths: i64,
}

/// Distance of the target from the reference price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetRule {
    /// In basis points (0.01 %) of the reference price.
    Percent(i64),
    /// In tenths of ATR14, with a minimum.
    Atr {
        /// Distance in tenths of ATR14.
        tenths: i64,
        /// Least distance, in basis points of the reference price.
        min_bp: i64,
    },
}

pub(super) static ADAPTIVE_OVERSOLD_BOUNCE: Definition = Definition {
    name: "adaptive-oversold-bounce",
    letter: 'b',
    side: PositionSide::Long,
    is_adaptive: true,
    signals: |inputs| {
        adaptive_thresholds(inputs.regime)
            .is_some_and(|[oversold, _]| inputs.values.rsi14 <= oversold)
    },
    distances: BracketDistances {
        target: TargetRule::Atr {
            tenths: 25,
            min_bp: 80,
        },
        stop_tenths: 12,
        max_stop_bp: Some(150),
        reward_risk_tenths: 15,
    },
};

pub(super) static ADAPTIVE_SHORT_THE_RIP: Definition = Definition {
    name: "adaptive-short-the-rip",
    letter: 'p',
    side: PositionSide::Short,
    is_adaptive: true,
    signals: |inputs| {
        adaptive_thresholds(inputs.regime)
            .is_some_and(|[_, overbought]| is_rip_in_downtrend(inputs, overbought))
    },
    distances: BracketDistances {
        target: TargetRule::Atr {
            tenths: 30,
            min_bp: 100,
        },
        stop_tenths: 15,
        max_stop_bp: Some(200),
        reward_risk_tenths: 15,
    },
};

pub(super) static OVERSOLD_BOUNCE: Definition = Definition {
    name: "oversold-bounce",
    letter: 'o',
    side: PositionSide::Long,
    is_adaptive: false,
    signals: |inputs| inputs.values.rsi14 <= 25.0,
    distances: BracketDistances {
        target: TargetRule::Percent(150),
        stop_tenths: 10,
        max_stop_bp: None,
        reward_risk_tenths: 10,
    },
};

pub(super) static SHORT_THE_RIP: Definition = Definition {
    name: "short-the-rip",
    letter: 'r',
    side: PositionSide::Short,
    is_adaptive: false,
    signals: |inputs| is_rip_in_downtrend(inputs, 61.0),
    distances: BracketDistances {
        target: TargetRule::Percent(120),
        stop_tenths: 12,
        max_stop_bp: None,
        reward_risk_tenths: 10,
    },
};

/// RSI14 at or above the threshold while the moving averages fall: EMA21 < EMA50 <= EMA200.
fn is_rip_in_downtrend(inputs: &StrategyInputs, threshold: f64) -> bool {
    let values = &inputs.values;
    values.rsi14 >= threshold && values.ema21 < values.ema50 && values.ema50 <= values.ema200
}

/// RSI14 thresholds of the adaptive strategies, long and short; `None` while the regime is unknown.
fn adaptive_thresholds(regime: Option<Regime>) -> Option<[f64; 2]> {
    let Regime {
        trend, momentum, ..
    } = regime?;
    Some(match (trend, momentum) {
        (Trend::Bullish, Momentum::Strong) => [40.0, 60.0],
        (Trend::Bullish, _) => [42.0, 58.0],
        (Trend::Neutral, _) => [45.0, 55.0],
        (Trend::Bearish, Momentum::Strong) => [50.0, 50.0],
        (Trend::Bearish, _) => [48.0, 52.0],
    })
}
