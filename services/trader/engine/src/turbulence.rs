//! The volatility breaker's eye: how unusual the newest 30m return is among the last hundred.

use serde::{Deserialize, Serialize};

use crate::fixed::Price;
use crate::indicators::{Window, z_score};

/// Returns that the newest one is measured against, itself included.
const RETURNS: usize = 100;
/// It trips above this many standard deviations, and recovers below the lower one.
const TRIPS_ABOVE: f64 = 3.0;
const RECOVERS_BELOW: f64 = 2.0;

/// State of the volatility breaker. It follows from the bars alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turbulence {
    last_close: Option<Price>,
    returns: Window,
    /// Until it can be evaluated it counts as tripped.
    tripped: bool,
}

impl Default for Turbulence {
    fn default() -> Self {
        Self {
            last_close: None,
            returns: Window::new(RETURNS),
            tripped: true,
        }
    }
}

impl Turbulence {
    /// Takes the next bar's close.
    pub fn take(&mut self, close: Price) {
        if let Some(last) = self.last_close.replace(close) {
            self.returns.take(close.to_f64() / last.to_f64() - 1.0);
        }
        if let Some(returns) = self.returns.full() {
            let far = z_score(returns).abs();
            self.tripped = far > TRIPS_ABOVE || (self.tripped && far >= RECOVERS_BELOW);
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
    fn calm() -> Turbulence {
        let mut turbulence = Turbulence::default();
        for n in 0..=100 {
            turbulence.take(price(1_000_000 + 1_000 * (n % 2)));
        }
        turbulence
    }

    #[test]
    fn it_counts_as_tripped_until_it_can_be_evaluated() {
        let mut turbulence = Turbulence::default();
        for n in 0..100 {
            turbulence.take(price(1_000_000 + 1_000 * (n % 2)));
            assert!(turbulence.is_tripped(), "{n}");
        }
        turbulence.take(price(1_000_000));
        assert!(!turbulence.is_tripped());
    }

    #[test]
    fn a_jump_trips_it_and_only_a_usual_return_ends_that() {
        let mut turbulence = calm();
        turbulence.take(price(1_003_000));
        assert!(!turbulence.is_tripped(), "3 of 1: {turbulence:?}");
        let mut turbulence = calm();
        turbulence.take(price(1_004_000));
        assert!(turbulence.is_tripped(), "over 3: {turbulence:?}");
        // 2.5 deviations: it would not trip, and does not recover.
        turbulence.take(price(1_006_700));
        assert!(turbulence.is_tripped(), "{turbulence:?}");
        turbulence.take(price(1_007_000));
        assert!(!turbulence.is_tripped());
    }
}
