//! Invariants after every event of any run: equity adds up, one position at most, sizes within bounds, and
//! the journal alone gives the same book, wherever the run is cut.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bearish_trader_core::book::{
    BookConfig, BookEvent, BookPhase, BookRecord, Position, first_needed_candle,
};
use bearish_trader_core::book_status::status;
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::fixed_point::{Price, Qty, notional};
use bearish_trader_core::protections::Protections;
use bearish_trader_core::strategy::{Signal, Strategy};
use bearish_trader_core::symbol_filters::SymbolFilters;
use proptest::prelude::{
    Just, Strategy as _, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::test_runner::{Config, TestRunner};
use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{Book, dec, filters, inputs_at, price};

const BASE: Interval = Interval::M15;
const TICK: i64 = 10_000_000;

/// One delivered candle with its other inputs.
#[derive(Debug, Clone, Copy)]
struct Tick {
    candle: Candle,
    signal: Option<Signal>,
    market_now: UtcMs,
}

/// Moves in ticks around 40,000; the target is 6,000 (long) or 4,800 ticks away.
#[derive(Debug, Clone, Copy)]
struct Step {
    gap: i64,
    body: i64,
    up: i64,
    down: i64,
    missing: bool,
    late: i64,
    strategy: Option<Strategy>,
    atr: i64,
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    let moves = (
        prop_oneof![4 => -30..=30_i64, 1 => -5_000..=5_000_i64],
        -1_500..=1_500_i64,
        0..=1_500_i64,
        0..=1_500_i64,
    );
    let luck = (
        prop::bool::weighted(0.05),
        prop_oneof![9 => Just(0), 1 => 0..=2_000_000_i64],
        prop::option::weighted(0.7, prop::sample::select(&Strategy::ALL)),
        0..=5_000_i64,
    );
    (moves, luck).prop_map(
        |((gap, body, up, down), (missing, late, strategy, atr))| Step {
            gap,
            body,
            up,
            down,
            missing,
            late,
            strategy,
            atr,
        },
    )
}

/// The candles that are delivered, in order. Market time never runs backwards.
fn ticks(steps: &[Step]) -> Vec<Tick> {
    let (mut last, mut now) = (400_000, 0);
    let mut ticks = Vec::new();
    for (n, step) in (0..).zip(steps) {
        let open: i64 = (last + step.gap).max(10_000);
        let close = (open + step.body).max(10_000);
        let (high, low) = (open.max(close) + step.up, open.min(close) - step.down);
        last = close;
        let [open, high, low, close] =
            [open, high, low, close].map(|t| Price::from_units(t * TICK));
        let at = UtcMs(n * BASE.millis());
        let candle = Candle::new(BASE, at, open, high, low, close).unwrap();
        let bar_close = BASE.close_of(at);
        now = now.max(bar_close.0 + step.late);
        let signal = step.strategy.filter(|_| n % 2 == 1).map(|strategy| Signal {
            strategy,
            side: strategy.side(),
            bar_close,
            reference_price: close,
            atr: Price::from_units(step.atr * TICK),
            rsi: dec("50"),
            regime: None,
            halvings: 0,
        });
        let market_now = UtcMs(now);
        if !step.missing {
            ticks.push(Tick {
                candle,
                signal,
                market_now,
            });
        }
    }
    ticks
}

fn event(tick: &Tick) -> BookEvent {
    BookEvent::CandleClosed {
        candle: tick.candle,
        signal: tick.signal,
        inputs: inputs_at(tick.market_now.0),
    }
}

/// Recovers as a trader does after a restart, with market time at the last tick.
fn recover(book: &mut Book, seen: &[Tick]) {
    book.change_writer("boot-2");
    let Some(last) = seen.last() else {
        return;
    };
    let now = inputs_at(last.market_now.0);
    let newest_bar = seen
        .iter()
        .rev()
        .find(|t| t.candle.open_time.0 / BASE.millis() % 2 == 1);
    if let Some(signal) = newest_bar.and_then(|tick| tick.signal) {
        book.handle_event(BookEvent::SignalFound {
            signal,
            inputs: now,
        });
    }
    let from = first_needed_candle(&book.state);
    for tick in seen
        .iter()
        .filter(|t| from.is_some_and(|from| t.candle.open_time >= from))
    {
        let is_newest = newest_bar.is_some_and(|bar| bar.candle == tick.candle);
        book.handle_event(BookEvent::CandleClosed {
            candle: tick.candle,
            signal: tick.signal.filter(|_| is_newest),
            inputs: now,
        });
    }
}

/// Recomputes equity, fees and counts from fills, and checks sizes against the filters.
fn check_ledger(book: &Book) {
    let (mut equity, mut fees, mut trades) = (Decimal::ZERO, Decimal::ZERO, 0_u64);
    let mut funding = Decimal::ZERO;
    let mut open: Option<Position> = None;
    for record in &book.journal {
        match record {
            BookRecord::BookOpened { capital, .. } => equity = *capital,
            BookRecord::EntryDecided(entry) => {
                assert_eq!(open, None, "an entry beside a position");
                assert_eq!(entry.quantity.units() % book.filters.lot.units(), 0);
                assert!(entry.quantity >= book.filters.min_qty.max(Qty::from_units(1)));
                let worth = notional(entry.reference_price, entry.quantity);
                assert!(worth <= equity * book.config.leverage);
                let at_risk = notional(
                    entry.reference_price.distance(entry.stop_price),
                    entry.quantity,
                );
                assert!(at_risk <= equity * dec("0.02"));
            }
            BookRecord::PositionOpened(position) => {
                assert_eq!(open.replace(*position), None, "two positions");
                fees += position.fee;
            }
            BookRecord::FundingPaid { amount, .. } => {
                funding += amount;
                open.as_mut().unwrap().funding += amount;
            }
            BookRecord::PositionClosed(trade) => {
                let position = open.take().unwrap();
                let quantity = position.quantity.to_decimal();
                let rise =
                    (trade.exit_price.to_decimal() - position.entry_price.to_decimal()) * quantity;
                let gross = if trade.side == PositionSide::Long {
                    rise
                } else {
                    -rise
                };
                assert_eq!(trade.funding, position.funding);
                assert_eq!(trade.pnl, gross - position.fee - trade.fee - trade.funding);
                equity += trade.pnl;
                fees += trade.fee;
                trades += 1;
                assert_eq!(trade.equity, equity);
            }
            _ => {}
        }
    }
    assert_eq!(
        (book.state.equity, book.state.fees, book.state.trades),
        (equity, fees, trades)
    );
    assert_eq!(book.state.position(), open.as_ref());
    assert_eq!(book.state.funding, funding);
    check_identity(book, open.as_ref());
}

/// Equity is capital plus realized and unrealized profit after fees, computed from fills alone, at
/// any last price.
fn check_identity(book: &Book, open: Option<&Position>) {
    let last = price("41234.5");
    let status = status(&book.state, Some(last));
    let gross: Decimal = book.journal.iter().filter_map(gross_of).sum();
    let floating = open.map_or(Decimal::ZERO, |p| {
        (last.to_decimal() - p.entry_price.to_decimal()) * p.signed_quantity()
    });
    let paid = status.fees + status.funding;
    assert_eq!(status.equity, status.capital + gross + floating - paid);
    assert_eq!(
        status.equity,
        status.capital + status.realized_pnl + status.unrealized_pnl
    );
}

fn gross_of(record: &BookRecord) -> Option<Decimal> {
    let BookRecord::PositionClosed(trade) = record else {
        return None;
    };
    let rise = trade.exit_price.to_decimal() - trade.entry_price.to_decimal();
    let signed = match trade.side {
        PositionSide::Long => rise,
        PositionSide::Short => -rise,
    };
    Some(signed * trade.quantity.to_decimal())
}

fn run(mut book: Book, ticks: &[Tick]) -> Book {
    for tick in ticks {
        book.handle_event(event(tick));
    }
    book
}

/// Runs to each tick that made records, loses the process before and after their append, recovers.
fn check_restarts(start: &Book, ticks: &[Tick], whole: &Book) {
    let mut book = start.clone();
    for (n, tick) in ticks.iter().enumerate() {
        let before = book.journal.len();
        book.handle_event(event(tick));
        check_ledger(&book);
        if book.journal.len() == before {
            continue;
        }
        for records in [before, book.journal.len()] {
            let mut other = book.recovered(records);
            assert!(records == before || other.state == book.state);
            recover(&mut other, &ticks[..=n]);
            let other = run(other, &ticks[n + 1..]);
            assert_eq!(
                other.decisions(),
                whole.decisions(),
                "cut at {n}, {records} records"
            );
        }
    }
}

fn collect_kinds(seen: &mut BTreeSet<String>, book: &Book) {
    for record in &book.journal {
        seen.insert(match record {
            BookRecord::EntryDropped { reason, .. } => format!("{reason:?}"),
            BookRecord::PositionClosed(trade) => format!("{:?} {:?}", trade.side, trade.reason),
            BookRecord::EntriesLocked { lock: by, .. } => by.to_string(),
            BookRecord::SignalRejected { reason, .. } => reason.to_string(),
            other => other.kind().to_owned(),
        });
    }
}

#[test]
fn book_adds_up_and_survives_a_restart_at_any_record() {
    let worlds = (
        prop::collection::vec(step(), 60..160),
        prop::sample::select(&["10000", "50000.5", "333.33"]),
        1..=5_u32,
        prop::sample::select(&["0.001", "0.00000001", "0.007"]),
        prop::bool::weighted(0.25),
    );
    let seen = RefCell::new(BTreeSet::new());
    let trades = RefCell::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 64,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&worlds, |(steps, capital, leverage, lot, protected)| {
        let config = BookConfig {
            base: BASE,
            leverage: leverage.into(),
            protections: if protected {
                Protections::default()
            } else {
                Protections::NONE
            },
            ..BookConfig::default()
        };
        let rules = SymbolFilters {
            tick: price("0.1"),
            lot: lot.parse().unwrap(),
            ..filters()
        };
        let start = Book::opened(config, rules, dec(capital));
        let ticks = ticks(&steps);
        let whole = run(start.clone(), &ticks);
        check_ledger(&whole);
        check_restarts(&start, &ticks, &whole);
        collect_kinds(&mut seen.borrow_mut(), &whole);
        *trades.borrow_mut() += whole.state.trades;
        Ok(())
    });
    outcome.unwrap();
    // The runs contain every way to enter, drop and exit.
    assert!(*trades.borrow() > 200, "{trades:?}");
    let seen = seen.into_inner();
    for what in [
        "TooLate",
        "CandleMissing",
        "OpenBeyondStop",
        "FillBeyondTarget",
        "Long Stop",
        "Long Target",
        "Short Stop",
        "Short Target",
        "funding_paid",
        "ConsecutiveLosses",
        "CooldownPeriod",
        "position_open",
        "stale_signal",
        "reward_below_risk",
    ] {
        assert!(seen.contains(what), "{what} never happened: {seen:?}");
    }
}

#[test]
fn same_journal_always_makes_the_same_book() {
    proptest!(Config { failure_persistence: None, ..Config::with_cases(64) },
        |(steps in prop::collection::vec(step(), 0..80), cut in 0.0..=1.0_f64)| {
        let start = Book::opened(BookConfig { base: BASE, ..BookConfig::default() }, filters(), dec("10000"));
        let book = run(start, &ticks(&steps));
        prop_assert_eq!(&book.recovered(book.journal.len()).state, &book.state);
        // Any prefix of the journal is a valid book: no record depends on a later one.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "a share of a short journal")]
        let records = (book.journal.len() as f64 * cut) as usize;
        let prefix = book.recovered(records);
        prop_assert!(records > 1 || prefix.state.phase == BookPhase::Unopened);
    });
}
