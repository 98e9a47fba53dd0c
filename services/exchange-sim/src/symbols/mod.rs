//! The contracts: a catalogue with grids, limits and precisions as Binance publishes them, and generated ones.

mod generated;

use crate::candle::{AMOUNT_DECIMALS, PRICE_DECIMALS};
use crate::trading::enums::{ContractStatus, ContractType};
pub use generated::MAX_CONTRACTS;

/// Binance's placeholder for "never delivered": 2100-12-25T08:00Z.
pub const NEVER_DELIVERED_MS: i64 = 4_133_404_800_000;

/// One contract. Strings are sent as they are.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Symbol, such as `BTCUSDT`.
    pub symbol: &'static str,
    /// Asset that is traded, such as `BTC`.
    pub base_asset: &'static str,
    /// Binance's category of the base asset.
    pub sub_type: &'static str,
    /// Start of trading, UTC ms.
    pub onboard_ms: i64,
    /// Decimal places of a price on the wire.
    pub price_precision: u32,
    /// Decimal places of a quantity on the wire.
    pub quantity_precision: u32,
    /// Lowest price, highest price and price step.
    pub price: [&'static str; 3],
    /// Smallest and largest quantity of a limit order, and quantity step.
    pub lot: [&'static str; 3],
    /// Largest quantity of a market order.
    pub market_max: &'static str,
    /// Smallest value of an order, in USDT.
    pub min_notional: &'static str,
    /// Asset in which prices are quoted.
    pub quote_asset: &'static str,
    /// Type of the contract.
    pub contract_type: ContractType,
    /// Time of delivery, UTC ms.
    pub delivery_ms: i64,
    /// Status when the market opens.
    pub status: ContractStatus,
    /// Highest leverage that the contract allows.
    pub max_leverage: u32,
    /// Price from which a synthetic history starts, in the quote asset.
    pub start_price: f64,
    /// Whether the contract comes from the generator, with a short history.
    pub is_generated: bool,
    /// Price step in 10^-8 USDT: `price[2]` as a number.
    pub tick: i64,
    /// Quantity step in 10^-5 of the base asset: `lot[2]` as a number.
    pub step: i64,
}

/// What all contracts of the catalogue have in common.
const CATALOGUED: Contract = Contract {
    symbol: "",
    base_asset: "",
    sub_type: "",
    onboard_ms: 0,
    price_precision: 0,
    quantity_precision: 0,
    price: [""; 3],
    lot: [""; 3],
    market_max: "",
    min_notional: "",
    quote_asset: "USDT",
    contract_type: ContractType::Perpetual,
    delivery_ms: NEVER_DELIVERED_MS,
    status: ContractStatus::Trading,
    max_leverage: 125,
    start_price: 0.0,
    is_generated: false,
    tick: 0,
    step: 0,
};

/// The contracts with Binance's own numbers.
pub static CATALOGUE: [Contract; 5] = [
    Contract {
        symbol: "BTCUSDT",
        base_asset: "BTC",
        sub_type: "PoW",
        onboard_ms: 1_569_398_400_000,
        price_precision: 2,
        quantity_precision: 3,
        price: ["261.10", "4529764", "0.10"],
        lot: ["0.001", "1000", "0.001"],
        market_max: "120",
        min_notional: "100",
        tick: 10_000_000,
        step: 100,
        start_price: 96_000.0,
        ..CATALOGUED
    },
    Contract {
        symbol: "ETHUSDT",
        base_asset: "ETH",
        sub_type: "Layer-1",
        onboard_ms: 1_574_841_600_000,
        price_precision: 2,
        quantity_precision: 3,
        price: ["18.67", "306177", "0.01"],
        lot: ["0.001", "10000", "0.001"],
        market_max: "2000",
        min_notional: "20",
        tick: 1_000_000,
        step: 100,
        start_price: 3_300.0,
        ..CATALOGUED
    },
    Contract {
        symbol: "SOLUSDT",
        base_asset: "SOL",
        sub_type: "Layer-1",
        onboard_ms: 1_600_066_800_000,
        price_precision: 4,
        quantity_precision: 2,
        price: ["0.4200", "6857", "0.0100"],
        lot: ["0.01", "1000000", "0.01"],
        market_max: "50000",
        min_notional: "5",
        tick: 1_000_000,
        step: 1_000,
        start_price: 185.0,
        ..CATALOGUED
    },
    Contract {
        symbol: "BNBUSDT",
        base_asset: "BNB",
        sub_type: "Layer-1",
        onboard_ms: 1_581_318_000_000,
        price_precision: 3,
        quantity_precision: 2,
        price: ["6.600", "100000", "0.010"],
        lot: ["0.01", "100000", "0.01"],
        market_max: "2000",
        min_notional: "5",
        tick: 1_000_000,
        step: 1_000,
        start_price: 690.0,
        ..CATALOGUED
    },
    Contract {
        symbol: "XRPUSDT",
        base_asset: "XRP",
        sub_type: "Payment",
        onboard_ms: 1_578_294_000_000,
        price_precision: 4,
        quantity_precision: 1,
        price: ["0.0143", "100000", "0.0001"],
        lot: ["0.1", "10000000", "0.1"],
        market_max: "2000000",
        min_notional: "5",
        tick: 10_000,
        step: 10_000,
        start_price: 2.4,
        ..CATALOGUED
    },
];

impl Contract {
    /// The contract of this symbol in upper case; `None` if there is none.
    pub fn find(symbol: &str) -> Option<&'static Self> {
        let all = CATALOGUE.iter().chain(generated::contracts());
        all.into_iter().find(|c| c.symbol == symbol)
    }

    /// These contracts without repeats, and then others until there are `count`: those of the catalogue first.
    pub fn listed(chosen: &[&'static Self], count: usize) -> Vec<&'static Self> {
        let mut listed: Vec<&'static Self> = Vec::new();
        let others = CATALOGUE.iter().chain(generated::contracts());
        let wanted = chosen.iter().copied().map(|c| (c, true));
        for (contract, is_chosen) in wanted.chain(others.map(|c| (c, false))) {
            let is_needed = is_chosen || listed.len() < count;
            if is_needed && !listed.iter().any(|c| c.symbol == contract.symbol) {
                listed.push(contract);
            }
        }
        // The history of generated contracts begins later.
        listed.sort_by_key(|c| c.is_generated);
        listed
    }

    /// This contract under another symbol.
    pub fn renamed(&self, symbol: &str) -> &'static Self {
        // A rename is a fault of a test: the few bytes stay until the process ends.
        let symbol: &'static str = Box::leak(symbol.to_owned().into_boxed_str());
        Box::leak(Box::new(Self {
            symbol,
            ..self.clone()
        }))
    }

    /// Formats a price for the wire.
    pub fn format_price(&self, price: i64) -> String {
        crate::candle::format_fixed(price, PRICE_DECIMALS, self.price_precision)
    }

    /// Formats a base volume for the wire.
    pub fn format_quantity(&self, amount: i64) -> String {
        crate::candle::format_fixed(amount, AMOUNT_DECIMALS, self.quantity_precision)
    }

    /// Formats a quote volume for the wire.
    pub fn format_quote(&self, amount: i64) -> String {
        crate::candle::format_fixed(amount, AMOUNT_DECIMALS, AMOUNT_DECIMALS)
    }
}

/// The symbols of the catalogue, for errors.
pub fn catalogue_names() -> String {
    CATALOGUE
        .iter()
        .map(|c| c.symbol)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;

    #[test]
    fn computed_grid_equals_the_published_one() {
        for contract in CATALOGUE.iter().chain(generated::contracts()) {
            let tick: Decimal = contract.price[2].parse().unwrap();
            let step: Decimal = contract.lot[2].parse().unwrap();
            assert_eq!(tick, Decimal::new(contract.tick, PRICE_DECIMALS));
            assert_eq!(step, Decimal::new(contract.step, AMOUNT_DECIMALS));
            assert!(tick.normalize().scale() <= contract.price_precision);
            assert!(step.normalize().scale() <= contract.quantity_precision);
        }
    }
}
