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

/// Start of the history of generated contracts: eight days, so that hundreds of them start within seconds. Indicators
/// of 30-minute bars have what they need.
const GENERATED_HISTORY_START_MS: i64 = Interval::D1.bucket(OPENS_MS) - 8 * Interval::D1.ms();

/// Generator of one-minute candles of the listed contracts.
pub struct SyntheticSource {
    regime: RegimeProcess,
    prices: Vec<PriceProcess>,
    /// Number of contracts that are not generated; they are listed first.
    catalogued: usize,
    next_open: i64,
}

impl SyntheticSource {
    /// A generator at the start of the history. Generated contracts must be listed last.
    pub fn new(seed: u64, listed: &[&'static Contract]) -> Self {
        let catalogued = listed.iter().filter(|c| !c.is_generated).count();
        let mut regime = RegimeProcess::new(seed);
        let mut next_open = HISTORY_START_MS;
        while catalogued == 0 && next_open < GENERATED_HISTORY_START_MS {
            regime.step(next_open / MINUTE_MS);
            next_open += MINUTE_MS;
        }
        Self {
            regime,
            prices: listed.iter().map(|c| PriceProcess::new(seed, c)).collect(),
            catalogued,
            next_open,
        }
    }

    /// The next minute, one candle per contract in the order they were listed. Before the history of generated
    /// contracts, only the others have candles.
    pub fn next_minute(&mut self, candles: &mut Vec<Candle>) {
        let open_time = self.next_open;
        let factor = self.regime.step(open_time / MINUTE_MS);
        let trading = if open_time < GENERATED_HISTORY_START_MS {
            self.catalogued
        } else {
            self.prices.len()
        };
        let prices = self.prices.iter_mut().take(trading);
        candles.clear();
        candles.extend(prices.map(|p| p.step(open_time, &factor)));
        self.next_open += MINUTE_MS;
    }
}
