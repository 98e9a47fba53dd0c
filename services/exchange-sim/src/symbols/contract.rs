//! One contract: its grids, limits and precisions.

use crate::candle::{AMOUNT_DECIMALS, PRICE_DECIMALS};
use crate::trading::enums::{ContractStatus, ContractType};

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
pub(super) const CATALOGUED: Contract = Contract {
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

impl Contract {
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
