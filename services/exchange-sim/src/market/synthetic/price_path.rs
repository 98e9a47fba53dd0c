//! Price path of one contract: share of the common return, own trend, weak mean reversion, and a candle on the price
//! grid for each minute.

use super::regime::MarketFactor;
use super::rng::RandomStream;
use crate::candle::Candle;
use crate::symbols::Contract;

/// The largest log return of one minute.
const MAX_MINUTE_RETURN: f64 = 0.025;
/// Mean reversion per minute, with a half-life of 60 days: keeps prices in a plausible range over years.
const MEAN_REVERSION: f64 = 0.693 / (60.0 * 1_440.0);
/// Decay of the own trend, over 5 hours.
const TREND_MEMORY: f64 = 1.0 - 1.0 / 300.0;
/// Mean value of a trade in USDT.
const TRADE_VALUE: f64 = 2_500.0;

/// Profile of a contract.
#[derive(Clone, Copy)]
struct ContractProfile {
    /// Share of the common return.
    beta: f64,
    /// Own standard deviation relative to the common one.
    own_volatility: f64,
    /// Standard deviation of the own trend, per hour.
    trend_deviation: f64,
    /// Quote volume of a quiet minute, USDT.
    turnover: f64,
}

impl ContractProfile {
    /// The profile of a contract of the catalogue, or one drawn for a generated contract.
    fn of(seed: u64, contract: &Contract) -> Self {
        match contract.symbol {
            "BTCUSDT" => profile(0.95, 0.35, 0.0012, 9.0e6),
            "ETHUSDT" => profile(1.08, 0.55, 0.0016, 7.0e6),
            "SOLUSDT" => profile(1.18, 0.80, 0.0020, 2.5e6),
            "BNBUSDT" => profile(0.90, 0.50, 0.0014, 0.6e6),
            "XRPUSDT" => profile(1.15, 0.85, 0.0020, 1.2e6),
            symbol => {
                let mut random = RandomStream::new(seed ^ PROFILE_SEED, symbol);
                let mut between = |low: f64, high: f64| low + (high - low) * random.uniform();
                profile(
                    between(0.7, 1.4),
                    between(0.6, 1.3),
                    between(0.001, 0.003),
                    between(2.0e4, 4.0e5),
                )
            }
        }
    }
}

/// Separates the stream that draws a profile from the stream of the prices.
const PROFILE_SEED: u64 = 0x5052_4f46_494c_4553;

const fn profile(beta: f64, own: f64, trend: f64, turnover: f64) -> ContractProfile {
    ContractProfile {
        beta,
        own_volatility: own,
        trend_deviation: trend,
        turnover,
    }
}

/// A contract's price process.
pub(super) struct PriceProcess {
    contract: &'static Contract,
    profile: ContractProfile,
    random: RandomStream,
    /// Log of price over start.
    deviation: f64,
    trend: f64,
    /// Last price in ticks.
    last: f64,
    tick: f64,
}

impl PriceProcess {
    /// A path from its start.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a tick is far below 2^53 units of 10^-8"
    )]
    pub(super) fn new(seed: u64, contract: &'static Contract) -> Self {
        let tick = contract.tick as f64 / 1e8;
        Self {
            contract,
            profile: ContractProfile::of(seed, contract),
            random: RandomStream::new(seed, contract.symbol),
            deviation: 0.0,
            trend: 0.0,
            last: (contract.start_price / tick).round(),
            tick,
        }
    }

    /// The next minute's candle.
    pub(super) fn step(&mut self, open_time: i64, factor: &MarketFactor) -> Candle {
        let sigma = factor.sigma
            * libm::sqrt(self.profile.beta.powi(2) + self.profile.own_volatility.powi(2));
        let change = self.log_return(factor);
        self.deviation += change;
        let open = self.last;
        let close = (self.contract.start_price * libm::exp(self.deviation) / self.tick)
            .round()
            .max(1.0);
        let (up, down) = self.extremes(change, sigma);
        let high = (open * (1.0 + up)).floor().max(open).max(close);
        let low = (open * (1.0 + down)).ceil().min(open).min(close).max(1.0);
        self.last = close;
        self.candle(open_time, [open, high, low, close], change / sigma, factor)
    }

    /// This minute's log return.
    fn log_return(&mut self, factor: &MarketFactor) -> f64 {
        let spread = libm::sqrt(1.0 - TREND_MEMORY * TREND_MEMORY);
        let kick = self.profile.trend_deviation / 60.0 * spread * self.random.normal();
        self.trend = self.trend * TREND_MEMORY + kick;
        let own = self.profile.own_volatility * factor.sigma * self.random.heavy_tailed();
        let free = self.profile.beta * factor.common_return + self.trend + own;
        (free - MEAN_REVERSION * self.deviation).clamp(-MAX_MINUTE_RETURN, MAX_MINUTE_RETURN)
    }

    /// Distances of high and low from the open, drawn from the extremes of a Brownian bridge from 0 to `change`.
    fn extremes(&mut self, change: f64, sigma: f64) -> (f64, f64) {
        let mut extreme = || {
            let u = libm::log(self.random.uniform());
            libm::sqrt(change * change - 2.0 * sigma * sigma * u).min(2.0 * MAX_MINUTE_RETURN)
        };
        let (above, below) = (extreme(), extreme());
        (0.5 * (change + above), 0.5 * (change - below))
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "ticks and lots are whole numbers far below 2^53"
    )]
    fn candle(
        &mut self,
        open_time: i64,
        ticks: [f64; 4],
        shock: f64,
        factor: &MarketFactor,
    ) -> Candle {
        let [open, high, low, close] = ticks.map(|t| t as i64 * self.contract.tick);
        let burst = libm::exp(0.45 * self.random.normal()) * (0.7 + 0.35 * shock.abs().min(6.0));
        let value = self.profile.turnover * factor.activity * burst;
        let price = 0.25 * ticks.iter().sum::<f64>() * self.tick;
        let step = self.contract.step;
        let lots = (value / price * 1e5 / step as f64).floor().max(1.0);
        let volume = lots as i64 * step;
        let buying = (0.5 + 0.08 * shock).clamp(0.2, 0.8);
        let taker_volume = (lots * buying).floor() as i64 * step;
        Candle {
            open_time,
            open,
            high,
            low,
            close,
            volume,
            quote_volume: (volume as f64 * price).round() as i64,
            taker_volume,
            taker_quote_volume: (taker_volume as f64 * price).round() as i64,
            trades: (value / TRADE_VALUE).ceil() as i64,
        }
    }
}
