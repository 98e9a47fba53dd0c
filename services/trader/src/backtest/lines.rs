//! What a line of the JSON files holds. Amounts are numbers with all their digits: no float is between
//! the engine's decimals and the text.

use engine::backtest::ClosedTrade;
use engine::book::ExitReason;
use engine::regime::Regime;
use engine::strategy::{Sight, Strategy};
use protocol::event::Side;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A decimal as a JSON number.
struct Exact(Decimal);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = RawValue::from_string(self.0.normalize().to_string());
        digits.map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// A closed trade.
#[derive(Serialize)]
pub(super) struct TradeLine {
    strategy: Strategy,
    side: Side,
    entry_time: UtcMs,
    exit_time: UtcMs,
    entry_price: Exact,
    exit_price: Exact,
    quantity: Exact,
    fees: Exact,
    funding: Exact,
    pnl: Exact,
    reason: ExitReason,
    equity: Exact,
}

impl TradeLine {
    /// Of this trade.
    pub(super) fn of(trade: &ClosedTrade) -> Self {
        Self {
            strategy: trade.strategy,
            side: trade.side,
            entry_time: trade.entry_at,
            exit_time: trade.exit_at,
            entry_price: Exact(trade.entry),
            exit_price: Exact(trade.exit),
            quantity: Exact(trade.quantity),
            fees: Exact(trade.fees),
            funding: Exact(trade.funding),
            pnl: Exact(trade.pnl),
            reason: trade.reason,
            equity: Exact(trade.equity),
        }
    }
}

/// A 30m candle on which a strategy's condition holds.
#[derive(Serialize)]
pub(super) struct SignalLine {
    open_time: UtcMs,
    strategy: Strategy,
    rsi: f64,
    ema21: f64,
    ema50: f64,
    ema200: f64,
    atr: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    regime: Option<Regime>,
}

impl SignalLine {
    /// Of this strategy on the candle that opened then.
    pub(super) fn of(open_time: UtcMs, strategy: Strategy, sight: &Sight) -> Self {
        let values = sight.values;
        Self {
            open_time,
            strategy,
            rsi: values.rsi14,
            ema21: values.ema21,
            ema50: values.ema50,
            ema200: values.ema200,
            atr: values.atr14,
            regime: sight.regime.filter(|_| strategy.is_adaptive()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_keeps_every_digit_and_is_a_number() {
        for (decimal, json) in [
            (
                "0.1234567890123456789012345678",
                "0.1234567890123456789012345678",
            ),
            ("46319.50", "46319.5"),
            ("-0.00000001", "-0.00000001"),
            ("-0", "0"),
            (
                "79228162514264337593543950335",
                "79228162514264337593543950335",
            ),
        ] {
            let exact = Exact(decimal.parse().unwrap());
            assert_eq!(serde_json::to_string(&exact).unwrap(), json);
        }
    }
}
