//! How a process reaches its market, by what its heartbeats say. Who has no candles for a while, its attempts failing,
//! while another of the same account has had them all the time, is cut off.

use protocol::heartbeat::{ComponentState, Heartbeat};

/// The part of a trader that brings the market's candles.
const FEED: &str = "feed";
/// For how long one must have gone without and the other had them, in milliseconds; a feed makes its next attempt
/// within half of it.
const MARKET_DATA_LOST_MS: u64 = 60_000;
/// Attempts that failed meanwhile: fewer, and it is the market that has nothing to send.
const MARKET_DATA_LOST_ERRORS: u64 = 3;

/// How a process reaches its market, by one heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedConnectivity {
    /// Candles come.
    pub is_receiving: bool,
    /// Attempts that failed since boot. A market that answers and has no candles is no error.
    pub errors: u64,
}

/// How a process has reached its market without a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectivitySpan {
    /// Candles come.
    is_receiving: bool,
    /// By our monotonic clock.
    since: u64,
    /// Errors by then.
    errors: u64,
}

impl FeedConnectivity {
    /// None if it needs no candles: its feed is well, too, and says nothing of the market.
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
    /// The reach after this heartbeat, heard now, given the one before it if nothing was missed in between.
    pub fn from_previous(previous: Option<Self>, now: FeedConnectivity, received_at: u64) -> Self {
        // A stream that flows may be dead already: then its feed asks for the time, in vain.
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

    /// For how long its attempts have failed by this heartbeat, heard then; none if they do not, or not for long enough.
    /// What was before `observed_since` proves nothing.
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

    /// Whether candles have come by `received_at`, without a single failed attempt, for as long as another must have gone
    /// without.
    pub const fn is_steady(&self, received_at: u64) -> bool {
        self.is_receiving && received_at.saturating_sub(self.since) >= MARKET_DATA_LOST_MS
    }
}
