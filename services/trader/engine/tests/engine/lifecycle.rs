//! A book's life around its trades: opening, halting, restarts, a journal that does not fit, status.

use bearish_engine::book::{
    BadRecord, BookEvent, BookRecord, BookState, Entry, ExitReason, Phase, Release, Trade,
    resume_from,
};
use bearish_engine::fixed::Price;
use bearish_engine::strategy::Strategy::{OversoldBounce, ShortTheRip};
use bearish_engine::summary::{status, summary};
use protocol::VERSION;
use protocol::journal::JournalEntry;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{
    Book, CALM, MINUTE, candle, closed, dec, found, open, pending, price, signal,
};

#[test]
fn a_halted_book_does_nothing_but_change_owners() {
    let cases = [Book::usual(), pending(OversoldBounce), open(OversoldBounce)];
    for mut book in cases {
        let held = book.state.position().copied();
        let entry = entry_of(&book.state);
        let reason = "brain panicked".to_owned();
        book.on(BookEvent::Failed {
            reason: reason.clone(),
        });
        let halted = Phase::Halted {
            reason: reason.clone(),
            position: held,
            entry,
        };
        assert_eq!(book.state.phase, halted);
        assert_eq!(book.state.position().copied(), held);
        for event in [
            closed(candle(31, ["1", "90000", "1", "1"]), 0),
            found(ShortTheRip, 60, 60 * MINUTE),
            BookEvent::Opened {
                capital: Decimal::ONE,
            },
            BookEvent::Failed { reason },
        ] {
            assert_eq!(book.would(event), []);
        }
        book.take_over("boot-2");
        assert_eq!(book.state.owner.as_ref().unwrap().boot.as_str(), "boot-2");
        assert_eq!(book.state.phase, halted);
        assert_eq!(resume_from(&book.state), None);
    }
}

fn entry_of(state: &BookState) -> Option<Entry> {
    match &state.phase {
        Phase::EntryPending(entry) => Some(*entry),
        _ => None,
    }
}

fn release(closed: Option<(UtcMs, Price)>) -> BookEvent {
    BookEvent::Released(Release {
        who: "operator".to_owned(),
        why: "looked at it".to_owned(),
        closed,
    })
}

fn halt(book: &mut Book) {
    book.on(BookEvent::Failed {
        reason: "brain panicked".to_owned(),
    });
}

#[test]
fn a_released_book_is_where_it_was_halted() {
    let mut unopened = Book::usual();
    unopened.state = BookState::default();
    let cases = [
        unopened,
        Book::usual(),
        pending(OversoldBounce),
        open(OversoldBounce),
    ];
    for mut book in cases {
        assert_eq!(book.would(release(None)), [], "it is not halted");
        let before = book.state.clone();
        halt(&mut book);
        let records = book.on(release(None));
        assert_eq!(
            records,
            [BookRecord::BookReleased {
                who: "operator".to_owned(),
                why: "looked at it".to_owned(),
            }]
        );
        assert_eq!(book.state, before);
        assert_eq!(book.would(release(None)), []);
    }
}

#[test]
fn a_released_book_whose_position_is_closed_meanwhile_books_that_trade() {
    let mut book = open(OversoldBounce);
    let held = *book.state.position().unwrap();
    let before = book.state.equity;
    halt(&mut book);
    let at = UtcMs(77 * MINUTE);
    let records = book.on(release(Some((at, price("41000")))));
    let [
        BookRecord::BookReleased { .. },
        BookRecord::PositionClosed(trade),
        ..,
    ] = &records[..]
    else {
        panic!("{records:?}")
    };
    assert_eq!((trade.at, trade.price), (at, price("41000")));
    assert_eq!(trade.reason, ExitReason::Elsewhere);
    let quantity = held.quantity.to_decimal();
    let gross = (dec("41000") - held.price.to_decimal()) * quantity;
    let exit_fee = dec("41000") * quantity * book.config.fee_rate;
    assert_eq!(trade.pnl, gross - held.fee - exit_fee - held.funding);
    assert_eq!(book.state.equity, before + trade.pnl);
    assert_eq!(book.state.phase, Phase::Flat);
    // A price for nothing is no trade.
    halt(&mut book);
    let records = book.on(release(Some((at, price("41000")))));
    assert!(matches!(records[..], [BookRecord::BookReleased { .. }]));
}

#[test]
fn capital_is_given_once_and_an_unopened_book_waits_for_it() {
    let mut book = Book::usual();
    let capital = dec("10000");
    assert_eq!(book.on(BookEvent::Opened { capital }), []);
    book.state = BookState::default();
    assert_eq!(book.would(found(OversoldBounce, 30, 0)), []);
    assert_eq!(book.would(closed(candle(1, CALM), 0)), []);
    let failed = book.on(BookEvent::Failed {
        reason: String::new(),
    });
    assert!(matches!(failed[..], [BookRecord::BookHalted { .. }]));
}

#[test]
fn a_books_share_of_the_capital_changes_only_while_it_is_flat() {
    let capital = dec("5000");
    let other = || BookEvent::Opened { capital };
    for mut book in [pending(OversoldBounce), open(OversoldBounce)] {
        assert_eq!(book.on(other()), []);
        assert_eq!(book.state.capital, dec("10000"));
    }
    let mut book = open(OversoldBounce);
    book.candle(candle(31, ["39000"; 4]), None);
    let before = book.state.equity;
    assert_eq!(book.on(other()), [BookRecord::CapitalChanged { capital }]);
    assert_eq!(book.state.equity, before - dec("5000"));
    let now = status(&book.state, None);
    assert_eq!(now.realised, before - dec("10000"), "no profit, no loss");
    assert_eq!(book.on(other()), []);
}

#[test]
fn a_trade_that_ends_even_is_neither_won_nor_lost() {
    let mut book = open(OversoldBounce);
    book.state.losses_in_a_row = 3;
    let mut closed = book.clone();
    closed.candle(candle(31, ["39000"; 4]), None);
    let Some(BookRecord::PositionClosed(trade)) = closed.journal.last() else {
        panic!("{:?}", closed.journal)
    };
    let even = Trade {
        pnl: Decimal::ZERO,
        equity: book.state.equity,
        ..*trade
    };
    let state = &mut book.state;
    state.apply(&BookRecord::PositionClosed(even)).unwrap();
    assert_eq!((state.trades, state.wins, state.losses_in_a_row), (1, 0, 0));
}

#[test]
fn an_owner_with_other_settings_says_what_changed() {
    let mut book = Book::usual();
    let changes = |records: &[BookRecord]| match records {
        [BookRecord::OwnerTookOver { changes, .. }] => changes.clone(),
        other => panic!("{other:?}"),
    };
    let event = || BookEvent::TookOver {
        boot: "boot-2".parse().unwrap(),
        instance: "trader-paper-2".parse().unwrap(),
    };
    assert!(changes(&book.on(event())).is_empty());
    book.config.leverage = dec("2");
    assert_eq!(changes(&book.on(event())), ["leverage: 1 -> 2"]);
    assert!(changes(&book.on(event())).is_empty(), "once");
}

#[test]
fn a_journal_of_the_first_version_is_still_read() {
    // Written by version 0.1.0: no strategies, no protections, no funding, no account.
    let journal = [
        r#"{"type":"owner_took_over","boot":"b","instance":"i","config":{"base":"1m","leverage":"1","fee_rate":"0.0006","slippage":"0.0002"}}"#,
        r#"{"type":"book_opened","capital":"10000","rules":{"symbol":"BTCUSDT","tick":"0.1","lot":"0.001","min_qty":"0.001","max_qty":"1000","min_notional":"5"}}"#,
        r#"{"type":"entry_decided","strategy":"oversold-bounce","side":"long","bar_close":1800000,"enter_at":1800000,"reference":"40000","quantity":"0.25","stop":"39600","target":"40600","atr":"400","rsi":"24.5"}"#,
        r#"{"type":"position_opened","at":1800000,"strategy":"oversold-bounce","side":"long","quantity":"0.25","price":"40008","fee":"6.0012","stop":"39600","target":"40600"}"#,
        r#"{"type":"position_closed","at":1800000,"strategy":"oversold-bounce","side":"long","quantity":"0.25","entry":"40008","price":"40600","fee":"6.09","reason":"target","pnl":"135.9088","equity":"10135.9088"}"#,
    ];
    let mut state = BookState::default();
    for line in journal {
        state.apply(&serde_json::from_str(line).unwrap()).unwrap();
    }
    assert_eq!((state.equity, state.trades), (dec("10135.9088"), 1));
}

#[test]
fn a_restart_needs_candles_from_the_pending_entry_or_the_position_on() {
    assert_eq!(resume_from(&BookState::default()), None);
    assert_eq!(resume_from(&Book::usual().state), None);
    let from = Some(UtcMs(30 * MINUTE));
    assert_eq!(resume_from(&pending(OversoldBounce).state), from);
    assert_eq!(resume_from(&open(OversoldBounce).state), from);
}

#[test]
fn a_record_out_of_place_is_an_error_and_changes_nothing() {
    let mut whole = pending(OversoldBounce);
    whole.candle(candle(30, ["40000", "40600", "40000", "40000"]), None);
    let mut next = Book::usual();
    next.candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    next.candle(candle(31, CALM), None);
    next.on(BookEvent::Failed {
        reason: "x".to_owned(),
    });
    let mut halted = next.state.clone();
    let [_, opened, decided, filled, trade] = &whole.journal[..] else {
        panic!("{:?}", whole.journal)
    };
    let [.., dropped, halt] = &next.journal[..] else {
        panic!("{:?}", next.journal)
    };
    let mut unopened = BookState::default();
    let mut flat = Book::usual().state;
    let mut waiting = pending(OversoldBounce).state;
    let mut holding = open(OversoldBounce).state;
    let cases = [
        (
            &mut unopened,
            vec![decided, dropped, filled, trade],
            "unopened",
        ),
        (&mut flat, vec![opened, dropped, filled, trade], "flat"),
        (&mut waiting, vec![opened, decided, trade], "entry pending"),
        (&mut holding, vec![opened, decided, dropped, filled], "open"),
        (
            &mut halted,
            vec![opened, decided, dropped, filled, trade, halt],
            "halted",
        ),
    ];
    for (state, records, phase) in cases {
        let before = state.clone();
        for record in records {
            let expected = BadRecord::OutOfPlace {
                record: record.kind(),
                phase,
            };
            assert_eq!(state.apply(record), Err(expected));
            assert_eq!(*state, before);
        }
    }
}

#[test]
fn a_journal_that_does_not_add_up_or_is_newer_is_refused() {
    let mut book = open(OversoldBounce);
    book.candle(candle(31, ["39000"; 4]), None);
    let entry = |v, records| JournalEntry {
        v,
        writer: "boot-1".parse().unwrap(),
        id: 1,
        at: UtcMs(0),
        confirmed: 0,
        records,
    };
    let mut good = BookState::default();
    good.fold(&entry(VERSION, book.journal.clone())).unwrap();
    assert_eq!(good, book.state);

    let newer = BookState::default().fold(&entry(VERSION + 1, Vec::new()));
    assert_eq!(
        newer,
        Err(BadRecord::NewerVersion {
            version: VERSION + 1
        })
    );

    let mut records = book.journal.clone();
    if let Some(BookRecord::PositionClosed(trade)) = records.last_mut() {
        trade.equity += Decimal::ONE;
    }
    let wrong = BookState::default()
        .fold(&entry(VERSION, records))
        .unwrap_err();
    let text = wrong.to_string();
    assert!(text.contains(&book.state.equity.to_string()), "{text}");

    let unknown = r#"{"type":"moon_landed"}"#;
    assert!(serde_json::from_str::<BookRecord>(unknown).is_err());
}

#[test]
fn status_counts_the_open_position_at_the_last_price_after_its_fee() {
    let key = "paper.binance-usdm.a1b2.BTCUSDT".parse().unwrap();
    let book = open(ShortTheRip);
    let last: Option<Price> = Some(price("39892"));
    let now = status(&book.state, last);
    // Sold 0.25 at 39,992, now 100 lower; the fee was 5.9988.
    assert_eq!(now.unrealised, dec("19.0012"));
    assert_eq!(now.equity, dec("10019.0012"));
    assert_eq!((now.realised, now.fees), (Decimal::ZERO, dec("5.9988")));
    assert_eq!(status(&book.state, None).equity, dec("9994.0012"));
    let beat = summary(&key, &book.state, last);
    assert_eq!((beat.equity, beat.position), (now.equity, dec("-0.25")));
    assert_eq!((beat.trades, beat.halted), (0, None));

    let mut flat = open(OversoldBounce);
    assert_eq!(summary(&key, &flat.state, last).position, dec("0.25"));
    flat.candle(candle(31, ["39000"; 4]), None);
    let after = status(&flat.state, last);
    assert_eq!(after.equity, flat.state.equity);
    assert_eq!(after.realised, flat.state.equity - dec("10000"));
    assert_eq!((after.phase, after.trades, after.wins), ("flat", 1, 0));
    flat.on(BookEvent::Failed {
        reason: "x".to_owned(),
    });
    assert_eq!(
        summary(&key, &flat.state, last).halted.as_deref(),
        Some("x")
    );
}
