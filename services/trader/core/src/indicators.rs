//! Indicators with one value per bar. Formulas, seeds and order of operations are those of TA-Lib, so that values match
//! bit for bit; a test compares them with TA-Lib's official port.
//!
//! TA-Lib itself is not used because its streams cannot be stored: without the state of the indicators in a snapshot, a
//! restarted trader would compute other values than one that kept running.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::candle::Candle;

/// Values of the indicators at one bar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IndicatorValues {
    /// Relative strength index of 14 bars, Wilder's smoothing, 0 to 100.
    pub rsi14: f64,
    /// Exponential moving average of 21 closes.
    pub ema21: f64,
    /// Exponential moving average of 50 closes.
    pub ema50: f64,
    /// Exponential moving average of 200 closes.
    pub ema200: f64,
    /// Average true range of 14 bars, Wilder's smoothing, in the quote currency.
    pub atr14: f64,
}

/// All indicators of one series of bars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Indicators {
    bars: u64,
    rsi14: Rsi,
    emas: Emas,
    atr14: Atr,
}

impl Default for Indicators {
    fn default() -> Self {
        Self {
            bars: 0,
            rsi14: Rsi::new(14),
            emas: Emas::default(),
            atr14: Atr::new(14),
        }
    }
}

impl Indicators {
    /// Number of bars added so far.
    pub const fn bars(&self) -> u64 {
        self.bars
    }

    /// Values at the newest bar; `None` before the 200th bar.
    pub fn values(&self) -> Option<IndicatorValues> {
        let [ema21, ema50, ema200] = self.emas.values()?;
        Some(IndicatorValues {
            rsi14: self.rsi14.value()?,
            ema21,
            ema50,
            ema200,
            atr14: self.atr14.value()?,
        })
    }

    /// Adds the next bar. The caller makes sure that no bar is missing.
    pub fn update(&mut self, bar: &Candle) {
        self.bars += 1;
        let close = bar.close.to_f64();
        self.rsi14.update(close);
        self.emas.update(close);
        self.atr14
            .update(bar.high.to_f64(), bar.low.to_f64(), close);
    }
}

/// Exponential moving averages of 21, 50 and 200 closes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Emas([Ema; 3]);

impl Default for Emas {
    fn default() -> Self {
        Self([21, 50, 200].map(Ema::new))
    }
}

impl Emas {
    /// Adds the next close.
    pub fn update(&mut self, close: f64) {
        for ema in &mut self.0 {
            ema.update(close);
        }
    }

    /// EMA21, EMA50 and EMA200; `None` before the 200th close.
    pub fn values(&self) -> Option<[f64; 3]> {
        let [fast, middle, slow] = &self.0;
        Some([fast.value()?, middle.value()?, slow.value()?])
    }
}

/// Exponential moving average (TA-Lib `EMA`), seeded with the mean of its first `period` values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ema {
    period: u32,
    samples: u32,
    /// Sum while seeding, then the average.
    value: f64,
}

impl Ema {
    /// An empty average; `period` is at least 3.
    pub const fn new(period: u32) -> Self {
        Self {
            period,
            samples: 0,
            value: 0.0,
        }
    }

    /// Adds the next value.
    pub fn update(&mut self, x: f64) {
        if self.samples == self.period {
            let beta = f64::from(self.period - 1) / f64::from(self.period + 1);
            self.value = beta.mul_add(self.value, (1.0 - beta) * x);
            return;
        }
        self.value += x;
        self.samples += 1;
        if self.samples == self.period {
            self.value /= f64::from(self.period);
        }
    }

    /// The average; `None` before `period` values.
    pub fn value(&self) -> Option<f64> {
        (self.samples == self.period).then_some(self.value)
    }
}

/// Relative strength index (TA-Lib `RSI`) with Wilder's smoothing, seeded with the mean of its first `period` changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rsi {
    period: u32,
    /// Number of values, the first one included.
    samples: u32,
    last: f64,
    /// Sums while seeding, then averages.
    gain: f64,
    loss: f64,
}

impl Rsi {
    /// An empty indicator over `period` bars.
    pub const fn new(period: u32) -> Self {
        Self {
            period,
            samples: 0,
            last: 0.0,
            gain: 0.0,
            loss: 0.0,
        }
    }

    /// Adds the next value.
    pub fn update(&mut self, x: f64) {
        let moved = x - self.last;
        self.last = x;
        let gained = if moved > 0.0 { moved } else { 0.0 };
        let inverse = 1.0 / f64::from(self.period);
        if self.samples == 0 {
            self.samples = 1;
            return;
        }
        if self.samples > self.period {
            let keep = f64::from(self.period - 1);
            self.loss = (self.loss * keep + (gained - moved)) * inverse;
            self.gain = (self.gain * keep + gained) * inverse;
            return;
        }
        self.gain += gained;
        self.loss += gained - moved;
        self.samples += 1;
        if self.samples > self.period {
            self.gain *= inverse;
            self.loss *= inverse;
        }
    }

    /// The index from 0 to 100, 50 if the price has not changed; `None` before `period` changes.
    pub fn value(&self) -> Option<f64> {
        if self.samples <= self.period {
            return None;
        }
        let both = self.gain + self.loss;
        Some(if both > 0.0 {
            100.0 * (self.gain / both)
        } else {
            50.0
        })
    }
}

/// Average true range (TA-Lib `ATR`) with Wilder's smoothing, seeded with the mean of its first `period` ranges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Atr {
    period: u32,
    /// Number of bars, the first one included.
    samples: u32,
    last_close: f64,
    /// Sum while seeding, then the average.
    value: f64,
}

impl Atr {
    /// An empty indicator over `period` bars.
    pub const fn new(period: u32) -> Self {
        Self {
            period,
            samples: 0,
            last_close: 0.0,
            value: 0.0,
        }
    }

    /// Takes the next bar.
    pub fn update(&mut self, high: f64, low: f64, close: f64) {
        let last = std::mem::replace(&mut self.last_close, close);
        if self.samples == 0 {
            self.samples = 1;
            return;
        }
        let range = (high - low)
            .max((last - high).abs())
            .max((last - low).abs());
        if self.samples > self.period {
            let beta = f64::from(self.period - 1) / f64::from(self.period);
            self.value = beta.mul_add(self.value, (1.0 - beta) * range);
            return;
        }
        self.value += range;
        self.samples += 1;
        if self.samples > self.period {
            self.value /= f64::from(self.period);
        }
    }

    /// The average in the unit of the prices; `None` before `period` ranges.
    pub fn value(&self) -> Option<f64> {
        (self.samples > self.period).then_some(self.value)
    }
}

/// The newest values of a series, up to a capacity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    capacity: usize,
    values: VecDeque<f64>,
}

impl Window {
    /// Creates an empty window that keeps `capacity` values.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            values: VecDeque::with_capacity(capacity),
        }
    }

    /// Adds the next value; drops the oldest if the window is full.
    pub fn push(&mut self, x: f64) {
        if self.values.len() == self.capacity {
            self.values.pop_front();
        }
        self.values.push_back(x);
    }

    /// All values, oldest first; `None` until the window is full.
    pub fn full_values(&self) -> Option<&VecDeque<f64>> {
        (self.values.len() == self.capacity).then_some(&self.values)
    }
}

/// Distance of the newest value from the mean of all values, itself included, in sample standard deviations (n - 1). Zero
/// if all values are equal.
pub fn z_score(values: &VecDeque<f64>) -> f64 {
    let Some(newest) = values.back() else {
        return 0.0;
    };
    let n = count(values);
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    if variance > 0.0 {
        (newest - mean) / variance.sqrt()
    } else {
        0.0
    }
}

/// Share of the values that are below the newest one, from 0 to 1.
pub fn percentile(values: &VecDeque<f64>) -> f64 {
    let Some(newest) = values.back() else {
        return 0.0;
    };
    let below = values.iter().filter(|x| *x < newest);
    f64::from(u32::try_from(below.count()).unwrap_or(u32::MAX)) / count(values)
}

fn count(values: &VecDeque<f64>) -> f64 {
    f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candle::Interval;
    use crate::fixed_point::Price;
    use protocol::time::UtcMs;

    fn bar(n: i64, close: i64) -> Candle {
        let [open, high, low, close] =
            [close, close + 3, close - 3, close].map(|p| Price::from_units(p * 100_000_000));
        let at = UtcMs(n * Interval::M30.millis());
        Candle::new(Interval::M30, at, open, high, low, close).unwrap()
    }

    #[test]
    fn indicators_have_no_values_before_the_200th_bar() {
        let mut indicators = Indicators::default();
        for n in 0..200 {
            assert_eq!(indicators.values(), None, "{n}");
            indicators.update(&bar(n, 100 + n % 7));
        }
        assert!(indicators.values().is_some());
        assert_eq!(indicators.bars(), 200);
    }

    #[test]
    fn every_value_equals_ta_lib_to_the_last_bit() {
        let bars: Vec<Candle> = (0..600)
            .map(|n| bar(n, 40_000 + (n * n * 7_919 + 31 * n) % 2_357))
            .collect();
        let of = |f: fn(&Candle) -> Price| bars.iter().map(|b| f(b).to_f64()).collect::<Vec<_>>();
        let (high, low, close) = (of(|b| b.high), of(|b| b.low), of(|b| b.close));
        let core = ta_lib::Core::new();
        let seed = 200;
        let (mut rsi, mut rsi_value) = core.rsi_open(&close[..seed], 14).unwrap();
        let (mut fast, mut fast_value) = core.ema_open(&close[..seed], 21).unwrap();
        let (mut slow, mut slow_value) = core.ema_open(&close[..seed], 200).unwrap();
        let (mut atr, mut atr_value) = core
            .atr_open(&high[..seed], &low[..seed], &close[..seed], 14)
            .unwrap();
        let mut ours = Indicators::default();
        for (n, bar) in bars.iter().enumerate() {
            ours.update(bar);
            if n < seed - 1 {
                continue;
            }
            if n >= seed {
                rsi_value = rsi.update(close[n]).unwrap();
                fast_value = fast.update(close[n]).unwrap();
                slow_value = slow.update(close[n]).unwrap();
                atr_value = atr.update(high[n], low[n], close[n]).unwrap();
            }
            let found = ours.values().unwrap();
            let found = [found.rsi14, found.ema21, found.ema200, found.atr14];
            let theirs = [rsi_value, fast_value, slow_value, atr_value];
            assert_eq!(found.map(f64::to_bits), theirs.map(f64::to_bits), "bar {n}");
        }
    }

    #[test]
    fn restored_indicators_continue_like_the_original() {
        let mut lived = Indicators::default();
        for n in 0..333 {
            lived.update(&bar(n, 100 + (n * n) % 17));
        }
        let stored = serde_json::to_string(&lived).unwrap();
        let mut read: Indicators = serde_json::from_str(&stored).unwrap();
        for n in 333..400 {
            lived.update(&bar(n, 100 + (n * n) % 17));
            read.update(&bar(n, 100 + (n * n) % 17));
            assert_eq!(read, lived, "{n}");
        }
    }

    #[test]
    fn rsi_of_a_constant_price_is_50() {
        let mut rsi = Rsi::new(14);
        for _ in 0..20 {
            rsi.update(7.0);
        }
        assert_eq!(rsi.value().map(f64::to_bits), Some(50.0_f64.to_bits()));
    }

    #[test]
    fn window_has_values_only_when_full() {
        let mut window = Window::new(4);
        for (x, full) in [
            (1.0, false),
            (2.0, false),
            (3.0, false),
            (9.0, true),
            (4.0, true),
        ] {
            window.push(x);
            assert_eq!(window.full_values().is_some(), full);
        }
        // 2, 3, 9, 4: mean 4.5, sample deviation 3.1091.
        let values = window.full_values().unwrap();
        assert!((z_score(values) - (4.0 - 4.5) / 3.109_126_351).abs() < 1e-9);
        assert!((percentile(values) - 0.5).abs() < 1e-12);
    }
}
