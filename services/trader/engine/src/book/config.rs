//! What a book is traded with: numbers that an owner may set, and their limits.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::candle::Interval;

/// Settings of one book. Recorded by each owner when it takes the book over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookConfig {
    /// Interval of the candles that fill entries and exits.
    pub base: Interval,
    /// Most that a position may be worth, in multiples of the book's equity.
    pub leverage: Decimal,
    /// Fee of one fill, as a share of its worth.
    pub fee_rate: Decimal,
    /// How far a market fill is worse than the price it was aimed at, as a share of it.
    pub slippage: Decimal,
}

/// A setting outside its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: allowed is {least} to {most}")]
pub struct BadConfig {
    /// Which setting.
    pub field: &'static str,
    /// What it was.
    pub value: Decimal,
    /// Least allowed.
    pub least: Decimal,
    /// Most allowed.
    pub most: Decimal,
}

impl Default for BookConfig {
    /// One-minute candles, no leverage, 0.06 % fee, 0.02 % slippage.
    fn default() -> Self {
        Self {
            base: Interval::M1,
            leverage: Decimal::ONE,
            fee_rate: Decimal::new(6, 4),
            slippage: Decimal::new(2, 4),
        }
    }
}

impl BookConfig {
    /// Holds every setting against its limits.
    ///
    /// # Errors
    /// The first one outside of them.
    pub fn check(&self) -> Result<(), BadConfig> {
        let (none, percent) = (Decimal::ZERO, Decimal::new(1, 2));
        let limits = [
            ("leverage", self.leverage, Decimal::ONE, Decimal::from(5)),
            ("fee_rate", self.fee_rate, none, percent),
            ("slippage", self.slippage, none, percent),
        ];
        for (field, value, least, most) in limits {
            if value < least || value > most {
                return Err(BadConfig {
                    field,
                    value,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_allowed_up_to_their_limits() {
        type Case<'a> = (fn(&mut BookConfig), Option<&'a str>);
        let cases: [Case; 7] = [
            (|_| (), None),
            (|c| c.leverage = Decimal::from(5), None),
            (
                |c| c.leverage = Decimal::new(51, 1),
                Some("leverage is 5.1: allowed is 1 to 5"),
            ),
            (
                |c| c.leverage = Decimal::new(9, 1),
                Some("leverage is 0.9: allowed is 1 to 5"),
            ),
            (|c| c.fee_rate = Decimal::new(1, 2), None),
            (
                |c| c.fee_rate = Decimal::new(-1, 4),
                Some("fee_rate is -0.0001: allowed is 0 to 0.01"),
            ),
            (
                |c| c.slippage = Decimal::new(11, 3),
                Some("slippage is 0.011: allowed is 0 to 0.01"),
            ),
        ];
        for (change, refused) in cases {
            let mut config = BookConfig::default();
            change(&mut config);
            let text = config.check().err().map(|e| e.to_string());
            assert_eq!(text.as_deref(), refused);
        }
    }
}
