//! The lines of the JSON files. Amounts are numbers with all their digits, because no float is between the decimals
//! of `trader_core` and the text.

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use trader_core::backtest::ClosedTrade;
use trader_core::book::ExitReason;
use trader_core::regime::Regime;
use trader_core::strategy::{Strategy, StrategyInputs};

/// A decimal as a JSON number.
struct ExactDecimal(Decimal);

impl Serialize for ExactDecimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = RawValue::from_string(self.0.normalize().to_string());
        digits.map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// One line of the trades file: a closed trade.
#[derive(Serialize)]
pub(super) struct TradeLine<'a> {
    symbol: &'a str,
    strategy: Strategy,
    side: PositionSide,
    entry_time: UtcMs,
    exit_time: UtcMs,
    entry_price: ExactDecimal,
    exit_price: ExactDecimal,
    quantity: ExactDecimal,
    fees: ExactDecimal,
    funding: ExactDecimal,
    pnl: ExactDecimal,
    reason: ExitReason,
    equity: ExactDecimal,
    stop_price: ExactDecimal,
    target_price: ExactDecimal,
    rsi: ExactDecimal,
    #[serde(skip_serializing_if = "Option::is_none")]
    regime: Option<Regime>,
}

impl<'a> TradeLine<'a> {
    /// The line of this trade.
    pub(super) fn new(symbol: &'a str, trade: &ClosedTrade) -> Self {
        Self {
            symbol,
            strategy: trade.strategy,
            side: trade.side,
            entry_time: trade.entry_at,
            exit_time: trade.exit_at,
            entry_price: ExactDecimal(trade.entry_price),
            exit_price: ExactDecimal(trade.exit_price),
            quantity: ExactDecimal(trade.quantity),
            fees: ExactDecimal(trade.fees),
            funding: ExactDecimal(trade.funding),
            pnl: ExactDecimal(trade.pnl),
            reason: trade.reason,
            equity: ExactDecimal(trade.equity),
            stop_price: ExactDecimal(trade.stop_price),
            target_price: ExactDecimal(trade.target_price),
            rsi: ExactDecimal(trade.rsi),
            regime: trade.regime,
        }
    }
}

/// One line of the signals file: a 30m candle on which a strategy's condition holds.
#[derive(Serialize)]
pub(super) struct SignalLine<'a> {
    symbol: &'a str,
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

impl<'a> SignalLine<'a> {
    /// The line of this strategy for the candle that opened at `open_time`.
    pub(super) fn new(
        symbol: &'a str,
        open_time: UtcMs,
        strategy: Strategy,
        sight: &StrategyInputs,
    ) -> Self {
        let values = sight.values;
        Self {
            symbol,
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

/// One line of the equity file: the equity of the account, marked to market.
#[derive(Serialize)]
pub(super) struct EquityLine {
    time: UtcMs,
    equity: f64,
}

impl EquityLine {
    /// The line of this time; the equity is rounded to 1e-8.
    pub(super) fn new(time: UtcMs, equity: f64) -> Self {
        let equity = (equity * 1e8).round() / 1e8;
        Self { time, equity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_is_a_json_number_with_every_digit() {
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
            let exact = ExactDecimal(decimal.parse().unwrap());
            assert_eq!(serde_json::to_string(&exact).unwrap(), json);
        }
    }
}
