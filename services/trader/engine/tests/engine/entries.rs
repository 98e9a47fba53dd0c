//! From a signal to a position or to nothing: every gate with both of its edges.

use bearish_engine::book::{BookEvent, BookRecord, DropReason, ExitReason, Leave, Now, Phase};
use bearish_engine::entry::Refusal;
use bearish_engine::protections::Lock;
use bearish_engine::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::time::UtcMs;

use crate::support::{
    Book, CALM, MINUTE, at, candle, closed, found, open, pending, price, refused, signal,
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
        let records = book.on(closed(candle, now));
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
        assert_eq!(decision, [], "{minute}");
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
                matches!(decision[..], [BookRecord::EntryDecided(_)]),
                "{now}"
            );
        } else {
            assert_eq!(
                decision,
                refused(OversoldBounce, 30, Refusal::StaleSignal),
                "{now}"
            );
        }
    }
}

#[test]
fn a_book_has_one_position_at_most() {
    let now = 60 * MINUTE;
    let mut book = open(OversoldBounce);
    // What a starting trader finds waits for the candle that may end the position.
    assert_eq!(book.would(found(ShortTheRip, 60, now)), []);
    let event = |minute| BookEvent::CandleClosed {
        candle: candle(minute, CALM),
        signal: Some(signal(ShortTheRip, 60)),
        now: at(now),
    };
    assert_eq!(book.would(event(29)), [], "used before");
    let once = book.on(event(59));
    assert_eq!(once, refused(ShortTheRip, 60, Refusal::PositionOpen));
    assert_eq!(book.on(event(59)), [], "refused once");
    assert_eq!(book.state.refusals[&Refusal::PositionOpen], 1);
    let pending = pending(OversoldBounce);
    assert_eq!(pending.would(found(ShortTheRip, 60, now)), []);
}

#[test]
fn what_is_in_the_way_of_an_entry_is_named() {
    let usual = at(30 * MINUTE);
    let cases = [
        (usual, None),
        (
            Now {
                account: Leave::Latched,
                ..usual
            },
            Some(Refusal::AccountLatched),
        ),
        (
            Now {
                account: Leave::Unknown,
                ..usual
            },
            Some(Refusal::AccountUnknown),
        ),
        (
            Now {
                account: Leave::Paused,
                ..usual
            },
            Some(Refusal::Paused),
        ),
        (
            Now {
                exchange_fails: true,
                ..usual
            },
            Some(Refusal::ExchangeErrors),
        ),
    ];
    for (now, expected) in cases {
        let signal = signal(OversoldBounce, 30);
        let records = Book::usual().would(BookEvent::SignalFound { signal, now });
        match (expected, &records[..]) {
            (None, [BookRecord::EntryDecided(entry)]) => assert_eq!(entry.account_seq, 7),
            (Some(reason), _) => assert_eq!(records, refused(OversoldBounce, 30, reason)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_lock_ends_at_its_time() {
    for lock in [
        Lock::ConsecutiveLosses,
        Lock::CooldownPeriod,
        Lock::StoplossGuard,
        Lock::MaxDrawdown,
        Lock::LowProfitPairs,
    ] {
        for (until, entered) in [(30 * MINUTE + 1, false), (30 * MINUTE, true)] {
            let mut book = Book::usual();
            book.state.locks.insert(lock, UtcMs(until));
            let records = book.would(found(OversoldBounce, 30, 30 * MINUTE));
            if entered {
                assert!(
                    matches!(records[..], [BookRecord::EntryDecided(_)]),
                    "{lock}"
                );
            } else {
                assert_eq!(
                    records,
                    refused(OversoldBounce, 30, lock.refusal()),
                    "{lock}"
                );
            }
        }
    }
}

#[test]
fn five_losses_in_a_row_lock_the_book_for_an_hour_and_count_anew() {
    let mut book = Book::usual();
    let mut locked = Vec::new();
    for n in 1..=6 {
        let minute = n * 60;
        book.state.locks.clear();
        book.candle(
            candle(minute - 1, CALM),
            Some(signal(OversoldBounce, minute)),
        );
        book.candle(candle(minute, CALM), None);
        let records = book.candle(candle(minute + 1, ["39000"; 4]), None);
        locked.push(records.len() - 1);
        if let [_, BookRecord::EntriesLocked { by, until, .. }] = &records[..] {
            assert_eq!(*by, Lock::ConsecutiveLosses);
            assert_eq!(until.0, (minute + 1 + 60) * MINUTE);
        }
    }
    assert_eq!(locked, [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_latch_drops_what_is_pending_and_closes_what_is_open() {
    let latched = BookEvent::Latched {
        at: UtcMs(31 * MINUTE),
        price: price("40100"),
    };
    assert_eq!(Book::usual().would(latched.clone()), []);
    let dropped = pending(OversoldBounce).would(latched.clone());
    let reason = DropReason::AccountLatched;
    assert!(matches!(dropped[..], [BookRecord::EntryDropped { reason: r, .. }] if r == reason));
    let closed = open(OversoldBounce).would(latched);
    let [BookRecord::PositionClosed(trade)] = &closed[..] else {
        panic!("{closed:?}")
    };
    // Sold at 40,100 less 0.02 % slippage, on the tick below.
    assert_eq!(
        (trade.price, trade.reason),
        (price("40091.9"), ExitReason::AccountLatched)
    );
    // Latched or paused between decision and fill: not entered.
    for (account, reason) in [
        (Leave::Latched, reason),
        (Leave::Paused, DropReason::Paused),
    ] {
        let mut book = pending(OversoldBounce);
        let filled = book.on(BookEvent::CandleClosed {
            candle: candle(30, CALM),
            signal: None,
            now: Now {
                account,
                ..at(31 * MINUTE)
            },
        });
        assert!(matches!(filled[..], [BookRecord::EntryDropped { reason: r, .. }] if r == reason));
    }
}

#[test]
fn a_bar_is_entered_once() {
    let mut book = pending(OversoldBounce);
    let again = found(OversoldBounce, 30, 30 * MINUTE);
    // Its candle told again while the entry is pending: nothing, not even a refusal.
    let told_again = book.candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    assert_eq!(told_again, []);
    assert_eq!(book.would(again.clone()), []);
    // A bar before it is past as well, not refused.
    assert_eq!(book.would(found(ShortTheRip, 0, 0)), []);
    // Dropped, and still nothing.
    book.candle(candle(30, ["39000"; 4]), None);
    assert_eq!(book.state.phase, Phase::Flat);
    assert_eq!(book.would(again), []);
    assert_eq!(book.would(found(ShortTheRip, 0, 0)), []);
    // The next bar is another matter.
    let next = book.would(found(ShortTheRip, 60, 60 * MINUTE));
    assert!(matches!(next[..], [BookRecord::EntryDecided(_)]));
}

#[test]
fn a_signal_whose_entry_candle_is_used_is_past() {
    let mut book = open(OversoldBounce);
    // The bar of minute 60 signals while the position is open; the next candle closes it.
    let meanwhile = book.candle(candle(59, CALM), Some(signal(ShortTheRip, 60)));
    assert_eq!(meanwhile, refused(ShortTheRip, 60, Refusal::PositionOpen));
    book.candle(candle(60, ["39000"; 4]), None);
    assert_eq!(book.state.phase, Phase::Flat);
    // Still fresh, but the entry would have been at the open of a candle that is over.
    let late = book.would(found(ShortTheRip, 60, 61 * MINUTE));
    assert_eq!(late, []);
    // The same when that candle had dropped an entry.
    let mut book = pending(OversoldBounce);
    book.candle(candle(60, CALM), None);
    assert_eq!(book.state.phase, Phase::Flat);
    let late = book.would(found(ShortTheRip, 60, 61 * MINUTE));
    assert_eq!(late, []);
}
