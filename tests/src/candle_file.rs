//! A market that a test writes itself: minutes as a candle file, for the exchange to replay and for
//! `trader backtest` to read.

use std::fmt::Write as _;

use crate::exchange::MINUTE_MS;

/// 2026-01-05T00:00Z, where these files begin: every interval begins there.
pub const START_MS: i64 = 1_767_571_200_000;
/// Minutes of 40 days, which is long enough for the regime: nothing is traded in a past of this length
/// that is not traded without it, as long as it is a still one.
pub const WARM_UP_MINUTES: i64 = 57_600;

/// A file of these minutes: open, high, low and close of each, in tenths.
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
