//! One contract's way through the common weather: its own share, its own trend, a weak pull back to
//! where it began, and from each minute's return a candle on the price grid.

use super::climate::Weather;
use super::noise::Noise;
use crate::candle::Candle;
use crate::symbols::Contract;

/// The largest log return of one minute.
const LARGEST_MOVE: f64 = 0.025;
/// Per minute; half-life 60 days. Keeps a market that runs for years of its own time in a sane range.
const PULL_BACK: f64 = 0.693 / (60.0 * 1_440.0);
/// The own trend forgets over 5 hours.
const TREND_MEMORY: f64 = 1.0 - 1.0 / 300.0;
/// Mean value of a trade in USDT.
const TRADE_VALUE: f64 = 2_500.0;

/// How a contract behaves beside the others.
struct Character {
    symbol: &'static str,
    /// Price the history starts from, USDT.
    start: f64,
    /// Share of the common return.
    beta: f64,
    /// Own deviation relative to the common one.
    own: f64,
    /// Standard deviation of the own trend, per hour.
    trend: f64,
    /// Quote volume of a quiet minute, USDT.
    turnover: f64,
}

const CHARACTERS: [Character; 5] = [
    character("BTCUSDT", 96_000.0, [0.95, 0.35, 0.0012], 9.0e6),
    character("ETHUSDT", 3_300.0, [1.08, 0.55, 0.0016], 7.0e6),
    character("SOLUSDT", 185.0, [1.18, 0.80, 0.0020], 2.5e6),
    character("BNBUSDT", 690.0, [0.90, 0.50, 0.0014], 0.6e6),
    character("XRPUSDT", 2.4, [1.15, 0.85, 0.0020], 1.2e6),
];

const fn character(symbol: &'static str, start: f64, moves: [f64; 3], turnover: f64) -> Character {
    let [beta, own, trend] = moves;
    Character {
        symbol,
        start,
        beta,
        own,
        trend,
        turnover,
    }
}

/// A contract's price process.
pub(super) struct Path {
    contract: &'static Contract,
    character: &'static Character,
    noise: Noise,
    /// Log of price over start.
    deviation: f64,
    trend: f64,
    /// Last price in ticks.
    last: f64,
    tick: f64,
}

impl Path {
    /// A path from its start; `None` for a contract without a character.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a tick is far below 2^53 units of 10^-8"
    )]
    pub(super) fn new(seed: u64, contract: &'static Contract) -> Option<Self> {
        let character = CHARACTERS.iter().find(|c| c.symbol == contract.symbol)?;
        let tick = contract.tick as f64 / 1e8;
        Some(Self {
            contract,
            character,
            noise: Noise::new(seed, contract.symbol),
            deviation: 0.0,
            trend: 0.0,
            last: (character.start / tick).round(),
            tick,
        })
    }

    /// The next minute's candle.
    pub(super) fn step(&mut self, open_time: i64, weather: &Weather) -> Candle {
        let sigma =
            weather.sigma * libm::sqrt(self.character.beta.powi(2) + self.character.own.powi(2));
        let change = self.change(weather);
        self.deviation += change;
        let open = self.last;
        let close = (self.character.start * libm::exp(self.deviation) / self.tick)
            .round()
            .max(1.0);
        let (up, down) = self.reach(change, sigma);
        let high = (open * (1.0 + up)).floor().max(open).max(close);
        let low = (open * (1.0 + down)).ceil().min(open).min(close).max(1.0);
        self.last = close;
        self.candle(open_time, [open, high, low, close], change / sigma, weather)
    }

    /// This minute's log return.
    fn change(&mut self, weather: &Weather) -> f64 {
        let spread = libm::sqrt(1.0 - TREND_MEMORY * TREND_MEMORY);
        let kick = self.character.trend / 60.0 * spread * self.noise.normal();
        self.trend = self.trend * TREND_MEMORY + kick;
        let own = self.character.own * weather.sigma * self.noise.heavy();
        let free = self.character.beta * weather.common + self.trend + own;
        (free - PULL_BACK * self.deviation).clamp(-LARGEST_MOVE, LARGEST_MOVE)
    }

    /// How far above and below its open the price went, drawn from the extremes of a Brownian
    /// bridge from 0 to `change`.
    fn reach(&mut self, change: f64, sigma: f64) -> (f64, f64) {
        let mut extreme = || {
            let u = libm::log(self.noise.uniform());
            libm::sqrt(change * change - 2.0 * sigma * sigma * u).min(2.0 * LARGEST_MOVE)
        };
        let (above, below) = (extreme(), extreme());
        (0.5 * (change + above), 0.5 * (change - below))
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "ticks and lots are whole numbers far below 2^53"
    )]
    fn candle(&mut self, open_time: i64, ticks: [f64; 4], shock: f64, weather: &Weather) -> Candle {
        let [open, high, low, close] = ticks.map(|t| t as i64 * self.contract.tick);
        let burst = libm::exp(0.45 * self.noise.normal()) * (0.7 + 0.35 * shock.abs().min(6.0));
        let value = self.character.turnover * weather.activity * burst;
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
