//! Several books in one account, the warm-up before the traded period, and gaps.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use bearish_trader_core::backtest::{Backtest, ClosedTrade, OnHalt};
use bearish_trader_core::book::BookConfig;
use bearish_trader_core::candle::{Candle, Interval};
use bearish_trader_core::protections::Protections;
use bearish_trader_core::strategy::Strategy;
use bearish_trader_core::symbol_filters::SymbolFilters;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use crate::support::{dec, filters, walk};

fn config() -> BookConfig {
    BookConfig {
        base: Interval::M15,
        strategies: vec![Strategy::ShortTheRip, Strategy::OversoldBounce],
        protections: Protections::NONE,
        ..BookConfig::default()
    }
}

fn symbols(count: usize) -> Vec<SymbolFilters> {
    vec![filters(); count]
}

/// Trades of all books, with the index of the book, and the backtest after the last candle.
fn trade(
    config: &BookConfig,
    markets: &[Vec<Candle>],
    capital_each: Decimal,
) -> (Vec<(usize, ClosedTrade)>, Vec<UtcMs>, Backtest) {
    let symbols = symbols(markets.len());
    let mut backtest = Backtest::new(config, symbols, capital_each, OnHalt::StayLatched).unwrap();
    let (mut trades, mut latches) = (Vec::new(), Vec::new());
    for n in 0..markets[0].len() {
        for (book, market) in markets.iter().enumerate() {
            let step = backtest.candle_closed(book, &market[n]).unwrap();
            trades.extend(step.trades.into_iter().map(|trade| (book, trade)));
        }
        let close = config.base.close_of(markets[0][n].open_time);
        let step = backtest.value_account(close).unwrap();
        trades.extend(step.trades);
        latches.extend(step.latch.map(|latch| latch.at));
    }
    (trades, latches, backtest)
}

#[test]
fn sum_over_the_books_is_the_account_and_a_latch_ends_all_of_them() {
    let config = BookConfig {
        leverage: dec("5"),
        ..config()
    };
    let mut ended = 0;
    for seed in 1..=6 {
        let markets: Vec<_> = (0..3)
            .map(|n| walk(seed * 3 + n, Interval::M15, 4_000))
            .collect();
        let (trades, latches, backtest) = trade(&config, &markets, dec("5000"));
        let sum: Decimal = backtest
            .books()
            .iter()
            .map(|book| book.status().equity)
            .sum();
        assert_eq!(backtest.equity(), sum);
        assert_eq!(backtest.capital(), dec("15000"));
        let units = Decimal::from_i128_with_scale(backtest.equity_units(), 16);
        assert_eq!(units, sum, "marked in integers and in decimals");
        for book in 0..3 {
            let pnl: Decimal = trades
                .iter()
                .filter(|(b, _)| *b == book)
                .map(|(_, t)| t.pnl)
                .sum();
            assert_eq!(dec("5000") + pnl, backtest.books()[book].state().equity);
        }
        if let Some(at) = latches.first() {
            ended += 1;
            assert!(!backtest.has_position());
            let late = trades.iter().filter(|(_, trade)| trade.exit_at > *at);
            assert_eq!(late.count(), 0, "nothing trades after the latch");
        }
    }
    assert!(ended > 1, "{ended}");
}

#[test]
fn loss_of_one_book_is_judged_against_the_account() {
    let config = BookConfig {
        leverage: dec("5"),
        ..config()
    };
    // A market that latches an account of one book, beside quiet ones.
    let quiet: Vec<Candle> = walk(1, Interval::M15, 4_000)
        .iter()
        .map(|c| {
            let price = "40000".parse().unwrap();
            Candle::new(Interval::M15, c.open_time, price, price, price, price).unwrap()
        })
        .collect();
    let wild = (1..60)
        .map(|seed| walk(seed, Interval::M15, 4_000))
        .find(|market| {
            !trade(&config, std::slice::from_ref(market), dec("5000"))
                .1
                .is_empty()
        })
        .unwrap();
    let alone = trade(&config, std::slice::from_ref(&wild), dec("5000"));
    let beside = [wild, quiet.clone(), quiet.clone(), quiet.clone(), quiet];
    let together = trade(&config, &beside, dec("5000"));
    assert!(together.1.first() > alone.1.first() || together.1.is_empty());
    assert!(together.0.len() > alone.0.len(), "the book trades on");
}

#[test]
fn backtest_that_starts_warm_makes_the_trades_of_one_that_began_before() {
    for seed in 1..=3 {
        let market = walk(seed, Interval::M15, 9_000);
        let config = BookConfig {
            strategies: Strategy::ALL.to_vec(),
            ..config()
        };
        // On a bar, and within one; the whole history fits into the bars that a trader requests.
        for start in [2 * 1_490, 2 * 1_490 + 1] {
            let from = market[start].open_time;
            let mut warmed =
                Backtest::new(&config, symbols(1), dec("10000"), OnHalt::UnlatchNextDay).unwrap();
            let mut whole =
                Backtest::new(&config, symbols(1), dec("10000"), OnHalt::UnlatchNextDay).unwrap();
            let mut signals = [Vec::new(), Vec::new()];
            for candle in &market {
                if candle.open_time < from {
                    warmed.warm_up_candle(0, candle).unwrap();
                } else {
                    let closed = warmed.candle_closed(0, candle).unwrap().bar_closed;
                    if closed {
                        signals[0].push(warmed.books()[0].strategy_inputs());
                    }
                }
                let closed = whole.candle_closed(0, candle).unwrap().bar_closed;
                if closed && candle.open_time >= from {
                    signals[1].push(whole.books()[0].strategy_inputs());
                }
            }
            assert_eq!(signals[0], signals[1], "{seed} {start}");
            assert!(signals[0].len() > 2_000, "{}", signals[0].len());
        }
    }
}

#[test]
fn signal_of_the_bar_that_closes_as_the_period_begins_is_traded() {
    let market = walk(2, Interval::M15, 6_000);
    let (trades, ..) = trade(&config(), std::slice::from_ref(&market), dec("10000"));
    let entry_at = trades[0].1.entry_at;
    let mut warmed =
        Backtest::new(&config(), symbols(1), dec("10000"), OnHalt::StayLatched).unwrap();
    let mut first = None;
    for candle in &market {
        if candle.open_time < entry_at {
            warmed.warm_up_candle(0, candle).unwrap();
        } else if first.is_none() {
            first = warmed
                .candle_closed(0, candle)
                .unwrap()
                .trades
                .first()
                .copied();
        }
    }
    assert_eq!(first.map(|trade| trade.entry_at), Some(entry_at));
    assert_eq!(first.map(|trade| trade.pnl), Some(trades[0].1.pnl));
}

#[test]
fn funding_that_falls_into_a_gap_is_paid_once() {
    let config = BookConfig {
        funding_rate: dec("0.0001"),
        ..config()
    };
    let eight_hours = 8 * 3_600_000;
    let mut held = 0;
    for seed in 1..=40 {
        let market = walk(seed, Interval::M15, 3_000);
        let whole = trade(&config, std::slice::from_ref(&market), dec("10000")).0;
        let Some((_, position)) = whole.iter().find(|(_, trade)| {
            let due = (trade.entry_at.0 / eight_hours + 1) * eight_hours;
            trade.exit_at.0 > due + 900_000 && due > trade.entry_at.0 + 900_000
        }) else {
            continue;
        };
        held += 1;
        let due = (position.entry_at.0 / eight_hours + 1) * eight_hours;
        let mut market = market;
        market.retain(|candle| candle.open_time.0 != due);
        let gap = trade(&config, std::slice::from_ref(&market), dec("10000")).0;
        let same = gap
            .iter()
            .find(|(_, trade)| trade.entry_at == position.entry_at)
            .unwrap();
        assert!(!same.1.funding.is_zero(), "{seed}");
        // The price differs by one candle.
        let ratio = same.1.funding / position.funding;
        assert!(
            (ratio - Decimal::ONE).abs() < dec("0.01"),
            "{seed}: {ratio}"
        );
    }
    assert!(held > 3, "{held}");
}
