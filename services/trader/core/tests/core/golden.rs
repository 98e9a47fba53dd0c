//! The journal's JSON, record by record, and the operator event of each. A change of a golden file changes
//! every journal.

use bearish_trader_core::book::{BookEvent, BookPhase, BookRecord, Unhalt, Writer};
use bearish_trader_core::event_mapping::operator_event;
use bearish_trader_core::protections::{EntryLockKind, Protections};
use bearish_trader_core::strategy::Signal;
use bearish_trader_core::strategy::Strategy::{OversoldBounce, ShortTheRip};
use protocol::event::EventBody;
use protocol::ids::BookKey;

use crate::support::{Book, CALM, candle, dec, price, signal};

/// A journal in which every kind of record occurs, with the golden file of each.
fn every_record() -> Vec<(&'static str, BookRecord)> {
    let mut book = Book::usual();
    book.candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    book.candle(candle(30, ["40000", "40600", "39999.9", "40600"]), None);
    book.candle(candle(59, CALM), Some(signal(ShortTheRip, 60)));
    book.candle(candle(61, CALM), None);
    book.config.protections = Protections::default();
    book.config.funding_rate = dec("0.0001");
    book.config.leverage = dec("5");
    book.change_writer("boot-2");
    book.handle_event(BookEvent::CapitalAllocated {
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
    // The stop is moved out of reach: the position loses more than its stop would allow.
    if let BookPhase::Open(position) = &mut book.state.phase {
        position.stop_price = price("1");
    }
    book.candle(candle(961, ["40000", "40000", "39000", "39000"]), None);
    book.handle_event(BookEvent::Failed {
        reason: "claimed 3 times without 5 healthy minutes".to_owned(),
    });
    book.handle_event(BookEvent::Unhalted(Unhalt {
        by: "operator".to_owned(),
        reason: "cause found".to_owned(),
        external_close: None,
    }));
    let orders = crate::execution::every_order_record();
    let all = book.journal.into_iter().chain(orders);
    all.map(|r| (golden_file(&r), r)).collect()
}

fn golden_file(record: &BookRecord) -> &'static str {
    match record {
        BookRecord::WriterChanged { .. } => include_str!("../golden/writer_changed.json"),
        BookRecord::BookOpened { .. } => include_str!("../golden/book_opened.json"),
        BookRecord::CapitalChanged { .. } => include_str!("../golden/capital_changed.json"),
        BookRecord::EntryDecided(_) => include_str!("../golden/entry_decided.json"),
        BookRecord::SignalRejected { .. } => include_str!("../golden/signal_rejected.json"),
        BookRecord::FundingPaid { .. } => include_str!("../golden/funding_paid.json"),
        BookRecord::BreakerTripped { .. } => include_str!("../golden/breaker_tripped.json"),
        BookRecord::BreakerReset { .. } => include_str!("../golden/breaker_reset.json"),
        BookRecord::EntriesLocked { .. } => include_str!("../golden/entries_locked.json"),
        BookRecord::EntryDropped { .. } => include_str!("../golden/entry_dropped.json"),
        BookRecord::EntryAdopted(_) => include_str!("../golden/entry_adopted.json"),
        BookRecord::PositionOpened(_) => include_str!("../golden/position_opened.json"),
        BookRecord::PositionClosed(_) => include_str!("../golden/position_closed.json"),
        BookRecord::BookHalted { .. } => include_str!("../golden/book_halted.json"),
        BookRecord::BookUnhalted { .. } => include_str!("../golden/book_unhalted.json"),
        BookRecord::OrderIntended(_) => include_str!("../golden/order_intended.json"),
        BookRecord::OrderOutcomeUnknown { .. } => {
            include_str!("../golden/order_outcome_unknown.json")
        }
        BookRecord::OrderAccepted { .. } => include_str!("../golden/order_accepted.json"),
        BookRecord::OrderFilled { .. } => include_str!("../golden/order_filled.json"),
        BookRecord::OrderClosedUnfilled { .. } => {
            include_str!("../golden/order_closed_unfilled.json")
        }
        BookRecord::OrderCostsRecorded { .. } => {
            include_str!("../golden/order_costs_recorded.json")
        }
    }
}

#[test]
fn every_record_is_written_and_read_as_committed() {
    let mut kinds = Vec::new();
    for (golden, record) in every_record() {
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
            "writer_changed",
            "book_opened",
            "entry_decided",
            "position_opened",
            "position_closed",
            "entry_dropped",
            "capital_changed",
            "signal_rejected",
            "funding_paid",
            "breaker_tripped",
            "breaker_reset",
            "entries_locked",
            "book_halted",
            "book_unhalted",
            "order_intended",
            "order_outcome_unknown",
            "order_accepted",
            "order_filled",
            "order_closed_unfilled",
            "order_costs_recorded",
            "entry_adopted"
        ]
    );
}

#[test]
fn start_and_restart_of_the_same_trader_are_not_reported_for_each_book() {
    let book: BookKey = "paper.binance-usdm.a1b2.BTCUSDT".parse().unwrap();
    let writer = |instance: &str, boot: &str| Writer {
        instance: instance.parse().unwrap(),
        boot: boot.parse().unwrap(),
    };
    let previous_in_event = |previous: Option<Writer>, changes: &[&str]| {
        let record = BookRecord::WriterChanged {
            boot: "boot-2".parse().unwrap(),
            instance: "trader-paper-1".parse().unwrap(),
            previous,
            config: Book::usual().config,
            config_changes: changes.iter().map(|change| (*change).to_owned()).collect(),
        };
        operator_event(&book, &record).map(|body| match body {
            EventBody::BookAcquired { previous, .. } => previous.map(|name| name.to_string()),
            other => panic!("{other:?}"),
        })
    };
    let restarted = Some(writer("trader-paper-1", "boot-1"));
    let again = Some(writer("trader-paper-1", "boot-2"));
    let other = Some(writer("trader-paper-2", "boot-1"));
    let name = |name: &str| Some(Some(name.to_owned()));
    assert_eq!(previous_in_event(None, &[]), None);
    assert_eq!(previous_in_event(restarted.clone(), &[]), None);
    let change = ["leverage: 1 -> 2"];
    assert_eq!(
        previous_in_event(restarted, &change),
        name("trader-paper-1")
    );
    // The book had been lost.
    assert_eq!(previous_in_event(again, &[]), name("trader-paper-1"));
    assert_eq!(previous_in_event(other, &[]), name("trader-paper-2"));
}

#[test]
fn operator_event_is_made_of_money_changes_and_required_actions() {
    let book: BookKey = "paper.binance-usdm.a1b2.BTCUSDT".parse().unwrap();
    for (_, record) in every_record() {
        let kind = operator_event(&book, &record).map(|body| body.kind());
        let expected = match &record {
            BookRecord::WriterChanged { previous: None, .. }
            | BookRecord::BookOpened { .. }
            | BookRecord::CapitalChanged { .. }
            | BookRecord::EntryDecided(_)
            | BookRecord::SignalRejected { .. }
            | BookRecord::FundingPaid { .. }
            | BookRecord::OrderIntended(_)
            | BookRecord::OrderAccepted { .. }
            | BookRecord::OrderFilled { .. }
            | BookRecord::OrderClosedUnfilled { code: None, .. }
            | BookRecord::OrderCostsRecorded { .. }
            | BookRecord::EntryAdopted(_)
            | BookRecord::EntriesLocked {
                lock: EntryLockKind::CooldownPeriod | EntryLockKind::ConsecutiveLosses,
                ..
            } => None,
            BookRecord::WriterChanged { .. } => Some("book_acquired"),
            BookRecord::OrderClosedUnfilled { code: Some(_), .. } => Some("order_rejected"),
            other => Some(other.kind()),
        };
        assert_eq!(kind, expected);
    }
}

#[test]
fn trade_event_has_the_figures_of_its_record() {
    let book: BookKey = "paper.binance-usdm.a1b2.BTCUSDT".parse().unwrap();
    let events: Vec<_> = every_record()
        .iter()
        .filter_map(|(_, r)| operator_event(&book, r))
        .collect();
    let closed = events.iter().find_map(|event| match event {
        EventBody::PositionClosed {
            strategy,
            side,
            quantity,
            entry_price: entry,
            exit_price: exit,
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
            entry_price: price,
            stop_price: stop,
            target_price: target,
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
