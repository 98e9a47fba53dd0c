//! From a signal to a position or a rejection: every gate on both sides of its limit.

use bearish_trader_core::book::{
    BookEvent, BookPhase, BookRecord, DecisionInputs, DropReason, EntryPermission, ExitReason,
};
use bearish_trader_core::entry::SignalRejection;
use bearish_trader_core::protections::EntryLockKind;
use bearish_trader_core::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::time::UtcMs;

use crate::support::{
    Book, CALM, MINUTE, candle, candle_closed, inputs_at, open, pending, price, signal,
    signal_found, signal_rejected,
};

#[test]
fn pending_entry_fills_at_the_open_of_its_candle_or_is_dropped() {
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
        let records = book.handle_event(candle_closed(candle, now));
        let what = format!("{strategy} {minute} {at} {late_ms}: {records:?}");
        match (expected, &records[..]) {
            (Ok(fill), [BookRecord::PositionOpened(p)]) => {
                assert_eq!(p.entry_price, price(fill), "{what}");
            }
            (Err(why), [BookRecord::EntryDropped { at, reason, .. }]) => {
                assert_eq!((*at, *reason), (candle.open_time, why), "{what}");
                assert_eq!(book.state.phase, BookPhase::Flat);
            }
            _ => panic!("{what}"),
        }
    }
}

#[test]
fn pending_entry_ignores_candles_before_its_own() {
    let book = pending(OversoldBounce);
    for minute in [0, 28, 29] {
        let decision = book.decide_only(candle_closed(candle(minute, ["1", "90000", "1", "1"]), 0));
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
        let decision = Book::usual().decide_only(signal_found(OversoldBounce, 30, now));
        if entered {
            assert!(
                matches!(decision[..], [BookRecord::EntryDecided(_)]),
                "{now}"
            );
        } else {
            assert_eq!(
                decision,
                signal_rejected(OversoldBounce, 30, SignalRejection::StaleSignal),
                "{now}"
            );
        }
    }
}

#[test]
fn a_book_has_one_position_at_most() {
    let now = 60 * MINUTE;
    let mut book = open(OversoldBounce);
    // A signal found at start waits for the candle that may close the position.
    assert_eq!(book.decide_only(signal_found(ShortTheRip, 60, now)), []);
    let event = |minute| BookEvent::CandleClosed {
        candle: candle(minute, CALM),
        signal: Some(signal(ShortTheRip, 60)),
        inputs: inputs_at(now),
    };
    assert_eq!(book.decide_only(event(29)), [], "used before");
    let once = book.handle_event(event(59));
    assert_eq!(
        once,
        signal_rejected(ShortTheRip, 60, SignalRejection::PositionOpen)
    );
    assert_eq!(book.handle_event(event(59)), [], "rejected once");
    let rejected = book.state.rejected_signals[&SignalRejection::PositionOpen];
    assert_eq!((rejected.count, rejected.last_bar), (1, UtcMs(60 * MINUTE)));
    let pending = pending(OversoldBounce);
    assert_eq!(pending.decide_only(signal_found(ShortTheRip, 60, now)), []);
}

#[test]
fn signal_rejection_names_what_prevents_the_entry() {
    let usual = inputs_at(30 * MINUTE);
    let cases = [
        (usual, None),
        (
            DecisionInputs {
                entry_permission: EntryPermission::Latched,
                ..usual
            },
            Some(SignalRejection::AccountLatched),
        ),
        (
            DecisionInputs {
                entry_permission: EntryPermission::Unknown,
                ..usual
            },
            Some(SignalRejection::AccountUnknown),
        ),
        (
            DecisionInputs {
                entry_permission: EntryPermission::Paused,
                ..usual
            },
            Some(SignalRejection::EntriesPaused),
        ),
        (
            DecisionInputs {
                entry_permission: EntryPermission::NotTradable,
                ..usual
            },
            Some(SignalRejection::SymbolNotTradable),
        ),
        (
            DecisionInputs {
                entry_permission: EntryPermission::SymbolRemoved,
                ..usual
            },
            Some(SignalRejection::SymbolRemoved),
        ),
        (
            DecisionInputs {
                entry_permission: EntryPermission::OtherSettings,
                ..usual
            },
            Some(SignalRejection::OtherSettings),
        ),
        (
            DecisionInputs {
                is_exchange_failing: true,
                ..usual
            },
            Some(SignalRejection::ExchangeErrors),
        ),
    ];
    for (now, expected) in cases {
        let signal = signal(OversoldBounce, 30);
        let records = Book::usual().decide_only(BookEvent::SignalFound {
            signal,
            inputs: now,
        });
        match (expected, &records[..]) {
            (None, [BookRecord::EntryDecided(entry)]) => assert_eq!(entry.account_seq, 7),
            (Some(reason), _) => assert_eq!(records, signal_rejected(OversoldBounce, 30, reason)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn entry_lock_ends_at_its_time() {
    for lock in [
        EntryLockKind::ConsecutiveLosses,
        EntryLockKind::CooldownPeriod,
        EntryLockKind::StoplossGuard,
        EntryLockKind::MaxDrawdown,
        EntryLockKind::LowProfitPairs,
    ] {
        for (until, entered) in [(30 * MINUTE + 1, false), (30 * MINUTE, true)] {
            let mut book = Book::usual();
            book.state.locks.insert(lock, UtcMs(until));
            let records = book.decide_only(signal_found(OversoldBounce, 30, 30 * MINUTE));
            if entered {
                assert!(
                    matches!(records[..], [BookRecord::EntryDecided(_)]),
                    "{lock}"
                );
            } else {
                assert_eq!(
                    records,
                    signal_rejected(OversoldBounce, 30, lock.rejection()),
                    "{lock}"
                );
            }
        }
    }
}

#[test]
fn five_consecutive_losses_lock_entries_for_an_hour_and_reset_the_count() {
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
        let is_lock = |r: &&BookRecord| matches!(r, BookRecord::EntriesLocked { .. });
        locked.push(records.iter().filter(is_lock).count());
        if let [
            _,
            BookRecord::BreakerTripped { .. },
            BookRecord::EntriesLocked {
                lock: by, until, ..
            },
        ] = &records[..]
        {
            assert_eq!(*by, EntryLockKind::ConsecutiveLosses);
            assert_eq!(until.0, (minute + 1 + 60) * MINUTE);
        }
    }
    assert_eq!(locked, [0, 0, 0, 0, 1, 0]);
}

#[test]
fn account_latch_drops_the_pending_entry_and_closes_the_position() {
    let latched = BookEvent::AccountLatched {
        at: UtcMs(31 * MINUTE),
        price: price("40100"),
    };
    assert_eq!(Book::usual().decide_only(latched.clone()), []);
    let dropped = pending(OversoldBounce).decide_only(latched.clone());
    let reason = DropReason::AccountLatched;
    assert!(matches!(dropped[..], [BookRecord::EntryDropped { reason: r, .. }] if r == reason));
    let closed = open(OversoldBounce).decide_only(latched);
    let [BookRecord::PositionClosed(trade)] = &closed[..] else {
        panic!("{closed:?}")
    };
    // Sold at 40,100 less 0.02 % slippage, on the tick below.
    assert_eq!(
        (trade.exit_price, trade.reason),
        (price("40091.9"), ExitReason::AccountLatched)
    );
    // Latched or paused between decision and fill: not entered.
    for (account, reason) in [
        (EntryPermission::Latched, reason),
        (EntryPermission::Paused, DropReason::Paused),
    ] {
        let mut book = pending(OversoldBounce);
        let filled = book.handle_event(BookEvent::CandleClosed {
            candle: candle(30, CALM),
            signal: None,
            inputs: DecisionInputs {
                entry_permission: account,
                ..inputs_at(31 * MINUTE)
            },
        });
        assert!(matches!(filled[..], [BookRecord::EntryDropped { reason: r, .. }] if r == reason));
    }
}

#[test]
fn a_bar_is_entered_once() {
    let mut book = pending(OversoldBounce);
    let again = signal_found(OversoldBounce, 30, 30 * MINUTE);
    // The candle is delivered again while the entry is pending: not even a rejection follows.
    let records = book.candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    assert_eq!(records, []);
    assert_eq!(book.decide_only(again.clone()), []);
    // An earlier bar is ignored as well, not rejected.
    assert_eq!(book.decide_only(signal_found(ShortTheRip, 0, 0)), []);
    // Dropped, and still nothing.
    book.candle(candle(30, ["39000"; 4]), None);
    assert_eq!(book.state.phase, BookPhase::Flat);
    assert_eq!(book.decide_only(again), []);
    assert_eq!(book.decide_only(signal_found(ShortTheRip, 0, 0)), []);
    // The next bar is judged.
    let next = book.decide_only(signal_found(ShortTheRip, 60, 60 * MINUTE));
    assert!(matches!(next[..], [BookRecord::EntryDecided(_)]));
}

#[test]
fn signal_is_ignored_once_its_entry_candle_is_used() {
    let mut book = open(OversoldBounce);
    // The bar of minute 60 signals while the position is open; the next candle closes it.
    let meanwhile = book.candle(candle(59, CALM), Some(signal(ShortTheRip, 60)));
    assert_eq!(
        meanwhile,
        signal_rejected(ShortTheRip, 60, SignalRejection::PositionOpen)
    );
    book.candle(candle(60, ["39000"; 4]), None);
    assert_eq!(book.state.phase, BookPhase::Flat);
    // Still fresh, but the entry would have been at the open of a candle that is over.
    let late = book.decide_only(signal_found(ShortTheRip, 60, 61 * MINUTE));
    assert_eq!(late, []);
    // The same when that candle had dropped an entry.
    let mut book = pending(OversoldBounce);
    book.candle(candle(60, CALM), None);
    assert_eq!(book.state.phase, BookPhase::Flat);
    let late = book.decide_only(signal_found(ShortTheRip, 60, 61 * MINUTE));
    assert_eq!(late, []);
}
