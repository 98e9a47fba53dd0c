//! Compares the indicators with figures of another program
//! (`tests/reference/indicators.py`, pandas).

use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::fixed_point::Price;
use bearish_trader_core::indicators::Indicators;
use protocol::time::UtcMs;

const FIGURES: &str = include_str!("../reference/indicators.csv");
const CENT: i64 = 1_000_000;

/// The same series as in the script, in hundredths.
fn price(n: i64) -> i64 {
    let wave = |period: i64, height: i64| (n % period - period / 2).abs() * height;
    4_000_000 + wave(97, 1_500) + wave(331, 700) + (n * n * 7_919 + 31 * n) % 23_571
}

fn bar(n: i64) -> Candle {
    let (open, close) = (price(n), price(n + 1));
    let high = open.max(close) + n * 37 % 501;
    let low = open.min(close) - n * 53 % 487;
    let [open, high, low, close] = [open, high, low, close].map(|p| Price::from_units(p * CENT));
    let at = UtcMs(n * Interval::M30.millis());
    Candle::new(Interval::M30, at, open, high, low, close).unwrap()
}

#[test]
fn indicators_equal_those_that_pandas_computes() {
    let mut rows = csv::Reader::from_reader(FIGURES.as_bytes());
    let mut figures = rows.deserialize::<(i64, [f64; 5])>().map(Result::unwrap);
    let mut wanted = figures.next();
    let (mut ours, mut compared) = (Indicators::default(), 0);
    for n in 0..600 {
        ours.update(&bar(n));
        let Some((_, theirs)) = wanted.filter(|(bar, _)| *bar == n) else {
            continue;
        };
        let v = ours.values().unwrap();
        let found = [v.rsi14, v.ema21, v.ema50, v.ema200, v.atr14];
        for (name, (found, theirs)) in ["rsi14", "ema21", "ema50", "ema200", "atr14"]
            .iter()
            .zip(found.into_iter().zip(theirs))
        {
            let off = (found / theirs - 1.0).abs();
            assert!(off < 1e-9, "bar {n}, {name}: {found} is not {theirs}");
        }
        compared += 1;
        wanted = figures.next();
    }
    assert_eq!((compared, wanted), (9, None));
}
