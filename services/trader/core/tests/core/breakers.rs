//! Circuit breakers of a book and what the exchange rejected: each trip and each recovery is a record and an event.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is how a test fails"
)]

use std::collections::BTreeMap;

use bearish_trader_core::book::{
    BookEvent, BookPhase, BookRecord, ExecutionEvent, LiveConfig, ObservedBreakers,
};
use bearish_trader_core::circuit_breaker::Breaker;
use bearish_trader_core::entry::SignalRejection;
use bearish_trader_core::event_mapping::operator_event;
use bearish_trader_core::orders::OrderCallOutcome;
use bearish_trader_core::strategy::Strategy::OversoldBounce;
use protocol::event::EventBody;
use protocol::time::UtcMs;

use crate::support::{Book, CALM, MINUTE, candle, config, dec, filters, price, signal};

/// The operator events of a check, each as kind and breaker.
fn check(book: &mut Book, minute: i64, observed: &[(Breaker, bool)]) -> Vec<(String, String)> {
    let observed: ObservedBreakers = observed
        .iter()
        .map(|(breaker, tripped)| (*breaker, tripped.then(|| "a test".to_owned())))
        .collect();
    let at = UtcMs(minute * MINUTE);
    let records = book.handle_event(BookEvent::BreakersChecked { at, observed });
    reported(&records)
}

fn reported(records: &[BookRecord]) -> Vec<(String, String)> {
    let key = "paper.binance-usdm.a1b2.BTCUSDT".parse().unwrap();
    let bodies = records.iter().filter_map(|r| operator_event(&key, r));
    let of_breaker = |body: EventBody| match &body {
        EventBody::BreakerTripped { breaker, .. } | EventBody::BreakerReset { breaker, .. } => {
            Some((body.kind().to_owned(), breaker.clone()))
        }
        _ => None,
    };
    bodies.filter_map(of_breaker).collect()
}

fn tripped(breaker: Breaker) -> (String, String) {
    ("breaker_tripped".to_owned(), breaker.to_string())
}

fn reset(breaker: Breaker) -> (String, String) {
    ("breaker_reset".to_owned(), breaker.to_string())
}

#[test]
fn observed_breaker_is_recorded_when_it_trips_and_when_it_resets() {
    for breaker in [
        Breaker::Volatility,
        Breaker::StaleData,
        Breaker::ExchangeErrors,
    ] {
        let mut book = Book::usual();
        assert_eq!(check(&mut book, 1, &[(breaker, false)]), []);
        assert_eq!(check(&mut book, 2, &[(breaker, true)]), [tripped(breaker)]);
        assert_eq!(check(&mut book, 3, &[(breaker, true)]), [], "reported once");
        assert_eq!(
            check(&mut book, 4, &[]),
            [],
            "not evaluated: keeps its state"
        );
        assert!(book.state.tripped_breakers.contains(&breaker));
        assert_eq!(check(&mut book, 5, &[(breaker, false)]), [reset(breaker)]);
        assert_eq!(
            check(&mut book, 6, &[(breaker, false)]),
            [],
            "reported once"
        );
    }
}

#[test]
fn stale_data_breaker_rejects_signals() {
    let mut book = Book::usual();
    check(&mut book, 1, &[(Breaker::StaleData, true)]);
    let records = book.candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    assert!(
        matches!(
            records[..],
            [BookRecord::SignalRejected {
                reason: SignalRejection::StaleData,
                ..
            }]
        ),
        "{records:?}"
    );
}

#[test]
fn consecutive_losses_breaker_resets_when_its_lock_ends() {
    let mut book = Book::usual();
    let mut last = Vec::new();
    for n in 1..=5 {
        let minute = n * 60;
        book.state.locks.clear();
        let signal = signal(OversoldBounce, minute);
        book.candle(candle(minute - 1, CALM), Some(signal));
        book.candle(candle(minute, CALM), None);
        last = reported(&book.candle(candle(minute + 1, ["39000"; 4]), None));
    }
    assert_eq!(last, [tripped(Breaker::ConsecutiveLosses)]);
    assert_eq!(check(&mut book, 360, &[]), []);
    let reset = [reset(Breaker::ConsecutiveLosses)];
    assert_eq!(check(&mut book, 361, &[]), reset);
    assert_eq!(check(&mut book, 362, &[]), []);
}

#[test]
fn position_loss_breaker_resets_with_the_close_of_its_position() {
    let mut book = Book::usual();
    book.candle(candle(29, CALM), Some(signal(OversoldBounce, 30)));
    book.candle(candle(30, CALM), None);
    if let BookPhase::Open(position) = &mut book.state.phase {
        position.stop_price = price("1");
    }
    let records = book.candle(candle(31, ["40000", "40000", "38000", "38000"]), None);
    let breaker = Breaker::PositionLoss;
    assert_eq!(reported(&records), [tripped(breaker), reset(breaker)]);
}

#[test]
fn rejected_entry_counts_by_code_and_its_event_says_code_and_text() {
    let mut config = config();
    config.live = Some(LiveConfig {
        installation_id: "q7x2ab".parse().unwrap(),
        recv_window_ms: 3_000,
    });
    let mut book = Book::opened(config, filters(), dec("10000"));
    let refusals = [
        (-2019, "Margin is insufficient."),
        (
            -4061,
            "Order's position side does not match user's setting.",
        ),
        (-2019, "Margin is insufficient."),
    ];
    for (n, (code, text)) in (1..).zip(refusals) {
        let minute = n * 30;
        let signal = signal(OversoldBounce, minute);
        let records = book.candle(candle(minute - 1, CALM), Some(signal));
        let Some(BookRecord::OrderIntended(order)) = records.last() else {
            panic!("{records:?}");
        };
        let records = book.handle_event(BookEvent::Execution(ExecutionEvent::OrderCallFinished {
            client_order_id: order.client_order_id.clone(),
            outcome: OrderCallOutcome::Rejected {
                code,
                reason: text.to_owned(),
            },
            now: UtcMs(minute * MINUTE + 5),
        }));
        let key = "live.binance-usdm.a1b2.BTCUSDT".parse().unwrap();
        let dropped = records.iter().filter_map(|r| operator_event(&key, r));
        let dropped: Vec<_> = dropped
            .filter_map(|body| match body {
                EventBody::EntryDropped { code, text, .. } => Some((code, text)),
                _ => None,
            })
            .collect();
        assert_eq!(dropped, [(Some(code), Some(text.to_owned()))]);
    }
    let counts: BTreeMap<i64, u64> = book
        .state
        .rejected_entries
        .iter()
        .map(|(code, rejected)| (*code, rejected.count))
        .collect();
    assert_eq!(counts, BTreeMap::from([(-2019, 2), (-4061, 1)]));
    let newest = &book.state.rejected_entries[&-2019];
    assert_eq!(newest.text, "Margin is insufficient.");
    assert_eq!(newest.last_at.0 / MINUTE, 90);
}
