//! The strategies: when each one signals, and how far its stop and target are. Sizing and gates come later, in
//! [`entry`](crate::entry).
//!
//! A new strategy needs a variant of [`Strategy`], its place in [`Strategy::ALL`], an arm in `Strategy::definition`, and
//! its definition in `definition.rs`.

mod definition;
mod inputs;

pub use definition::{BracketDistances, TargetRule};
pub use inputs::StrategyInputs;

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use self::definition::Definition;
use crate::fixed_point::Price;
use crate::regime::Regime;

/// A strategy by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Long after a sell-off: RSI14 at most a threshold that depends on the regime. Target +2.5 ATR14 (at least 0.8 %),
    /// stop 1.2 ATR14 (at most 1.5 %).
    AdaptiveOversoldBounce,
    /// Short into a rise within a falling trend: RSI14 at least a threshold that depends on the regime, and
    /// EMA21 < EMA50 <= EMA200. Target -3.0 ATR14 (at least 1.0 %), stop 1.5 ATR14 (at most 2.0 %).
    AdaptiveShortTheRip,
    /// Long after a sell-off: RSI14 at most 25. Target +1.5 %, stop 1.0 ATR14.
    OversoldBounce,
    /// Short into a rise within a falling trend: RSI14 at least 61 and EMA21 < EMA50 <= EMA200. Target -1.2 %, stop
    /// 1.2 ATR14.
    ShortTheRip,
}

impl Strategy {
    /// All strategies, in default order: if several signal on one bar, the first is used.
    pub const ALL: [Self; 4] = [
        Self::AdaptiveOversoldBounce,
        Self::AdaptiveShortTheRip,
        Self::OversoldBounce,
        Self::ShortTheRip,
    ];

    fn definition(self) -> &'static Definition {
        match self {
            Self::AdaptiveOversoldBounce => &definition::ADAPTIVE_OVERSOLD_BOUNCE,
            Self::AdaptiveShortTheRip => &definition::ADAPTIVE_SHORT_THE_RIP,
            Self::OversoldBounce => &definition::OVERSOLD_BOUNCE,
            Self::ShortTheRip => &definition::SHORT_THE_RIP,
        }
    }

    /// Name in settings, records and events.
    pub fn as_str(self) -> &'static str {
        self.definition().name
    }

    /// The names of all strategies in default order, joined by commas: the default of the setting `STRATEGIES`.
    pub fn default_list() -> &'static str {
        static LIST: LazyLock<String> =
            LazyLock::new(|| Strategy::ALL.map(Strategy::as_str).join(","));
        &LIST
    }

    /// Letter in client order ids.
    pub(crate) fn letter(self) -> char {
        self.definition().letter
    }

    /// Side of the positions that the strategy opens.
    pub fn side(self) -> PositionSide {
        self.definition().side
    }

    /// Whether its condition depends on the market regime.
    pub fn is_adaptive(self) -> bool {
        self.definition().is_adaptive
    }

    /// Whether it signals on these inputs.
    pub fn evaluate(self, inputs: &StrategyInputs) -> bool {
        (self.definition().signals)(inputs)
    }

    /// Distances of its stop and target.
    pub fn distances(self) -> BracketDistances {
        self.definition().distances
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no [`Strategy`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: expected one of {list}", list = Strategy::ALL.map(Strategy::as_str).join(", "))]
pub struct UnknownStrategy(String);

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        Self::ALL
            .into_iter()
            .find(|strategy| strategy.as_str() == text)
            .ok_or_else(|| UnknownStrategy(text.to_owned()))
    }
}

/// A strategy's proposal to enter at the close of a 30-minute bar, before sizing and gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    /// Strategy whose condition holds.
    pub strategy: Strategy,
    /// Side of the proposed position.
    pub side: PositionSide,
    /// Close time of the bar.
    pub bar_close: UtcMs,
    /// Close price of the bar: stop, target and size are measured from it.
    pub reference_price: Price,
    /// ATR14 at that bar, rounded to 1e-8.
    pub atr: Price,
    /// RSI14 at that bar, rounded to 4 places.
    pub rsi: Decimal,
    /// Regime that an adaptive strategy used; `None` for other strategies.
    pub regime: Option<Regime>,
    /// How many times volatility halves the size.
    pub halvings: u8,
}

impl Signal {
    /// The signal of the first strategy whose condition holds; `None` if there is none, or if an indicator is not finite.
    /// `is_volatile`: the volatility breaker has tripped.
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
    use std::collections::BTreeSet;

    use super::*;
    use crate::indicators::IndicatorValues;
    use crate::regime::{Momentum, Trend};

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
    fn list_of_all_strategies_is_complete() {
        // serde lists every variant in its error.
        let error = serde_json::from_str::<Strategy>("\"?\"")
            .unwrap_err()
            .to_string();
        let variants: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
        let names = BTreeSet::from(Strategy::ALL.map(Strategy::as_str));
        assert_eq!(variants, names, "{error}");
    }

    #[test]
    fn client_order_id_letters_are_unique_and_do_not_change() {
        // Ids with these letters may rest on an exchange.
        let letters = Strategy::ALL.map(|strategy| (strategy.as_str(), strategy.letter()));
        for known in [
            ("adaptive-oversold-bounce", 'b'),
            ("adaptive-short-the-rip", 'p'),
            ("oversold-bounce", 'o'),
            ("short-the-rip", 'r'),
        ] {
            assert!(letters.contains(&known), "{known:?}");
        }
        for (n, (name, letter)) in letters.into_iter().enumerate() {
            assert!(
                letter.is_ascii_lowercase() || letter.is_ascii_digit(),
                "{name}"
            );
            assert!(
                !letters[..n].iter().any(|(_, other)| *other == letter),
                "{name}"
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
