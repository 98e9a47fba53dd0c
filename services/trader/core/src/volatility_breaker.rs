//! The volatility breaker's eye: how unusual the newest 30m return is among the last hundred.

use serde::{Deserialize, Serialize};

use crate::fixed_point::Price;
use crate::indicators::{Window, z_score};

/// Returns that the newest one is measured against, itself included.
const RETURNS: usize = 100;
/// It trips above this many standard deviations, and recovers below the lower one.
const TRIPS_ABOVE: f64 = 3.0;
const RESETS_BELOW: f64 = 2.0;

/// State of the volatility breaker. It follows from the bars alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolatilityBreaker {
    last_close: Option<Price>,
    returns: Window,
    /// Until it can be evaluated it counts as tripped.
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
    /// Takes the next bar's close.
    pub fn update(&mut self, close: Price) {
        if let Some(last) = self.last_close.replace(close) {
            self.returns.push(close.to_f64() / last.to_f64() - 1.0);
        }
        if let Some(returns) = self.returns.full_values() {
            let far = z_score(returns).abs();
            self.tripped = far > TRIPS_ABOVE || (self.tripped && far >= RESETS_BELOW);
        }
    }

    /// Whether new sizes are to be halved.
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
        let mut turbulence = VolatilityBreaker::default();
        for n in 0..=100 {
            turbulence.update(price(1_000_000 + 1_000 * (n % 2)));
        }
        turbulence
    }

    #[test]
    fn volatility_breaker_is_tripped_until_it_can_be_evaluated() {
        let mut turbulence = VolatilityBreaker::default();
        for n in 0..100 {
            turbulence.update(price(1_000_000 + 1_000 * (n % 2)));
            assert!(turbulence.is_tripped(), "{n}");
        }
        turbulence.update(price(1_000_000));
        assert!(!turbulence.is_tripped());
    }

    #[test]
    fn volatility_breaker_trips_on_a_jump_and_resets_on_a_usual_return() {
        let mut turbulence = calm();
        turbulence.update(price(1_003_000));
        assert!(!turbulence.is_tripped(), "3 of 1: {turbulence:?}");
        let mut turbulence = calm();
        turbulence.update(price(1_004_000));
        assert!(turbulence.is_tripped(), "over 3: {turbulence:?}");
        // 2.5 deviations: it would not trip, and does not recover.
        turbulence.update(price(1_006_700));
        assert!(turbulence.is_tripped(), "{turbulence:?}");
        turbulence.update(price(1_007_000));
        assert!(!turbulence.is_tripped());
    }
}
