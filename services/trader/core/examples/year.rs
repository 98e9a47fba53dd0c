//! Backtests a generated year of one-minute candles with the base strategies, for `bench/peers/run`: writes the
//! candles to a file for other programs, trades them several times from memory, prints one line of JSON.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic is how a measurement fails, and its figures are its answer"
)]

#[path = "../benches/market/mod.rs"]
mod market;

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use bearish_trader_core::backtest::{Backtest, OnHalt};
use bearish_trader_core::book::BookConfig;
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::strategy::Strategy;
use rust_decimal::Decimal;

const RUNS: usize = 20;
const BASE: [Strategy; 2] = [Strategy::OversoldBounce, Strategy::ShortTheRip];

fn main() {
    let year = market::year(1);
    let file = std::env::args().nth(1).unwrap();
    std::fs::write(file, csv(&year)).unwrap();
    let runs: Vec<(f64, usize)> = (0..RUNS).map(|_| timed(&year)).collect();
    let seconds: Vec<f64> = runs.iter().map(|(seconds, _)| *seconds).collect();
    println!(
        "{{\"candles\": {}, \"seconds\": {seconds:?}, \"signals\": {}, \"trades\": {}}}",
        year.len(),
        signals(&year),
        runs[0].1
    );
}

fn book() -> Backtest {
    let config = BookConfig {
        strategies: BASE.to_vec(),
        ..BookConfig::default()
    };
    let capital = Decimal::from(10_000);
    let symbols = vec![market::filters()];
    Backtest::new(&config, symbols, capital, OnHalt::UnlatchNextDay).unwrap()
}

fn timed(year: &[Candle]) -> (f64, usize) {
    let began = Instant::now();
    let mut book = book();
    let mut trades = 0;
    for candle in year {
        trades += book.candle_closed(0, candle).unwrap().trades.len();
        let close = Interval::M1.close_of(candle.open_time);
        trades += book.value_account(close).unwrap().trades.len();
    }
    black_box(&book);
    (began.elapsed().as_secs_f64(), trades)
}

/// Number of bars on which each strategy's condition holds.
fn signals(year: &[Candle]) -> usize {
    let mut account = book();
    let mut count = 0;
    for candle in year {
        let closed = account.candle_closed(0, candle).unwrap().bar_closed;
        let book = &account.books()[0];
        if let Some(sight) = book.strategy_inputs().filter(|_| closed) {
            count += book.matching_strategies(&sight).count();
        }
    }
    count
}

fn csv(year: &[Candle]) -> String {
    let mut text = String::from("open_time,open,high,low,close\n");
    for c in year {
        let (at, open, high, low, close) = (c.open_time.0, c.open, c.high, c.low, c.close);
        let _ = writeln!(text, "{at},{open},{high},{low},{close}");
    }
    text
}
