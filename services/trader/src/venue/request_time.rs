//! The time that a call is signed with.

use std::time::Duration;

use protocol::time::UtcMs;

use crate::market::ExchangeClock;

/// How old the last sighting of the exchange's time may be that a call is signed with, and so how far
/// we may be ahead of an exchange that stands still: Binance takes less than a second.
pub(super) const MOST_CARRIED: Duration = Duration::from_millis(900);

tokio::task_local! {
    /// The time that an order was recorded with. It is sent with that and no other: an order that was
    /// held up on its way is then refused as too old, instead of surprising us.
    pub(super) static STAMP: UtcMs;
}

/// For the SDK, which asks for it while it signs.
pub(super) fn timestamp(clock: &ExchangeClock) -> u64 {
    let now = STAMP
        .try_with(|stamp| *stamp)
        .ok()
        .or_else(|| clock.carried(MOST_CARRIED))
        .unwrap_or_else(|| clock.now());
    u64::try_from(now.0).unwrap_or(0)
}
