//! Changes of prices by faults: gaps between two candles, and mark prices that leave the last price. They depend on
//! market time alone, so that a market that is built again has the same prices.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::candle::{Candle, PRICE_DECIMALS, round_to_tick};
use crate::symbols::Contract;
use crate::trading::record::PriceChange;

/// Times from which factors apply, ascending.
type Steps = Vec<(i64, Decimal)>;

/// All changes by contract.
#[derive(Debug, Default)]
pub(super) struct PriceChanges {
    gaps: BTreeMap<String, Steps>,
    marks: BTreeMap<String, Steps>,
}

impl PriceChanges {
    /// Adds a change to those that apply to the price.
    pub(super) fn add(&mut self, change: &PriceChange) {
        match change {
            PriceChange::Gap {
                symbol,
                from_ms,
                factor,
            } => self
                .gaps
                .entry(symbol.clone())
                .or_default()
                .push((*from_ms, *factor)),
            PriceChange::Mark { symbol, steps } => {
                let all = self.marks.entry(symbol.clone()).or_default();
                if let Some((first, _)) = steps.first() {
                    all.retain(|(at_ms, _)| at_ms < first);
                }
                all.extend(steps);
            }
            PriceChange::Rename { symbol, to } => {
                for changes in [&mut self.gaps, &mut self.marks] {
                    if let Some(steps) = changes.remove(symbol) {
                        changes.insert(to.clone(), steps);
                    }
                }
            }
        }
    }

    /// Moves a candle by all gaps before it.
    pub(super) fn move_candle(&self, contract: &Contract, candle: &mut Candle) {
        let Some(gaps) = self.gaps.get(contract.symbol) else {
            return;
        };
        let before = gaps
            .iter()
            .filter(|(from_ms, _)| *from_ms <= candle.open_time);
        let factor: Decimal = before.map(|(_, factor)| *factor).product();
        if factor == Decimal::ONE {
            return;
        }
        move_by(contract, candle, factor);
    }

    /// The mark price at a time at which the last price is `last`.
    pub(super) fn mark(&self, symbol: &str, ms: i64, last: Decimal) -> Decimal {
        let steps = self.marks.get(symbol).map_or(&[][..], Vec::as_slice);
        let current = steps.iter().rev().find(|(at_ms, _)| *at_ms <= ms);
        current.map_or(last, |(_, factor)| {
            (last * factor).round_dp(PRICE_DECIMALS).normalize()
        })
    }

    /// Times after `from` up to `to` around which the mark price jumps.
    pub(super) fn mark_turns(&self, symbol: &str, from: i64, to: i64) -> impl Iterator<Item = i64> {
        let steps = self.marks.get(symbol).map_or(&[][..], Vec::as_slice);
        let times = steps.iter().flat_map(|(at_ms, _)| [at_ms - 1, *at_ms]);
        times.filter(move |at_ms| (from + 1..=to).contains(at_ms))
    }
}

/// Moves the prices of a candle by a factor.
pub(super) fn move_by(contract: &Contract, candle: &mut Candle, factor: Decimal) {
    for price in [
        &mut candle.open,
        &mut candle.high,
        &mut candle.low,
        &mut candle.close,
    ] {
        *price = moved(*price, factor, contract.tick);
    }
    candle.quote_volume = moved(candle.quote_volume, factor, 1);
    candle.taker_quote_volume = moved(candle.taker_quote_volume, factor, 1);
}

/// A price times a factor, on the grid and at least one tick.
fn moved(price: i64, factor: Decimal, tick: i64) -> i64 {
    let exact = (Decimal::from(price) * factor).round().to_i64();
    exact.map_or(price, |exact| round_to_tick(exact, tick).max(tick))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::dec;

    #[test]
    fn mark_price_follows_its_steps_and_a_new_path_replaces_the_later_ones() {
        let mut changes = PriceChanges::default();
        let mark = |steps: &[(i64, Decimal)]| PriceChange::Mark {
            symbol: "A".to_owned(),
            steps: steps.to_vec(),
        };
        changes.add(&mark(&[(10, dec!(0.9)), (20, dec!(0.8)), (30, dec!(1))]));
        let at = |changes: &PriceChanges, ms| changes.mark("A", ms, dec!(100));
        for (ms, price) in [
            (9, dec!(100)),
            (10, dec!(90)),
            (29, dec!(80)),
            (30, dec!(100)),
        ] {
            assert_eq!(at(&changes, ms), price, "{ms}");
        }
        let turns: Vec<i64> = changes.mark_turns("A", 9, 29).collect();
        assert_eq!(turns, [10, 19, 20, 29]);
        changes.add(&mark(&[(15, dec!(1.5))]));
        assert_eq!((at(&changes, 14), at(&changes, 40)), (dec!(90), dec!(150)));
        changes.add(&PriceChange::Rename {
            symbol: "A".to_owned(),
            to: "B".to_owned(),
        });
        assert_eq!(changes.mark("B", 40, dec!(100)), dec!(150));
    }
}
