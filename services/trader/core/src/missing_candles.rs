//! The rule for missing candles, the same for backtest, paper and live: a missing candle is one without trades. It stands
//! at the last close, as the exchange's own candles of such an interval do.
//!
//! Closes, true ranges and therefore all indicators are then those of the exchange's own longer bars. After more than
//! [`MAX_BRIDGED_MS`] the last close says nothing about the market any more, and the indicators start over.

use protocol::time::UtcMs;

use crate::candle::{Candle, Interval};
use crate::fixed_point::Price;

/// Longest gap that is bridged: 24 hours.
pub const MAX_BRIDGED_MS: i64 = 24 * 3_600_000;

/// The candles in place of those that open from `expected` up to, but not at, `found`. Empty if none is missing, or if the
/// gap is longer than [`MAX_BRIDGED_MS`].
pub fn bridge(
    interval: Interval,
    expected: UtcMs,
    found: UtcMs,
    last_close: Price,
) -> impl Iterator<Item = Candle> {
    let missing = found.0.saturating_sub(expected.0);
    let count = if missing > MAX_BRIDGED_MS {
        0
    } else {
        missing / interval.millis()
    };
    (0..count).map(move |n| Candle {
        open_time: UtcMs(
            expected
                .0
                .saturating_add(n.saturating_mul(interval.millis())),
        ),
        open: last_close,
        high: last_close,
        low: last_close,
        close: last_close,
    })
}

/// Bars with the missing ones between them bridged.
pub fn bridged(interval: Interval, bars: &[Candle]) -> impl Iterator<Item = Candle> {
    let mut last: Option<Candle> = None;
    bars.iter().flat_map(move |bar| {
        // Before the first bar none is missing.
        let (expected, close) = last
            .replace(*bar)
            .map_or((bar.open_time, bar.close), |last| {
                (interval.close_of(last.open_time), last.close)
            });
        bridge(interval, expected, bar.open_time, close).chain([*bar])
    })
}
