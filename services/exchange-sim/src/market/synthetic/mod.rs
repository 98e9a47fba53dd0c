//! A market made from a seed: the same seed gives the same candles on any machine, however often
//! the process restarts and whichever contracts are listed. Not here: keeping the candles, time.

mod price_path;
mod regime;
mod rng;

use crate::candle::Candle;
use crate::interval::{Interval, MINUTE_MS};
use crate::symbols::Contract;
use price_path::PriceProcess;
use regime::RegimeProcess;

/// Goes up whenever the same seed would give other candles, so that a stored state of an older
/// generator is refused instead of continued into another past.
pub const GENERATOR: u32 = 1;

/// Exchange time at which a fresh market opens: ten minutes before the half hour, so that the first
/// 30m candle closes ten seconds after the clock starts at the default speed. 2026-01-05T08:20Z.
pub const OPENS_MS: i64 = 1_767_601_200_000;

/// Where history begins: 1,500 candles of 4h and two days of margin earlier, on a midnight.
pub const HISTORY_START_MS: i64 = Interval::D1.bucket(OPENS_MS) - 252 * Interval::D1.ms();

/// The generator of minute candles for the listed contracts, in step.
pub struct SyntheticSource {
    regime: RegimeProcess,
    prices: Vec<PriceProcess>,
    next_open: i64,
}

impl SyntheticSource {
    /// A generator at the beginning of history. Contracts it does not know are left out; the
    /// catalogue holds none.
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
