//! A trader that dies at any record and warms up anew makes the trades of one that lived, with the
//! real strategies on seeded price walks.

use std::collections::BTreeMap;

use bearish_engine::aggregate::Aggregator;
use bearish_engine::book::{BookConfig, BookEvent, BookRecord, resume_from};
use bearish_engine::candle::{Candle, Interval};
use bearish_engine::market::{BAR, MarketView};
use bearish_engine::strategy::Strategy;

use crate::support::{Book, dec, rules, walk};

const BASE: Interval = Interval::M15;
/// 350 bars before trading begins, then 550 more.
const HISTORY: usize = 700;
const CANDLES: i64 = 1_800;

fn bars(candles: &[Candle]) -> Vec<Candle> {
    let mut aggregator = Aggregator::new(BASE, BAR).unwrap();
    let done = candles
        .iter()
        .filter_map(|c| aggregator.take(c).unwrap().bar);
    done.collect()
}

/// A view as a starting trader has it: warmed up from bars alone.
fn warmed(candles: &[Candle]) -> MarketView {
    let mut view = MarketView::new(BASE, Strategy::ALL.to_vec()).unwrap();
    view.warm_up(&bars(candles)).unwrap();
    view
}

fn step(view: &mut MarketView, book: &mut Book, candle: &Candle, now: &Candle) {
    let signal = view.candle_closed(candle).unwrap().signal;
    book.on(BookEvent::CandleClosed {
        candle: *candle,
        signal,
        market_now: BASE.close_of(now.open_time),
    });
}

fn start_up(book: &mut Book, seen: &[Candle]) -> MarketView {
    book.take_over("boot-2");
    let mut view = warmed(seen);
    let now = seen.last().unwrap();
    let market_now = BASE.close_of(now.open_time);
    if let Some(signal) = view.last_signal() {
        book.on(BookEvent::SignalFound { signal, market_now });
    }
    let from = [resume_from(&book.state), view.next_bar_open()]
        .into_iter()
        .flatten()
        .min();
    for candle in seen.iter().filter(|c| Some(c.open_time) >= from) {
        step(&mut view, book, candle, now);
    }
    view
}

fn go_on(mut view: MarketView, mut book: Book, candles: &[Candle]) -> Book {
    for candle in candles {
        step(&mut view, &mut book, candle, candle);
    }
    book
}

fn usual() -> Book {
    let config = BookConfig {
        base: BASE,
        ..BookConfig::default()
    };
    Book::opened(config, rules(), dec("10000"))
}

#[test]
fn a_trader_cut_at_any_record_makes_the_trades_of_one_that_lived() {
    let mut trades = BTreeMap::new();
    for seed in 1..=6 {
        let candles = walk(seed, BASE, CANDLES);
        let (history, live) = candles.split_at(HISTORY);
        let whole = go_on(warmed(history), usual(), live);
        for record in &whole.journal {
            if let BookRecord::PositionClosed(trade) = record {
                *trades.entry(trade.strategy).or_insert(0) += 1;
            }
        }
        let (mut view, mut book) = (warmed(history), usual());
        for n in HISTORY..candles.len() {
            let before = book.journal.len();
            step(&mut view, &mut book, &candles[n], &candles[n]);
            if book.journal.len() == before {
                continue;
            }
            for records in [before, book.journal.len()] {
                let mut other = book.recovered(records);
                let view = start_up(&mut other, &candles[..=n]);
                let other = go_on(view, other, &candles[n + 1..]);
                assert_eq!(
                    other.decisions(),
                    whole.decisions(),
                    "seed {seed}, candle {n}"
                );
            }
        }
    }
    for strategy in Strategy::ALL {
        let made = trades.get(&strategy).copied().unwrap_or(0);
        assert!(
            made >= 5,
            "{strategy} made {made} trades: the walks show nothing"
        );
    }
}
