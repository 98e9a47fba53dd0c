//! A contract's filters as they stand (a fault may change them) and the checks of prices and
//! quantities against them. Not here: what an account can afford (`place.rs`).

use rust_decimal::{Decimal, dec};
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use crate::symbols::Contract;

/// Open orders an account may have of one contract.
pub const MOST_ORDERS: usize = 200;
/// Conditional orders it may have of one contract.
pub const MOST_ALGOS: usize = 10;
/// How far above or below the mark a limit price may be.
const REACH: [Decimal; 2] = [dec!(0.95), dec!(1.05)];

/// One contract's filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Contract.
    pub symbol: String,
    /// Lowest and highest price.
    pub price: [Decimal; 2],
    /// Price grid.
    pub tick: Decimal,
    /// Decimals of a price.
    pub price_precision: u32,
    /// Smallest and largest quantity.
    pub quantity: [Decimal; 2],
    /// Largest quantity of a market order.
    pub market_most: Decimal,
    /// Lot.
    pub step: Decimal,
    /// Decimals of a quantity.
    pub quantity_precision: u32,
    /// Least order value.
    pub notional: Decimal,
    /// Whether it is traded; if not, positions may only be closed.
    pub trading: bool,
}

impl Rules {
    /// A contract's published filters.
    pub fn of(contract: &Contract) -> Self {
        let number = |text: &str| Decimal::from_str_exact(text).unwrap_or_default();
        let [lowest, highest, tick] = contract.price.map(number);
        let [least, most, step] = contract.lot.map(number);
        Self {
            symbol: contract.symbol.to_owned(),
            price: [lowest, highest],
            tick,
            price_precision: contract.price_precision,
            quantity: [least, most],
            market_most: number(contract.market_max),
            step,
            quantity_precision: contract.quantity_precision,
            notional: number(contract.min_notional),
            trading: true,
        }
    }

    /// Checks a quantity.
    ///
    /// # Errors
    /// The filter that refuses it.
    pub fn check_quantity(&self, quantity: Decimal, market: bool) -> Result<(), Refusal> {
        let [least, most] = self.quantity;
        let most = if market { self.market_most } else { most };
        let refused = if quantity <= Decimal::ZERO {
            -4003
        } else if quantity.normalize().scale() > self.quantity_precision {
            -1111
        } else if quantity < least {
            -4004
        } else if quantity > most {
            -4005
        } else if !(quantity % self.step).is_zero() {
            -4023
        } else {
            return Ok(());
        };
        Err(Refusal::of(refused))
    }

    /// Checks any price.
    ///
    /// # Errors
    /// The filter that refuses it.
    pub fn check_price(&self, price: Decimal) -> Result<(), Refusal> {
        let [lowest, highest] = self.price;
        if price <= Decimal::ZERO {
            Err(Refusal::new(-4001, "Price less than 0."))
        } else if price.normalize().scale() > self.price_precision {
            Err(Refusal::of(-1111))
        } else if price > highest {
            Err(Refusal::new(-4002, "Price greater than max price."))
        } else if price < lowest {
            Err(Refusal::new(-4013, "Price less than min price."))
        } else if (price % self.tick).is_zero() {
            Ok(())
        } else {
            Err(Refusal::of(-4014))
        }
    }

    /// Checks how far a limit price is from the mark.
    ///
    /// # Errors
    /// If it is too far on the side where it would hurt.
    pub fn check_reach(&self, price: Decimal, mark: Decimal, buys: bool) -> Result<(), Refusal> {
        let digits = |limit: Decimal| limit.round_dp(self.price_precision);
        let [lowest, highest] = REACH.map(|share| digits(mark * share));
        if buys && price > highest {
            let words = format!("Limit price can't be higher than {highest}.");
            Err(Refusal::new(-4016, words))
        } else if !buys && price < lowest {
            let words = format!("Limit price can't be lower than {lowest}.");
            Err(Refusal::new(-4024, words))
        } else {
            Ok(())
        }
    }

    /// Checks an order's value.
    ///
    /// # Errors
    /// If it is too small.
    pub fn check_notional(&self, value: Decimal) -> Result<(), Refusal> {
        if value < self.notional {
            Err(Refusal::notional(&self.notional.to_string()))
        } else {
            Ok(())
        }
    }
}

/// Checks a client's id.
///
/// # Errors
/// If it is too long or has other characters than Binance allows.
pub fn check_client_id(id: &str) -> Result<(), Refusal> {
    let known = |c: char| c.is_ascii_alphanumeric() || ".:/_-".contains(c);
    if (1..=36).contains(&id.len()) && id.chars().all(known) {
        Ok(())
    } else {
        Err(Refusal::of(-4015))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_has_its_own_code() {
        let rules = Rules::of(Contract::find("BTCUSDT").unwrap());
        let quantity = |q, market| rules.check_quantity(q, market).err().map(|r| r.code);
        assert_eq!(quantity(dec!(0.001), true), None);
        assert_eq!(
            quantity(dec!(0.0010), true),
            None,
            "a trailing zero is no decimal"
        );
        assert_eq!(quantity(dec!(0), false), Some(-4003));
        assert_eq!(quantity(dec!(-1), false), Some(-4003));
        assert_eq!(quantity(dec!(0.0015), false), Some(-1111));
        assert_eq!(quantity(dec!(121), true), Some(-4005));
        assert_eq!(quantity(dec!(121), false), None);
        let price = |p| rules.check_price(p).err().map(|r| r.code);
        assert_eq!(price(dec!(40000.1)), None);
        assert_eq!(price(dec!(40000.15)), Some(-4014));
        assert_eq!(price(dec!(40000.123)), Some(-1111));
        assert_eq!(price(dec!(1)), Some(-4013));
        assert_eq!(price(dec!(9999999)), Some(-4002));
        let reach = |p, buys| rules.check_reach(p, dec!(100), buys).err().map(|r| r.code);
        assert_eq!(
            (reach(dec!(106), true), reach(dec!(94), false)),
            (Some(-4016), Some(-4024))
        );
        assert_eq!(
            (reach(dec!(94), true), reach(dec!(106), false)),
            (None, None)
        );
    }

    #[test]
    fn client_ids_are_short_and_plain() {
        assert!(check_client_id("ba_-.:/7aZ").is_ok());
        for id in ["", "a b", "ü", &"x".repeat(37)] {
            assert_eq!(check_client_id(id).unwrap_err().code, -4015);
        }
    }
}
