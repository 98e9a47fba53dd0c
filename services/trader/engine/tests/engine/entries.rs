//! From a signal to a position or to nothing: every gate with both of its edges.

use bearish_engine::book::{BookEvent, BookRecord, Decision, DropReason, Phase};
use bearish_engine::entry::Refusal;
use bearish_engine::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::time::UtcMs;

use crate::support::{
    Book, CALM, MINUTE, candle, closed, found, open, pending, price, refused, signal,
};

#[test]
fn a_pending_entry_fills_at_its_candles_open_or_is_dropped_with_the_reason() {
    use DropReason::{CandleMissing, FillBeyondTarget, OpenBeyondStop, TooLate};
    let fresh = 60_000;
    let cases = [
        (OversoldBounce, 30, "40000", fresh, Ok("40008")),
        (OversoldBounce, 30, "40000", fresh + 1, Err(TooLate)),
        (OversoldBounce, 31, "40000", 0, Err(CandleMissing)),
        (OversoldBounce, 30, "39600.1", 0, Ok("39608.1")),
        (OversoldBounce, 30, "39600", 0, Err(OpenBeyondStop)),
        (OversoldBounce, 30, "39000", 0, Err(OpenBeyondStop)),
        // 40,591.8 x 1.0002 = 40,599.918: the tick above is the target.
        (OversoldBounce, 30, "40591.7", 0, Ok("40599.9")),
        (OversoldBounce, 30, "40591.8", 0, Err(FillBeyondTarget)),
        (ShortTheRip, 30, "40000", fresh, Ok("39992")),
        (ShortTheRip, 30, "40479.9", 0, Ok("40471.8")),
        (ShortTheRip, 30, "40480", 0, Err(OpenBeyondStop)),
        // 39,527.9 x 0.9998 = 39,519.99: the tick below is under the target.
        (ShortTheRip, 30, "39528.1", 0, Ok("39520.1")),
        (ShortTheRip, 30, "39528", 0, Err(FillBeyondTarget)),
    ];
    for (strategy, minute, at, late_ms, expected) in cases {
        let mut book = pending(strategy);
        let candle = candle(minute, [at; 4]);
        let now = (minute + 1) * MINUTE + late_ms;
        let records = book.on(closed(candle, now)).records;
        let what = format!("{strategy} {minute} {at} {late_ms}: {records:?}");
        match (expected, &records[..]) {
            (Ok(fill), [BookRecord::PositionOpened(p)]) => {
                assert_eq!(p.price, price(fill), "{what}");
            }
            (Err(why), [BookRecord::EntryDropped { at, reason }]) => {
                assert_eq!((*at, *reason), (candle.open_time, why), "{what}");
                assert_eq!(book.state.phase, Phase::Flat);
            }
            _ => panic!("{what}"),
        }
    }
}

#[test]
fn candles_before_the_entrys_own_change_nothing() {
    let book = pending(OversoldBounce);
    for minute in [0, 28, 29] {
        let decision = book.would(closed(candle(minute, ["1", "90000", "1", "1"]), 0));
        assert_eq!(decision, Decision::default(), "{minute}");
    }
}

#[test]
fn a_signal_is_fresh_for_one_base_interval() {
    let close = 30 * MINUTE;
    for (now, entered) in [
        (close - 5_000, true),
        (close, true),
        (close + 60_000, true),
        (close + 60_001, false),
    ] {
        let decision = Book::usual().would(found(OversoldBounce, 30, now));
        if entered {
            assert!(
                matches!(decision.records[..], [BookRecord::EntryDecided(_)]),
                "{now}"
            );
            assert_eq!(decision.refusal, None);
        } else {
            assert_eq!(decision, refused(Refusal::StaleSignal), "{now}");
        }
    }
}

#[test]
fn a_book_has_one_position_at_most() {
    let now = 60 * MINUTE;
    for book in [pending(OversoldBounce), open(OversoldBounce)] {
        let decision = book.would(found(ShortTheRip, 60, now));
        assert_eq!(decision, refused(Refusal::PositionOpen));
        let event = BookEvent::CandleClosed {
            candle: candle(29, CALM),
            signal: Some(signal(ShortTheRip, 60)),
            market_now: UtcMs(now),
        };
        assert_eq!(book.would(event).records, []);
    }
}

#[test]
fn a_bar_is_entered_once() {
    let mut book = pending(OversoldBounce);
    let again = found(OversoldBounce, 30, 30 * MINUTE);
    assert_eq!(book.would(again.clone()), Decision::default());
    // A bar before it is past as well, not refused.
    assert_eq!(book.would(found(ShortTheRip, 0, 0)), Decision::default());
    // Dropped, and still nothing.
    book.candle(candle(30, ["39000"; 4]), None);
    assert_eq!(book.state.phase, Phase::Flat);
    assert_eq!(book.would(again), Decision::default());
    assert_eq!(book.would(found(ShortTheRip, 0, 0)), Decision::default());
    // The next bar is another matter.
    let next = book.would(found(ShortTheRip, 60, 60 * MINUTE));
    assert!(matches!(next.records[..], [BookRecord::EntryDecided(_)]));
}

#[test]
fn a_signal_whose_entry_candle_is_used_is_past() {
    let mut book = open(OversoldBounce);
    // The bar of minute 60 signals while the position is open; the next candle closes it.
    assert_eq!(
        book.candle(candle(59, CALM), Some(signal(ShortTheRip, 60))),
        []
    );
    book.candle(candle(60, ["39000"; 4]), None);
    assert_eq!(book.state.phase, Phase::Flat);
    // Still fresh, but the entry would have been at the open of a candle that is over.
    let late = book.would(found(ShortTheRip, 60, 61 * MINUTE));
    assert_eq!(late, Decision::default());
    // The same when that candle had dropped an entry.
    let mut book = pending(OversoldBounce);
    book.candle(candle(60, CALM), None);
    assert_eq!(book.state.phase, Phase::Flat);
    let late = book.would(found(ShortTheRip, 60, 61 * MINUTE));
    assert_eq!(late, Decision::default());
}
