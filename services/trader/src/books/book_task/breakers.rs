//! Evaluates the circuit breakers of a book that depend on the market and on the exchange. What is recorded is decided
//! in `trader_core`.

use trader_core::book::{BookEvent, ObservedBreakers};
use trader_core::circuit_breaker::Breaker;

use super::book::{Book, BookTaskEnd, FeedState};

impl Book {
    /// Records the circuit breakers that have tripped or reset since the last check.
    pub(super) async fn check_breakers(&mut self) -> Result<(), BookTaskEnd> {
        let at = self.ctx.data_client.clock().now();
        let observed = self.observe_breakers();
        self.decide(BookEvent::BreakersChecked { at, observed })
            .await
    }

    /// The state of each breaker that can be evaluated now.
    fn observe_breakers(&self) -> ObservedBreakers {
        let mut observed = ObservedBreakers::new();
        if self.market_state.last_bar().is_some() {
            observed.insert(Breaker::Volatility, self.volatility());
        }
        if let Some(feed) = self.feed_state {
            let stale = match feed {
                FeedState::Fresh => None,
                FeedState::Stale { since } => Some(format!(
                    "no closed candle since {since}, for 3 candles and more"
                )),
            };
            observed.insert(Breaker::StaleData, stale);
        }
        let failure = self.ctx.data_client.feed_stats().exchange_failure();
        observed.insert(Breaker::ExchangeErrors, failure);
        observed
    }

    fn volatility(&self) -> Option<String> {
        self.market_state
            .is_volatility_breaker_tripped()
            .then(|| {
                "the price moved by more than 3 standard deviations in 30 minutes, or too few bars are known; \
                 new positions have half the size"
                    .to_owned()
            })
    }
}
