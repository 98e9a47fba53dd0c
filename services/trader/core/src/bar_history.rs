//! Closed bars for a warm-up: what a trader requests from the exchange when it starts, and the same bars from candles.

use std::collections::VecDeque;

use crate::bar_aggregator::{Aggregator, OutOfOrder};
use crate::candle::{Candle, Interval};
use crate::missing_candles::bridge;

/// Interval of the bars on which strategies are evaluated.
pub const BAR: Interval = Interval::M30;

/// Bars of 30 minutes of a warm-up: the largest page of Binance.
pub const HISTORY_BARS: usize = 1_500;
/// Bars of one hour of a warm-up, of which RSI14 and ten changes are made: the largest page of a low weight.
pub const HISTORY_HOURS: usize = 499;
/// Bars of four hours of a warm-up, of which the trend is made: the largest page of a middle weight.
pub const HISTORY_FOUR_HOURS: usize = 1_000;

/// Closed bars for a warm-up, each list oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BarHistory {
    /// Bars of 30 minutes.
    pub bars: Vec<Candle>,
    /// Bars of one hour.
    pub hours: Vec<Candle>,
    /// Bars of four hours.
    pub four_hours: Vec<Candle>,
}

/// Builds from base candles the history that the exchange would return after the newest one.
#[derive(Debug, Clone)]
pub struct HistoryBuilder {
    base: Interval,
    bars: BarList,
    hours: BarList,
    four_hours: BarList,
    /// Candles since the newest bar of 30 minutes, at most one bar of them.
    since_bar: Vec<Candle>,
}

/// The newest bars of one interval.
#[derive(Debug, Clone)]
struct BarList {
    aggregator: Aggregator,
    bars: VecDeque<Candle>,
    limit: usize,
}

impl HistoryBuilder {
    /// An empty history for candles of this interval.
    ///
    /// # Errors
    /// [`OutOfOrder::NotDivisible`] if `base` does not divide the 30-minute bar.
    pub fn new(base: Interval) -> Result<Self, OutOfOrder> {
        Ok(Self {
            base,
            bars: BarList::new(base, BAR, HISTORY_BARS)?,
            hours: BarList::new(BAR, Interval::H1, HISTORY_HOURS)?,
            four_hours: BarList::new(BAR, Interval::H4, HISTORY_FOUR_HOURS)?,
            since_bar: Vec::new(),
        })
    }

    /// Adds the next candle, after those that are missing before it. A repeated or older candle changes nothing.
    ///
    /// # Errors
    /// [`OutOfOrder::NotAligned`] if the candle is off the grid of the base interval.
    pub fn add_candle(&mut self, candle: &Candle) -> Result<(), OutOfOrder> {
        if let Some((expected, last_close)) = self.bars.aggregator.expected_candle()
            && self.base.open_of(candle.open_time) == candle.open_time
        {
            if candle.open_time < expected {
                return Ok(());
            }
            for missing in bridge(self.base, expected, candle.open_time, last_close) {
                self.add_next(&missing)?;
            }
        }
        self.add_next(candle)
    }

    fn add_next(&mut self, candle: &Candle) -> Result<(), OutOfOrder> {
        let opens = BAR.open_of(candle.open_time);
        self.since_bar.retain(|c| c.open_time >= opens);
        self.since_bar.push(*candle);
        if let Some(bar) = self.bars.add(candle)? {
            self.since_bar.clear();
            self.hours.add(&bar)?;
            self.four_hours.add(&bar)?;
        }
        Ok(())
    }

    /// The history, and the candles since its newest bar of 30 minutes.
    pub fn finish(self) -> (BarHistory, Vec<Candle>) {
        let history = BarHistory {
            bars: self.bars.bars.into(),
            hours: self.hours.bars.into(),
            four_hours: self.four_hours.bars.into(),
        };
        (history, self.since_bar)
    }
}

impl BarList {
    fn new(base: Interval, bar: Interval, limit: usize) -> Result<Self, OutOfOrder> {
        Ok(Self {
            aggregator: Aggregator::new(base, bar)?,
            bars: VecDeque::new(),
            limit,
        })
    }

    /// Adds a candle; returns the bar that it completed.
    fn add(&mut self, candle: &Candle) -> Result<Option<Candle>, OutOfOrder> {
        let bar = self.aggregator.add_candle(candle)?.bar;
        if let Some(bar) = bar {
            if self.bars.len() == self.limit {
                self.bars.pop_front();
            }
            self.bars.push_back(bar);
        }
        Ok(bar)
    }
}
