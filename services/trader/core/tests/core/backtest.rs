//! A backtest values the account only when its equity may have changed. These tests compare it with a
//! run that values the account at every candle and journals like a trader.

use bearish_trader_core::account::{
    self, AccountEvent, AccountRecord, AccountState, CommandSource, Latch, UnlatchCommand,
};
use bearish_trader_core::backtest::{Backtest, ClosedTrade, OnHalt};
use bearish_trader_core::book::{
    BookConfig, BookEvent, BookRecord, BookState, DecisionInputs, EntryPermission,
};
use bearish_trader_core::book_status;
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::market_state::MarketState;
use bearish_trader_core::protections::Protections;
use bearish_trader_core::strategy::Strategy;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{Book, Random, dec, filters, walk};

const DAY_MS: i64 = 86_400_000;

/// The figures by which both runs are compared.
#[derive(Debug, Default, PartialEq)]
struct ComparedRun {
    /// Exit time, exit price, profit, equity.
    trades: Vec<(UtcMs, Decimal, Decimal, Decimal)>,
    latches: Vec<Latch>,
    end: Option<Decimal>,
    rejected_signals: u64,
    dropped: u64,
}

fn rejected_signals(state: &BookState) -> u64 {
    let rejected = state.rejected_signals.values();
    rejected.map(|rejected| rejected.count).sum()
}

fn run_backtest(config: &BookConfig, candles: &[Candle], after: OnHalt) -> ComparedRun {
    let symbols = vec![filters()];
    let mut backtest = Backtest::new(config, symbols, dec("10000"), after).unwrap();
    let mut outcome = ComparedRun::default();
    let figures = |t: &ClosedTrade| (t.exit_at, t.exit_price, t.pnl, t.equity);
    for candle in candles {
        let step = backtest.candle_closed(0, candle).unwrap();
        outcome.trades.extend(step.trades.iter().map(figures));
        let close = config.base.close_of(candle.open_time);
        let valued = backtest.value_account(close).unwrap();
        outcome
            .trades
            .extend(valued.trades.iter().map(|(_, trade)| figures(trade)));
        outcome.latches.extend(valued.latch);
    }
    let book = &backtest.books()[0];
    outcome.end = Some(book.status().equity);
    outcome.rejected_signals = rejected_signals(book.state());
    outcome.dropped = book.dropped_entries().values().sum();
    outcome
}

fn run_journaled(config: &BookConfig, candles: &[Candle], after: OnHalt) -> ComparedRun {
    let mut view = MarketState::new(config.base, config.strategies.clone()).unwrap();
    let mut book = Book::opened(config.clone(), filters(), dec("10000"));
    let mut account = AccountState::default();
    let mut outcome = ComparedRun::default();
    for candle in candles {
        let close = config.base.close_of(candle.open_time);
        let leave = match account.latch {
            None => EntryPermission::Allowed { seq: 0 },
            Some(_) => EntryPermission::Latched,
        };
        let signal = view.candle_closed(candle).unwrap().signal;
        book.handle_event(BookEvent::CandleClosed {
            candle: *candle,
            signal,
            inputs: DecisionInputs {
                exchange_time: close,
                entry_permission: leave,
                is_exchange_failing: false,
            },
        });
        if after == OnHalt::UnlatchNextDay {
            unlatch_next_day(&mut account, close);
        }
        let equity = book_status::status(&book.state, Some(candle.close)).equity;
        let event = AccountEvent::Valued {
            at: close,
            capital: book.state.capital,
            equity,
        };
        let records = account::decide(&account, event.clone());
        for record in &records {
            account.apply(record);
        }
        account.observe(&event);
        for record in records {
            if let AccountRecord::Latched(latch) = record {
                outcome.latches.push(latch);
                book.handle_event(BookEvent::AccountLatched {
                    at: candle.open_time,
                    price: candle.close,
                });
            }
        }
    }
    let last = candles.last().map(|c| c.close);
    outcome.end = Some(book_status::status(&book.state, last).equity);
    outcome.rejected_signals = rejected_signals(&book.state);
    for record in &book.journal {
        match record {
            BookRecord::PositionClosed(t) => {
                let trade = (t.at, t.exit_price.to_decimal(), t.pnl, t.equity);
                outcome.trades.push(trade);
            }
            BookRecord::EntryDropped { .. } => outcome.dropped += 1,
            _ => {}
        }
    }
    outcome
}

fn unlatch_next_day(account: &mut AccountState, now: UtcMs) {
    let day = |at: UtcMs| at.0.div_euclid(DAY_MS);
    if let Some(latch) = account.latch.clone().filter(|l| day(l.at) < day(now)) {
        account.apply(&AccountRecord::Unlatched(UnlatchCommand {
            latch_id: latch.latch_id,
            source: CommandSource {
                by: "test".to_owned(),
                reason: "the next day".to_owned(),
                seq: 0,
            },
        }));
    }
}

/// A price walk with candles missing at a fixed interval.
fn walk_with_gaps(seed: u64, interval: Interval, count: i64, one_in: u64) -> Vec<Candle> {
    let mut chance = Random(seed ^ 7);
    let mut candles = walk(seed, interval, count);
    candles.retain(|_| chance.below(one_in) != 0);
    candles
}

#[test]
fn backtest_makes_the_same_trades_as_a_journaled_book() {
    let risky = BookConfig {
        base: Interval::M15,
        leverage: dec("5"),
        protections: Protections::NONE,
        ..BookConfig::default()
    };
    let base_only = BookConfig {
        base: Interval::M30,
        strategies: vec![Strategy::ShortTheRip, Strategy::OversoldBounce],
        funding_rate: dec("-0.001"),
        ..risky.clone()
    };
    let usual = BookConfig {
        base: Interval::M5,
        ..BookConfig::default()
    };
    let (mut trades, mut latches, mut dropped) = (0, 0, 0);
    for seed in 1..=4 {
        for (config, candles) in [
            (&risky, walk(seed, Interval::M15, 12_000)),
            (&risky, walk_with_gaps(seed, Interval::M15, 12_000, 2_000)),
            (&base_only, walk(seed, Interval::M30, 6_000)),
            (&usual, walk(seed, Interval::M5, 20_000)),
        ] {
            for after in [OnHalt::StayLatched, OnHalt::UnlatchNextDay] {
                let short = run_backtest(config, &candles, after);
                let long = run_journaled(config, &candles, after);
                assert_eq!(short, long, "{seed} {after:?} {config:?}");
                trades += short.trades.len();
                latches += short.latches.len();
                dropped += short.dropped;
            }
        }
    }
    let met = (trades > 1_000, latches > 20, dropped > 0);
    assert_eq!(met, (true, true, true), "{trades} {latches} {dropped}");
}
