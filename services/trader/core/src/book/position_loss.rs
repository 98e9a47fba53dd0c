//! The position-loss breaker: a position that has lost too much of the book's equity is closed.

use protocol::event::PositionSide;
use protocol::time::UtcMs;
use rust_decimal::Decimal;

use super::{BookRecord, BookState, Position};
use crate::circuit_breaker::{Breaker, POSITION_LOSS};
use crate::fixed_point::{Price, SCALE};

/// Decimal places of a price times a quantity, both in units of 1e-8.
const LOSS_SCALE: u32 = 2 * SCALE;

/// Whether the position has lost more than [`POSITION_LOSS`] of the book's equity at this price. Computed at every
/// candle of an open position, so in integers where they suffice.
pub(super) fn exceeds_position_loss(state: &BookState, position: &Position, price: Price) -> bool {
    let (entry, now) = (position.entry_price.units(), price.units());
    let fall = match position.side {
        PositionSide::Long => i128::from(entry) - i128::from(now),
        PositionSide::Short => i128::from(now) - i128::from(entry),
    };
    if fall <= 0 {
        return false;
    }
    // In units of 1e-16.
    let loss = fall * i128::from(position.quantity.units());
    let equity = state.equity;
    let limit = equity.mantissa() * POSITION_LOSS.mantissa();
    let scale = equity.scale() + POSITION_LOSS.scale();
    if scale <= LOSS_SCALE
        && let Some(limit) = limit.checked_mul(10_i128.pow(LOSS_SCALE - scale))
    {
        return loss > limit;
    }
    // A loss that does not fit into a decimal exceeds any equity.
    Decimal::try_from_i128_with_scale(loss, LOSS_SCALE)
        .map_or(true, |loss| loss > equity.saturating_mul(POSITION_LOSS))
}

/// The record of the tripped breaker; `at` is the open time of the candle that tripped it.
pub(super) fn position_loss_tripped(at: UtcMs) -> BookRecord {
    let share = POSITION_LOSS * Decimal::ONE_HUNDRED;
    BookRecord::BreakerTripped {
        breaker: Breaker::PositionLoss,
        at,
        reason: format!("the position lost more than {share} % of the book's equity"),
    }
}
