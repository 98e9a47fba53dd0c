//! A month of recorded market data: the strategies' conditions hold on exactly the candles on which they
//! hold according to pandas. The data file is not part of the project.

use std::path::PathBuf;

use bearish_trader_core::bar_aggregator::Aggregator;
use bearish_trader_core::book::BookEvent;
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::indicators::Indicators;
use bearish_trader_core::market_state::{BAR, MarketState, WARM_UP_BARS};
use bearish_trader_core::strategy::{Strategy, StrategyInputs};
use flate2::read::GzDecoder;
use protocol::time::UtcMs;

use crate::support::{Book, inputs_at};

const FILE: &str = "btcusdt-perp-1m-2022-01.csv.gz";

#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn recorded_candles() -> Option<Vec<Candle>> {
    let folder = std::env::var_os("BEARISH_MARKET_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/market-data"),
        PathBuf::from,
    );
    let Ok(file) = std::fs::File::open(folder.join(FILE)) else {
        eprintln!(
            "SKIPPED: {FILE} is not in BEARISH_MARKET_DATA ({})",
            folder.display()
        );
        return None;
    };
    let mut reader = csv::Reader::from_reader(GzDecoder::new(file));
    let candles = reader
        .deserialize::<(i64, String, String, String, String, String)>()
        .map(|row| {
            let (at, open, high, low, close, _volume) = row.unwrap();
            let [open, high, low, close] = [open, high, low, close].map(|p| p.parse().unwrap());
            Candle::new(Interval::M1, UtcMs(at), open, high, low, close).unwrap()
        })
        .collect();
    Some(candles)
}

#[test]
fn strategy_conditions_hold_on_the_recorded_bars_that_pandas_finds() {
    let Some(candles) = recorded_candles() else {
        return;
    };
    assert_eq!(candles.len(), 45_031);
    let mut bars = Aggregator::new(Interval::M1, BAR).unwrap();
    let mut indicators = Indicators::default();
    let (mut oversold, mut overbought, mut rip, mut under_45) = (0, 0, 0, 0);
    for candle in &candles {
        let Some(bar) = bars.add_candle(candle).unwrap().bar else {
            continue;
        };
        indicators.update(&bar);
        let Some(values) = indicators
            .values()
            .filter(|_| indicators.bars() > WARM_UP_BARS)
        else {
            continue;
        };
        let inputs = StrategyInputs {
            values,
            regime: None,
        };
        oversold += u32::from(Strategy::OversoldBounce.evaluate(&inputs));
        overbought += u32::from(values.rsi14 >= 61.0);
        rip += u32::from(Strategy::ShortTheRip.evaluate(&inputs));
        under_45 += u32::from(values.rsi14 <= 45.0);
    }
    assert_eq!(indicators.bars(), 1_500);
    assert_eq!((oversold, overbought, rip, under_45), (13, 169, 29, 392));
}

#[test]
fn book_trades_the_recorded_month_and_its_figures_add_up() {
    let Some(candles) = recorded_candles() else {
        return;
    };
    let mut view = MarketState::new(Interval::M1, Strategy::ALL.to_vec()).unwrap();
    let mut book = Book::usual();
    // A month is too short for the regime: the adaptive strategies do not signal.
    let mut signals = [0; 4];
    for candle in candles {
        let signal = view.candle_closed(&candle).unwrap().signal;
        for (count, strategy) in signals.iter_mut().zip(Strategy::ALL) {
            *count += u32::from(signal.is_some_and(|s| s.strategy == strategy));
        }
        book.handle_event(BookEvent::CandleClosed {
            candle,
            signal,
            inputs: inputs_at(Interval::M1.close_of(candle.open_time).0),
        });
    }
    assert_eq!(signals, [0, 0, 13, 29]);
    assert!(book.state.trades > 10, "{:?}", book.state);
    assert_eq!(book.recovered(book.journal.len()).state, book.state);
}
