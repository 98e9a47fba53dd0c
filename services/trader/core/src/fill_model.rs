//! Simulated fills of paper mode and backtests, from one candle after another.
//!
//! Where a candle leaves a choice, the model takes the worse one: market fills slip and round to the worse tick, a candle
//! that touches stop and target fills the stop, and a gap over the stop fills at the open. A target is filled at the open
//! if the open is better than the target.
//!
//! Funding is due every eight hours (00:00, 08:00, 16:00 UTC) at a constant rate. Not modeled: market impact, partial
//! fills, liquidation.

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::book::{ExitReason, Position};
use crate::candle::Candle;
use crate::fixed_point::{Price, Qty, SCALE, notional};
use crate::orders::{Leg, OrderSide};

/// A fill that closes a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitFill {
    /// Fill price in the quote currency.
    pub price: Price,
    /// Reason for which the position was closed.
    pub reason: ExitReason,
}

/// Fill price of a market order at `price`: `slippage` (a share of the price) and the rounding to the tick worsen it.
pub fn market_fill_price(
    price: Price,
    side: PositionSide,
    leg: Leg,
    slippage: Decimal,
    tick: Price,
) -> Price {
    let exact = price.to_decimal();
    let slip = exact * slippage;
    if OrderSide::for_leg(side, leg) == OrderSide::Buy {
        let paid = round(exact + slip, RoundingStrategy::ToPositiveInfinity);
        paid.map_or(price, |paid| paid.ceil_to(tick))
    } else {
        let got = round(exact - slip, RoundingStrategy::ToNegativeInfinity);
        // The lowest sale price is one tick.
        got.map_or(price, |got| got.floor_to(tick)).max(tick)
    }
}

/// Fee of one fill in the quote currency, rounded half up to 1e-8.
pub fn fee(price: Price, quantity: Qty, rate: Decimal) -> Decimal {
    (notional(price, quantity) * rate)
        .round_dp_with_strategy(SCALE, RoundingStrategy::MidpointAwayFromZero)
        .normalize()
}

/// Profit of a price change before fees, in the quote currency; negative for a loss.
pub fn gross_pnl(side: PositionSide, entry: Price, exit: Price, quantity: Qty) -> Decimal {
    let (entry, exit) = (notional(entry, quantity), notional(exit, quantity));
    match side {
        PositionSide::Long => exit - entry,
        PositionSide::Short => entry - exit,
    }
}

/// Funding interval of Binance, in milliseconds.
const FUNDING_INTERVAL_MS: i64 = 8 * 3_600_000;

/// Whether a funding time lies after `paid_until`, up to and including `now`.
pub const fn is_funding_due(paid_until: UtcMs, now: UtcMs) -> bool {
    paid_until.0.div_euclid(FUNDING_INTERVAL_MS) < now.0.div_euclid(FUNDING_INTERVAL_MS)
}

/// Funding times after `paid_until`, up to and including `now`.
pub fn funding_times(paid_until: UtcMs, now: UtcMs) -> impl Iterator<Item = UtcMs> {
    let interval = |at: UtcMs| at.0.div_euclid(FUNDING_INTERVAL_MS);
    (interval(paid_until)..interval(now)).map(|n| UtcMs((n + 1) * FUNDING_INTERVAL_MS))
}

/// Funding that a position pays at a funding time, in the quote currency, rounded half up to 1e-8; negative if received.
pub fn funding(side: PositionSide, price: Price, quantity: Qty, rate: Decimal) -> Decimal {
    let amount = fee(price, quantity, rate);
    match side {
        PositionSide::Long => amount,
        PositionSide::Short => -amount,
    }
}

/// The fill with which a candle closes the position; `None` if it does not.
pub fn exit_fill(
    position: &Position,
    candle: &Candle,
    slippage: Decimal,
    tick: Price,
) -> Option<ExitFill> {
    let Position {
        side,
        stop_price: stop,
        target_price: target,
        ..
    } = *position;
    let stopped_at = |price| ExitFill {
        price: market_fill_price(price, side, Leg::Exit, slippage, tick),
        reason: ExitReason::Stop,
    };
    let reached_at = |price| ExitFill {
        price,
        reason: ExitReason::Target,
    };
    let (worst, best) = match side {
        PositionSide::Long => (candle.low, candle.high),
        PositionSide::Short => (candle.high, candle.low),
    };
    if !is_better(side, candle.open, stop) {
        Some(stopped_at(candle.open))
    } else if !is_better(side, target, candle.open) {
        Some(reached_at(candle.open))
    } else if !is_better(side, worst, stop) {
        Some(stopped_at(stop))
    } else if !is_better(side, target, best) {
        Some(reached_at(target))
    } else {
        None
    }
}

/// Whether `a` is a strictly better price than `b` for a position of this side.
pub fn is_better(side: PositionSide, a: Price, b: Price) -> bool {
    match side {
        PositionSide::Long => a > b,
        PositionSide::Short => a < b,
    }
}

fn round(value: Decimal, strategy: RoundingStrategy) -> Option<Price> {
    Price::from_decimal(value.round_dp_with_strategy(SCALE, strategy)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(at: &str, side: PositionSide, leg: Leg) -> String {
        let (slippage, tick) = (Decimal::new(2, 4), "0.1".parse().unwrap());
        market_fill_price(at.parse().unwrap(), side, leg, slippage, tick).to_string()
    }

    #[test]
    fn market_fills_slip_and_round_to_the_worse_price() {
        // 0.02 % of 40,000 is 8; of 40,000.1 it is 8.00002, which costs the next tick.
        for (at, bought, sold) in [("40000", "40008", "39992"), ("40000.1", "40008.2", "39992")] {
            assert_eq!(fill(at, PositionSide::Long, Leg::Entry), bought);
            assert_eq!(fill(at, PositionSide::Short, Leg::Exit), bought);
            assert_eq!(fill(at, PositionSide::Long, Leg::Exit), sold);
            assert_eq!(fill(at, PositionSide::Short, Leg::Entry), sold);
        }
    }

    #[test]
    fn nothing_is_sold_below_one_tick() {
        assert_eq!(fill("0.1", PositionSide::Long, Leg::Exit), "0.1");
    }

    #[test]
    fn a_fee_rounds_half_up_to_the_eighth_place() {
        let quantity = Qty::from_units(1);
        for (price, units) in [("0.4", 0), ("0.5", 1), ("1.4", 1), ("1.5", 2)] {
            let fee = fee(price.parse().unwrap(), quantity, Decimal::ONE);
            assert_eq!(fee, Decimal::new(units, 8), "{price}");
        }
    }

    #[test]
    fn a_price_at_the_end_of_the_range_does_not_panic() {
        let max = Price::from_units(i64::MAX);
        let tick = Price::from_units(3);
        for side in [PositionSide::Long, PositionSide::Short] {
            for leg in [Leg::Entry, Leg::Exit] {
                let _ = market_fill_price(max, side, leg, Decimal::new(1, 2), tick);
            }
            let _ = gross_pnl(side, max, Price::ZERO, Qty::from_units(i64::MAX));
        }
    }
}
