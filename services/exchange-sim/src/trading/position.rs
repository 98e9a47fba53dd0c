//! A position: what a fill makes of it, what it is worth, where it is liquidated. Not here: the wallet
//! behind it (`account.rs`).

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::bracket;
use super::terms::{PositionSide, Side};

/// Decimals of what is computed and kept: those of Binance's own balances.
pub const KEPT: u32 = 8;

/// A position of one contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Contract.
    pub symbol: String,
    /// Which of the contract's positions.
    pub side: PositionSide,
    /// Amount, negative when short.
    pub amount: Decimal,
    /// Mean entry price.
    pub entry: Decimal,
    /// Margin set aside for it; zero under cross margin.
    pub isolated: Decimal,
    /// Profit realised since ever, before fees.
    pub realised: Decimal,
    /// When it last changed, UTC ms.
    pub updated_ms: i64,
}

impl Position {
    /// No position.
    pub fn flat(symbol: &str, side: PositionSide) -> Self {
        Self {
            symbol: symbol.to_owned(),
            side,
            amount: Decimal::ZERO,
            entry: Decimal::ZERO,
            isolated: Decimal::ZERO,
            realised: Decimal::ZERO,
            updated_ms: 0,
        }
    }

    /// How much of it an order of this side would close.
    pub fn closable(&self, side: Side) -> Decimal {
        match side {
            Side::Sell => self.amount.max(Decimal::ZERO),
            Side::Buy => (-self.amount).max(Decimal::ZERO),
        }
    }

    /// Takes in a fill and says what it realised. `leverage` is given if margin is isolated.
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
        self.realised += realised;
        realised
    }

    fn close(&mut self, quantity: Decimal, price: Decimal) -> Decimal {
        if quantity.is_zero() {
            return Decimal::ZERO;
        }
        let held = self.amount.abs();
        let way = self.amount / held;
        let realised = ((price - self.entry) * quantity * way).round_dp(KEPT);
        self.isolated = (self.isolated * (held - quantity) / held).round_dp(KEPT);
        self.amount -= way * quantity;
        if self.amount.is_zero() {
            self.entry = Decimal::ZERO;
        }
        realised
    }

    fn open(&mut self, side: Side, quantity: Decimal, price: Decimal, leverage: Option<u32>) {
        if quantity.is_zero() {
            return;
        }
        let held = self.amount.abs();
        self.entry = ((self.entry * held + price * quantity) / (held + quantity)).round_dp(KEPT);
        if let Some(leverage) = leverage {
            self.isolated += (price * quantity / Decimal::from(leverage)).round_dp(KEPT);
        }
        match side {
            Side::Buy => self.amount += quantity,
            Side::Sell => self.amount -= quantity,
        }
    }

    /// Profit not realised at `mark`.
    pub fn unrealised(&self, mark: Decimal) -> Decimal {
        ((mark - self.entry) * self.amount).round_dp(KEPT)
    }

    /// Value at `mark`, negative when short.
    pub fn notional(&self, mark: Decimal) -> Decimal {
        (self.amount * mark).round_dp(KEPT)
    }

    /// Margin it must keep at `mark`.
    pub fn maintenance(&self, mark: Decimal) -> Decimal {
        bracket::maintenance(self.notional(mark).abs()).round_dp(KEPT)
    }

    /// Price at which `cushion` is used up but for the maintenance margin; zero if there is none.
    pub fn liquidation(&self, cushion: Decimal) -> Decimal {
        let size = self.amount.abs();
        if size.is_zero() {
            return Decimal::ZERO;
        }
        let bracket = bracket::of(size * self.entry);
        let spare = cushion + bracket.deducted;
        let value = size * self.entry;
        let price = if self.amount.is_sign_positive() {
            (value - spare) / (size * (Decimal::ONE - bracket.rate))
        } else {
            (value + spare) / (size * (Decimal::ONE + bracket.rate))
        };
        price.max(Decimal::ZERO).round_dp(KEPT)
    }

    /// Whether `mark` is at or beyond the liquidation price with this cushion.
    pub fn is_lost(&self, mark: Decimal, cushion: Decimal) -> bool {
        let limit = self.liquidation(cushion);
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
    fn entries_are_averaged_closings_realise_and_a_flip_opens_anew() {
        let mut position = Position::flat("BTCUSDT", PositionSide::Both);
        assert_eq!(
            position.fill(Side::Buy, dec!(1), dec!(100), Some(10)),
            dec!(0)
        );
        assert_eq!(
            position.fill(Side::Buy, dec!(1), dec!(110), Some(10)),
            dec!(0)
        );
        assert_eq!((position.entry, position.isolated), (dec!(105), dec!(21)));
        assert_eq!(
            position.fill(Side::Sell, dec!(0.5), dec!(115), Some(10)),
            dec!(5)
        );
        assert_eq!(
            (position.amount, position.isolated),
            (dec!(1.5), dec!(15.75))
        );
        assert_eq!(
            position.fill(Side::Sell, dec!(2), dec!(100), Some(10)),
            dec!(-7.5)
        );
        assert_eq!((position.amount, position.entry), (dec!(-0.5), dec!(100)));
        assert_eq!(
            (position.isolated, position.realised),
            (dec!(5), dec!(-2.5))
        );
    }

    #[test]
    fn at_the_liquidation_price_what_is_left_is_the_maintenance_margin() {
        for side in [Side::Buy, Side::Sell] {
            let mut position = Position::flat("BTCUSDT", PositionSide::Both);
            position.fill(side, dec!(1), dec!(40000), Some(10));
            let price = position.liquidation(position.isolated);
            let left = position.isolated + position.unrealised(price);
            let kept = position.maintenance(price);
            assert!((left - kept).abs() < dec!(0.0001), "{left} {kept}");
            assert!(position.is_lost(price, position.isolated));
            assert!(!position.is_lost(dec!(40000), position.isolated));
        }
    }
}
