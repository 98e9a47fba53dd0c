//! A candle in fixed-point numbers: merging into a longer interval, and its state while it is open.

/// Decimal places of a price: one unit is 0.00000001 of the quote asset.
pub const PRICE_DECIMALS: u32 = 8;
/// Decimal places of base and quote volumes.
pub const AMOUNT_DECIMALS: u32 = 5;

/// Prices in 10^-8 of the quote asset, volumes in 10^-5 of their asset, times in UTC milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candle {
    /// Time at which the interval begins.
    pub open_time: i64,
    /// First price of the interval.
    pub open: i64,
    /// Highest price of the interval.
    pub high: i64,
    /// Lowest price of the interval.
    pub low: i64,
    /// Last price of the interval.
    pub close: i64,
    /// Volume in the base asset.
    pub volume: i64,
    /// Volume in the quote asset.
    pub quote_volume: i64,
    /// Part of `volume` whose buyer was the taker.
    pub taker_volume: i64,
    /// Part of `quote_volume` whose buyer was the taker.
    pub taker_quote_volume: i64,
    /// Number of trades in the interval.
    pub trades: i64,
}

impl Candle {
    /// Merges the next candle of the same longer interval.
    pub fn merge(&mut self, later: &Self) {
        self.high = self.high.max(later.high);
        self.low = self.low.min(later.low);
        self.close = later.close;
        self.volume = self.volume.saturating_add(later.volume);
        self.quote_volume = self.quote_volume.saturating_add(later.quote_volume);
        self.taker_volume = self.taker_volume.saturating_add(later.taker_volume);
        self.taker_quote_volume = self
            .taker_quote_volume
            .saturating_add(later.taker_quote_volume);
        self.trades = self.trades.saturating_add(later.trades);
    }

    /// The open candle `elapsed_ms` after its open time, with prices in multiples of the tick and base volumes in
    /// multiples of the step.
    ///
    /// A candle does not say in which order its prices occurred. By convention, a rising candle reaches its low first
    /// and a falling one its high first, at a third and two thirds of the interval.
    /// The path depends on the candle alone, so that it is the same after a restart.
    #[must_use]
    pub fn at_elapsed(&self, elapsed_ms: i64, span_ms: i64, tick: i64, step: i64) -> Self {
        let elapsed = elapsed_ms.clamp(0, span_ms);
        let (first, second) = if self.close >= self.open {
            (self.low, self.high)
        } else {
            (self.high, self.low)
        };
        let turns = [self.open, first, second, self.close];
        let leg = usize::try_from(3 * elapsed / span_ms).unwrap_or(0).min(2);
        let into_leg = 3 * elapsed - span_ms * i64::try_from(leg).unwrap_or(0);
        let exact = scale(turns[leg + 1] - turns[leg], into_leg, span_ms) + turns[leg];
        let close = round_to_tick(exact, tick).clamp(self.low, self.high);
        let seen = &turns[..=leg];
        let traded = |amount: i64| {
            let exact = scale(amount, elapsed, span_ms);
            if elapsed == span_ms {
                exact
            } else {
                exact - exact % step
            }
        };
        Self {
            open_time: self.open_time,
            open: self.open,
            high: seen.iter().copied().fold(close, i64::max),
            low: seen.iter().copied().fold(close, i64::min),
            close,
            volume: traded(self.volume),
            quote_volume: scale(self.quote_volume, elapsed, span_ms),
            taker_volume: traded(self.taker_volume),
            taker_quote_volume: scale(self.taker_quote_volume, elapsed, span_ms),
            trades: scale(self.trades, elapsed, span_ms),
        }
    }
}

/// `value * part / whole` without overflow; `part <= whole`, so the result fits.
fn scale(value: i64, part: i64, whole: i64) -> i64 {
    let exact = i128::from(value) * i128::from(part) / i128::from(whole);
    i64::try_from(exact).unwrap_or(value)
}

/// The multiple of `tick` nearest to the price.
pub fn round_to_tick(price: i64, tick: i64) -> i64 {
    (price + tick / 2).div_euclid(tick) * tick
}

/// `value / 10^decimals` as text with a minimum number of decimal places, exact.
pub fn format_fixed(value: i64, decimals: u32, shown: u32) -> String {
    let unit = 10_u64.pow(decimals);
    let magnitude = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    let whole = magnitude / unit;
    let fraction = format!("{:0width$}", magnitude % unit, width = decimals as usize);
    let needed = fraction.trim_end_matches('0').len();
    let kept = &fraction[..needed.max(shown as usize).min(fraction.len())];
    if kept.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{kept}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candle(open: i64, high: i64, low: i64, close: i64) -> Candle {
        Candle {
            open_time: 0,
            open,
            high,
            low,
            close,
            volume: 900,
            quote_volume: 9_000,
            taker_volume: 300,
            taker_quote_volume: 3_000,
            trades: 30,
        }
    }

    #[test]
    fn a_forming_candle_starts_at_its_open_and_ends_as_itself() {
        let rising = candle(100, 140, 80, 120);
        let begun = rising.at_elapsed(0, 60_000, 1, 100);
        assert_eq!(
            (begun.open, begun.high, begun.low, begun.close, begun.volume),
            (100, 100, 100, 100, 0)
        );
        assert_eq!(rising.at_elapsed(60_000, 60_000, 1, 7), rising);
    }

    #[test]
    fn a_forming_candle_only_widens() {
        for whole in [candle(100, 140, 80, 120), candle(100, 101, 40, 60)] {
            let mut before = whole.at_elapsed(0, 60_000, 5, 100);
            for elapsed in (0..=60_000).step_by(500) {
                let now = whole.at_elapsed(elapsed, 60_000, 5, 100);
                assert!(now.high >= before.high && now.low <= before.low);
                assert!(now.low <= now.close && now.close <= now.high);
                assert!(now.high <= whole.high && now.low >= whole.low);
                assert!(now.volume >= before.volume && now.volume % 100 == 0);
                before = now;
            }
        }
    }

    #[test]
    fn fixed_numbers_are_written_with_the_decimals_they_need() {
        assert_eq!(format_fixed(4_631_900_000_000, 8, 2), "46319.00");
        assert_eq!(format_fixed(4_631_912_345_678, 8, 2), "46319.12345678");
        assert_eq!(format_fixed(5, 5, 3), "0.00005");
        assert_eq!(format_fixed(300_000, 5, 0), "3");
        assert_eq!(format_fixed(-150_000, 5, 1), "-1.5");
    }
}
