//! Whether a unit receives market data, by its heartbeats. A unit without candles and with failing attempts is cut off
//! if another unit of the same account has received candles all the time.

use protocol::heartbeat::{ComponentState, Heartbeat};

/// Name of the trader's component that receives candles.
const FEED: &str = "feed";
/// How long a unit must lack candles while its peer receives them, in milliseconds. A feed retries within half of that.
const MARKET_DATA_LOST_MS: u64 = 60_000;
/// Failed attempts within that time. With fewer attempts the market itself may have nothing to send.
const MARKET_DATA_LOST_ERRORS: u64 = 3;

/// Market data connectivity in one heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedConnectivity {
    /// Whether the feed receives candles.
    pub is_receiving: bool,
    /// Failed attempts since boot. A market that answers without candles is no error.
    pub errors: u64,
}

/// A time in which the connectivity did not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectivitySpan {
    is_receiving: bool,
    /// Start, by the monotonic clock in milliseconds.
    since: u64,
    /// Failed attempts at the start.
    errors: u64,
}

impl FeedConnectivity {
    /// `None` for a unit that needs no candles: its feed is ok and proves nothing about the market.
    pub fn from_heartbeat(heartbeat: &Heartbeat) -> Option<Self> {
        let component = heartbeat.components.get(FEED)?;
        let is_receiving = component.state == ComponentState::Ok;
        let errors = component.errors;
        (!is_receiving || heartbeat.candle_age_ms.is_some()).then_some(Self {
            is_receiving,
            errors,
        })
    }
}

impl ConnectivitySpan {
    /// The span after a heartbeat. `previous` is the span before, if no heartbeat was missed in between.
    pub fn from_previous(previous: Option<Self>, now: FeedConnectivity, received_at: u64) -> Self {
        // A stream may be dead although it counts as receiving: then its attempts fail.
        let same = |previous: &Self| {
            previous.is_receiving == now.is_receiving
                && (!now.is_receiving || previous.errors == now.errors)
        };
        previous.filter(same).unwrap_or(Self {
            is_receiving: now.is_receiving,
            since: received_at,
            errors: now.errors,
        })
    }

    /// Milliseconds for which attempts have failed by this heartbeat. `None` if candles arrive, or the time or the
    /// failures are too few. Time before `observed_since` does not count.
    pub fn failing_for(
        &self,
        now: FeedConnectivity,
        received_at: u64,
        observed_since: u64,
    ) -> Option<u64> {
        let for_ms = received_at.saturating_sub(self.since.max(observed_since));
        let failed = now.errors.saturating_sub(self.errors);
        (!self.is_receiving && for_ms >= MARKET_DATA_LOST_MS && failed >= MARKET_DATA_LOST_ERRORS)
            .then_some(for_ms)
    }

    /// Whether candles have arrived without a failed attempt for as long as a cut-off peer must lack them.
    pub const fn is_steady(&self, received_at: u64) -> bool {
        self.is_receiving && received_at.saturating_sub(self.since) >= MARKET_DATA_LOST_MS
    }
}
