//! What a book is traded with: numbers that an owner may set, and their limits.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::candle::Interval;
use crate::orders::InstallationId;
use crate::protections::Protections;
use crate::strategy::Strategy;

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
    pub slippage_rate: Decimal,
    /// What a long position pays every eight hours, as a share of its worth; a short one receives it.
    #[serde(default)]
    pub funding_rate: Decimal,
    /// Whose signals are followed, in order of precedence.
    #[serde(default)]
    pub strategies: Vec<Strategy>,
    /// What keeps it from entries after bad trades.
    #[serde(default = "no_protections")]
    pub protections: Protections,
    /// How its orders go to an exchange; a book without trades on paper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveConfig>,
}

/// How orders go to an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConfig {
    /// Whose they are.
    pub installation_id: InstallationId,
    /// How long after its decision the exchange may take an order, in milliseconds.
    pub recv_window_ms: u32,
}

/// What an owner of an earlier version of the program had.
const fn no_protections() -> Protections {
    Protections::NONE
}

/// A setting outside its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: allowed is {least} to {most}")]
pub struct InvalidConfig {
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
    /// One-minute candles, no leverage, 0.06 % fee, 0.02 % slippage, 0.01 % funding, all strategies,
    /// all protections.
    fn default() -> Self {
        Self {
            base: Interval::M1,
            leverage: Decimal::ONE,
            fee_rate: Decimal::new(6, 4),
            slippage_rate: Decimal::new(2, 4),
            funding_rate: Decimal::new(1, 4),
            strategies: Strategy::ALL.to_vec(),
            protections: Protections::default(),
            live: None,
        }
    }
}

impl BookConfig {
    /// What is different in `inputs`, each as "name: old -> new".
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let list = |strategies: &[Strategy]| {
            let names: Vec<&str> = strategies.iter().map(|s| s.as_str()).collect();
            names.join(",")
        };
        let window = |config: &Self| match &config.live {
            Some(terms) => format!("{} ms", terms.recv_window_ms),
            None => "none".to_owned(),
        };
        let pairs = [
            ("base", self.base.to_string(), now.base.to_string()),
            (
                "leverage",
                self.leverage.to_string(),
                now.leverage.to_string(),
            ),
            (
                "fee_rate",
                self.fee_rate.to_string(),
                now.fee_rate.to_string(),
            ),
            (
                "slippage_rate",
                self.slippage_rate.to_string(),
                now.slippage_rate.to_string(),
            ),
            (
                "funding_rate",
                self.funding_rate.to_string(),
                now.funding_rate.to_string(),
            ),
            ("strategies", list(&self.strategies), list(&now.strategies)),
            (
                "protections",
                self.protections.to_string(),
                now.protections.to_string(),
            ),
            ("recv_window", window(self), window(now)),
        ];
        let changed = pairs.into_iter().filter(|(_, old, new)| old != new);
        changed
            .map(|(name, old, new)| format!("{name}: {old} -> {new}"))
            .collect()
    }

    /// Holds every setting against its limits.
    ///
    /// # Errors
    /// The first one outside of them.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let (none, percent) = (Decimal::ZERO, Decimal::new(1, 2));
        let limits = [
            ("leverage", self.leverage, Decimal::ONE, Decimal::from(5)),
            ("fee_rate", self.fee_rate, none, percent),
            ("slippage_rate", self.slippage_rate, none, percent),
            ("funding_rate", self.funding_rate, -percent, percent),
        ];
        for (field, value, least, most) in limits {
            if value < least || value > most {
                return Err(InvalidConfig {
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
        let cases: [Case; 8] = [
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
                |c| c.funding_rate = Decimal::new(-11, 3),
                Some("funding_rate is -0.011: allowed is -0.01 to 0.01"),
            ),
            (
                |c| c.slippage_rate = Decimal::new(11, 3),
                Some("slippage_rate is 0.011: allowed is 0 to 0.01"),
            ),
        ];
        for (change, refused) in cases {
            let mut config = BookConfig::default();
            change(&mut config);
            let text = config.check().err().map(|e| e.to_string());
            assert_eq!(text.as_deref(), refused);
        }
    }

    #[test]
    fn differences_show_old_and_new_values() {
        let old = BookConfig::default();
        let mut now = old.clone();
        assert!(old.differences(&now).is_empty());
        now.leverage = Decimal::from(3);
        now.strategies = vec![Strategy::OversoldBounce];
        now.protections = Protections::NONE;
        let changes = old.differences(&now);
        assert_eq!(changes[0], "leverage: 1 -> 3");
        assert!(
            changes[1].ends_with("short-the-rip -> oversold-bounce"),
            "{changes:?}"
        );
        assert!(changes[2].ends_with("-> none"), "{changes:?}");
        assert_eq!(changes.len(), 3);
    }
}
