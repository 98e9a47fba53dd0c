//! Market state of one book: closed candles folded into indicators and regime, and the signal at the close of a bar. It is
//! not journaled, because the exchange delivers candles again after a restart. A snapshot may contain it, so that a
//! restarted trader has exactly the values of one that kept running.

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::bar_aggregator::{Aggregator, BarGap, OutOfOrder};
use crate::bar_history::BarHistory;
use crate::candle::{Candle, Interval};
use crate::fixed_point::Price;
use crate::indicators::Indicators;
use crate::missing_candles::{bridge, bridged};
use crate::regime::RegimeState;
use crate::strategy::{Signal, Strategy, StrategyInputs};
use crate::volatility_breaker::VolatilityBreaker;

pub use crate::bar_history::BAR;

/// Bars that only warm up the indicators; strategies are evaluated from the next one on.
pub const WARM_UP_BARS: u64 = 300;

/// Indicators, regime and volatility breaker of one book.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarketState {
    base: Interval,
    /// Not stored: the current setting applies, not that of the snapshot.
    #[serde(skip)]
    strategies: Vec<Strategy>,
    bar_aggregator: Aggregator,
    indicators: Indicators,
    regime: RegimeState,
    volatility_breaker: VolatilityBreaker,
    last_bar: Option<Candle>,
}

/// Result of one candle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CandleOutcome {
    /// Signal of the bar that this candle closed; `None` if it closed no bar or no strategy signals.
    pub signal: Option<Signal>,
    /// Bars lost because candles were missing for longer than [`MAX_BRIDGED_MS`](crate::missing_candles::MAX_BRIDGED_MS);
    /// `None` otherwise. The indicators have started over: fetch the bars and call [`MarketState::warm_up`], or wait for
    /// [`WARM_UP_BARS`] bars.
    pub gap: Option<BarGap>,
    /// Number of missing candles before this one that were bridged.
    pub bridged: u32,
    /// Whether this candle closed a bar.
    pub bar_closed: bool,
}

/// Market data that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarketDataError {
    /// Intervals that do not divide evenly, or a candle off its grid.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// Warm-up bars that are not in ascending order.
    #[error("warm-up bar {open_time} follows bar {after}: expected ascending bars")]
    NotAscending {
        /// Open time of the bar.
        open_time: UtcMs,
        /// Open time of the bar before it.
        after: UtcMs,
    },
}

impl MarketState {
    /// An empty market state. `strategies` are in order of precedence.
    ///
    /// # Errors
    /// [`MarketDataError::OutOfOrder`] if `base` does not divide the 30-minute bar.
    pub fn new(base: Interval, strategies: Vec<Strategy>) -> Result<Self, MarketDataError> {
        Ok(Self {
            base,
            strategies,
            bar_aggregator: Aggregator::new(base, BAR)?,
            indicators: Indicators::default(),
            regime: RegimeState::new(BAR)?,
            volatility_breaker: VolatilityBreaker::default(),
            last_bar: None,
        })
    }

    /// A stored market state, continued with these strategies; `None` if it was built from another base interval.
    #[must_use]
    pub fn restore(self, base: Interval, strategies: Vec<Strategy>) -> Option<Self> {
        (self.base == base).then_some(Self { strategies, ..self })
    }

    /// Starts over with these closed bars. Missing ones are bridged as [`missing_candles`](crate::missing_candles) says;
    /// those before a gap that is too long are ignored. The next base candle is expected at [`Self::next_bar_open`].
    ///
    /// # Errors
    /// [`MarketDataError`] if bars are not ascending or are off their grid. The state must not be used then.
    pub fn warm_up(&mut self, history: &BarHistory) -> Result<(), MarketDataError> {
        for (bars, interval) in [
            (&history.bars, BAR),
            (&history.hours, Interval::H1),
            (&history.four_hours, Interval::H4),
        ] {
            check_history(bars, interval)?;
        }
        *self = Self::new(self.base, std::mem::take(&mut self.strategies))?;
        self.regime.warm_up(&history.hours, &history.four_hours);
        for bar in bridged(BAR, &history.bars) {
            if self.has_gap_before(&bar) {
                self.reset();
            }
            self.bar_closed(&bar)?;
        }
        if let Some(last) = self.last_bar {
            self.bar_aggregator.restart_at(BAR.close_of(last.open_time));
        }
        Ok(())
    }

    /// Adds the next closed base candle, after those that are missing before it. A repeated or older candle changes
    /// nothing. A bar that a missing candle ends is closed without a signal: its time has passed.
    ///
    /// The last candle of the newest bar returns that bar's signal, also if the bar came from a warm-up: a candle that is
    /// delivered again after a restart has the same outcome.
    ///
    /// # Errors
    /// [`MarketDataError::OutOfOrder`] if the candle is off the grid of the base interval.
    #[inline]
    pub fn candle_closed(&mut self, candle: &Candle) -> Result<CandleOutcome, MarketDataError> {
        if self.bar_aggregator.add_inner_candle(candle) {
            return Ok(CandleOutcome::default());
        }
        self.take_boundary_candle(candle)
    }

    /// Handles every candle that is not an inner candle of a bar.
    fn take_boundary_candle(&mut self, candle: &Candle) -> Result<CandleOutcome, MarketDataError> {
        let bridged = self.bridge_gap(candle)?;
        let aggregation = self.bar_aggregator.add_candle(candle)?;
        if aggregation.gap.is_some() {
            self.reset();
            self.regime = RegimeState::new(BAR)?;
        }
        if let Some(bar) = &aggregation.bar {
            self.bar_closed(bar)?;
        }
        let signal = self
            .last_bar
            .filter(|bar| BAR.close_of(bar.open_time) == self.base.close_of(candle.open_time))
            .and_then(|_| self.last_signal());
        Ok(CandleOutcome {
            signal,
            gap: aggregation.gap,
            bridged,
            bar_closed: aggregation.bar.is_some(),
        })
    }

    /// Adds the candles that are missing before this one; returns their number.
    fn bridge_gap(&mut self, candle: &Candle) -> Result<u32, MarketDataError> {
        let after_warm_up = || Some((self.next_bar_open()?, self.last_close()?));
        let expected = self.bar_aggregator.expected_candle();
        let Some((expected, last_close)) = expected.or_else(after_warm_up) else {
            return Ok(0);
        };
        if self.base.open_of(candle.open_time) != candle.open_time {
            return Ok(0);
        }
        let mut count = 0;
        for missing in bridge(self.base, expected, candle.open_time, last_close) {
            count += 1;
            if let Some(bar) = self.bar_aggregator.add_candle(&missing)?.bar {
                self.bar_closed(&bar)?;
            }
        }
        Ok(count)
    }

    /// The signal of the newest closed bar, for a trader that started just after it; `None` if no strategy signals.
    pub fn last_signal(&self) -> Option<Signal> {
        let bar = self.last_bar.as_ref()?;
        let inputs = self.strategy_inputs()?;
        let close = BAR.close_of(bar.open_time);
        let is_volatile = self.volatility_breaker.is_tripped();
        Signal::first_of(&self.strategies, &inputs, is_volatile, close, bar.close)
    }

    /// Inputs of the strategies at the newest bar; `None` until [`WARM_UP_BARS`] bars have warmed up the indicators.
    pub fn strategy_inputs(&self) -> Option<StrategyInputs> {
        if self.indicators.bars() <= WARM_UP_BARS {
            return None;
        }
        Some(StrategyInputs {
            values: self.indicators.values()?,
            regime: self.regime.regime(),
        })
    }

    /// The newest closed bar; `None` before the first.
    pub const fn last_bar(&self) -> Option<&Candle> {
        self.last_bar.as_ref()
    }

    /// Open time of the bar in progress: candles from there on are needed to complete it. `None` before the first candle.
    pub const fn next_bar_open(&self) -> Option<UtcMs> {
        self.bar_aggregator.next_bar()
    }

    /// Close price of the newest bar; `None` before the first.
    pub fn last_close(&self) -> Option<Price> {
        self.last_bar.map(|bar| bar.close)
    }

    /// Whether the volatility breaker halves new sizes.
    pub const fn is_volatility_breaker_tripped(&self) -> bool {
        self.volatility_breaker.is_tripped()
    }

    fn bar_closed(&mut self, bar: &Candle) -> Result<(), MarketDataError> {
        self.indicators.update(bar);
        self.regime.update(bar)?;
        self.volatility_breaker.update(bar.close);
        self.last_bar = Some(*bar);
        Ok(())
    }

    fn has_gap_before(&self, bar: &Candle) -> bool {
        let follows = |last: Candle| BAR.close_of(last.open_time) == bar.open_time;
        !self.last_bar.is_none_or(follows)
    }

    fn reset(&mut self) {
        self.indicators = Indicators::default();
        self.volatility_breaker = VolatilityBreaker::default();
        self.last_bar = None;
    }
}

fn check_history(bars: &[Candle], interval: Interval) -> Result<(), MarketDataError> {
    let mut after: Option<UtcMs> = None;
    for bar in bars {
        let open_time = bar.open_time;
        if interval.open_of(open_time) != open_time {
            let base = interval;
            return Err(OutOfOrder::NotAligned { open_time, base }.into());
        }
        match after {
            Some(after) if open_time <= after => {
                return Err(MarketDataError::NotAscending { open_time, after });
            }
            _ => after = Some(open_time),
        }
    }
    Ok(())
}
