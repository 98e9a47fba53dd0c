//! A book outside of its trades: opening, halt, restart, an invalid journal, status.

use bearish_trader_core::book::{
    BookEvent, BookPhase, BookRecord, BookState, Entry, ExitReason, FoldError, Trade, Unhalt,
    first_needed_candle,
};
use bearish_trader_core::book_status::{status, summary};
use bearish_trader_core::fixed_point::Price;
use bearish_trader_core::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::VERSION;
use protocol::journal::JournalBatch;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{
    Book, CALM, MINUTE, candle, candle_closed, dec, open, pending, price, signal, signal_found,
};

#[test]
fn halted_book_does_nothing_but_accept_a_new_writer() {
    let cases = [Book::usual(), pending(OversoldBounce), open(OversoldBounce)];
    for mut book in cases {
        let held = book.state.position().copied();
        let entry = pending_entry(&book.state);
        let reason = "core panicked".to_owned();
        book.handle_event(BookEvent::Failed {
            reason: reason.clone(),
        });
        let halted = BookPhase::Halted {
            reason: reason.clone(),
            position: held,
            entry,
        };
        assert_eq!(book.state.phase, halted);
        assert_eq!(book.state.position().copied(), held);
        for event in [
            candle_closed(candle(31, ["1", "90000", "1", "1"]), 0),
            signal_found(ShortTheRip, 60, 60 * MINUTE),
            BookEvent::CapitalAllocated {
                capital: Decimal::ONE,
            },
            BookEvent::Failed { reason },
        ] {
            assert_eq!(book.decide_only(event), []);
        }
        book.change_writer("boot-2");
        assert_eq!(book.state.writer.as_ref().unwrap().boot.as_str(), "boot-2");
        assert_eq!(book.state.phase, halted);
        assert_eq!(first_needed_candle(&book.state), None);
    }
}

fn pending_entry(state: &BookState) -> Option<Entry> {
    match &state.phase {
        BookPhase::EntryPending(entry) => Some(*entry),
        _ => None,
    }
}

fn unhalt(closed: Option<(UtcMs, Price)>) -> BookEvent {
    BookEvent::Unhalted(Unhalt {
        by: "operator".to_owned(),
        reason: "cause found".to_owned(),
        external_close: closed,
    })
}

fn halt(book: &mut Book) {
    book.handle_event(BookEvent::Failed {
        reason: "core panicked".to_owned(),
    });
}

#[test]
fn unhalted_book_continues_where_it_was_halted() {
    let mut unopened = Book::usual();
    unopened.state = BookState::default();
    let cases = [
        unopened,
        Book::usual(),
        pending(OversoldBounce),
        open(OversoldBounce),
    ];
    for mut book in cases {
        assert_eq!(book.decide_only(unhalt(None)), [], "it is not halted");
        let before = book.state.clone();
        halt(&mut book);
        let records = book.handle_event(unhalt(None));
        assert_eq!(
            records,
            [BookRecord::BookUnhalted {
                by: "operator".to_owned(),
                reason: "cause found".to_owned(),
            }]
        );
        assert_eq!(book.state, before);
        assert_eq!(book.decide_only(unhalt(None)), []);
    }
}

#[test]
fn unhalted_book_records_the_trade_of_an_externally_closed_position() {
    let mut book = open(OversoldBounce);
    let held = *book.state.position().unwrap();
    let before = book.state.equity;
    halt(&mut book);
    let at = UtcMs(77 * MINUTE);
    let records = book.handle_event(unhalt(Some((at, price("41000")))));
    let [
        BookRecord::BookUnhalted { .. },
        BookRecord::PositionClosed(trade),
        ..,
    ] = &records[..]
    else {
        panic!("{records:?}")
    };
    assert_eq!((trade.at, trade.exit_price), (at, price("41000")));
    assert_eq!(trade.reason, ExitReason::External);
    let quantity = held.quantity.to_decimal();
    let gross = (dec("41000") - held.entry_price.to_decimal()) * quantity;
    let exit_fee = dec("41000") * quantity * book.config.fee_rate;
    assert_eq!(trade.pnl, gross - held.fee - exit_fee - held.funding);
    assert_eq!(book.state.equity, before + trade.pnl);
    assert_eq!(book.state.phase, BookPhase::Flat);
    // Without a position, a price makes no trade.
    halt(&mut book);
    let records = book.handle_event(unhalt(Some((at, price("41000")))));
    assert!(matches!(records[..], [BookRecord::BookUnhalted { .. }]));
}

#[test]
fn unopened_book_waits_for_capital_and_gets_it_once() {
    let mut book = Book::usual();
    let capital = dec("10000");
    assert_eq!(
        book.handle_event(BookEvent::CapitalAllocated { capital }),
        []
    );
    book.state = BookState::default();
    assert_eq!(book.decide_only(signal_found(OversoldBounce, 30, 0)), []);
    assert_eq!(book.decide_only(candle_closed(candle(1, CALM), 0)), []);
    let failed = book.handle_event(BookEvent::Failed {
        reason: String::new(),
    });
    assert!(matches!(failed[..], [BookRecord::BookHalted { .. }]));
}

#[test]
fn a_books_share_of_the_capital_changes_only_while_it_is_flat() {
    let capital = dec("5000");
    let other = || BookEvent::CapitalAllocated { capital };
    for mut book in [pending(OversoldBounce), open(OversoldBounce)] {
        assert_eq!(book.handle_event(other()), []);
        assert_eq!(book.state.capital, dec("10000"));
    }
    let mut book = open(OversoldBounce);
    book.candle(candle(31, ["39000"; 4]), None);
    let before = book.state.equity;
    assert_eq!(
        book.handle_event(other()),
        [BookRecord::CapitalChanged { capital }]
    );
    assert_eq!(book.state.equity, before - dec("5000"));
    let now = status(&book.state, None);
    assert_eq!(
        now.realized_pnl,
        before - dec("10000"),
        "no profit, no loss"
    );
    assert_eq!(book.handle_event(other()), []);
}

#[test]
fn a_trade_that_ends_even_is_neither_won_nor_lost() {
    let mut book = open(OversoldBounce);
    book.state.consecutive_losses = 3;
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
    assert_eq!(
        (state.trades, state.winning_trades, state.consecutive_losses),
        (1, 0, 0)
    );
}

#[test]
fn writer_changed_record_lists_the_config_changes() {
    let mut book = Book::usual();
    let changes = |records: &[BookRecord]| match records {
        [
            BookRecord::WriterChanged {
                config_changes: changes,
                ..
            },
        ] => changes.clone(),
        other => panic!("{other:?}"),
    };
    let event = || BookEvent::WriterChanged {
        boot: "boot-2".parse().unwrap(),
        instance: "trader-paper-2".parse().unwrap(),
    };
    assert!(changes(&book.handle_event(event())).is_empty());
    book.config.leverage = dec("2");
    assert_eq!(
        changes(&book.handle_event(event())),
        ["leverage: 1.002 -> 2"]
    );
    assert!(changes(&book.handle_event(event())).is_empty(), "once");
}

#[test]
fn journal_without_optional_fields_is_readable() {
    // Written by version 0.1.0: no strategies, no protections, no funding, no account.
    let journal = [
        r#"{"type":"writer_changed","boot":"b","instance":"i","config":{"base":"1m","leverage":"1","fee_rate":"0.0006","slippage_rate":"0.0002"}}"#,
        r#"{"type":"book_opened","capital":"10000","filters":{"symbol":"BTCUSDT","tick":"0.1","lot":"0.001","min_qty":"0.001","max_qty":"1000","min_notional":"5"}}"#,
        r#"{"type":"entry_decided","strategy":"oversold-bounce","side":"long","bar_close":1800000,"enter_at":1800000,"reference_price":"40000","quantity":"0.25","stop_price":"39600","target_price":"40600","atr":"400","rsi":"24.5"}"#,
        r#"{"type":"position_opened","at":1800000,"strategy":"oversold-bounce","side":"long","quantity":"0.25","entry_price":"40008","fee":"6.0012","stop_price":"39600","target_price":"40600"}"#,
        r#"{"type":"position_closed","at":1800000,"strategy":"oversold-bounce","side":"long","quantity":"0.25","entry_price":"40008","exit_price":"40600","fee":"6.09","reason":"target","pnl":"135.9088","equity":"10135.9088"}"#,
    ];
    let mut state = BookState::default();
    for line in journal {
        state.apply(&serde_json::from_str(line).unwrap()).unwrap();
    }
    assert_eq!((state.equity, state.trades), (dec("10135.9088"), 1));
}

#[test]
fn a_restart_needs_candles_from_the_pending_entry_or_the_position_on() {
    assert_eq!(first_needed_candle(&BookState::default()), None);
    assert_eq!(first_needed_candle(&Book::usual().state), None);
    let from = Some(UtcMs(30 * MINUTE));
    assert_eq!(first_needed_candle(&pending(OversoldBounce).state), from);
    assert_eq!(first_needed_candle(&open(OversoldBounce).state), from);
}

#[test]
fn unexpected_record_is_an_error_and_changes_nothing() {
    let mut whole = pending(OversoldBounce);
    whole.candle(candle(30, ["40000", "40600", "40000", "40000"]), None);
    let mut next = Book::usual();
    next.candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    next.candle(candle(31, CALM), None);
    next.handle_event(BookEvent::Failed {
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
        (&mut waiting, vec![opened, decided, trade], "entry_pending"),
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
            let expected = FoldError::UnexpectedRecord {
                record: record.kind(),
                phase,
            };
            assert_eq!(state.apply(record), Err(expected));
            assert_eq!(*state, before);
        }
    }
}

#[test]
fn journal_with_wrong_equity_or_newer_version_is_rejected() {
    let mut book = open(OversoldBounce);
    book.candle(candle(31, ["39000"; 4]), None);
    let batch = |v, records| JournalBatch {
        v,
        writer: "boot-1".parse().unwrap(),
        batch_id: 1,
        at: UtcMs(0),
        events_published_seq: 0,
        records,
    };
    let mut good = BookState::default();
    good.fold(&batch(VERSION, book.journal.clone())).unwrap();
    assert_eq!(good, book.state);

    let newer = BookState::default().fold(&batch(VERSION + 1, Vec::new()));
    assert_eq!(
        newer,
        Err(FoldError::UnsupportedVersion {
            version: VERSION + 1
        })
    );

    let mut records = book.journal.clone();
    if let Some(BookRecord::PositionClosed(trade)) = records.last_mut() {
        trade.equity += Decimal::ONE;
    }
    let wrong = BookState::default()
        .fold(&batch(VERSION, records))
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
    assert_eq!(now.unrealized_pnl, dec("19.0012"));
    assert_eq!(now.equity, dec("10019.0012"));
    assert_eq!((now.realized_pnl, now.fees), (Decimal::ZERO, dec("5.9988")));
    assert_eq!(status(&book.state, None).equity, dec("9994.0012"));
    let heartbeat_summary = summary(&key, &book.state, last);
    assert_eq!(
        (
            heartbeat_summary.equity,
            heartbeat_summary.position_quantity
        ),
        (now.equity, dec("-0.25"))
    );
    assert_eq!(
        (heartbeat_summary.trades, heartbeat_summary.halt_reason),
        (0, None)
    );

    let mut flat = open(OversoldBounce);
    assert_eq!(
        summary(&key, &flat.state, last).position_quantity,
        dec("0.25")
    );
    flat.candle(candle(31, ["39000"; 4]), None);
    let after = status(&flat.state, last);
    assert_eq!(after.equity, flat.state.equity);
    assert_eq!(after.realized_pnl, flat.state.equity - dec("10000"));
    assert_eq!(
        (after.phase, after.trades, after.winning_trades),
        ("flat", 1, 0)
    );
    flat.handle_event(BookEvent::Failed {
        reason: "x".to_owned(),
    });
    assert_eq!(
        summary(&key, &flat.state, last).halt_reason.as_deref(),
        Some("x")
    );
}
