//! A position: effect of fills, value and liquidation price.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::enums::{PositionSide, Side};
use super::leverage_brackets::{self, Bracket};

/// Decimal places of amounts of money, as in Binance's balances.
pub const MONEY_DECIMALS: u32 = 8;

/// A position of one contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Symbol of the contract.
    pub symbol: String,
    /// Side of the position.
    pub side: PositionSide,
    /// Amount of the base asset; negative if short.
    pub amount: Decimal,
    /// Mean entry price, in USDT.
    pub entry_price: Decimal,
    /// Isolated margin in USDT; zero under cross margin.
    pub isolated_margin: Decimal,
    /// Realized profit since the account was opened, before fees, in USDT.
    pub realized_pnl: Decimal,
    /// Time of the last change, UTC ms.
    pub updated_ms: i64,
}

impl Position {
    /// A position with amount zero.
    pub fn flat(symbol: &str, side: PositionSide) -> Self {
        Self {
            symbol: symbol.to_owned(),
            side,
            amount: Decimal::ZERO,
            entry_price: Decimal::ZERO,
            isolated_margin: Decimal::ZERO,
            realized_pnl: Decimal::ZERO,
            updated_ms: 0,
        }
    }

    /// Amount that an order of this side can close.
    pub fn closable(&self, side: Side) -> Decimal {
        match side {
            Side::Sell => self.amount.max(Decimal::ZERO),
            Side::Buy => (-self.amount).max(Decimal::ZERO),
        }
    }

    /// Applies a fill; returns the realized profit. The leverage is given if the margin is isolated.
    pub fn fill(
        &mut self,
        side: Side,
        quantity: Decimal,
        price: Decimal,
        leverage: Option<u32>,
    ) -> Decimal {
        let closing = self.closable(side).min(quantity);
        let realised = self.close(closing, price);
        self.open(side, quantity - closing, price, leverage);
        self.realized_pnl += realised;
        realised
    }

    fn close(&mut self, quantity: Decimal, price: Decimal) -> Decimal {
        if quantity.is_zero() {
            return Decimal::ZERO;
        }
        let held = self.amount.abs();
        let way = self.amount / held;
        let realised = ((price - self.entry_price) * quantity * way).round_dp(MONEY_DECIMALS);
        self.isolated_margin =
            (self.isolated_margin * (held - quantity) / held).round_dp(MONEY_DECIMALS);
        self.amount -= way * quantity;
        if self.amount.is_zero() {
            self.entry_price = Decimal::ZERO;
        }
        realised
    }

    fn open(&mut self, side: Side, quantity: Decimal, price: Decimal, leverage: Option<u32>) {
        if quantity.is_zero() {
            return;
        }
        let held = self.amount.abs();
        self.entry_price = ((self.entry_price * held + price * quantity) / (held + quantity))
            .round_dp(MONEY_DECIMALS);
        if let Some(leverage) = leverage {
            self.isolated_margin +=
                (price * quantity / Decimal::from(leverage)).round_dp(MONEY_DECIMALS);
        }
        match side {
            Side::Buy => self.amount += quantity,
            Side::Sell => self.amount -= quantity,
        }
    }

    /// Unrealized profit at `mark_price`, in USDT.
    pub fn unrealized_pnl(&self, mark: Decimal) -> Decimal {
        ((mark - self.entry_price) * self.amount).round_dp(MONEY_DECIMALS)
    }

    /// Value at `mark_price` in USDT; negative if short.
    pub fn notional(&self, mark: Decimal) -> Decimal {
        (self.amount * mark).round_dp(MONEY_DECIMALS)
    }

    /// Maintenance margin at `mark_price`, in USDT.
    pub fn maintenance_margin(&self, mark: Decimal, brackets: &[Bracket]) -> Decimal {
        let value = self.notional(mark).abs();
        leverage_brackets::maintenance_margin(brackets, value).round_dp(MONEY_DECIMALS)
    }

    /// Price at which the buffer is used up except for the maintenance margin; zero if there is none.
    pub fn liquidation_price(&self, buffer: Decimal, brackets: &[Bracket]) -> Decimal {
        let size = self.amount.abs();
        let bracket = leverage_brackets::for_notional(brackets, size * self.entry_price);
        let Some(bracket) = bracket.filter(|_| !size.is_zero()) else {
            return Decimal::ZERO;
        };
        let spare = buffer + bracket.deduction;
        let value = size * self.entry_price;
        let price = if self.amount.is_sign_positive() {
            (value - spare) / (size * (Decimal::ONE - bracket.maintenance_rate))
        } else {
            (value + spare) / (size * (Decimal::ONE + bracket.maintenance_rate))
        };
        price.max(Decimal::ZERO).round_dp(MONEY_DECIMALS)
    }

    /// Whether `mark_price` is at or beyond the liquidation price with this buffer.
    pub fn is_liquidated_at(&self, mark: Decimal, buffer: Decimal, brackets: &[Bracket]) -> bool {
        let limit = self.liquidation_price(buffer, brackets);
        if self.amount.is_zero() || limit.is_zero() {
            false
        } else if self.amount.is_sign_positive() {
            mark <= limit
        } else {
            mark >= limit
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::dec;

    #[test]
    fn fills_average_the_entry_realize_pnl_and_reverse_a_position() {
        let mut position = Position::flat("BTCUSDT", PositionSide::Both);
        assert_eq!(
            position.fill(Side::Buy, dec!(1), dec!(100), Some(10)),
            dec!(0)
        );
        assert_eq!(
            position.fill(Side::Buy, dec!(1), dec!(110), Some(10)),
            dec!(0)
        );
        assert_eq!(
            (position.entry_price, position.isolated_margin),
            (dec!(105), dec!(21))
        );
        assert_eq!(
            position.fill(Side::Sell, dec!(0.5), dec!(115), Some(10)),
            dec!(5)
        );
        assert_eq!(
            (position.amount, position.isolated_margin),
            (dec!(1.5), dec!(15.75))
        );
        assert_eq!(
            position.fill(Side::Sell, dec!(2), dec!(100), Some(10)),
            dec!(-7.5)
        );
        assert_eq!(
            (position.amount, position.entry_price),
            (dec!(-0.5), dec!(100))
        );
        assert_eq!(
            (position.isolated_margin, position.realized_pnl),
            (dec!(5), dec!(-2.5))
        );
    }

    #[test]
    fn liquidation_price_leaves_exactly_the_maintenance_margin() {
        for side in [Side::Buy, Side::Sell] {
            let mut position = Position::flat("BTCUSDT", PositionSide::Both);
            position.fill(side, dec!(1), dec!(40000), Some(10));
            let brackets = leverage_brackets::brackets(125, Decimal::ONE);
            let price = position.liquidation_price(position.isolated_margin, &brackets);
            let left = position.isolated_margin + position.unrealized_pnl(price);
            let kept = position.maintenance_margin(price, &brackets);
            assert!((left - kept).abs() < dec!(0.0001), "{left} {kept}");
            let margin = position.isolated_margin;
            assert!(position.is_liquidated_at(price, margin, &brackets));
            assert!(!position.is_liquidated_at(dec!(40000), margin, &brackets));
        }
    }
}
