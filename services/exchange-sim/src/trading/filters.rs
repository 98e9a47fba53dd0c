//! Current filters of a contract, which a fault may change, and the checks of prices and quantities.

use rust_decimal::{Decimal, dec};
use serde::{Deserialize, Serialize};

use super::error::ExchangeError;
use crate::symbols::Contract;

/// Largest number of open orders of an account per contract.
pub const MAX_OPEN_ORDERS: usize = 200;
/// Largest number of conditional orders of an account per contract.
pub const MAX_OPEN_ALGOS: usize = 10;
/// Range of a limit price relative to the mark price.
const LIMIT_PRICE_BAND: [Decimal; 2] = [dec!(0.95), dec!(1.05)];

/// Filters of one contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolFilters {
    /// Symbol of the contract.
    pub symbol: String,
    /// Lowest and highest price, in USDT.
    pub price_range: [Decimal; 2],
    /// Price step, in USDT.
    pub tick: Decimal,
    /// Decimal places of a price.
    pub price_precision: u32,
    /// Smallest and largest quantity of a limit order.
    pub quantity_range: [Decimal; 2],
    /// Largest quantity of a market order.
    pub market_max_quantity: Decimal,
    /// Step of quantities, of which each quantity is a multiple.
    pub step: Decimal,
    /// Decimal places of a quantity.
    pub quantity_precision: u32,
    /// Smallest value of an order, in USDT.
    pub min_notional: Decimal,
    /// Whether the contract trades; if not, positions can only be closed.
    pub is_trading: bool,
}

impl SymbolFilters {
    /// The published filters of a contract.
    pub fn from_contract(contract: &Contract) -> Self {
        let number = |text: &str| Decimal::from_str_exact(text).unwrap_or_default();
        let [lowest, highest, tick] = contract.price.map(number);
        let [least, most, step] = contract.lot.map(number);
        Self {
            symbol: contract.symbol.to_owned(),
            price_range: [lowest, highest],
            tick,
            price_precision: contract.price_precision,
            quantity_range: [least, most],
            market_max_quantity: number(contract.market_max),
            step,
            quantity_precision: contract.quantity_precision,
            min_notional: number(contract.min_notional),
            is_trading: true,
        }
    }

    /// Checks a quantity.
    ///
    /// # Errors
    /// [`ExchangeError`] of the filter that rejects it.
    pub fn check_quantity(&self, quantity: Decimal, market: bool) -> Result<(), ExchangeError> {
        let [least, most] = self.quantity_range;
        let most = if market {
            self.market_max_quantity
        } else {
            most
        };
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
        Err(ExchangeError::from_code(refused))
    }

    /// Checks a price.
    ///
    /// # Errors
    /// [`ExchangeError`] of the filter that rejects it.
    pub fn check_price(&self, price: Decimal) -> Result<(), ExchangeError> {
        let [lowest, highest] = self.price_range;
        if price <= Decimal::ZERO {
            Err(ExchangeError::new(-4001, "Price less than 0."))
        } else if price.normalize().scale() > self.price_precision {
            Err(ExchangeError::from_code(-1111))
        } else if price > highest {
            Err(ExchangeError::new(-4002, "Price greater than max price."))
        } else if price < lowest {
            Err(ExchangeError::new(-4013, "Price less than min price."))
        } else if (price % self.tick).is_zero() {
            Ok(())
        } else {
            Err(ExchangeError::from_code(-4014))
        }
    }

    /// Checks the distance of a limit price from the mark price.
    ///
    /// # Errors
    /// [`ExchangeError`] if the price is too far on the unfavorable side.
    pub fn check_price_band(
        &self,
        price: Decimal,
        mark: Decimal,
        buys: bool,
    ) -> Result<(), ExchangeError> {
        let digits = |limit: Decimal| limit.round_dp(self.price_precision);
        let [lowest, highest] = LIMIT_PRICE_BAND.map(|share| digits(mark * share));
        if buys && price > highest {
            let message = format!("Limit price can't be higher than {highest}.");
            Err(ExchangeError::new(-4016, message))
        } else if !buys && price < lowest {
            let message = format!("Limit price can't be lower than {lowest}.");
            Err(ExchangeError::new(-4024, message))
        } else {
            Ok(())
        }
    }

    /// Checks the value of an order.
    ///
    /// # Errors
    /// [`ExchangeError`] if the value is too small.
    pub fn check_notional(&self, value: Decimal) -> Result<(), ExchangeError> {
        if value < self.min_notional {
            Err(ExchangeError::below_min_notional(
                &self.min_notional.to_string(),
            ))
        } else {
            Ok(())
        }
    }
}

/// Checks a client order id.
///
/// # Errors
/// [`ExchangeError`] if the id is too long or has characters that Binance does not allow.
pub fn check_client_id(id: &str) -> Result<(), ExchangeError> {
    let known = |c: char| c.is_ascii_alphanumeric() || ".:/_-".contains(c);
    if (1..=36).contains(&id.len()) && id.chars().all(known) {
        Ok(())
    } else {
        Err(ExchangeError::from_code(-4015))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_has_its_own_code() {
        let rules = SymbolFilters::from_contract(Contract::find("BTCUSDT").unwrap());
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
        let reach = |p, buys| {
            rules
                .check_price_band(p, dec!(100), buys)
                .err()
                .map(|r| r.code)
        };
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
