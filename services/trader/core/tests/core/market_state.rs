//! The market state: warm-up, gaps, and a bar's signal when its candle is delivered again.

use bearish_trader_core::bar_history::{BarHistory, HistoryBuilder};
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::fixed_point::Price;
use bearish_trader_core::market_state::{BAR, MarketState};
use bearish_trader_core::strategy::Strategy;
use protocol::time::UtcMs;

use crate::support::{Random, walk};

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

/// Candles of the first 440 bars, with random ones missing: single ones, whole bars, up to 24 hours.
fn with_holes(seed: u64) -> Vec<Candle> {
    let mut random = Random(seed);
    let mut candles = walk(seed, BASE, 2 * 440);
    let mut skip = 0;
    let mut index = 0;
    candles.retain(|_| {
        index += 1;
        if index < 4 {
            return true;
        }
        if skip == 0 && random.below(40) == 0 {
            skip = [1, 1, 2, 3, 96][usize::try_from(random.below(5)).unwrap()];
        }
        let keep = skip == 0;
        skip -= i64::from(!keep);
        keep
    });
    candles
}

/// The bars that an exchange makes of the candles that it has: first open, highest high, lowest low, last close. A bar
/// without candles stands at the last close.
fn bars_of_exchange(candles: &[Candle], interval: Interval) -> Vec<Candle> {
    let mut bars: Vec<Candle> = Vec::new();
    for candle in candles {
        let opens = interval.open_of(candle.open_time);
        while let Some(last) = bars.last().copied()
            && interval.close_of(last.open_time) < opens
        {
            let next = interval.close_of(last.open_time);
            let c = last.close;
            bars.push(Candle::new(interval, next, c, c, c, c).unwrap());
        }
        if let Some(bar) = bars.last_mut().filter(|bar| bar.open_time == opens) {
            bar.high = bar.high.max(candle.high);
            bar.low = bar.low.min(candle.low);
            bar.close = candle.close;
        } else {
            let Candle {
                open,
                high,
                low,
                close,
                ..
            } = *candle;
            bars.push(Candle::new(interval, opens, open, high, low, close).unwrap());
        }
    }
    // The last one is in progress.
    bars.pop();
    bars
}

#[test]
fn bridged_candles_give_the_indicators_of_the_bars_of_the_exchange() {
    for seed in 1..=20 {
        let mut candles = with_holes(seed);
        // The next bar begins: the exchange has closed all before it.
        let last = candles.last().unwrap().open_time;
        let next = BAR.close_of(BAR.open_of(last));
        candles.retain(|candle| candle.open_time <= next);
        let close = candles.last().unwrap().close;
        candles.push(Candle::new(BASE, next, close, close, close, close).unwrap());
        let mut bridged = new_state();
        let mut missing = 0;
        for candle in &candles {
            missing += bridged.candle_closed(candle).unwrap().bridged;
        }
        assert!(missing > 0, "{seed}");
        let mut warmed = new_state();
        warmed
            .warm_up(&BarHistory {
                bars: bars_of_exchange(&candles, BAR),
                hours: bars_of_exchange(&candles, Interval::H1),
                four_hours: bars_of_exchange(&candles, Interval::H4),
            })
            .unwrap();
        assert_eq!(
            bridged.strategy_inputs(),
            warmed.strategy_inputs(),
            "{seed}"
        );
        assert!(warmed.strategy_inputs().is_some(), "{seed}");
    }
}

#[test]
fn missing_candles_are_bridged_for_a_day_and_then_the_indicators_start_over() {
    let day = i64::from(24 * 4);
    for (missing, is_bridged) in [
        (1, true),
        (2, true),
        (3, true),
        (day, true),
        (day + 1, false),
    ] {
        let mut view = new_state();
        for n in 0..610 {
            let _ = view.candle_closed(&falling(BASE, n)).unwrap();
        }
        let mut outcomes = Vec::new();
        for n in (610 + missing)..(614 + missing) {
            outcomes.push(view.candle_closed(&falling(BASE, n)).unwrap());
        }
        let first = outcomes[0];
        let gaps = outcomes
            .iter()
            .filter(|outcome| outcome.gap.is_some())
            .count();
        assert_eq!(
            first.bridged,
            if is_bridged {
                u32::try_from(missing).unwrap()
            } else {
                0
            }
        );
        assert_eq!(gaps > 0, !is_bridged, "{missing}");
        assert_eq!(view.strategy_inputs().is_some(), is_bridged, "{missing}");
    }
}

#[test]
fn bar_whose_last_candle_is_missing_closes_without_a_signal() {
    let mut view = new_state();
    for n in 0..610 {
        let _ = view.candle_closed(&falling(BASE, n)).unwrap();
    }
    // The first candle of bar 305 is missing: the bar is judged at its end. Then the last one of bar 306 is missing.
    let mut signals = Vec::new();
    for n in [611, 612, 614, 615] {
        let outcome = view.candle_closed(&falling(BASE, n)).unwrap();
        signals.push(outcome.signal.map(|s| bar_number(s.bar_close)));
    }
    assert_eq!(signals, [Some(305), None, None, Some(307)]);
}

#[test]
fn history_of_candles_warms_up_like_the_bars_of_the_exchange() {
    let candles = walk(3, BASE, 2 * 2_000 + 1);
    let mut builder = HistoryBuilder::new(BASE).unwrap();
    for candle in &candles {
        builder.add_candle(candle).unwrap();
    }
    let (history, since_bar) = builder.finish();
    let bars = bars_of_exchange(&candles, BAR);
    assert_eq!(history.bars, bars[bars.len() - 1_500..]);
    let hours = bars_of_exchange(&candles, Interval::H1);
    assert_eq!(history.hours, hours[hours.len() - 499..]);
    assert_eq!(history.four_hours, bars_of_exchange(&candles, Interval::H4));
    assert_eq!(since_bar, candles[candles.len() - 1..]);
}

#[test]
fn warm_up_bars_before_a_gap_of_more_than_a_day_do_not_count() {
    let mut view = new_state();
    let with_gap = |missing: i64, end: i64| history([bars(0..5), bars(5 + missing..end)].concat());
    view.warm_up(&with_gap(49, 354)).unwrap();
    assert_eq!(view.last_signal(), None);
    view.warm_up(&with_gap(49, 355)).unwrap();
    assert!(view.last_signal().is_some());
    // A shorter gap is bridged, and the bars before it count.
    view.warm_up(&with_gap(48, 301)).unwrap();
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
