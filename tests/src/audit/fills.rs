//! Arithmetic of fills, fees and sizes for the audit, in decimals, independent of the trader core.

use protocol::event::PositionSide;
use rust_decimal::{Decimal, RoundingStrategy};
use trader_core::book::{Entry, ExitReason, Position};
use trader_core::strategy::Strategy;

use crate::exchange::{Candle, Grid};

/// Expected quantity and prices of an entry.
pub(super) struct Bracket {
    pub(super) quantity: Decimal,
    pub(super) stop: Decimal,
    pub(super) target: Decimal,
}

/// Stop and target by the strategy's formula; quantity by 2 % risk, limited by what the equity can pay: the exchange
/// assumes a price for a market order that is 0.05 % worse than the best one, and wants the margin and the fee at that
/// price and the loss from it.
pub(super) fn expected_bracket(
    entry: &Entry,
    equity: Decimal,
    leverage: Decimal,
    fee_rate: Decimal,
    grid: Grid,
) -> Bracket {
    let (reference, atr) = (entry.reference_price.to_decimal(), entry.atr.to_decimal());
    let percent = |hundredths: i64| Decimal::new(hundredths, 4);
    let atrs = |tenths: i64| atr * Decimal::new(tenths, 1);
    let (stop, target) = match entry.strategy {
        Strategy::AdaptiveOversoldBounce => (
            round_down(
                reference - atrs(12).min(reference * percent(150)),
                grid.tick,
            ),
            round_down(reference + atrs(25).max(reference * percent(80)), grid.tick),
        ),
        Strategy::AdaptiveShortTheRip => (
            round_up(
                reference + atrs(15).min(reference * percent(200)),
                grid.tick,
            ),
            round_up(
                reference - atrs(30).max(reference * percent(100)),
                grid.tick,
            ),
        ),
        Strategy::OversoldBounce => (
            round_down(reference - atr, grid.tick),
            round_down(reference * (Decimal::ONE + percent(150)), grid.tick),
        ),
        Strategy::ShortTheRip => (
            round_up(reference + atr * Decimal::new(12, 1), grid.tick),
            round_up(reference * (Decimal::ONE - percent(120)), grid.tick),
        ),
    };
    let halves = Decimal::from(2_u32.pow(entry.halvings.into()));
    let equity = equity / halves;
    let by_risk = equity * percent(200) / (reference - stop).abs();
    let worse = Decimal::new(5, 4);
    let for_each_unit =
        reference * ((Decimal::ONE + worse) * (Decimal::ONE / leverage + fee_rate) + worse);
    let by_equity = equity / for_each_unit;
    Bracket {
        quantity: round_down(by_risk.min(by_equity), grid.lot),
        stop,
        target,
    }
}

/// Fill price of a market order: slippage and rounding to the tick are to the disadvantage of the sender.
pub(super) fn market_fill_price(
    price: Decimal,
    is_buy: bool,
    slippage: Decimal,
    tick: Decimal,
) -> Decimal {
    if is_buy {
        round_up(price * (Decimal::ONE + slippage), tick)
    } else {
        round_down(price * (Decimal::ONE - slippage), tick)
    }
}

/// Fee of one fill, rounded to eight decimals.
pub(super) fn fee(price: Decimal, quantity: Decimal, rate: Decimal) -> Decimal {
    (price * quantity * rate).round_dp_with_strategy(8, RoundingStrategy::MidpointAwayFromZero)
}

/// Funding that a position pays at a multiple of eight hours, at that candle's open. Negative if it receives.
pub(super) fn funding_payment(position: &Position, open: Decimal, rate: Decimal) -> Decimal {
    let amount = fee(open, position.quantity.to_decimal(), rate);
    match position.side {
        PositionSide::Long => amount,
        PositionSide::Short => -amount,
    }
}

/// Price and reason of the exit that this candle triggers: a gap at the open first, then the stop, then the
/// target. `None` if the position stays open.
pub(super) fn exit_in_candle(
    position: &Position,
    candle: &Candle,
    slippage: Decimal,
    tick: Decimal,
) -> Option<(Decimal, ExitReason)> {
    let (stop, target) = (
        position.stop_price.to_decimal(),
        position.target_price.to_decimal(),
    );
    let long = position.side == PositionSide::Long;
    let stopped = |at| {
        (
            market_fill_price(at, !long, slippage, tick),
            ExitReason::Stop,
        )
    };
    let (gapped, gained, hit, reached) = if long {
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
    match (gapped, gained, hit, reached) {
        (true, ..) => Some(stopped(candle.open)),
        (_, true, ..) => Some((candle.open, ExitReason::Target)),
        (_, _, true, _) => Some(stopped(stop)),
        (_, _, _, true) => Some((target, ExitReason::Target)),
        _ => None,
    }
}

fn round_down(value: Decimal, step: Decimal) -> Decimal {
    (value / step).floor() * step
}

fn round_up(value: Decimal, step: Decimal) -> Decimal {
    (value / step).ceil() * step
}
