//! State shared by all contracts: market regime, volatility, and the common part of each minute's return.

use super::rng::RandomStream;

/// Standard deviation of the common return per minute in quiet times: 58 % a year.
const BASE_SIGMA: f64 = 0.58 / 724.98;
/// GARCH(1,1) on the variance relative to its mean; shocks fade with a half-life of about 2 hours.
const GARCH_ALPHA: f64 = 0.022;
const GARCH_BETA: f64 = 0.972;
const MIN_VARIANCE: f64 = 0.3;
const MAX_VARIANCE: f64 = 8.0;
/// Variation of activity within a day, and the minute (UTC) of its peak.
const DAILY_SWING: f64 = 0.3;
const PEAK_MINUTE: f64 = 870.0;
const MINUTES_PER_DAY: usize = 1_440;

/// Regime of the whole market.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Regime {
    Range,
    Rally,
    Decline,
    SellOff,
    Rebound,
}

impl Regime {
    /// Drift per hour, volatility factor, mean length in minutes.
    const fn parameters(self) -> (f64, f64, f64) {
        match self {
            Self::Range => (0.0, 0.8, 420.0),
            Self::Rally => (0.0020, 0.95, 480.0),
            Self::Decline => (-0.0013, 1.0, 480.0),
            Self::SellOff => (-0.0060, 1.7, 80.0),
            Self::Rebound => (0.0045, 1.3, 130.0),
        }
    }

    /// Possible next regimes, each with the upper end of its share of (0, 1).
    const fn successors(self) -> [(f64, Self); 3] {
        match self {
            Self::Range => [
                (0.40, Self::Rally),
                (0.85, Self::Decline),
                (1.0, Self::SellOff),
            ],
            Self::Rally => [
                (0.50, Self::Range),
                (0.85, Self::Decline),
                (1.0, Self::SellOff),
            ],
            Self::Decline => [
                (0.30, Self::Range),
                (0.75, Self::Rebound),
                (1.0, Self::SellOff),
            ],
            Self::SellOff => [
                (0.65, Self::Rebound),
                (0.65, Self::Range),
                (1.0, Self::Decline),
            ],
            Self::Rebound => [
                (0.45, Self::Decline),
                (0.75, Self::Range),
                (1.0, Self::Rally),
            ],
        }
    }

    /// The next regime, chosen by `u` in (0, 1).
    fn next(self, u: f64) -> Self {
        self.successors()
            .into_iter()
            .find(|(end, _)| u < *end)
            .map_or(self, |(_, next)| next)
    }
}

/// One minute of the whole market.
#[derive(Debug, Clone, Copy)]
pub(super) struct MarketFactor {
    /// Log return that all contracts share.
    pub(super) common_return: f64,
    /// Standard deviation of the common return.
    pub(super) sigma: f64,
    /// Activity relative to a quiet market, for volumes.
    pub(super) activity: f64,
}

/// State of the common factor.
pub(super) struct RegimeProcess {
    random: RandomStream,
    regime: Regime,
    /// Variance relative to its mean.
    variance: f64,
    season: Vec<f64>,
}

impl RegimeProcess {
    pub(super) fn new(seed: u64) -> Self {
        let season = (0..1_440_u16)
            .map(|minute| {
                let angle = (f64::from(minute) - PEAK_MINUTE) / 1_440.0;
                1.0 + DAILY_SWING * libm::cos(angle * std::f64::consts::TAU)
            })
            .collect();
        Self {
            random: RandomStream::new(seed, "climate"),
            regime: Regime::Range,
            variance: 1.0,
            season,
        }
    }

    /// The next minute; `minute` counts from the epoch.
    pub(super) fn step(&mut self, minute: i64) -> MarketFactor {
        let (hourly_drift, factor, mean_length) = self.regime.parameters();
        let of_day = usize::try_from(minute.rem_euclid(1_440)).unwrap_or(0) % MINUTES_PER_DAY;
        let season = self.season[of_day];
        let clustered = libm::sqrt(self.variance);
        let sigma = BASE_SIGMA * clustered * factor * season;
        let z = self.random.heavy_tailed();
        self.variance = ((1.0 - GARCH_ALPHA - GARCH_BETA)
            + (GARCH_ALPHA * z * z + GARCH_BETA) * self.variance)
            .clamp(MIN_VARIANCE, MAX_VARIANCE);
        if self.random.uniform() < 1.0 / mean_length {
            let u = self.random.uniform();
            self.regime = self.regime.next(u);
        }
        MarketFactor {
            common_return: hourly_drift / 60.0 + sigma * z,
            sigma,
            activity: clustered * factor * season,
        }
    }
}
