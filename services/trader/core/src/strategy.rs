//! The strategies: when each one signals, and how far its stop and target are. No money is here.

use std::fmt;
use std::str::FromStr;

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::fixed_point::Price;
use crate::indicators::IndicatorValues;
use crate::regime::{Momentum, Regime, Trend};

/// A strategy by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Long after a sell-off whose depth depends on the regime. Target +2.5 ATR14 (at least 0.8 %),
    /// stop 1.2 ATR14 (at most 1.5 %).
    AdaptiveOversoldBounce,
    /// Short into a rise within a falling trend, its height depending on the regime. Target -3.0
    /// ATR14 (at least 1.0 %), stop 1.5 ATR14 (at most 2.0 %).
    AdaptiveShortTheRip,
    /// Long after a sell-off: RSI14 at most 25. Target +1.5 %, stop 1.0 ATR14.
    OversoldBounce,
    /// Short into a rise within a falling trend: RSI14 at least 61 and EMA21 < EMA50 <= EMA200.
    /// Target -1.2 %, stop 1.2 ATR14.
    ShortTheRip,
}

/// Why a text is no [`Strategy`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a strategy: allowed are adaptive-oversold-bounce, adaptive-short-the-rip, \
     oversold-bounce, short-the-rip"
)]
pub struct UnknownStrategy(String);

/// How far stop and target lie from the reference price, and what they must be worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BracketDistances {
    /// Where the profit is taken.
    pub target: TargetRule,
    /// Stop, in tenths of ATR14.
    pub stop_tenths: i64,
    /// The stop is at most so far, in hundredths of a percent of the reference.
    pub max_stop_bp: Option<i64>,
    /// Least reward per risk, in tenths.
    pub reward_risk_tenths: i64,
}

/// How far the target lies from the reference price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetRule {
    /// In hundredths of a percent of the reference.
    Percent(i64),
    /// In tenths of ATR14, at least so many hundredths of a percent of the reference.
    Atr {
        /// Tenths of ATR14.
        tenths: i64,
        /// Hundredths of a percent.
        min_bp: i64,
    },
}

/// What a strategy looks at when a 30m bar closes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StrategyInputs {
    /// The bar's indicators.
    pub values: IndicatorValues,
    /// The market's regime; none while it is not known: no adaptive strategy signals then.
    pub regime: Option<Regime>,
}

impl Strategy {
    /// All of them in default order: of two signals on one bar the first wins.
    pub const ALL: [Self; 4] = [
        Self::AdaptiveOversoldBounce,
        Self::AdaptiveShortTheRip,
        Self::OversoldBounce,
        Self::ShortTheRip,
    ];

    /// Its name in settings, records and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AdaptiveOversoldBounce => "adaptive-oversold-bounce",
            Self::AdaptiveShortTheRip => "adaptive-short-the-rip",
            Self::OversoldBounce => "oversold-bounce",
            Self::ShortTheRip => "short-the-rip",
        }
    }

    /// Which way it trades.
    pub const fn side(self) -> PositionSide {
        match self {
            Self::AdaptiveOversoldBounce | Self::OversoldBounce => PositionSide::Long,
            Self::AdaptiveShortTheRip | Self::ShortTheRip => PositionSide::Short,
        }
    }

    /// Whether it goes by the regime.
    pub const fn is_adaptive(self) -> bool {
        matches!(
            self,
            Self::AdaptiveOversoldBounce | Self::AdaptiveShortTheRip
        )
    }

    /// Whether it signals on what it sees.
    pub fn evaluate(self, inputs: &StrategyInputs) -> bool {
        let Some(threshold) = self.rsi_threshold(inputs.regime) else {
            return false;
        };
        let IndicatorValues {
            rsi14,
            ema21,
            ema50,
            ema200,
            ..
        } = inputs.values;
        match self.side() {
            PositionSide::Long => rsi14 <= threshold,
            PositionSide::Short => rsi14 >= threshold && ema21 < ema50 && ema50 <= ema200,
        }
    }

    /// The RSI14 from which on it signals; none if that needs a regime and there is none.
    fn rsi_threshold(self, regime: Option<Regime>) -> Option<f64> {
        let [oversold, rip] = match self {
            Self::OversoldBounce => return Some(25.0),
            Self::ShortTheRip => return Some(61.0),
            Self::AdaptiveOversoldBounce | Self::AdaptiveShortTheRip => {
                let Regime {
                    trend, momentum, ..
                } = regime?;
                match (trend, momentum) {
                    (Trend::Bullish, Momentum::Strong) => [40.0, 60.0],
                    (Trend::Bullish, _) => [42.0, 58.0],
                    (Trend::Neutral, _) => [45.0, 55.0],
                    (Trend::Bearish, Momentum::Strong) => [50.0, 50.0],
                    (Trend::Bearish, _) => [48.0, 52.0],
                }
            }
        };
        Some(match self.side() {
            PositionSide::Long => oversold,
            PositionSide::Short => rip,
        })
    }

    /// Its stop and target.
    pub const fn distances(self) -> BracketDistances {
        match self {
            Self::AdaptiveOversoldBounce => BracketDistances {
                target: TargetRule::Atr {
                    tenths: 25,
                    min_bp: 80,
                },
                stop_tenths: 12,
                max_stop_bp: Some(150),
                reward_risk_tenths: 15,
            },
            Self::AdaptiveShortTheRip => BracketDistances {
                target: TargetRule::Atr {
                    tenths: 30,
                    min_bp: 100,
                },
                stop_tenths: 15,
                max_stop_bp: Some(200),
                reward_risk_tenths: 15,
            },
            Self::OversoldBounce => BracketDistances {
                target: TargetRule::Percent(150),
                stop_tenths: 10,
                max_stop_bp: None,
                reward_risk_tenths: 10,
            },
            Self::ShortTheRip => BracketDistances {
                target: TargetRule::Percent(120),
                stop_tenths: 12,
                max_stop_bp: None,
                reward_risk_tenths: 10,
            },
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        Self::ALL
            .into_iter()
            .find(|strategy| strategy.as_str() == text)
            .ok_or_else(|| UnknownStrategy(text.to_owned()))
    }
}

/// What a strategy says when a 30m bar closes. Not yet an entry: sizing and gates come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Who says it.
    pub strategy: Strategy,
    /// Long or short.
    pub side: PositionSide,
    /// When the bar closed.
    pub bar_close: UtcMs,
    /// The bar's close price, from which stop, target and size are measured.
    pub reference_price: Price,
    /// ATR14 at that bar, to the nearest 1e-8.
    pub atr: Price,
    /// RSI14 at that bar, to 4 places.
    pub rsi: Decimal,
    /// The regime an adaptive strategy went by.
    pub regime: Option<Regime>,
    /// How often the market's volatility halves the size.
    pub halvings: u8,
}

impl Signal {
    /// The first strategy that signals, if any. A value that is no decimal is no signal. `turbulent`:
    /// the volatility breaker has tripped.
    pub fn first_of(
        strategies: &[Strategy],
        inputs: &StrategyInputs,
        is_volatile: bool,
        bar_close: UtcMs,
        reference: Price,
    ) -> Option<Self> {
        let strategy = *strategies.iter().find(|s| s.evaluate(inputs))?;
        let regime = inputs.regime.filter(|_| strategy.is_adaptive());
        let atr = Decimal::try_from(inputs.values.atr14).ok()?.round_dp(8);
        Some(Self {
            strategy,
            side: strategy.side(),
            bar_close,
            reference_price: reference,
            atr: Price::from_decimal(atr).ok()?,
            rsi: Decimal::try_from(inputs.values.rsi14).ok()?.round_dp(4),
            regime,
            halvings: u8::from(is_volatile) + u8::from(regime.is_some_and(|r| r.volatile)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: IndicatorValues = IndicatorValues {
        rsi14: 50.0,
        ema21: 100.0,
        ema50: 100.0,
        ema200: 100.0,
        atr14: 1.5,
    };

    fn inputs(values: IndicatorValues) -> StrategyInputs {
        StrategyInputs {
            values,
            regime: None,
        }
    }

    #[test]
    fn oversold_bounce_signals_up_to_25() {
        for (rsi14, signals) in [(24.9, true), (25.0, true), (25.000_001, false)] {
            let sight = inputs(IndicatorValues { rsi14, ..CALM });
            assert_eq!(
                Strategy::OversoldBounce.evaluate(&sight),
                signals,
                "{rsi14}"
            );
        }
    }

    #[test]
    fn short_the_rip_signals_from_61_under_falling_averages() {
        for (rsi14, ema21, ema50, ema200, signals) in [
            (61.0, 98.0, 99.0, 100.0, true),
            (60.999_999, 98.0, 99.0, 100.0, false),
            (61.0, 99.0, 99.0, 100.0, false),
            (61.0, 98.0, 100.0, 100.0, true),
            (61.0, 98.0, 100.000_001, 100.0, false),
        ] {
            let values = IndicatorValues {
                rsi14,
                ema21,
                ema50,
                ema200,
                ..CALM
            };
            assert_eq!(
                Strategy::ShortTheRip.evaluate(&inputs(values)),
                signals,
                "{values:?}"
            );
        }
    }

    #[test]
    fn adaptive_strategies_move_their_threshold_with_the_regime() {
        use {Momentum::*, Trend::*};
        for (trend, momentum, oversold, rip) in [
            (Bullish, Strong, 40.0, 60.0),
            (Bullish, Weak, 42.0, 58.0),
            (Bullish, Sideways, 42.0, 58.0),
            (Neutral, Strong, 45.0, 55.0),
            (Neutral, Sideways, 45.0, 55.0),
            (Bearish, Strong, 50.0, 50.0),
            (Bearish, Weak, 48.0, 52.0),
        ] {
            let regime = Some(Regime {
                trend,
                momentum,
                volatile: false,
            });
            let falling = IndicatorValues {
                ema21: 98.0,
                ema50: 99.0,
                ..CALM
            };
            let at = |strategy: Strategy, rsi14: f64| {
                let values = IndicatorValues { rsi14, ..falling };
                strategy.evaluate(&StrategyInputs { values, regime })
            };
            let long = Strategy::AdaptiveOversoldBounce;
            assert!(
                at(long, oversold) && !at(long, oversold + 1e-6),
                "{regime:?}"
            );
            let short = Strategy::AdaptiveShortTheRip;
            assert!(at(short, rip) && !at(short, rip - 1e-6), "{regime:?}");
        }
    }

    #[test]
    fn without_a_regime_no_adaptive_strategy_signals() {
        for rsi14 in [1.0, 99.0] {
            let values = IndicatorValues {
                rsi14,
                ema21: 98.0,
                ema50: 99.0,
                ..CALM
            };
            for strategy in Strategy::ALL.into_iter().filter(|s| s.is_adaptive()) {
                assert!(!strategy.evaluate(&inputs(values)), "{strategy} {rsi14}");
            }
        }
    }

    #[test]
    fn the_first_strategy_in_the_list_wins() {
        let sight = inputs(IndicatorValues {
            rsi14: 25.0,
            ..CALM
        });
        let signal = |list: &[Strategy]| {
            let reference = Price::from_units(100);
            Signal::first_of(list, &sight, false, UtcMs(0), reference).map(|s| s.strategy)
        };
        assert_eq!(signal(&Strategy::ALL), Some(Strategy::OversoldBounce));
        assert_eq!(signal(&[Strategy::ShortTheRip]), None);
        assert_eq!(signal(&[]), None);
    }

    #[test]
    fn a_signal_carries_its_values_as_decimals() {
        let values = IndicatorValues {
            rsi14: 24.123_456,
            atr14: 1.123_456_789,
            ..CALM
        };
        let of = |values| {
            let reference = Price::from_units(1);
            Signal::first_of(&Strategy::ALL, &inputs(values), false, UtcMs(7), reference)
        };
        let signal = of(values).unwrap();
        assert_eq!(signal.rsi.to_string(), "24.1235");
        assert_eq!(signal.atr.to_string(), "1.12345679");
        assert_eq!(
            (signal.side, signal.bar_close),
            (PositionSide::Long, UtcMs(7))
        );
        assert_eq!((signal.regime, signal.halvings), (None, 0));
        let broken = IndicatorValues {
            atr14: f64::NAN,
            ..values
        };
        assert_eq!(of(broken), None);
    }

    #[test]
    fn volatility_breaker_and_volatile_regime_halve_the_size_once_each() {
        for (strategy, turbulent, volatile, halvings) in [
            (Strategy::OversoldBounce, false, true, 0),
            (Strategy::OversoldBounce, true, true, 1),
            (Strategy::AdaptiveOversoldBounce, false, false, 0),
            (Strategy::AdaptiveOversoldBounce, false, true, 1),
            (Strategy::AdaptiveOversoldBounce, true, true, 2),
        ] {
            let sight = StrategyInputs {
                values: IndicatorValues {
                    rsi14: 20.0,
                    ..CALM
                },
                regime: Some(Regime {
                    trend: Trend::Neutral,
                    momentum: Momentum::Weak,
                    volatile,
                }),
            };
            let reference = Price::from_units(1);
            let signal = Signal::first_of(&[strategy], &sight, turbulent, UtcMs(0), reference);
            assert_eq!(
                signal.unwrap().halvings,
                halvings,
                "{strategy} {turbulent} {volatile}"
            );
        }
    }

    #[test]
    fn strategy_names_round_trip_and_the_error_lists_all_names() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.as_str().parse(), Ok(strategy));
            let json = serde_json::to_string(&strategy).unwrap();
            assert_eq!(json, format!("\"{strategy}\""));
        }
        let refused = "moon".parse::<Strategy>().unwrap_err().to_string();
        for strategy in Strategy::ALL {
            assert!(refused.contains(strategy.as_str()), "{refused}");
        }
    }
}
