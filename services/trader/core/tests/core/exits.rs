//! From a position to a trade: where stop and target fill, and the resulting profit.

use bearish_trader_core::book::{BookEvent, BookPhase, BookRecord, ExitReason};
use bearish_trader_core::strategy::Strategy::{self, OversoldBounce, ShortTheRip};
use protocol::time::UtcMs;

use crate::support::{
    CALM, MINUTE, candle, candle_closed, dec, inputs_at, open, pending, price, signal,
};

type Case = (&'static str, &'static str);

/// Each candle (open, high, low, close) meets a fresh position, and again ages later: exits are
/// managed however old the candle is.
fn check_exits(strategy: Strategy, cases: &[Case]) {
    for (prices, expected) in cases {
        for late in [0, 1_000_000_000] {
            let prices: Vec<&str> = prices.split(' ').collect();
            let candle = candle(31, prices.clone().try_into().unwrap());
            let mut book = open(strategy);
            let records = book.handle_event(candle_closed(candle, 32 * MINUTE + late));
            let exit = match &records[..] {
                [] => "none".to_owned(),
                [BookRecord::PositionClosed(trade)] => {
                    format!("{} {}", trade.reason, trade.exit_price)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(&exit, expected, "{strategy} {prices:?}");
        }
    }
}

#[test]
fn long_is_closed_at_the_first_price_in_time_and_at_the_worse_one() {
    // Stop 39,600, target 40,600.
    let cases = [
        ("40000 40599.9 39600.1 40000", "none"),
        ("40000 40000 39600 40000", "stop 39592"),
        ("40000 40600 40000 40000", "target 40600"),
        ("40000 40600 39600 40000", "stop 39592"),
        ("39600.1 40600 39600.1 40000", "target 40600"),
        ("39600 40600 39600 40000", "stop 39592"),
        ("39000 40600 39000 40000", "stop 38992.2"),
        ("40700 40700 39000 39000", "target 40700"),
        ("40600 40600 39000 39000", "target 40600"),
    ];
    check_exits(OversoldBounce, &cases);
}

#[test]
fn short_is_closed_at_the_first_price_in_time_and_at_the_worse_one() {
    // Stop 40,480, target 39,520.
    let cases = [
        ("40000 40479.9 39520.1 40000", "none"),
        ("40000 40480 40000 40000", "stop 40488.1"),
        ("40000 40000 39520 40000", "target 39520"),
        ("40000 40480 39520 40000", "stop 40488.1"),
        ("40479.9 40479.9 39520 40000", "target 39520"),
        ("40480 40480 39520 40000", "stop 40488.1"),
        ("41000 41000 39520 40000", "stop 41008.2"),
        ("39400 41000 39400 41000", "target 39400"),
        ("39520 41000 39520 41000", "target 39520"),
    ];
    check_exits(ShortTheRip, &cases);
}

#[test]
fn a_long_runs_from_signal_to_target_with_every_figure_right() {
    let mut book = pending(OversoldBounce);
    let BookPhase::EntryPending(entry) = book.state.phase else {
        panic!("{:?}", book.state)
    };
    assert_eq!(entry.enter_at, UtcMs(30 * MINUTE));
    assert_eq!(
        (entry.stop_price, entry.target_price),
        (price("39600"), price("40600"))
    );
    assert_eq!(entry.quantity.to_string(), "0.25");

    book.candle(candle(30, CALM), None);
    let position = *book.state.position().unwrap();
    assert_eq!(position.entry_price, price("40008"));
    assert_eq!(position.fee, dec("6.0012"));

    let records = book.candle(candle(31, ["40100", "40600", "40100", "40500"]), None);
    let [BookRecord::PositionClosed(trade)] = &records[..] else {
        panic!("{records:?}")
    };
    assert_eq!(
        (trade.exit_price, trade.reason),
        (price("40600"), ExitReason::Target)
    );
    assert_eq!(trade.fee, dec("6.09"));
    assert_eq!(trade.pnl, dec("135.9088"));
    assert_eq!(trade.equity, dec("10135.9088"));
    assert_eq!(book.state.equity, dec("10135.9088"));
    assert_eq!(book.state.fees, dec("12.0912"));
    assert_eq!((book.state.trades, book.state.winning_trades), (1, 1));
    assert_eq!(book.state.phase, BookPhase::Flat);
}

#[test]
fn a_short_that_is_stopped_loses_more_than_its_distance() {
    let mut book = open(ShortTheRip);
    assert_eq!(book.state.position().unwrap().entry_price, price("39992"));
    let records = book.candle(candle(31, ["40000", "40480", "40000", "40480"]), None);
    let [BookRecord::PositionClosed(trade)] = &records[..] else {
        panic!("{records:?}")
    };
    // 40,480 x 1.0002 = 40,488.096, the next tick is 40,488.1.
    assert_eq!(
        (trade.exit_price, trade.reason),
        (price("40488.1"), ExitReason::Stop)
    );
    // -0.25 x 496.1 - 0.25 x 0.0006 x (39,992 + 40,488.1)
    assert_eq!(trade.pnl, dec("-136.097015"));
    assert_eq!((book.state.trades, book.state.winning_trades), (1, 0));
}

#[test]
fn the_candle_of_the_entry_can_close_the_position() {
    for (prices, reason) in [
        (["40000", "40600", "40000", "40500"], ExitReason::Target),
        (["40000", "40600", "39600", "40500"], ExitReason::Stop),
    ] {
        let mut book = pending(OversoldBounce);
        let records = book.candle(candle(30, prices), None);
        let [
            BookRecord::PositionOpened(_),
            BookRecord::PositionClosed(trade),
        ] = &records[..]
        else {
            panic!("{records:?}")
        };
        assert_eq!(trade.reason, reason);
        assert_eq!(book.state.phase, BookPhase::Flat);
    }
}

#[test]
fn a_candle_that_closes_a_position_may_also_signal_the_next_entry() {
    let mut book = open(OversoldBounce);
    let records = book.candle(candle(59, ["39000"; 4]), Some(signal(ShortTheRip, 60)));
    let [
        BookRecord::PositionClosed(trade),
        BookRecord::EntryDecided(entry),
    ] = &records[..]
    else {
        panic!("{records:?}")
    };
    // The size follows the equity after the loss: 2 % over 480, or what the equity buys.
    assert!(trade.equity < dec("10000"));
    assert_eq!(entry.quantity.to_string(), "0.243");
}

#[test]
fn position_that_lost_more_than_three_percent_of_the_equity_is_closed() {
    // Bought 0.25 at 40,008: 300 of 10,000 are lost at 38,808. The stop is moved out of reach.
    for (close, closed) in [("38808", false), ("38807.9", true)] {
        let mut book = open(OversoldBounce);
        if let BookPhase::Open(position) = &mut book.state.phase {
            position.stop_price = price("1");
        }
        let records = book.candle(candle(31, ["40000", "40000", close, close]), None);
        match &records[..] {
            [] => assert!(!closed, "{close}"),
            [
                BookRecord::BreakerTripped { .. },
                BookRecord::PositionClosed(trade),
                BookRecord::BreakerReset { .. },
            ] => {
                assert!(closed, "{close}");
                assert!(book.state.tripped_breakers.is_empty());
                // 38,807.9 less 0.02 %, on the tick below.
                assert_eq!(trade.exit_price, price("38800.1"));
                assert_eq!(trade.reason, ExitReason::PositionLoss);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn funding_is_paid_every_eight_hours_on_a_position_open_before() {
    for (strategy, amount) in [(OversoldBounce, "1"), (ShortTheRip, "-1")] {
        let mut book = open(strategy);
        book.config.funding_rate = dec("0.0001");
        assert_eq!(book.candle(candle(479, CALM), None), []);
        let records = book.candle(candle(480, CALM), None);
        let at = UtcMs(480 * MINUTE);
        // 0.25 at an open of 40,000.
        let amount = dec(amount);
        assert_eq!(records, [BookRecord::FundingPaid { at, amount }]);
        assert_eq!(book.candle(candle(480, CALM), None), [], "paid once");
        assert_eq!(book.candle(candle(481, CALM), None), []);
        let fee = book.state.position().unwrap().fee;
        let records = book.candle(candle(960, ["39000", "41000", "39000", "40000"]), None);
        let [
            BookRecord::FundingPaid { .. },
            BookRecord::PositionClosed(trade),
        ] = &records[..]
        else {
            panic!("{records:?}")
        };
        // The second time at an open of 39,000: 0.975.
        assert_eq!(trade.funding, amount * dec("1.975"));
        let moved = trade.exit_price.to_decimal() - trade.entry_price.to_decimal();
        let gross = moved * dec("0.25") * amount;
        assert_eq!(trade.pnl, gross - fee - trade.fee - trade.funding);
        assert_eq!(book.state.funding, trade.funding);
    }
}

#[test]
fn used_candles_are_ignored_when_repeated() {
    let mut book = open(OversoldBounce);
    let wild = ["40000", "50000", "30000", "40000"];
    for minute in [29, 30] {
        assert_eq!(book.candle(candle(minute, wild), None), [], "{minute}");
    }
    book.candle(candle(31, wild), None);
    assert_eq!(book.state.trades, 1);
    let event = BookEvent::CandleClosed {
        candle: candle(31, wild),
        signal: Some(signal(ShortTheRip, 60)),
        inputs: inputs_at(60 * MINUTE),
    };
    assert_eq!(book.decide_only(event), []);
}
