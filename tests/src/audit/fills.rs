//! The audit's own arithmetic of fills, fees and sizes, in decimals.

use engine::book::{Entry, ExitReason, Position};
use engine::strategy::Strategy;
use protocol::event::Side;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::exchange::{Candle, Grid};

/// What an entry should have been sized as.
pub(super) struct Bracket {
    pub(super) quantity: Decimal,
    pub(super) stop: Decimal,
    pub(super) target: Decimal,
}

/// Stop and target by the strategy's formula, the size by 2 % risk and the book's means.
pub(super) fn bracket(entry: &Entry, equity: Decimal, leverage: Decimal, grid: Grid) -> Bracket {
    let (reference, atr) = (entry.reference.to_decimal(), entry.atr.to_decimal());
    let percent = |hundredths: i64| Decimal::new(hundredths, 4);
    let atrs = |tenths: i64| atr * Decimal::new(tenths, 1);
    let (stop, target) = match entry.strategy {
        Strategy::AdaptiveOversoldBounce => (
            down(
                reference - atrs(12).min(reference * percent(150)),
                grid.tick,
            ),
            down(reference + atrs(25).max(reference * percent(80)), grid.tick),
        ),
        Strategy::AdaptiveShortTheRip => (
            up(
                reference + atrs(15).min(reference * percent(200)),
                grid.tick,
            ),
            up(
                reference - atrs(30).max(reference * percent(100)),
                grid.tick,
            ),
        ),
        Strategy::OversoldBounce => (
            down(reference - atr, grid.tick),
            down(reference * (Decimal::ONE + percent(150)), grid.tick),
        ),
        Strategy::ShortTheRip => (
            up(reference + atr * Decimal::new(12, 1), grid.tick),
            up(reference * (Decimal::ONE - percent(120)), grid.tick),
        ),
    };
    let halves = Decimal::from(2_u32.pow(entry.halvings.into()));
    let equity = equity / halves;
    let by_risk = equity * percent(200) / (reference - stop).abs();
    let by_means = equity * leverage / reference;
    Bracket {
        quantity: down(by_risk.min(by_means), grid.lot),
        stop,
        target,
    }
}

/// A market order: slippage and tick go against whoever sends it.
pub(super) fn market(price: Decimal, buys: bool, slippage: Decimal, tick: Decimal) -> Decimal {
    if buys {
        up(price * (Decimal::ONE + slippage), tick)
    } else {
        down(price * (Decimal::ONE - slippage), tick)
    }
}

/// Fee of one fill.
pub(super) fn fee(price: Decimal, quantity: Decimal, rate: Decimal) -> Decimal {
    (price * quantity * rate).round_dp_with_strategy(8, RoundingStrategy::MidpointAwayFromZero)
}

/// What a position pays when eight hours are full, at that candle's open.
pub(super) fn funding(position: &Position, open: Decimal, rate: Decimal) -> Decimal {
    let amount = fee(open, position.quantity.to_decimal(), rate);
    match position.side {
        Side::Long => amount,
        Side::Short => -amount,
    }
}

/// How this candle ends the position: a gap at the open first, then the stop, then the target.
pub(super) fn exit(
    position: &Position,
    candle: &Candle,
    slippage: Decimal,
    tick: Decimal,
) -> Option<(Decimal, ExitReason)> {
    let (stop, target) = (position.stop.to_decimal(), position.target.to_decimal());
    let long = position.side == Side::Long;
    let stopped = |at| (market(at, !long, slippage, tick), ExitReason::Stop);
    let (gapped, won, hit, reached) = if long {
        (
            candle.open <= stop,
            candle.open >= target,
            candle.low <= stop,
            candle.high >= target,
        )
    } else {
        (
            candle.open >= stop,
            candle.open <= target,
            candle.high >= stop,
            candle.low <= target,
        )
    };
    match (gapped, won, hit, reached) {
        (true, ..) => Some(stopped(candle.open)),
        (_, true, ..) => Some((candle.open, ExitReason::Target)),
        (_, _, true, _) => Some(stopped(stop)),
        (_, _, _, true) => Some((target, ExitReason::Target)),
        _ => None,
    }
}

fn down(value: Decimal, step: Decimal) -> Decimal {
    (value / step).floor() * step
}

fn up(value: Decimal, step: Decimal) -> Decimal {
    (value / step).ceil() * step
}
