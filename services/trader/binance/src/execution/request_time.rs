//! The timestamp that a call is signed with.

use std::time::Duration;

use exchange::ExchangeClock;
use protocol::time::UtcMs;

/// Highest age of the exchange's time that a call is signed with. It is also how far our time may be ahead of an
/// exchange whose time is paused: Binance accepts less than a second.
pub(super) const MOST_CARRIED: Duration = Duration::from_millis(900);

tokio::task_local! {
    /// The time in the record of an order, with which the order is signed. An order that was delayed is then
    /// refused as too old, and does not fill late.
    pub(super) static STAMP: UtcMs;
}

/// The timestamp of a call, for the SDK, which calls this while it signs. Milliseconds since the epoch.
pub(super) fn timestamp(clock: &ExchangeClock) -> u64 {
    let now = STAMP
        .try_with(|stamp| *stamp)
        .ok()
        .or_else(|| clock.carried(MOST_CARRIED))
        .unwrap_or_else(|| clock.now());
    u64::try_from(now.0).unwrap_or(0)
}
