//! What a book sees of the market: closed candles folded into indicators, and the signal at a bar's
//! close. Nothing here is journaled, because the exchange tells it again after a restart; a snapshot
//! may hold it, so that a restarted trader sees the very values of one that lived.

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::bar_aggregator::{Aggregator, BarGap, OutOfOrder};
use crate::candle::{Candle, Interval};
use crate::fixed_point::Price;
use crate::indicators::Indicators;
use crate::regime::RegimeState;
use crate::strategy::{Signal, Strategy, StrategyInputs};
use crate::volatility_breaker::VolatilityBreaker;

/// The interval of the bars that are judged.
pub const BAR: Interval = Interval::M30;

/// Bars that only warm the indicators up; the next one is the first to be judged.
pub const WARM_UP_BARS: u64 = 300;

/// The market as one book sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarketState {
    base: Interval,
    /// The owner's choice of today, not of the day a snapshot was made.
    #[serde(skip)]
    strategies: Vec<Strategy>,
    bar_aggregator: Aggregator,
    indicators: Indicators,
    regime: RegimeState,
    volatility_breaker: VolatilityBreaker,
    last_bar: Option<Candle>,
}

/// Closed bars of the past, each list oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BarHistory {
    /// Of 30 minutes.
    pub bars: Vec<Candle>,
    /// Of one hour.
    pub hours: Vec<Candle>,
    /// Of four hours.
    pub four_hours: Vec<Candle>,
}

/// What one candle showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CandleOutcome {
    /// A strategy's signal, when this candle closed a bar that has one.
    pub signal: Option<Signal>,
    /// Bars lost for want of candles. The indicators have started over: fetch the bars and
    /// [`MarketState::warm_up`] again, or wait for [`WARM_UP_BARS`] more.
    pub gap: Option<BarGap>,
    /// This candle closed a bar.
    pub bar_closed: bool,
}

/// Why market data cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarketDataError {
    /// Intervals or alignment.
    #[error(transparent)]
    OutOfOrder(#[from] OutOfOrder),
    /// Warm-up bars that do not ascend.
    #[error("warm-up bar {open_time} is not allowed after bar {after}: bars ascend")]
    NotAscending {
        /// The bar.
        open_time: UtcMs,
        /// The bar before it.
        after: UtcMs,
    },
}

impl MarketState {
    /// A view that has seen nothing. `strategies` in order of precedence.
    ///
    /// # Errors
    /// When `base` does not divide the 30m bar.
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

    /// A stored view, to go on with these strategies; none if it was of another base interval.
    #[must_use]
    pub fn restore(self, base: Interval, strategies: Vec<Strategy>) -> Option<Self> {
        (self.base == base).then_some(Self { strategies, ..self })
    }

    /// Forgets everything and takes these closed bars. 30m bars before a gap in them do not count.
    /// Base candles are expected from [`Self::next_bar_open`] on.
    ///
    /// # Errors
    /// When bars do not ascend or are not of their interval; the view is not to be used then.
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
        for bar in &history.bars {
            if self.has_gap_before(bar) {
                self.reset();
            }
            self.bar_closed(bar)?;
        }
        if let Some(last) = self.last_bar {
            self.bar_aggregator.restart_at(BAR.close_of(last.open_time));
        }
        Ok(())
    }

    /// Takes the next closed base candle. A repeated or older one changes nothing.
    ///
    /// The candle at the end of the newest bar yields that bar's signal however the bar was
    /// learned, so that a candle delivered again after a restart is judged as the first time.
    ///
    /// # Errors
    /// When the candle is none of the base interval.
    #[inline]
    pub fn candle_closed(&mut self, candle: &Candle) -> Result<CandleOutcome, MarketDataError> {
        if self.bar_aggregator.add_inner_candle(candle) {
            return Ok(CandleOutcome::default());
        }
        self.take_boundary_candle(candle)
    }

    /// Everything but a bar's inner candles.
    fn take_boundary_candle(&mut self, candle: &Candle) -> Result<CandleOutcome, MarketDataError> {
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
            bar_closed: aggregation.bar.is_some(),
        })
    }

    /// The signal of the newest closed bar: what a trader asks that was started just after it.
    pub fn last_signal(&self) -> Option<Signal> {
        let bar = self.last_bar.as_ref()?;
        let inputs = self.strategy_inputs()?;
        let close = BAR.close_of(bar.open_time);
        let is_volatile = self.volatility_breaker.is_tripped();
        Signal::first_of(&self.strategies, &inputs, is_volatile, close, bar.close)
    }

    /// What the strategies see after the newest bar; none while it is not to be judged.
    pub fn strategy_inputs(&self) -> Option<StrategyInputs> {
        if self.indicators.bars() <= WARM_UP_BARS {
            return None;
        }
        Some(StrategyInputs {
            values: self.indicators.values()?,
            regime: self.regime.regime(),
        })
    }

    /// The newest closed bar.
    pub const fn last_bar(&self) -> Option<&Candle> {
        self.last_bar.as_ref()
    }

    /// Open time of the bar now in the making: candles from here on are needed to complete it.
    pub const fn next_bar_open(&self) -> Option<UtcMs> {
        self.bar_aggregator.next_bar()
    }

    /// Close price of the newest bar.
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
