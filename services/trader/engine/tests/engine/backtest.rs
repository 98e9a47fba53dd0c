//! A backtest takes short cuts: it looks at the account only when something can have changed. Held here
//! against the long way, which looks at every candle and journals as a trader does.

use bearish_engine::account::{
    self, AccountEvent, AccountRecord, AccountState, Latch, Said, Unlatch,
};
use bearish_engine::backtest::{AfterHalt, Backtest};
use bearish_engine::book::{BookConfig, BookEvent, BookRecord, Leave, Now};
use bearish_engine::candle::{Candle, Interval};
use bearish_engine::market::MarketView;
use bearish_engine::protections::Protections;
use bearish_engine::strategy::Strategy;
use bearish_engine::summary;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{Book, Chance, dec, rules, walk};

const DAY: i64 = 86_400_000;

/// What both ways are compared by.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Exit time, exit price, profit, equity.
    trades: Vec<(UtcMs, Decimal, Decimal, Decimal)>,
    latches: Vec<Latch>,
    end: Option<Decimal>,
    refusals: u64,
    dropped: u64,
}

fn short_way(config: &BookConfig, candles: &[Candle], after: AfterHalt) -> Outcome {
    let mut backtest = Backtest::new(config.clone(), rules(), dec("10000"), after).unwrap();
    let mut outcome = Outcome::default();
    for candle in candles {
        let step = backtest.candle_closed(candle).unwrap();
        let trades = step.trades.iter();
        outcome
            .trades
            .extend(trades.map(|t| (t.exit_at, t.exit, t.pnl, t.equity)));
        outcome.latches.extend(step.latched);
    }
    outcome.end = Some(backtest.status().equity);
    outcome.refusals = backtest.book().refusals.values().sum();
    outcome.dropped = backtest.drops().values().sum();
    outcome
}

fn long_way(config: &BookConfig, candles: &[Candle], after: AfterHalt) -> Outcome {
    let mut view = MarketView::new(config.base, config.strategies.clone()).unwrap();
    let mut book = Book::opened(config.clone(), rules(), dec("10000"));
    let mut account = AccountState::default();
    let mut outcome = Outcome::default();
    for candle in candles {
        let close = config.base.close_of(candle.open_time);
        let leave = match account.latch {
            None => Leave::Given { seq: 0 },
            Some(_) => Leave::Latched,
        };
        let signal = view.candle_closed(candle).unwrap().signal;
        book.on(BookEvent::CandleClosed {
            candle: *candle,
            signal,
            now: Now {
                market: close,
                account: leave,
                exchange_fails: false,
            },
        });
        if after == AfterHalt::ResumeNextDay {
            resume(&mut account, close);
        }
        let equity = summary::status(&book.state, Some(candle.close)).equity;
        let event = AccountEvent::Valued {
            at: close,
            capital: book.state.capital,
            equity,
        };
        let records = account::decide(&account, event.clone());
        for record in &records {
            account.apply(record);
        }
        account.notice(&event);
        for record in records {
            if let AccountRecord::Latched(latch) = record {
                outcome.latches.push(latch);
                book.on(BookEvent::Latched {
                    at: candle.open_time,
                    price: candle.close,
                });
            }
        }
    }
    let last = candles.last().map(|c| c.close);
    outcome.end = Some(summary::status(&book.state, last).equity);
    outcome.refusals = book.state.refusals.values().sum();
    for record in &book.journal {
        match record {
            BookRecord::PositionClosed(t) => {
                let trade = (t.at, t.price.to_decimal(), t.pnl, t.equity);
                outcome.trades.push(trade);
            }
            BookRecord::EntryDropped { .. } => outcome.dropped += 1,
            _ => {}
        }
    }
    outcome
}

fn resume(account: &mut AccountState, now: UtcMs) {
    let day = |at: UtcMs| at.0.div_euclid(DAY);
    if let Some(latch) = account.latch.clone().filter(|l| day(l.at) < day(now)) {
        account.apply(&AccountRecord::Unlatched(Unlatch {
            latch: latch.id,
            said: Said {
                who: "test".to_owned(),
                why: "the next day".to_owned(),
                seq: 0,
            },
        }));
    }
}

/// A walk with every so many candles missing.
fn holed(seed: u64, interval: Interval, count: i64, one_in: u64) -> Vec<Candle> {
    let mut chance = Chance(seed ^ 7);
    let mut candles = walk(seed, interval, count);
    candles.retain(|_| chance.below(one_in) != 0);
    candles
}

#[test]
fn the_short_way_makes_the_trades_of_the_long_way() {
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
            (&risky, holed(seed, Interval::M15, 12_000, 2_000)),
            (&base_only, walk(seed, Interval::M30, 6_000)),
            (&usual, walk(seed, Interval::M5, 20_000)),
        ] {
            for after in [AfterHalt::Stay, AfterHalt::ResumeNextDay] {
                let short = short_way(config, &candles, after);
                let long = long_way(config, &candles, after);
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
