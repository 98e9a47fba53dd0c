//! Prices of the market for trading: the path within each candle ([`Candle::at`](crate::candle::Candle::at)).

use rust_decimal::Decimal;

use super::Market;
use crate::candle::PRICE_DECIMALS;
use crate::trading::prices::Prices;

impl Prices for Market {
    fn price_at(&self, symbol: &str, ms: i64) -> Option<Decimal> {
        let position = self.contract_index(symbol)?;
        let contract = self.listed.get(position)?;
        let candle = self.base_candle_at(position, ms)?;
        let elapsed = ms - candle.open_time;
        let then = candle.at_elapsed(elapsed, self.base.ms(), contract.tick, contract.step);
        Some(Decimal::new(then.close, PRICE_DECIMALS).normalize())
    }

    fn mark_at(&self, symbol: &str, ms: i64) -> Option<Decimal> {
        let last = self.price_at(symbol, ms)?;
        Some(self.changes.mark(symbol, ms, last))
    }

    /// The path of a candle turns at its thirds; the next candle may open at another price, and the mark price may
    /// jump at any time.
    fn turning_points(&self, symbol: &str, from: i64, to: i64) -> Vec<i64> {
        let span = self.base.ms();
        let mut turns = Vec::new();
        let mut open = self.base.bucket(from);
        while open < to {
            let of_candle = [
                open + span / 3,
                open + 2 * span / 3,
                open + span - 1,
                open + span,
            ];
            turns.extend(of_candle.iter().filter(|t| (from + 1..to).contains(t)));
            open += span;
        }
        turns.push(to);
        turns.extend(self.changes.mark_turns(symbol, from, to));
        turns.sort_unstable();
        turns.dedup();
        turns
    }
}
