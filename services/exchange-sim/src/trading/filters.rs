//! Current filters of a contract, which a fault may change, and the checks of prices and quantities.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, dec};
use serde::{Deserialize, Serialize};

use super::enums::ContractStatus;
use super::error::ExchangeError;
use super::fault::{FilterFault, Positive};
use super::leverage_brackets::{self, Bracket};
use crate::symbols::Contract;

/// Filters of the contracts by symbol, also of unlisted ones.
pub type Contracts = BTreeMap<String, SymbolFilters>;

/// Largest number of open orders of an account per contract.
const MAX_OPEN_ORDERS: usize = 200;
/// Largest number of conditional orders of an account per contract.
const MAX_OPEN_ALGOS: usize = 10;
/// Largest distance of a price from the mark price, as a share of the mark price.
const PRICE_BAND: Decimal = dec!(0.05);

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
    /// Largest distance of a price from the mark price, as a share of the mark price.
    pub price_band: Decimal,
    /// Largest number of open orders of an account.
    pub max_orders: usize,
    /// Largest number of waiting conditional orders of an account.
    pub max_algos: usize,
    /// Status of the contract.
    pub status: ContractStatus,
    /// Whether the exchange lists the contract. An unlisted one does not exist for clients.
    pub is_listed: bool,
    /// Highest leverage of the contract.
    pub max_leverage: u32,
    /// Factor of all bounds of the leverage brackets.
    pub bracket_scale: Decimal,
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
            price_band: PRICE_BAND,
            max_orders: MAX_OPEN_ORDERS,
            max_algos: MAX_OPEN_ALGOS,
            status: contract.status,
            is_listed: true,
            max_leverage: contract.max_leverage,
            bracket_scale: Decimal::ONE,
        }
    }

    /// Applies a fault. Decimal places follow the steps.
    pub fn change(&mut self, fault: &FilterFault) {
        let or = |new: Option<Positive>, old| new.map_or(old, |new| new.0);
        self.tick = or(fault.tick, self.tick);
        self.step = or(fault.step, self.step);
        self.price_precision = self.price_precision.max(self.tick.normalize().scale());
        self.quantity_precision = self.quantity_precision.max(self.step.normalize().scale());
        let [least, most] = self.quantity_range;
        self.quantity_range = [or(fault.min_quantity, least), or(fault.max_quantity, most)];
        self.market_max_quantity = or(fault.max_quantity, self.market_max_quantity);
        self.min_notional = or(fault.notional, self.min_notional);
        if let Some(percent) = fault.percent_price {
            self.price_band = percent.0 / Decimal::ONE_HUNDRED;
        }
        self.max_orders = fault.max_orders.unwrap_or(self.max_orders);
        self.max_algos = fault.max_algos.unwrap_or(self.max_algos);
        match fault.trading {
            Some(true) => self.status = ContractStatus::Trading,
            Some(false) => self.status = ContractStatus::Settling,
            None => {}
        }
    }

    /// Leverage brackets of the contract, smallest first.
    pub fn brackets(&self) -> Vec<Bracket> {
        leverage_brackets::brackets(self.max_leverage, self.bracket_scale)
    }

    /// Checks that the status allows an order; `opens` says whether the order can open or enlarge a position.
    ///
    /// # Errors
    /// [`ExchangeError`] with -4140 if positions can only be closed, -4141 if the contract is closed, and -4108
    /// with any other status but trading.
    pub fn check_status(&self, opens: bool) -> Result<(), ExchangeError> {
        match self.status {
            ContractStatus::Trading => Ok(()),
            ContractStatus::Settling if !opens => Ok(()),
            ContractStatus::Settling => Err(ExchangeError::from_code(-4140)),
            ContractStatus::Close => Err(ExchangeError::from_code(-4141)),
            _ => Err(ExchangeError::from_code(-4108)),
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
        let share = [
            Decimal::ONE - self.price_band,
            Decimal::ONE + self.price_band,
        ];
        let [lowest, highest] = share.map(|share| digits(mark * share));
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

    /// Checks that the best price of the other side is within the range around the mark price.
    ///
    /// # Errors
    /// [`ExchangeError`] with -4131 if a market order would fill too far from the mark price.
    pub fn check_market_price(
        &self,
        price: Decimal,
        mark: Decimal,
        buys: bool,
    ) -> Result<(), ExchangeError> {
        self.check_price_band(price, mark, buys)
            .map_err(|_| ExchangeError::from_code(-4131))
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
