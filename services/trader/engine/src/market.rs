//! What a book sees of the market: closed candles folded into indicators, and the signal at a bar's
//! close. Nothing here is journaled, because the exchange tells it again after a restart; a snapshot
//! may hold it, so that a restarted trader sees the very values of one that lived.

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregator, Disorder, Gap};
use crate::candle::{Candle, Interval};
use crate::fixed::Price;
use crate::indicators::Indicators;
use crate::regime::RegimeView;
use crate::strategy::{Sight, Signal, Strategy};
use crate::turbulence::Turbulence;

/// The interval of the bars that are judged.
pub const BAR: Interval = Interval::M30;

/// Bars that only warm the indicators up; the next one is the first to be judged.
pub const WARM_UP_BARS: u64 = 300;

/// The market as one book sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarketView {
    base: Interval,
    /// The owner's choice of today, not of the day a snapshot was made.
    #[serde(skip)]
    strategies: Vec<Strategy>,
    bars: Aggregator,
    indicators: Indicators,
    regime: RegimeView,
    turbulence: Turbulence,
    last_bar: Option<Candle>,
}

/// Closed bars of the past, each list oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Of 30 minutes.
    pub bars: Vec<Candle>,
    /// Of one hour.
    pub hours: Vec<Candle>,
    /// Of four hours.
    pub quarters: Vec<Candle>,
}

/// What one candle showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// A strategy's signal, when this candle closed a bar that has one.
    pub signal: Option<Signal>,
    /// Bars lost for want of candles. The indicators have started over: fetch the bars and
    /// [`MarketView::warm_up`] again, or wait for [`WARM_UP_BARS`] more.
    pub gap: Option<Gap>,
    /// This candle closed a bar.
    pub bar_closed: bool,
}

/// Why market data cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarketFault {
    /// Intervals or alignment.
    #[error(transparent)]
    Disorder(#[from] Disorder),
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
            regime: RegimeView::new(BAR)?,
            turbulence: Turbulence::default(),
            last_bar: None,
        })
    }

    /// A stored view, to go on with these strategies; none if it was of another base interval.
    #[must_use]
    pub fn restored(self, base: Interval, strategies: Vec<Strategy>) -> Option<Self> {
        (self.base == base).then_some(Self { strategies, ..self })
    }

    /// Forgets everything and takes these closed bars. 30m bars before a gap in them do not count.
    /// Base candles are expected from [`Self::next_bar_open`] on.
    ///
    /// # Errors
    /// When bars do not ascend or are not of their interval; the view is not to be used then.
    pub fn warm_up(&mut self, history: &History) -> Result<(), MarketFault> {
        for (bars, interval) in [
            (&history.bars, BAR),
            (&history.hours, Interval::H1),
            (&history.quarters, Interval::H4),
        ] {
            check_history(bars, interval)?;
        }
        *self = Self::new(self.base, std::mem::take(&mut self.strategies))?;
        self.regime.warm_up(&history.hours, &history.quarters);
        for bar in &history.bars {
            if self.missed_before(bar) {
                self.start_over();
            }
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
    /// When the candle is none of the base interval.
    #[inline]
    pub fn candle_closed(&mut self, candle: &Candle) -> Result<Seen, MarketFault> {
        if self.bars.follow(candle) {
            return Ok(Seen::default());
        }
        self.bar_ends_or_breaks(candle)
    }

    /// Everything but a bar's inner candles.
    fn bar_ends_or_breaks(&mut self, candle: &Candle) -> Result<Seen, MarketFault> {
        let done = self.bars.take(candle)?;
        if done.gap.is_some() {
            self.start_over();
            self.regime = RegimeView::new(BAR)?;
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
            bar_closed: done.bar.is_some(),
        })
    }

    /// The signal of the newest closed bar: what a trader asks that was started just after it.
    pub fn last_signal(&self) -> Option<Signal> {
        let bar = self.last_bar.as_ref()?;
        let sight = self.sight()?;
        let close = BAR.close_of(bar.open_time);
        let turbulent = self.turbulence.is_tripped();
        Signal::first_of(&self.strategies, &sight, turbulent, close, bar.close)
    }

    /// What the strategies see after the newest bar; none while it is not to be judged.
    pub fn sight(&self) -> Option<Sight> {
        if self.indicators.bars() <= WARM_UP_BARS {
            return None;
        }
        Some(Sight {
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

    /// Whether the volatility breaker halves new sizes.
    pub const fn is_turbulent(&self) -> bool {
        self.turbulence.is_tripped()
    }

    fn bar_closed(&mut self, bar: &Candle) -> Result<(), MarketFault> {
        self.indicators.take(bar);
        self.regime.take(bar)?;
        self.turbulence.take(bar.close);
        self.last_bar = Some(*bar);
        Ok(())
    }

    fn missed_before(&self, bar: &Candle) -> bool {
        let follows = |last: Candle| BAR.close_of(last.open_time) == bar.open_time;
        !self.last_bar.is_none_or(follows)
    }

    fn start_over(&mut self) {
        self.indicators = Indicators::default();
        self.turbulence = Turbulence::default();
        self.last_bar = None;
    }
}

fn check_history(bars: &[Candle], interval: Interval) -> Result<(), MarketFault> {
    let mut after: Option<UtcMs> = None;
    for bar in bars {
        let open_time = bar.open_time;
        if interval.open_of(open_time) != open_time {
            let base = interval;
            return Err(Disorder::NotAligned { open_time, base }.into());
        }
        match after {
            Some(after) if open_time <= after => {
                return Err(MarketFault::NotAscending { open_time, after });
            }
            _ => after = Some(open_time),
        }
    }
    Ok(())
}
