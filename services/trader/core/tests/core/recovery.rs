//! A trader that crashes at any record and warms up again, or resumes from a snapshot, makes the trades of
//! one that kept running, with the real strategies on seeded price walks.

use std::collections::BTreeMap;

use bearish_trader_core::bar_aggregator::Aggregator;
use bearish_trader_core::bar_history::BarHistory;
use bearish_trader_core::book::{BookConfig, BookEvent, BookRecord, first_needed_candle};
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::market_state::{BAR, MarketState};
use bearish_trader_core::protections::Protections;
use bearish_trader_core::strategy::Strategy;
use protocol::time::UtcMs;

use crate::support::{Book, config, dec, filters, inputs_at, walk};

const BASE: Interval = Interval::M15;
/// 1,700 bars before trading begins, so that the regime is known; then 550 more.
const HISTORY: usize = 3_400;
const CANDLES: i64 = 4_500;

fn bars(candles: &[Candle], bar: Interval) -> Vec<Candle> {
    let mut aggregator = Aggregator::new(BASE, bar).unwrap();
    let done = candles
        .iter()
        .filter_map(|c| aggregator.add_candle(c).unwrap().bar);
    done.collect()
}

/// The adaptive strategies signal wherever the others do, so the others must also run alone.
const BASIC: [Strategy; 2] = [Strategy::OversoldBounce, Strategy::ShortTheRip];
/// Strategies whose trades are counted: by name, so that a new strategy changes no count.
const COUNTED: [Strategy; 4] = [
    Strategy::AdaptiveOversoldBounce,
    Strategy::AdaptiveShortTheRip,
    Strategy::OversoldBounce,
    Strategy::ShortTheRip,
];

/// A market state as at a start: warmed up from bars alone.
fn warmed_up(candles: &[Candle], strategies: &[Strategy]) -> MarketState {
    let mut view = MarketState::new(BASE, strategies.to_vec()).unwrap();
    let history = BarHistory {
        bars: bars(candles, BAR),
        hours: bars(candles, Interval::H1),
        four_hours: bars(candles, Interval::H4),
    };
    view.warm_up(&history).unwrap();
    view
}

fn step(view: &mut MarketState, book: &mut Book, candle: &Candle, now: &Candle) {
    let signal = view.candle_closed(candle).unwrap().signal;
    book.handle_event(BookEvent::CandleClosed {
        candle: *candle,
        signal,
        inputs: inputs_at(BASE.close_of(now.open_time).0),
    });
}

fn judge_newest(view: &MarketState, book: &mut Book, now: &Candle) {
    if let Some(signal) = view.last_signal() {
        let now = inputs_at(BASE.close_of(now.open_time).0);
        book.handle_event(BookEvent::SignalFound {
            signal,
            inputs: now,
        });
    }
}

/// Takes over the book with this market state, and delivers the candles so far.
fn start_up(mut view: MarketState, book: &mut Book, seen: &[Candle]) -> MarketState {
    book.change_writer("boot-2");
    let now = seen.last().unwrap();
    judge_newest(&view, book, now);
    let from: Option<UtcMs> = [first_needed_candle(&book.state), view.next_bar_open()]
        .into_iter()
        .flatten()
        .min();
    for candle in seen.iter().filter(|c| Some(c.open_time) >= from) {
        step(&mut view, book, candle, now);
    }
    view
}

fn run_on(mut view: MarketState, mut book: Book, candles: &[Candle]) -> Book {
    for candle in candles {
        step(&mut view, &mut book, candle, candle);
    }
    book
}

/// With protections and funding, so that the book's state includes all that it remembers between trades.
fn usual() -> Book {
    let config = BookConfig {
        base: BASE,
        funding_rate: dec("0.0001"),
        protections: Protections::default(),
        ..config()
    };
    Book::opened(config, filters(), dec("10000"))
}

fn stored(view: &MarketState, strategies: &[Strategy]) -> MarketState {
    let json = serde_json::to_string(view).unwrap();
    let read: MarketState = serde_json::from_str(&json).unwrap();
    read.restore(BASE, strategies.to_vec()).unwrap()
}

/// Cuts a run at every record: the process crashes before and after the append. `recovered` gives the market
/// state with which the next one starts, from the candles so far and the newest snapshot.
fn restart_at_every_record(
    seed: u64,
    strategies: &[Strategy],
    recovered: impl Fn(&[Candle], &MarketState) -> MarketState,
) -> Book {
    let candles = walk(seed, BASE, CANDLES);
    let (history, live) = candles.split_at(HISTORY);
    let (mut view, mut book) = (warmed_up(history, strategies), usual());
    judge_newest(&view, &mut book, history.last().unwrap());
    let whole = run_on(view.clone(), book.clone(), live);
    let mut snapshot = stored(&view, strategies);
    for n in HISTORY..candles.len() {
        let before = book.journal.len();
        step(&mut view, &mut book, &candles[n], &candles[n]);
        if book.journal.len() > before {
            for records in [before, book.journal.len()] {
                let mut other = book.recovered(records);
                let past = &candles[..=n];
                let view = start_up(recovered(past, &snapshot), &mut other, past);
                let other = run_on(view, other, &candles[n + 1..]);
                let what = format!("seed {seed}, candle {n}, {records} records");
                assert_same(&other, &whole, &what);
            }
        }
        // As the trader stores it: at times, not in step with the records.
        if n % 7 == 0 {
            snapshot = stored(&view, strategies);
        }
    }
    whole
}

/// Names the first record that differs: a whole journal is too long to read.
fn assert_same(other: &Book, whole: &Book, what: &str) {
    let (other, whole) = (other.decisions(), whole.decisions());
    let lengths = (other.len(), whole.len());
    for (n, (found, expected)) in other.iter().zip(&whole).enumerate() {
        assert_eq!(found, expected, "{what}: record {n} of {lengths:?}");
    }
    assert_eq!(lengths.0, lengths.1, "{what}");
}

#[test]
fn trader_restarted_at_any_record_makes_the_same_trades() {
    let mut trades = BTreeMap::new();
    for (seed, strategies) in [(1, &COUNTED[..]), (3, &BASIC), (4, &BASIC)] {
        let whole =
            restart_at_every_record(seed, strategies, |seen, _| warmed_up(seen, strategies));
        for record in &whole.journal {
            if let BookRecord::PositionClosed(trade) = record {
                *trades.entry(trade.strategy).or_insert(0) += 1;
            }
        }
    }
    assert!(trades.values().all(|made| *made >= 5), "{trades:?}");
    assert_eq!(trades.len(), 4, "the walks show little: {trades:?}");
}

#[test]
fn trader_restarted_from_a_snapshot_makes_the_same_trades() {
    for (seed, strategies) in [(5, &Strategy::ALL[..]), (6, &Strategy::ALL), (7, &BASIC)] {
        let whole = restart_at_every_record(seed, strategies, |_, snapshot| snapshot.clone());
        assert!(whole.state.trades >= 3, "{}", whole.state.trades);
    }
}

#[test]
fn market_state_restored_from_a_snapshot_equals_the_original() {
    let candles = walk(9, BASE, CANDLES);
    let mut lived = warmed_up(&candles[..HISTORY], &Strategy::ALL);
    let mut read = stored(&lived, &Strategy::ALL);
    for candle in &candles[HISTORY..] {
        let seen = lived.candle_closed(candle).unwrap();
        assert_eq!(read.candle_closed(candle).unwrap(), seen);
        read = stored(&read, &Strategy::ALL);
        assert_eq!(read, lived);
    }
}
