//! What a book sees of the market: closed candles folded into indicators, and the signal at a bar's
//! close. Nothing here is journaled, because the exchange tells it again after a restart.

use protocol::time::UtcMs;

use crate::aggregate::{Aggregator, Disorder, Gap};
use crate::candle::{Candle, Interval};
use crate::fixed::Price;
use crate::indicators::{IndicatorFault, Indicators, Values};
use crate::strategy::{Signal, Strategy};

/// The interval of the bars that are judged.
pub const BAR: Interval = Interval::M30;

/// Bars that only warm the indicators up; the next one is the first to be judged.
pub const WARM_UP_BARS: usize = 300;

/// The market as one book sees it.
#[derive(Debug, Clone)]
pub struct MarketView {
    base: Interval,
    strategies: Vec<Strategy>,
    bars: Aggregator,
    indicators: Indicators,
    last_bar: Option<Candle>,
}

/// What one candle showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// A strategy's signal, when this candle closed a bar that has one.
    pub signal: Option<Signal>,
    /// Bars lost for want of candles. The indicators have started over: fetch the bars and
    /// [`MarketView::warm_up`] again, or wait for [`WARM_UP_BARS`] more.
    pub gap: Option<Gap>,
}

/// Why market data cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarketFault {
    /// Intervals or alignment.
    #[error(transparent)]
    Disorder(#[from] Disorder),
    /// The indicator library.
    #[error(transparent)]
    Indicators(#[from] IndicatorFault),
    /// Warm-up bars that do not ascend.
    #[error("warm-up bar {open_time} is not allowed after bar {after}: bars ascend")]
    NotAscending {
        /// The bar.
        open_time: UtcMs,
        /// The bar before it.
        after: UtcMs,
    },
}

impl MarketView {
    /// A view that has seen nothing. `strategies` in order of precedence.
    ///
    /// # Errors
    /// When `base` does not divide the 30m bar.
    pub fn new(base: Interval, strategies: Vec<Strategy>) -> Result<Self, MarketFault> {
        Ok(Self {
            base,
            strategies,
            bars: Aggregator::new(base, BAR)?,
            indicators: Indicators::default(),
            last_bar: None,
        })
    }

    /// Forgets everything and takes these closed 30m bars, oldest first. Bars before a gap in them
    /// do not count. Base candles are expected from [`Self::next_bar_open`] on.
    ///
    /// # Errors
    /// When the bars do not ascend or are no 30m bars; the view is not to be used then.
    pub fn warm_up(&mut self, bars: &[Candle]) -> Result<(), MarketFault> {
        self.start_over();
        self.bars = Aggregator::new(self.base, BAR)?;
        for bar in bars {
            self.check_warm_up_bar(bar)?;
            self.bar_closed(bar)?;
        }
        if let Some(last) = self.last_bar {
            self.bars.restart_at(BAR.close_of(last.open_time));
        }
        Ok(())
    }

    /// Takes the next closed base candle. A repeated or older one changes nothing.
    ///
    /// The candle at the end of the newest bar yields that bar's signal however the bar was
    /// learned, so that a candle delivered again after a restart is judged as the first time.
    ///
    /// # Errors
    /// When the candle is none of the base interval, or the indicator library refuses it.
    pub fn candle_closed(&mut self, candle: &Candle) -> Result<Seen, MarketFault> {
        let done = self.bars.take(candle)?;
        if done.gap.is_some() {
            self.start_over();
        }
        if let Some(bar) = &done.bar {
            self.bar_closed(bar)?;
        }
        let signal = self
            .last_bar
            .filter(|bar| BAR.close_of(bar.open_time) == self.base.close_of(candle.open_time))
            .and_then(|_| self.last_signal());
        Ok(Seen {
            signal,
            gap: done.gap,
        })
    }

    /// The signal of the newest closed bar: what a trader asks that was started just after it.
    pub fn last_signal(&self) -> Option<Signal> {
        let bar = self.last_bar.as_ref()?;
        let values = self.judged()?;
        let close = BAR.close_of(bar.open_time);
        Signal::first_of(&self.strategies, values, close, bar.close)
    }

    /// Open time of the bar now in the making: candles from here on are needed to complete it.
    pub const fn next_bar_open(&self) -> Option<UtcMs> {
        self.bars.next_bar()
    }

    /// Close price of the newest bar.
    pub fn last_close(&self) -> Option<Price> {
        self.last_bar.map(|bar| bar.close)
    }

    /// Whether there are bars enough to judge the next one.
    pub const fn is_warm(&self) -> bool {
        self.indicators.bars() >= WARM_UP_BARS
    }

    fn judged(&self) -> Option<&Values> {
        if self.indicators.bars() <= WARM_UP_BARS {
            return None;
        }
        self.indicators.values()
    }

    fn bar_closed(&mut self, bar: &Candle) -> Result<(), MarketFault> {
        let follows = |last: Candle| BAR.close_of(last.open_time) == bar.open_time;
        if !self.last_bar.is_none_or(follows) {
            self.start_over();
        }
        self.indicators.take(bar)?;
        self.last_bar = Some(*bar);
        Ok(())
    }

    fn check_warm_up_bar(&self, bar: &Candle) -> Result<(), MarketFault> {
        let open_time = bar.open_time;
        if BAR.open_of(open_time) != open_time {
            return Err(Disorder::NotAligned {
                open_time,
                base: BAR,
            }
            .into());
        }
        match self.last_bar {
            Some(last) if open_time <= last.open_time => Err(MarketFault::NotAscending {
                open_time,
                after: last.open_time,
            }),
            _ => Ok(()),
        }
    }

    fn start_over(&mut self) {
        self.indicators = Indicators::default();
        self.last_bar = None;
    }
}
