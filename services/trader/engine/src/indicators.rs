//! The indicators that the strategies read, one value per 30m bar. The formulas are TA-Lib's.

use ta_lib::{AtrStream, Core, EmaStream, RetCode, RsiStream};

use crate::candle::Candle;

/// Bars needed before every indicator has a value: those of the slowest, EMA200.
const WARM: usize = 200;

/// The values after one bar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Values {
    /// Relative strength index of 14 bars, Wilder's smoothing, 0 to 100.
    pub rsi14: f64,
    /// Exponential moving average of 21 closes.
    pub ema21: f64,
    /// Exponential moving average of 50 closes.
    pub ema50: f64,
    /// Exponential moving average of 200 closes.
    pub ema200: f64,
    /// Average true range of 14 bars, Wilder's smoothing, in quote currency.
    pub atr14: f64,
}

/// TA-Lib did not take a bar. Prices are finite, so this is a bug or 2^31 bars.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("indicators refused a bar: {0:?}")]
pub struct IndicatorFault(RetCode);

/// All indicators of one series of bars.
#[derive(Debug, Clone)]
pub struct Indicators {
    bars: usize,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    /// The bars so far; the handles are opened with all of them at once.
    Collecting(Vec<Candle>),
    /// Constant work per bar, nothing allocated.
    Streaming {
        handles: Box<Handles>,
        values: Values,
    },
}

#[derive(Debug, Clone)]
struct Handles {
    rsi14: RsiStream,
    ema21: EmaStream,
    ema50: EmaStream,
    ema200: EmaStream,
    atr14: AtrStream,
}

impl Default for Indicators {
    fn default() -> Self {
        Self {
            bars: 0,
            stage: Stage::Collecting(Vec::with_capacity(WARM)),
        }
    }
}

impl Indicators {
    /// Bars taken so far.
    pub const fn bars(&self) -> usize {
        self.bars
    }

    /// The values after the newest bar; none before the 200th bar.
    pub const fn values(&self) -> Option<&Values> {
        match &self.stage {
            Stage::Collecting(_) => None,
            Stage::Streaming { values, .. } => Some(values),
        }
    }

    /// Takes the next bar. The caller sees to it that none is missing between two.
    ///
    /// # Errors
    /// [`IndicatorFault`]: the values are not to be used any more.
    pub fn take(&mut self, bar: &Candle) -> Result<(), IndicatorFault> {
        self.bars += 1;
        match &mut self.stage {
            Stage::Collecting(history) => {
                history.push(*bar);
                if history.len() == WARM {
                    let (handles, values) = open(history).map_err(IndicatorFault)?;
                    let handles = Box::new(handles);
                    self.stage = Stage::Streaming { handles, values };
                }
            }
            Stage::Streaming { handles, values } => {
                *values = handles.update(bar).map_err(IndicatorFault)?;
            }
        }
        Ok(())
    }
}

impl Handles {
    fn update(&mut self, bar: &Candle) -> Result<Values, RetCode> {
        let (high, low, close) = (bar.high.to_f64(), bar.low.to_f64(), bar.close.to_f64());
        Ok(Values {
            rsi14: self.rsi14.update(close)?,
            ema21: self.ema21.update(close)?,
            ema50: self.ema50.update(close)?,
            ema200: self.ema200.update(close)?,
            atr14: self.atr14.update(high, low, close)?,
        })
    }
}

fn open(history: &[Candle]) -> Result<(Handles, Values), RetCode> {
    let core = Core::new();
    let high: Vec<f64> = history.iter().map(|bar| bar.high.to_f64()).collect();
    let low: Vec<f64> = history.iter().map(|bar| bar.low.to_f64()).collect();
    let close: Vec<f64> = history.iter().map(|bar| bar.close.to_f64()).collect();
    let (rsi14, rsi) = core.rsi_open(&close, 14)?;
    let (ema21, fast) = core.ema_open(&close, 21)?;
    let (ema50, middle) = core.ema_open(&close, 50)?;
    let (ema200, slow) = core.ema_open(&close, 200)?;
    let (atr14, atr) = core.atr_open(&high, &low, &close, 14)?;
    let handles = Handles {
        rsi14,
        ema21,
        ema50,
        ema200,
        atr14,
    };
    let values = Values {
        rsi14: rsi,
        ema21: fast,
        ema50: middle,
        ema200: slow,
        atr14: atr,
    };
    Ok((handles, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candle::Interval;
    use crate::fixed::Price;
    use protocol::time::UtcMs;

    fn bar(n: i64, close: i64) -> Candle {
        let [open, high, low, close] =
            [close, close + 3, close - 3, close].map(|p| Price::from_units(p * 100_000_000));
        Candle::new(
            Interval::M30,
            UtcMs(n * Interval::M30.millis()),
            open,
            high,
            low,
            close,
        )
        .unwrap()
    }

    #[test]
    fn there_are_no_values_before_the_200th_bar() {
        let mut indicators = Indicators::default();
        for n in 0..200 {
            assert_eq!(indicators.values(), None, "{n}");
            indicators.take(&bar(n, 100 + n % 7)).unwrap();
        }
        assert!(indicators.values().is_some());
        assert_eq!(indicators.bars(), 200);
    }

    #[test]
    fn the_values_are_wilders_and_the_textbooks() {
        let closes: Vec<i64> = (0..260).map(|n| 100 + (n * n * 7 + n) % 23).collect();
        let mut indicators = Indicators::default();
        for (n, close) in (0..).zip(&closes) {
            indicators.take(&bar(n, *close)).unwrap();
        }
        let closes: Vec<f64> = closes
            .iter()
            .map(|c| f64::from(i32::try_from(*c).unwrap()))
            .collect();
        let values = indicators.values().unwrap();
        for (value, reference) in [
            (values.rsi14, rsi_by_hand(&closes)),
            (values.ema21, ema_by_hand(&closes, 21)),
            (values.ema50, ema_by_hand(&closes, 50)),
            (values.ema200, ema_by_hand(&closes, 200)),
            (values.atr14, atr_by_hand(&closes)),
        ] {
            assert!((value - reference).abs() < 1e-9, "{value} {reference}");
        }
    }

    fn wilder(series: &[f64]) -> f64 {
        let seed = series[..14].iter().sum::<f64>() / 14.0;
        series[14..]
            .iter()
            .fold(seed, |mean, x| (mean * 13.0 + x) / 14.0)
    }

    fn rsi_by_hand(closes: &[f64]) -> f64 {
        let moves: Vec<f64> = closes.windows(2).map(|w| w[1] - w[0]).collect();
        let gain = wilder(&moves.iter().map(|m| m.max(0.0)).collect::<Vec<_>>());
        let loss = wilder(&moves.iter().map(|m| (-m).max(0.0)).collect::<Vec<_>>());
        100.0 - 100.0 / (1.0 + gain / loss)
    }

    fn ema_by_hand(closes: &[f64], period: u8) -> f64 {
        let n = f64::from(period);
        let (seed, rest) = closes.split_at(period.into());
        let seed = seed.iter().sum::<f64>() / n;
        rest.iter()
            .fold(seed, |ema, x| ema + (x - ema) * 2.0 / (n + 1.0))
    }

    fn atr_by_hand(closes: &[f64]) -> f64 {
        let ranges: Vec<f64> = closes
            .windows(2)
            .map(|w| (w[1] + 3.0).max(w[0]) - (w[1] - 3.0).min(w[0]))
            .collect();
        wilder(&ranges)
    }
}
