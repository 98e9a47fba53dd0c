//! Tests of the printed status.

use serde_json::json;

use super::*;

fn rejected(count: u64, last_bar: i64) -> RejectedSignals {
    let last_bar = UtcMs(last_bar);
    RejectedSignals { count, last_bar }
}

fn book(symbol: &str) -> BookStatus {
    let key = format!("paper.binance-usdm.x.{symbol}");
    let state = BookState {
        capital: Decimal::new(5_000, 0),
        equity: Decimal::new(4_990, 0),
        rejected_signals: BTreeMap::from([
            (
                SignalRejection::PositionOpen,
                rejected(9, 1_767_623_400_000),
            ),
            (SignalRejection::StaleSignal, rejected(1, 1_767_571_200_000)),
        ]),
        rejected_entries: BTreeMap::from([(
            -2019,
            RejectedEntries {
                count: 2,
                last_at: UtcMs(1_767_571_200_000),
                text: "Margin is insufficient.".to_owned(),
            },
        )]),
        tripped_breakers: BTreeSet::from([Breaker::Volatility]),
        ..BookState::default()
    };
    book_status(&key.parse().unwrap(), &state, None)
}

fn account() -> AccountStatus {
    let mut account = AccountStatus {
        account: "paper.binance-usdm.x".parse().unwrap(),
        error: None,
        profit: Profit::default(),
        peak: Some(Decimal::new(10_000, 0)),
        day_peak: Some(Decimal::new(9_990, 0)),
        latch_id: None,
        pauses: Vec::new(),
        balance: None,
        difference: None,
        books: vec![book("BTCUSDT"), book("ETHUSDT")],
    };
    for of_book in &account.books {
        account.profit.add(of_book.profit);
    }
    account
}

#[test]
fn status_states_the_profit_and_why_signals_were_rejected() {
    let text = describe_account(&account());
    for expected in [
        "ACCOUNT paper.binance-usdm.x (PAPER)",
        "Profit:  -20.00 (-0.20 % of 10000.00 capital): realized -20.00, unrealized 0.00",
        "Equity:  9980.00, peak 10000.00, peak of this UTC day 9990.00",
        "Latch:   none",
        "BTCUSDT: signals rejected: 9 because the book already had a position or a pending entry, \
         the last at 2026-01-05 14:30 UTC",
        "BTCUSDT: signals rejected: 1 because the signal was older than one candle when it arrived, \
         the last at 2026-01-05 00:00 UTC",
        "BTCUSDT: entries rejected by the exchange: 2 because Margin is insufficient. (-2019), \
         the last at 2026-01-05 00:00 UTC",
        "BTCUSDT: circuit breakers tripped: volatility",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in\n{text}");
    }
}

#[test]
fn position_is_shown_with_price_age_and_bracket() {
    let mut open = book("BTCUSDT");
    open.price = Some(Decimal::new(40_100, 0));
    open.price_at = Some(UtcMs(11_520_000));
    open.position = Some(PositionStatus {
        side: PositionSide::Long,
        quantity: Decimal::new(250, 3),
        entry_price: Decimal::new(4_000_000, 2),
        stop_price: Decimal::new(39_600, 0),
        target_price: Decimal::new(40_600, 0),
        opened_at: UtcMs(0),
    });
    let row = book_table(&[open]);
    let expected = "40100  long 0.25 from 40000 for 3.2h, stop 39600, target 40600";
    assert!(row.ends_with(expected), "{row}");
}

#[test]
fn latched_account_names_the_command_that_ends_the_latch() {
    let latched = AccountStatus {
        latch_id: Some("operator-7".to_owned()),
        ..account()
    };
    let text = describe_account(&latched);
    let way_back = "scripts/bearish unlatch --latch operator-7 --reason TEXT --paper";
    assert!(text.contains(way_back), "{text}");
}

#[test]
fn waiting_book_says_for_what_and_since_when() {
    let mut account = account();
    account.books[0].waits_for = Some(WaitReport {
        reason: "candles: status 404".to_owned(),
        since: UtcMs(1_767_571_200_000),
    });
    let text = describe_account(&account);
    let waits = "BTCUSDT: waits since 2026-01-05 00:00 UTC for: candles: status 404";
    assert!(text.contains(waits), "{text}");
    assert!(text.contains("unopened, waits"), "{text}");
}

#[test]
fn status_as_json_has_the_figures() {
    let status = Status {
        accounts: vec![account()],
    };
    let json = serde_json::to_value(&status).unwrap();
    let first = &json["accounts"][0];
    assert_eq!(first["account"], "paper.binance-usdm.x");
    assert_eq!(first["profit"]["realized_pnl"], "-20");
    let rejected = &first["books"][1]["rejected_signals"]["position_open"];
    assert_eq!(
        (&rejected["count"], &rejected["last_at"]),
        (&json!(9), &json!(1_767_623_400_000_i64))
    );
    let reason = "the book already had a position or a pending entry";
    assert_eq!(rejected["reason"], reason);
}
