//! A year of one-minute candles that is the same on every machine, and the grid of its symbol.

use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::fixed_point::Price;
use bearish_trader_core::symbol_filters::SymbolFilters;
use protocol::time::UtcMs;

/// 365 days of minutes.
pub(crate) const YEAR: i64 = 525_600;
/// Start of the market, 2026-01-05T00:00Z.
const MIDNIGHT: i64 = 1_767_571_200_000;
const TICK: i64 = 10_000_000;

/// Random number generator `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        i64::try_from((z ^ (z >> 31)) % bound).unwrap()
    }

    fn around_zero(&mut self, reach: u64) -> i64 {
        self.below(2 * reach + 1) - i64::try_from(reach).unwrap()
    }
}

/// A price walk from 40,000 with moves up to 0.12 % a minute, about 2.6 % a day, similar to bitcoin.
pub(crate) fn year(seed: u64) -> Vec<Candle> {
    let mut chance = Random(seed);
    let mut last = 400_000;
    let candle = |n: i64| {
        let open = last;
        let close = (open + open * chance.around_zero(1_200) / 1_000_000).max(10_000);
        let high = open.max(close) + chance.below(open.unsigned_abs() / 3_000);
        let low = open.min(close) - chance.below(open.unsigned_abs() / 3_000);
        last = close;
        let [open, high, low, close] =
            [open, high, low, close].map(|ticks| Price::from_units(ticks * TICK));
        let at = UtcMs(MIDNIGHT + n * Interval::M1.millis());
        Candle::new(Interval::M1, at, open, high, low, close).unwrap()
    };
    (0..YEAR).map(candle).collect()
}

/// BTCUSDT's grids as Binance has them.
pub(crate) fn filters() -> SymbolFilters {
    SymbolFilters {
        symbol: "BTCUSDT".parse().unwrap(),
        tick: "0.1".parse().unwrap(),
        lot: "0.001".parse().unwrap(),
        min_qty: "0.001".parse().unwrap(),
        max_qty: "120".parse().unwrap(),
        min_notional: "100".parse().unwrap(),
    }
}
