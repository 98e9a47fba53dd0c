//! Writes candle files with a market that a test defines. The exchange replays them and `trader backtest`
//! reads them.

use std::fmt::Write as _;

use crate::exchange::MINUTE_MS;

/// Start of these files, 2026-01-05T00:00Z: bars of every interval begin there.
pub const START_MS: i64 = 1_767_571_200_000;
/// Minutes of 40 days of quiet history: long enough to compute the regime, and without any trade of its own.
pub const WARM_UP_MINUTES: i64 = 57_600;

/// CSV text of one-minute candles: open, high, low and close of each, in tenths.
pub fn csv(minutes: impl IntoIterator<Item = [i64; 4]>) -> String {
    let mut text = String::from("open_time,open,high,low,close\n");
    for (minute, prices) in (0..).zip(minutes) {
        let _ = write!(text, "{}", START_MS + minute * MINUTE_MS);
        for tenths in prices {
            let _ = write!(text, ",{}.{}", tenths / 10, tenths % 10);
        }
        text.push('\n');
    }
    text
}
