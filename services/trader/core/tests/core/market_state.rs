//! The market state: warm-up, gaps, and a bar's signal when its candle is delivered again.

use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::fixed_point::Price;
use bearish_trader_core::market_state::{BAR, BarHistory, MarketState, WARM_UP_BARS};
use bearish_trader_core::strategy::Strategy;
use protocol::time::UtcMs;

const BASE: Interval = Interval::M15;

fn new_state() -> MarketState {
    MarketState::new(BASE, Strategy::ALL.to_vec()).unwrap()
}

/// Always falling, so that RSI14 is 0 and every judged bar signals a long.
fn falling(interval: Interval, n: i64) -> Candle {
    let price = |at: i64| Price::from_units(4_000_000_000_000 - at / 1_000);
    let at = n * interval.millis();
    let (open, close) = (price(at), price(at + interval.millis()));
    Candle::new(interval, UtcMs(at), open, open, close, close).unwrap()
}

fn history(bars: Vec<Candle>) -> BarHistory {
    BarHistory {
        bars,
        ..BarHistory::default()
    }
}

fn bars(range: std::ops::Range<i64>) -> Vec<Candle> {
    range.map(|n| falling(BAR, n)).collect()
}

fn bar_number(close: UtcMs) -> i64 {
    close.0 / BAR.millis() - 1
}

#[test]
fn the_301st_bar_is_the_first_that_is_judged() {
    let mut view = new_state();
    let mut judged = Vec::new();
    for n in 0..610 {
        let seen = view.candle_closed(&falling(BASE, n)).unwrap();
        judged.extend(seen.signal.map(|s| bar_number(s.bar_close)));
        assert_eq!(view.strategy_inputs().is_some(), n >= 601, "{n}");
    }
    assert_eq!(judged, [300, 301, 302, 303, 304]);
}

#[test]
fn warm_up_bars_count() {
    let mut view = new_state();
    view.warm_up(&history(bars(0..300))).unwrap();
    assert_eq!(view.last_signal(), None);
    assert_eq!(view.strategy_inputs(), None);
    view.warm_up(&history(bars(0..301))).unwrap();
    assert!(view.strategy_inputs().is_some());
    let signal = view.last_signal().unwrap();
    assert_eq!(bar_number(signal.bar_close), 300);
    assert_eq!(signal.reference_price, falling(BAR, 300).close);
    assert_eq!(view.last_close(), Some(signal.reference_price));
    assert_eq!(view.next_bar_open(), Some(signal.bar_close));
}

#[test]
fn warm_up_bar_signals_again_only_at_its_last_candle() {
    let mut view = new_state();
    view.warm_up(&history(bars(0..301))).unwrap();
    let expected = view.last_signal();
    for n in 596..602 {
        let seen = view.candle_closed(&falling(BASE, n)).unwrap();
        let last_of_bar_300 = n == 601;
        assert_eq!(seen.signal, expected.filter(|_| last_of_bar_300), "{n}");
    }
    assert_eq!(
        view.candle_closed(&falling(BASE, 602)).unwrap().signal,
        None
    );
    let next = view.candle_closed(&falling(BASE, 603)).unwrap().signal;
    assert_eq!(next.map(|s| bar_number(s.bar_close)), Some(301));
}

#[test]
fn warmed_up_market_state_signals_like_one_fed_every_candle() {
    let (mut warmed, mut watched) = (new_state(), new_state());
    for n in 0..640 {
        let _ = watched.candle_closed(&falling(BASE, n)).unwrap();
    }
    warmed.warm_up(&history(bars(0..320))).unwrap();
    assert_eq!(warmed.last_signal(), watched.last_signal());
    assert!(warmed.last_signal().is_some());
    assert_eq!(warmed.next_bar_open(), watched.next_bar_open());
}

#[test]
fn gap_resets_the_indicators_and_is_reported() {
    let mut view = new_state();
    view.warm_up(&history(bars(0..301))).unwrap();
    let seen = view.candle_closed(&falling(BASE, 604)).unwrap();
    let gap = seen.gap.unwrap();
    assert_eq!((bar_number(gap.from), bar_number(gap.until)), (300, 301));
    assert_eq!(view.strategy_inputs(), None);
    assert_eq!(view.last_signal(), None);
    // After a new warm-up it continues where it was.
    view.warm_up(&history(bars(0..302))).unwrap();
    let _ = view.candle_closed(&falling(BASE, 604)).unwrap();
    let seen = view.candle_closed(&falling(BASE, 605)).unwrap();
    assert_eq!(seen.signal.map(|s| bar_number(s.bar_close)), Some(302));
}

#[test]
fn warm_up_bars_before_a_gap_do_not_count() {
    let mut view = new_state();
    let with_gap = [bars(0..5), bars(6..306)].concat();
    view.warm_up(&history(with_gap.clone())).unwrap();
    assert_eq!(with_gap.len() as u64, WARM_UP_BARS + 5);
    assert_eq!(view.last_signal(), None);
    view.warm_up(&history([bars(0..5), bars(6..307)].concat()))
        .unwrap();
    assert!(view.last_signal().is_some());
}

#[test]
fn empty_warm_up_resets_the_market_state() {
    let mut view = new_state();
    view.warm_up(&history(bars(0..301))).unwrap();
    view.warm_up(&BarHistory::default()).unwrap();
    assert_eq!((view.next_bar_open(), view.last_close()), (None, None));
}

#[test]
fn invalid_warm_up_is_rejected_with_its_reason() {
    let mut view = new_state();
    let twice = [bars(0..2), bars(1..2)].concat();
    let refused = view.warm_up(&history(twice)).unwrap_err().to_string();
    assert!(refused.contains("expected ascending bars"), "{refused}");
    let refused = view
        .warm_up(&history(vec![falling(BASE, 1)]))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("a multiple of 30m"), "{refused}");
    let refused = MarketState::new(Interval::H1, Vec::new()).unwrap_err();
    assert!(
        refused.to_string().contains("base interval is 1h"),
        "{refused}"
    );
    let odd = falling(Interval::M1, 1);
    assert!(view.candle_closed(&odd).is_err());
}

#[test]
fn restored_market_state_continues_like_the_original() {
    let mut lived = new_state();
    for n in 0..611 {
        let _ = lived.candle_closed(&falling(BASE, n)).unwrap();
    }
    let stored = serde_json::to_string(&lived).unwrap();
    let read: MarketState = serde_json::from_str(&stored).unwrap();
    let mut read = read.restore(BASE, Strategy::ALL.to_vec()).unwrap();
    for n in 611..700 {
        let candle = falling(BASE, n);
        assert_eq!(
            read.candle_closed(&candle),
            lived.candle_closed(&candle),
            "{n}"
        );
    }
    assert_eq!(read, lived);
    let other: MarketState = serde_json::from_str(&stored).unwrap();
    assert!(
        other.restore(Interval::M1, Vec::new()).is_none(),
        "another base interval"
    );
}
