//! Configuration of a book, and the limits of its numbers.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::candle::Interval;
use crate::entry::MarginRule;
use crate::orders::InstallationId;
use crate::protections::Protections;
use crate::strategy::Strategy;

/// Configuration of one book. Each new writer records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookConfig {
    /// Interval of the candles that fill entries and exits.
    pub base: Interval,
    /// Largest value of a position, as a multiple of the book's equity.
    pub leverage: Decimal,
    /// Fee of one fill, as a share of its value.
    pub fee_rate: Decimal,
    /// Slippage of a market fill, as a share of the price.
    pub slippage_rate: Decimal,
    /// Funding that a long position pays and a short one receives every eight hours, as a share of its value.
    #[serde(default)]
    pub funding_rate: Decimal,
    /// Strategies whose signals are used, in order of precedence.
    #[serde(default)]
    pub strategies: Vec<Strategy>,
    /// Protections that lock entries after bad trades.
    #[serde(default = "no_protections")]
    pub protections: Protections,
    /// Settings of live orders; `None` in paper mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveConfig>,
}

/// Settings of live orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConfig {
    /// Installation id in the client order ids.
    pub installation_id: InstallationId,
    /// Time in milliseconds after the decision in which the exchange may accept an order: `recvWindow`.
    pub recv_window_ms: u32,
}

const fn no_protections() -> Protections {
    Protections::NONE
}

/// A setting outside its limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: expected {least} to {most}")]
pub struct InvalidConfig {
    /// Name of the setting.
    pub field: &'static str,
    /// Value of the setting.
    pub value: Decimal,
    /// Smallest value that is allowed.
    pub least: Decimal,
    /// Largest value that is allowed.
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
    /// What a market order of this book needs from its equity.
    pub const fn margin_rule(&self) -> MarginRule {
        MarginRule {
            leverage: self.leverage,
            fee_rate: self.fee_rate,
        }
    }

    /// The settings that differ in `now`, each as `name: old -> new`.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let list = |strategies: &[Strategy]| {
            let names: Vec<&str> = strategies.iter().map(|s| s.as_str()).collect();
            names.join(",")
        };
        let window = |config: &Self| match &config.live {
            Some(live) => format!("{} ms", live.recv_window_ms),
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

    /// Checks every setting against its limits.
    ///
    /// # Errors
    /// [`InvalidConfig`] with the first setting outside its limits.
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
                Some("leverage is 5.1: expected 1 to 5"),
            ),
            (
                |c| c.leverage = Decimal::new(9, 1),
                Some("leverage is 0.9: expected 1 to 5"),
            ),
            (|c| c.fee_rate = Decimal::new(1, 2), None),
            (
                |c| c.fee_rate = Decimal::new(-1, 4),
                Some("fee_rate is -0.0001: expected 0 to 0.01"),
            ),
            (
                |c| c.funding_rate = Decimal::new(-11, 3),
                Some("funding_rate is -0.011: expected -0.01 to 0.01"),
            ),
            (
                |c| c.slippage_rate = Decimal::new(11, 3),
                Some("slippage_rate is 0.011: expected 0 to 0.01"),
            ),
        ];
        for (change, expected) in cases {
            let mut config = BookConfig::default();
            change(&mut config);
            let text = config.check().err().map(|e| e.to_string());
            assert_eq!(text.as_deref(), expected);
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
        let defaults = Strategy::default_list();
        assert_eq!(
            changes[1],
            format!("strategies: {defaults} -> oversold-bounce")
        );
        assert!(changes[2].ends_with("-> none"), "{changes:?}");
        assert_eq!(changes.len(), 3);
    }
}
