//! A year of minutes through whole books: aggregation, indicators, regime, signals, every gate,
//! protections, breakers, fills, valuation of the account. One CPU core; symbols minute by minute, as in a trader.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros write undocumented functions; a panic is how a measurement fails"
)]

mod market;

use std::hint::black_box;

use bearish_trader_core::backtest::{Backtest, OnHalt};
use bearish_trader_core::book::BookConfig;
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::strategy::Strategy;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rust_decimal::Decimal;

use market::{YEAR, filters, year};

/// Number of different years that the symbols share.
const YEARS: u64 = 8;

fn account(strategies: &[Strategy], books: usize) -> Backtest {
    let config = BookConfig {
        strategies: strategies.to_vec(),
        ..BookConfig::default()
    };
    let capital = Decimal::from(10_000);
    let symbols = vec![filters(); books];
    Backtest::new(&config, symbols, capital, OnHalt::UnlatchNextDay).unwrap()
}

/// Every book gets its candle of a minute before the account is valued and the next minute begins.
fn trade(account: &mut Backtest, years: &[Vec<Candle>]) -> usize {
    let mut trades = 0;
    let books = account.books().len();
    for minute in 0..years[0].len() {
        for (book, year) in (0..books).zip(years.iter().cycle()) {
            let step = account.candle_closed(book, &year[minute]).unwrap();
            trades += step.trades.len();
        }
        let close = Interval::M1.close_of(years[0][minute].open_time);
        trades += account.value_account(close).unwrap().trades.len();
    }
    trades
}

fn candles(criterion: &mut Criterion) {
    let years: Vec<Vec<Candle>> = (1..=YEARS).map(year).collect();
    let base = [Strategy::OversoldBounce, Strategy::ShortTheRip];
    let mut group = criterion.benchmark_group("a year of minutes");
    group.sample_size(10);
    for (name, strategies) in [("base strategies", &base[..]), ("all four", &Strategy::ALL)] {
        for symbols in [1, 10, 100] {
            let all = YEAR.unsigned_abs() * symbols as u64;
            group.throughput(Throughput::Elements(all));
            group.bench_function(BenchmarkId::new(name, symbols), |bencher| {
                bencher.iter_batched_ref(
                    || account(strategies, symbols),
                    |account| black_box(trade(account, &years)),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

criterion_group!(throughput, candles);
criterion_main!(throughput);
