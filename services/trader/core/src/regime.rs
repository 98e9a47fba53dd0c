//! Market regime: trend of 4-hour bars, momentum of 1-hour bars, volatility of the 4-hour range. Input of the adaptive
//! strategies.

use protocol::time::UtcMs;
use serde::{Deserialize, Serialize};

use crate::bar_aggregator::{Aggregator, OutOfOrder};
use crate::candle::{Candle, Interval};
use crate::indicators::{Atr, Emas, Rsi, Window, percentile};
use crate::missing_candles::bridged;

/// Number of 1-hour bars over which the change of the price is measured.
const CHANGE_BARS: usize = 10;
/// Number of 4-hour ranges among which the newest one is ranked.
const RANGES: usize = 100;

/// Trend of 4-hour closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// EMA21 > EMA50 > EMA200 and the close above EMA21.
    Bullish,
    /// EMA21 < EMA50 < EMA200 and the close below EMA21.
    Bearish,
    /// Neither bullish nor bearish.
    Neutral,
}

/// Momentum of 1-hour closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Momentum {
    /// RSI14 over 65 with more than +2 % in 10 bars, or under 35 with less than -2 %.
    Strong,
    /// Neither strong nor sideways.
    Weak,
    /// RSI14 from 40 to 60, or less than 1 % in 10 bars.
    Sideways,
}

/// Trend, momentum and volatility of a market.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Regime {
    /// Trend of 4-hour closes.
    pub trend: Trend,
    /// Momentum of 1-hour closes.
    pub momentum: Momentum,
    /// Whether the newest 4-hour ATR14 is above 75 % of the last 100. Halves the size of adaptive strategies.
    pub volatile: bool,
}

/// State from which the regime is computed, fed with 30-minute bars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegimeState {
    hour_aggregator: Aggregator,
    momentum: MomentumState,
    four_hour_aggregator: Aggregator,
    trend: TrendState,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct MomentumState {
    rsi14: Rsi,
    closes: Window,
    last: Option<UtcMs>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct TrendState {
    emas: Emas,
    atr14: Atr,
    ranges: Window,
    close: f64,
    last: Option<UtcMs>,
}

impl Default for MomentumState {
    fn default() -> Self {
        Self {
            rsi14: Rsi::new(14),
            closes: Window::new(CHANGE_BARS + 1),
            last: None,
        }
    }
}

impl Default for TrendState {
    fn default() -> Self {
        Self {
            emas: Emas::default(),
            atr14: Atr::new(14),
            ranges: Window::new(RANGES),
            close: 0.0,
            last: None,
        }
    }
}

impl RegimeState {
    /// An empty state for bars of the interval `bar`.
    ///
    /// # Errors
    /// [`OutOfOrder::NotDivisible`] if `bar` does not divide an hour.
    pub fn new(bar: Interval) -> Result<Self, OutOfOrder> {
        Ok(Self {
            hour_aggregator: Aggregator::new(bar, Interval::H1)?,
            momentum: MomentumState::default(),
            four_hour_aggregator: Aggregator::new(bar, Interval::H4)?,
            trend: TrendState::default(),
        })
    }

    /// Adds closed 1-hour and 4-hour bars, oldest first; missing ones are bridged. Shorter bars within them that are added later change nothing.
    pub fn warm_up(&mut self, hours: &[Candle], four_hours: &[Candle]) {
        for bar in bridged(Interval::H1, hours) {
            self.momentum.update(&bar);
        }
        for bar in bridged(Interval::H4, four_hours) {
            self.trend.update(&bar);
        }
        if let Some(last) = hours.last() {
            self.hour_aggregator
                .restart_at(Interval::H1.close_of(last.open_time));
        }
        if let Some(last) = four_hours.last() {
            self.four_hour_aggregator
                .restart_at(Interval::H4.close_of(last.open_time));
        }
    }

    /// Adds the next bar.
    ///
    /// # Errors
    /// [`OutOfOrder::NotAligned`] if the bar is off its grid.
    pub fn update(&mut self, bar: &Candle) -> Result<(), OutOfOrder> {
        if let Some(hour) = self.hour_aggregator.add_candle(bar)?.bar {
            self.momentum.update(&hour);
        }
        if let Some(quarter) = self.four_hour_aggregator.add_candle(bar)?.bar {
            self.trend.update(&quarter);
        }
        Ok(())
    }

    /// The current regime; `None` before 200 4-hour bars.
    pub fn regime(&self) -> Option<Regime> {
        Some(Regime {
            trend: self.trend.trend()?,
            momentum: self.momentum.momentum()?,
            volatile: self.trend.is_volatile()?,
        })
    }
}

impl MomentumState {
    fn update(&mut self, bar: &Candle) {
        if has_gap(self.last, bar, Interval::H1) {
            *self = Self::default();
        }
        self.last = Some(bar.open_time);
        self.rsi14.update(bar.close.to_f64());
        self.closes.push(bar.close.to_f64());
    }

    fn momentum(&self) -> Option<Momentum> {
        let closes = self.closes.full_values()?;
        let change = closes.back()? / closes.front()? - 1.0;
        Some(momentum(self.rsi14.value()?, change))
    }
}

impl TrendState {
    fn update(&mut self, bar: &Candle) {
        if has_gap(self.last, bar, Interval::H4) {
            *self = Self::default();
        }
        self.last = Some(bar.open_time);
        self.close = bar.close.to_f64();
        self.emas.update(self.close);
        self.atr14
            .update(bar.high.to_f64(), bar.low.to_f64(), self.close);
        if let Some(range) = self.atr14.value() {
            self.ranges.push(range);
        }
    }

    fn trend(&self) -> Option<Trend> {
        Some(trend(self.emas.values()?, self.close))
    }

    fn is_volatile(&self) -> Option<bool> {
        Some(percentile(self.ranges.full_values()?) > 0.75)
    }
}

/// Whether a bar is missing between the last one and this one.
fn has_gap(last: Option<UtcMs>, bar: &Candle, interval: Interval) -> bool {
    last.is_some_and(|last| interval.close_of(last) != bar.open_time)
}

fn trend([fast, middle, slow]: [f64; 3], close: f64) -> Trend {
    if fast > middle && middle > slow && close > fast {
        Trend::Bullish
    } else if fast < middle && middle < slow && close < fast {
        Trend::Bearish
    } else {
        Trend::Neutral
    }
}

/// Momentum from RSI14 and the change over 10 bars, as a share.
fn momentum(rsi: f64, change: f64) -> Momentum {
    if (rsi > 65.0 && change > 0.02) || (rsi < 35.0 && change < -0.02) {
        Momentum::Strong
    } else if (40.0..=60.0).contains(&rsi) || change.abs() < 0.01 {
        Momentum::Sideways
    } else {
        Momentum::Weak
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed_point::Price;

    #[test]
    fn a_trend_needs_all_averages_in_order_and_the_close_beyond_the_fastest() {
        for (emas, close, expected) in [
            ([103.0, 102.0, 101.0], 104.0, Trend::Bullish),
            ([103.0, 102.0, 101.0], 103.0, Trend::Neutral),
            ([102.0, 102.0, 101.0], 104.0, Trend::Neutral),
            ([103.0, 102.0, 102.0], 104.0, Trend::Neutral),
            ([99.0, 100.0, 101.0], 98.0, Trend::Bearish),
            ([99.0, 100.0, 101.0], 99.0, Trend::Neutral),
            ([99.0, 100.0, 100.0], 98.0, Trend::Neutral),
        ] {
            assert_eq!(trend(emas, close), expected, "{emas:?} {close}");
        }
    }

    #[test]
    fn momentum_is_strong_only_with_extreme_rsi_and_change() {
        for (rsi, change, expected) in [
            (65.1, 0.0201, Momentum::Strong),
            (65.0, 0.0201, Momentum::Weak),
            (65.1, 0.02, Momentum::Weak),
            (34.9, -0.0201, Momentum::Strong),
            (35.0, -0.0201, Momentum::Weak),
            (34.9, -0.02, Momentum::Weak),
            (65.1, -0.03, Momentum::Weak),
            (40.0, 0.05, Momentum::Sideways),
            (60.0, 0.05, Momentum::Sideways),
            (39.9, 0.05, Momentum::Weak),
            (70.0, 0.0099, Momentum::Sideways),
            (70.0, 0.01, Momentum::Weak),
        ] {
            assert_eq!(momentum(rsi, change), expected, "{rsi} {change}");
        }
    }

    #[test]
    fn a_range_is_volatile_above_three_quarters_of_the_last_hundred() {
        for (below, volatile) in [(75, false), (76, true)] {
            let mut state = TrendState::default();
            for n in 0..99 {
                state.ranges.push(if n < below { 1.0 } else { 3.0 });
            }
            assert_eq!(state.is_volatile(), None);
            state.ranges.push(2.0);
            assert_eq!(state.is_volatile(), Some(volatile), "{below}");
        }
    }

    fn bars(interval: Interval, count: i64) -> Vec<Candle> {
        (0..count)
            .map(|n| {
                let close = 1_000 + (n * n * 31) % 97;
                let [open, high, low, close] =
                    [close, close + 5, close - 5, close].map(|p| Price::from_units(p * 1_000_000));
                let at = UtcMs(n * interval.millis());
                Candle::new(interval, at, open, high, low, close).unwrap()
            })
            .collect()
    }

    fn aggregated(bars: &[Candle], to: Interval) -> Vec<Candle> {
        let mut aggregator = Aggregator::new(Interval::M30, to).unwrap();
        bars.iter()
            .filter_map(|b| aggregator.add_candle(b).unwrap().bar)
            .collect()
    }

    #[test]
    fn regime_is_the_same_from_fetched_and_aggregated_bars() {
        let all = bars(Interval::M30, 200 * 8 + 5);
        let mut made = RegimeState::new(Interval::M30).unwrap();
        for (n, bar) in all.iter().enumerate() {
            assert_eq!(made.regime().is_some(), n >= 200 * 8, "{n}");
            made.update(bar).unwrap();
        }
        // As a starting trader has it: 1h and 4h as such, then the newest 30m bars again.
        let mut fetched = RegimeState::new(Interval::M30).unwrap();
        fetched.warm_up(
            &aggregated(&all, Interval::H1),
            &aggregated(&all, Interval::H4),
        );
        for bar in &all[all.len() - 300..] {
            fetched.update(bar).unwrap();
        }
        assert!(fetched.regime().is_some());
        assert_eq!(fetched.regime(), made.regime());
        assert_eq!(
            (&fetched.trend, &fetched.momentum),
            (&made.trend, &made.momentum)
        );
    }

    #[test]
    fn missing_bar_resets_the_trend() {
        let mut all = bars(Interval::M30, 220 * 8);
        all.remove(210 * 8);
        let mut view = RegimeState::new(Interval::M30).unwrap();
        for bar in &all {
            view.update(bar).unwrap();
        }
        assert_eq!(view.regime(), None);
    }
}
