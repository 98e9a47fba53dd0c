//! The volatility breaker: compares the newest 30-minute return with the last hundred.

use serde::{Deserialize, Serialize};

use crate::fixed_point::Price;
use crate::indicators::{Window, z_score};

/// Number of returns that the newest one is compared with, itself included.
const RETURNS: usize = 100;
/// Distance from the mean above which the breaker trips, in standard deviations; it resets below the lower limit.
const TRIPS_ABOVE: f64 = 3.0;
const RESETS_BELOW: f64 = 2.0;

/// State of the volatility breaker. It depends on the bars alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolatilityBreaker {
    last_close: Option<Price>,
    returns: Window,
    /// True until the breaker can be evaluated.
    tripped: bool,
}

impl Default for VolatilityBreaker {
    fn default() -> Self {
        Self {
            last_close: None,
            returns: Window::new(RETURNS),
            tripped: true,
        }
    }
}

impl VolatilityBreaker {
    /// Adds the close of the next bar.
    pub fn update(&mut self, close: Price) {
        if let Some(last) = self.last_close.replace(close) {
            self.returns.push(close.to_f64() / last.to_f64() - 1.0);
        }
        if let Some(returns) = self.returns.full_values() {
            let distance = z_score(returns).abs();
            self.tripped = distance > TRIPS_ABOVE || (self.tripped && distance >= RESETS_BELOW);
        }
    }

    /// Whether new sizes are halved.
    pub const fn is_tripped(&self) -> bool {
        self.tripped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(units: i64) -> Price {
        Price::from_units(units * 1_000_000)
    }

    /// 100 returns of about 0.1 % up and down by turns.
    fn calm() -> VolatilityBreaker {
        let mut breaker = VolatilityBreaker::default();
        for n in 0..=100 {
            breaker.update(price(1_000_000 + 1_000 * (n % 2)));
        }
        breaker
    }

    #[test]
    fn volatility_breaker_is_tripped_until_it_can_be_evaluated() {
        let mut breaker = VolatilityBreaker::default();
        for n in 0..100 {
            breaker.update(price(1_000_000 + 1_000 * (n % 2)));
            assert!(breaker.is_tripped(), "{n}");
        }
        breaker.update(price(1_000_000));
        assert!(!breaker.is_tripped());
    }

    #[test]
    fn volatility_breaker_trips_on_a_jump_and_resets_on_a_usual_return() {
        let mut breaker = calm();
        breaker.update(price(1_003_000));
        assert!(!breaker.is_tripped(), "3 of 1: {breaker:?}");
        let mut breaker = calm();
        breaker.update(price(1_004_000));
        assert!(breaker.is_tripped(), "over 3: {breaker:?}");
        // 2.5 deviations: too little to trip, too much to reset.
        breaker.update(price(1_006_700));
        assert!(breaker.is_tripped(), "{breaker:?}");
        breaker.update(price(1_007_000));
        assert!(!breaker.is_tripped());
    }
}
