//! A market generated from a seed: equal seeds give equal candles on every machine, also after restarts and for any
//! list of contracts.

mod price_path;
mod regime;
mod rng;

use crate::candle::Candle;
use crate::interval::{Interval, MINUTE_MS};
use crate::symbols::Contract;
use price_path::PriceProcess;
use regime::RegimeProcess;

/// Version of the generator, raised whenever a seed would give other candles: stored state of an older version is
/// rejected.
pub const GENERATOR: u32 = 1;

/// Exchange time at which a fresh market opens: ten minutes before the half hour, so that the first
/// 30m candle closes ten seconds after the clock starts at the default speed. 2026-01-05T08:20Z.
pub const OPENS_MS: i64 = 1_767_601_200_000;

/// Start of the history: 1,500 candles of 4h and two days earlier, at midnight.
pub const HISTORY_START_MS: i64 = Interval::D1.bucket(OPENS_MS) - 252 * Interval::D1.ms();

/// Generator of one-minute candles of the listed contracts.
pub struct SyntheticSource {
    regime: RegimeProcess,
    prices: Vec<PriceProcess>,
    next_open: i64,
}

impl SyntheticSource {
    /// A generator at the start of the history. Contracts without a profile are left out; the catalogue has none.
    pub fn new(seed: u64, listed: &[&'static Contract]) -> Self {
        Self {
            regime: RegimeProcess::new(seed),
            prices: listed
                .iter()
                .filter_map(|c| PriceProcess::new(seed, c))
                .collect(),
            next_open: HISTORY_START_MS,
        }
    }

    /// The next minute, one candle per contract in the order they were listed.
    pub fn next_minute(&mut self, candles: &mut Vec<Candle>) {
        let open_time = self.next_open;
        let factor = self.regime.step(open_time / MINUTE_MS);
        candles.clear();
        candles.extend(self.prices.iter_mut().map(|p| p.step(open_time, &factor)));
        self.next_open += MINUTE_MS;
    }
}
