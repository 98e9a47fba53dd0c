//! The journal's JSON, record by record, and what the owner hears of each. A changed file here is a
//! changed journal: old ones must still be read.

use bearish_engine::book::{BookEvent, BookRecord, Phase, Release};
use bearish_engine::events::owner_event;
use bearish_engine::protections::{Lock, Protections};
use bearish_engine::strategy::Signal;
use bearish_engine::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::event::EventBody;
use protocol::ids::BookKey;

use crate::support::{Book, CALM, candle, dec, price, signal};

/// A journal in which every kind of record occurs, with the golden file of each.
fn life() -> Vec<(&'static str, BookRecord)> {
    let mut book = Book::usual();
    book.candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    book.candle(candle(30, ["40000", "40600", "39999.9", "40600"]), None);
    book.candle(candle(59, CALM), Some(signal(ShortTheRip, 60)));
    book.candle(candle(61, CALM), None);
    book.config.protections = Protections::default();
    book.config.funding_rate = dec("0.0001");
    book.config.leverage = dec("5");
    book.take_over("boot-2");
    book.on(BookEvent::Opened {
        capital: dec("9000"),
    });
    let far = Signal {
        atr: price("500"),
        ..signal(OversoldBounce, 480)
    };
    book.candle(candle(479, CALM), Some(far));
    book.candle(candle(480, CALM), None);
    book.candle(candle(509, CALM), Some(signal(ShortTheRip, 510)));
    book.candle(candle(960, CALM), None);
    // The stop was never reached, so to say: a position that lost more than its stop allows.
    if let Phase::Open(position) = &mut book.state.phase {
        position.stop = price("1");
    }
    book.candle(candle(961, ["40000", "40000", "39000", "39000"]), None);
    book.on(BookEvent::Failed {
        reason: "claimed 3 times without 5 healthy minutes".to_owned(),
    });
    book.on(BookEvent::Released(Release {
        who: "operator".to_owned(),
        why: "looked at it".to_owned(),
        closed: None,
    }));
    let orders = crate::live::every_record_of_orders();
    let all = book.journal.into_iter().chain(orders);
    all.map(|r| (golden(&r), r)).collect()
}

fn golden(record: &BookRecord) -> &'static str {
    match record {
        BookRecord::OwnerTookOver { .. } => include_str!("../golden/owner_took_over.json"),
        BookRecord::BookOpened { .. } => include_str!("../golden/book_opened.json"),
        BookRecord::CapitalChanged { .. } => include_str!("../golden/capital_changed.json"),
        BookRecord::EntryDecided(_) => include_str!("../golden/entry_decided.json"),
        BookRecord::EntryRefused { .. } => include_str!("../golden/entry_refused.json"),
        BookRecord::FundingPaid { .. } => include_str!("../golden/funding_paid.json"),
        BookRecord::BreakerTripped { .. } => include_str!("../golden/breaker_tripped.json"),
        BookRecord::EntriesLocked { .. } => include_str!("../golden/entries_locked.json"),
        BookRecord::EntryDropped { .. } => include_str!("../golden/entry_dropped.json"),
        BookRecord::PositionOpened(_) => include_str!("../golden/position_opened.json"),
        BookRecord::PositionClosed(_) => include_str!("../golden/position_closed.json"),
        BookRecord::BookHalted { .. } => include_str!("../golden/book_halted.json"),
        BookRecord::BookReleased { .. } => include_str!("../golden/book_released.json"),
        BookRecord::OrderIntended(_) => include_str!("../golden/order_intended.json"),
        BookRecord::OrderUnclear { .. } => include_str!("../golden/order_unclear.json"),
        BookRecord::OrderWorking { .. } => include_str!("../golden/order_working.json"),
        BookRecord::OrderDone { .. } => include_str!("../golden/order_done.json"),
        BookRecord::OrderGone { .. } => include_str!("../golden/order_gone.json"),
        BookRecord::OrderSettled { .. } => include_str!("../golden/order_settled.json"),
    }
}

#[test]
fn every_record_is_written_and_read_as_committed() {
    let mut kinds = Vec::new();
    for (golden, record) in life() {
        if kinds.contains(&record.kind()) {
            continue;
        }
        kinds.push(record.kind());
        let json = serde_json::to_string_pretty(&record).unwrap();
        assert_eq!(
            json,
            golden.trim_end(),
            "{} is written differently",
            record.kind()
        );
        let read: BookRecord = serde_json::from_str(golden).unwrap();
        assert_eq!(read, record);
        assert!(golden.contains(&format!("\"type\": \"{}\"", record.kind())));
    }
    assert_eq!(
        kinds,
        [
            "owner_took_over",
            "book_opened",
            "entry_decided",
            "position_opened",
            "position_closed",
            "entry_dropped",
            "capital_changed",
            "entry_refused",
            "funding_paid",
            "entries_locked",
            "breaker_tripped",
            "book_halted",
            "book_released",
            "order_intended",
            "order_unclear",
            "order_working",
            "order_done",
            "order_gone",
            "order_settled"
        ]
    );
}

#[test]
fn the_owner_hears_what_changes_money_or_needs_a_person() {
    let book: BookKey = "paper.binance-usdm.a1b2.BTCUSDT".parse().unwrap();
    for (_, record) in life() {
        let heard = owner_event(&book, &record).map(|body| body.kind());
        let expected = match &record {
            BookRecord::OwnerTookOver { .. } => Some("book_claimed"),
            BookRecord::BookOpened { .. }
            | BookRecord::CapitalChanged { .. }
            | BookRecord::EntryDecided(_)
            | BookRecord::EntryRefused { .. }
            | BookRecord::FundingPaid { .. }
            | BookRecord::OrderIntended(_)
            | BookRecord::OrderWorking { .. }
            | BookRecord::OrderDone { .. }
            | BookRecord::OrderGone { code: None, .. }
            | BookRecord::OrderSettled { .. }
            | BookRecord::EntriesLocked {
                by: Lock::CooldownPeriod,
                ..
            } => None,
            BookRecord::OrderGone { code: Some(_), .. } => Some("order_refused"),
            other => Some(other.kind()),
        };
        assert_eq!(heard, expected);
    }
}

#[test]
fn a_trades_event_has_the_records_figures() {
    let book: BookKey = "paper.binance-usdm.a1b2.BTCUSDT".parse().unwrap();
    let events: Vec<_> = life()
        .iter()
        .filter_map(|(_, r)| owner_event(&book, r))
        .collect();
    let closed = events.iter().find_map(|event| match event {
        EventBody::PositionClosed {
            strategy,
            side,
            quantity,
            entry,
            exit,
            reason,
            pnl,
            equity,
            ..
        } => Some(format!(
            "{strategy} {side} {quantity} {entry} {exit} {reason} {pnl} {equity}"
        )),
        _ => None,
    });
    let figures = "oversold-bounce long 0.25 40008 40600 target 135.9088 10135.9088";
    assert_eq!(closed.as_deref(), Some(figures));
    let opened = events.iter().find_map(|event| match event {
        EventBody::PositionOpened {
            strategy,
            side,
            quantity,
            price,
            stop,
            target,
            ..
        } => Some(format!(
            "{strategy} {side} {quantity} {price} {stop} {target}"
        )),
        _ => None,
    });
    assert_eq!(
        opened.as_deref(),
        Some("oversold-bounce long 0.25 40008 39600 40600")
    );
}
