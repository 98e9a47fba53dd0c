//! The strategies: when each one signals, and how far its stop and target are. No money is here.

use std::fmt;
use std::str::FromStr;

use protocol::event::Side;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::fixed::Price;
use crate::indicators::Values;

/// A strategy by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Long after a sell-off: RSI14 at most 25. Target +1.5 %, stop 1.0 ATR14.
    OversoldBounce,
    /// Short into a rise within a falling trend: RSI14 at least 61 and EMA21 < EMA50 <= EMA200.
    /// Target -1.2 %, stop 1.2 ATR14.
    ShortTheRip,
}

/// Why a text is no [`Strategy`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a strategy: allowed are oversold-bounce, short-the-rip")]
pub struct UnknownStrategy(String);

/// How far stop and target lie from the reference price, and what they must be worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distances {
    /// Target, in hundredths of a percent of the reference.
    pub target_bp: i64,
    /// Stop, in tenths of ATR14.
    pub stop_tenths: i64,
    /// Least reward per risk, in tenths.
    pub reward_risk_tenths: i64,
}

impl Strategy {
    /// All of them in default order: of two signals on one bar the first wins.
    pub const ALL: [Self; 2] = [Self::OversoldBounce, Self::ShortTheRip];

    /// Its name in settings, records and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OversoldBounce => "oversold-bounce",
            Self::ShortTheRip => "short-the-rip",
        }
    }

    /// Which way it trades.
    pub const fn side(self) -> Side {
        match self {
            Self::OversoldBounce => Side::Long,
            Self::ShortTheRip => Side::Short,
        }
    }

    /// Whether it signals on these values.
    pub fn signals_on(self, values: &Values) -> bool {
        match self {
            Self::OversoldBounce => values.rsi14 <= 25.0,
            Self::ShortTheRip => {
                values.rsi14 >= 61.0 && values.ema21 < values.ema50 && values.ema50 <= values.ema200
            }
        }
    }

    /// Its stop and target.
    pub const fn distances(self) -> Distances {
        match self {
            Self::OversoldBounce => Distances {
                target_bp: 150,
                stop_tenths: 10,
                reward_risk_tenths: 10,
            },
            Self::ShortTheRip => Distances {
                target_bp: 120,
                stop_tenths: 12,
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
    pub side: Side,
    /// When the bar closed.
    pub bar_close: UtcMs,
    /// The bar's close price, from which stop, target and size are measured.
    pub reference: Price,
    /// ATR14 at that bar, to the nearest 1e-8.
    pub atr: Price,
    /// RSI14 at that bar, to 4 places.
    pub rsi: Decimal,
}

impl Signal {
    /// The first strategy that signals, if any. A value that is no decimal is no signal.
    pub fn first_of(
        strategies: &[Strategy],
        values: &Values,
        bar_close: UtcMs,
        reference: Price,
    ) -> Option<Self> {
        let strategy = *strategies.iter().find(|s| s.signals_on(values))?;
        let atr = Decimal::try_from(values.atr14).ok()?.round_dp(8);
        Some(Self {
            strategy,
            side: strategy.side(),
            bar_close,
            reference,
            atr: Price::from_decimal(atr).ok()?,
            rsi: Decimal::try_from(values.rsi14).ok()?.round_dp(4),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Values = Values {
        rsi14: 50.0,
        ema21: 100.0,
        ema50: 100.0,
        ema200: 100.0,
        atr14: 1.5,
    };

    #[test]
    fn oversold_bounce_signals_up_to_25() {
        for (rsi14, signals) in [(24.9, true), (25.0, true), (25.000_001, false)] {
            let values = Values { rsi14, ..CALM };
            assert_eq!(
                Strategy::OversoldBounce.signals_on(&values),
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
            let values = Values {
                rsi14,
                ema21,
                ema50,
                ema200,
                ..CALM
            };
            assert_eq!(
                Strategy::ShortTheRip.signals_on(&values),
                signals,
                "{values:?}"
            );
        }
    }

    #[test]
    fn the_first_strategy_in_the_list_wins() {
        let values = Values {
            rsi14: 25.0,
            ..CALM
        };
        let signal = |list: &[Strategy]| {
            Signal::first_of(list, &values, UtcMs(0), Price::from_units(100)).map(|s| s.strategy)
        };
        assert_eq!(signal(&Strategy::ALL), Some(Strategy::OversoldBounce));
        assert_eq!(signal(&[Strategy::ShortTheRip]), None);
        assert_eq!(signal(&[]), None);
    }

    #[test]
    fn a_signal_carries_its_values_as_decimals() {
        let values = Values {
            rsi14: 24.123_456,
            atr14: 1.123_456_789,
            ..CALM
        };
        let signal = Signal::first_of(&Strategy::ALL, &values, UtcMs(7), Price::from_units(1));
        let signal = signal.unwrap();
        assert_eq!(signal.rsi.to_string(), "24.1235");
        assert_eq!(signal.atr.to_string(), "1.12345679");
        assert_eq!((signal.side, signal.bar_close), (Side::Long, UtcMs(7)));
        let broken = Values {
            atr14: f64::NAN,
            ..values
        };
        assert_eq!(
            Signal::first_of(&Strategy::ALL, &broken, UtcMs(7), Price::from_units(1)),
            None
        );
    }

    #[test]
    fn names_read_back_and_a_refusal_lists_what_is_allowed() {
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
